//! The post-processor kiln-image: notes what a build has left under a name, so that later builds find it (`data "kiln-image"`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use kiln_disk_formats::{ErrorKind, Format, OpenPolicy, detect, open};
use sha2::{Digest as _, Sha256};

use super::context::{PostProcessContext, Processed, base_name};
use super::main_file::main_file;
use crate::artifact::Artifact;
use crate::blocking::blocking;
use crate::error::StepError;
use crate::export::{GuestDisk, WRITTEN_HINT, is_same};
use crate::image_registry::{ImageRecord, ImageRegistry};
use crate::option_values::OptionValues;

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let registry = ImageRegistry::of_user().ok_or_else(|| {
        StepError::new("there is no place for the images of a user without a home")
            .with_hint("set HOME or XDG_STATE_HOME")
    })?;
    register(&registry, context, options, input).await?;
    Ok(Processed { artifact: input.clone(), keep_input: true, force_keep: true })
}

async fn register(
    registry: &ImageRegistry,
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<(), StepError> {
    let name = options.text("image_name").unwrap_or_default();
    let path = chosen(input, options.text("file").as_deref())?;
    let shown = path.display().to_string();
    let (hashed, disks) = (path, context.disks.clone());
    let (format, path, size, checksum) = blocking("reading the image", move |_| {
        let format = format_of(&hashed, &disks)?;
        let failed = |error| StepError::new(format!("cannot read {shown}")).with_source(error);
        let (path, size, checksum) = read(&hashed).map_err(failed)?;
        Ok::<_, StepError>((format, path, size, checksum))
    })
    .await?;
    let record = ImageRecord {
        format,
        checksum: format!("sha256:{checksum}"),
        size,
        build: context.build.build.to_string(),
        run_uuid: context.data.run_uuid.clone(),
        created: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string(),
        path,
    };
    for channel in options.texts("channels") {
        registry
            .put(&name, &channel, &record)
            .map_err(|error| StepError::new(format!("cannot register the image {name}")).with_source(error))?;
        context.build.say(format!("Registered {} as {name} in the channel {channel}", record.path.display()));
    }
    Ok(())
}

/// The file that is meant: the one of that name, or the image.
fn chosen(input: &Artifact, wanted: Option<&str>) -> Result<PathBuf, StepError> {
    let names = || input.files.iter().map(|file| base_name(file)).collect::<Vec<_>>().join(", ");
    match wanted {
        _ if input.files.is_empty() => {
            Err(StepError::new("the artifact has no files, so there is no image to register")
                .with_hint("put kiln-image behind the post-processor, or into the sequence, that has the image"))
        }
        None => Ok(main_file(input).unwrap_or(&input.files[0]).clone()),
        Some(wanted) => input
            .files
            .iter()
            .find(|file| base_name(file) == wanted)
            .cloned()
            .ok_or_else(|| StepError::new(format!("the artifact has no file {wanted:?}; it has {}", names()))),
    }
}

/// The absolute path, the length and the digest of a file.
fn read(path: &Path) -> io::Result<(PathBuf, u64, String)> {
    let path = std::path::absolute(path)?;
    let mut file = File::open(&path)?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0_u64, vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            let digest = hasher.finalize();
            return Ok((path, size, digest.iter().map(|byte| format!("{byte:02x}")).collect()));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

/// The image's format, as the qemu builder names it; of what is no image, the ending of its name.
///
/// Later builds look for the format in the file, and follow what a user's own image names. So nothing is registered that a guest has made look
/// like another image than it is, or that leads out of its directory.
fn format_of(path: &Path, disks: &[GuestDisk]) -> Result<String, StepError> {
    let shown = path.display();
    let found = detect(path);
    if let Some(disk) = disks.iter().find(|disk| is_same(&disk.path, path)) {
        return match found {
            Ok(found) if found != disk.format => {
                let (format, rule) = (disk.format, "so later builds would take it for one");
                Err(StepError::new(format!("{shown} is {format}, but its guest has made it look like {found}, {rule}"))
                    .with_hint(WRITTEN_HINT))
            }
            _ => Ok(disk.format.to_string()),
        };
    }
    match found {
        // Any file is a raw image.
        Ok(Format::Raw) | Err(_) => {
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            Ok(ending.unwrap_or_else(|| "raw".to_owned()))
        }
        Ok(format) => {
            let beside = path.parent().map(Path::to_owned).into_iter().collect();
            match open(path, Some(format), &OpenPolicy::allow_below(beside)).map(drop) {
                Err(error) if error.kind() == ErrorKind::Refused => Err(StepError::from(error).with_hint(WRITTEN_HINT)),
                // What cannot be read is no image for later builds, but may be of use otherwise.
                _ => Ok(format.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Ownership;

    fn artifact(files: &[&Path]) -> Artifact {
        let files: Vec<PathBuf> = files.iter().map(|file| (*file).to_owned()).collect();
        Artifact {
            builder_id: "transcend.qemu".to_owned(),
            id: "VM".to_owned(),
            text: String::new(),
            ownership: Ownership::Nothing,
            files,
        }
    }

    #[test]
    fn the_file_that_is_meant_is_taken() {
        let both = artifact(&[Path::new("out/disk"), Path::new("out/efivars.fd")]);
        assert_eq!(chosen(&both, None).unwrap(), Path::new("out/disk"));
        assert_eq!(chosen(&both, Some("efivars.fd")).unwrap(), Path::new("out/efivars.fd"));
        let error = chosen(&both, Some("x")).unwrap_err().to_string();
        assert_eq!(error, "the artifact has no file \"x\"; it has disk, efivars.fd");
        assert!(chosen(&artifact(&[]), None).is_err());
    }

    #[test]
    fn what_is_in_a_file_is_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("disk");
        kiln_disk_formats::create_qcow2(&image, 1 << 20).unwrap();
        assert_eq!(format_of(&image, &[]).unwrap(), "qcow2");
        let text = scratch.path().join("x.TXT");
        std::fs::write(&text, "abc").unwrap();
        assert_eq!(format_of(&text, &[]).unwrap(), "txt");
        let (path, size, digest) = read(&text).unwrap();
        assert_eq!((path, size), (text, 3));
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn what_a_guest_has_planted_is_not_registered() {
        let scratch = tempfile::tempdir().unwrap();
        let (image, secret) = (scratch.path().join("out/disk"), scratch.path().join("secret"));
        std::fs::create_dir(scratch.path().join("out")).unwrap();
        std::fs::write(&secret, [7; 4096]).unwrap();
        kiln_disk_formats::create_overlay(&image, &secret, Format::Raw, Some(1 << 20)).unwrap();
        let disk = |format, policy| GuestDisk { path: scratch.path().join("out/./disk"), format, policy };
        let error = format_of(&image, &[disk(Format::Raw, OpenPolicy::deny())]).unwrap_err();
        assert!(error.to_string().contains("is raw, but its guest has made it look like qcow2"), "{error}");
        // What somebody has made of it tells nothing of who wrote it.
        let error = format_of(&image, &[]).unwrap_err();
        assert_eq!(error.hint(), Some(WRITTEN_HINT), "{error}");
        // The builder's own overlay is as the builder made it.
        assert_eq!(format_of(&image, &[disk(Format::Qcow2, OpenPolicy::allow_any())]).unwrap(), "qcow2");
    }
}
