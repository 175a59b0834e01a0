//! Rules of the provenance post-processor.

use std::path::Path;

use kiln_template::Generated;

use crate::attestation::{SigningKey, VerifyingKey};
use crate::fetch::with_causes;
use crate::plan_reader::PlanReader;
use crate::post_processors::provenance::{Mode, complaint};

fn mode_of(reader: &PlanReader<'_>) -> Option<Mode> {
    Mode::from_word(&reader.values().text("signing_mode").unwrap_or_default())
}

/// `signing_mode`, where Kiln does not sign so.
pub(crate) fn mode(reader: &mut PlanReader<'_>) {
    if let Some((why, instead)) = mode_of(reader).and_then(Mode::why_not) {
        reader.error_with_hint("signing_mode", "Signed elsewhere", why, Some(instead));
    }
}

/// `signer` and `key`.
pub(crate) fn signer(reader: &mut PlanReader<'_>) {
    let Some(mode) = mode_of(reader) else { return };
    if mode == Mode::Key && ["signer", "key"].iter().any(|name| reader.options.is_unusable(name)) {
        return;
    }
    let (signer, key) = (reader.text("signer"), reader.text("key"));
    if let Some(detail) = complaint(mode, signer.as_deref(), key.as_deref()) {
        reader.error(if key.is_some() { "key" } else { "signing_mode" }, "No key to sign with", detail);
    }
    keys(reader);
}

/// The files of the keys: whoever only validates need not have them.
fn keys(reader: &mut PlanReader<'_>) {
    if mode_of(reader) != Some(Mode::Key) {
        return;
    }
    for name in ["signer", "key", "verifier"] {
        let Some(path) = reader.text(name).filter(|path| !path.contains(Generated::UNKNOWN)) else { continue };
        let path = Path::new(&path);
        // A pipe gives its key once, to who signs.
        if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            continue;
        }
        let loaded = match name {
            "verifier" => VerifyingKey::load(path).map(drop),
            _ => SigningKey::load(path).map(drop),
        };
        if let Err(error) = loaded {
            reader.not_here(name, "No usable key", with_causes(&error) + ".", error.hint().map(str::to_owned));
        }
    }
}

/// `sbom` and where the bill lies.
pub(crate) fn sbom(reader: &mut PlanReader<'_>) {
    let is_wanted = reader.flag("sbom");
    if is_wanted && reader.text("sbom_scan_path").is_none() {
        let detail =
            "sbom = true attests a bill that is there, and sbom_scan_path does not say where: Kiln scans no images.";
        let hint =
            "put the provisioner \"sbom\" into the build, which lists the guest's packages, and name its destination";
        reader.error_with_hint("sbom", "No bill to attest", detail, Some(hint));
    }
    for name in ["sbom_exclude", "sbom_scope"] {
        reader.without_effect(name, "Kiln does not scan: it attests the bill that sbom_scan_path names.");
    }
}
