//! What went into a build: its template, the image that it began with, and the files of this machine that its parts name.

use std::collections::BTreeMap;

use super::super::context::PostProcessContext;
use super::digest::digest;
use crate::attestation::{Material, sha256};
use crate::error::StepError;
use crate::fetch::{ChecksumSpec, local_path, parse_checksum, shown};

/// Everything that went in. Files were read before the build used them, and are read again: one that is another by now may have been either.
pub(super) async fn materials(context: &PostProcessContext) -> Result<Vec<Material>, StepError> {
    let mut materials: Vec<Material> = Vec::new();
    for template in &context.build.settings.template_files {
        let digest = sha256(template.sha256.clone());
        materials.push(Material { name: template.name.clone(), digest, uri: String::new() });
    }
    materials.extend(image(context).await?);
    for file in &context.inputs.files {
        // Directories are not described. What has gone since was there when the build began.
        let digest = match file.is_file() {
            true => sha256(digest(context, file).await?),
            false => BTreeMap::new(),
        };
        let began = context.inputs.digests.get(file).map(|hex| sha256(hex.clone()));
        let digest = match began {
            Some(began) if began != digest => {
                let shown = file.display();
                context
                    .build
                    .say(format!("{shown} was changed while the build ran: the attestation has no digest of it"));
                BTreeMap::new()
            }
            _ => digest,
        };
        materials.push(Material { name: file.display().to_string(), digest, uri: String::new() });
    }
    materials.retain(|material| !material.name.is_empty() || !material.uri.is_empty());
    Ok(materials)
}

/// The image, by the checksum that its download was held to; one without is read here when it lies here.
async fn image(context: &PostProcessContext) -> Result<Option<Material>, StepError> {
    let Some((urls, checksum)) = &context.inputs.image else { return Ok(None) };
    let Some(url) = urls.first() else { return Ok(None) };
    let mut material = Material { uri: shown(url), ..Material::default() };
    if let Ok(ChecksumSpec::Digest(digest)) = parse_checksum(checksum) {
        let text = digest.to_string();
        if let Some((name, hex)) = text.split_once(':') {
            material.digest.insert(name.to_owned(), hex.to_owned());
        }
    }
    if local_path(url).is_some() {
        material.name = std::mem::take(&mut material.uri);
    }
    // Its checksum was `none`, or in a file.
    if material.digest.is_empty()
        && let Some(path) = context.build.fetched.get().filter(|path| path.is_file())
    {
        material.digest = sha256(digest(context, path).await?);
    }
    Ok(Some(material))
}
