//! The list of what the artifact holds that `sbom` attests. Kiln scans no images: the guest's own list, which the provisioner `sbom` writes
//! while the guest runs, knows more.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::attestation::{PredicateType, read_small};
use crate::blocking::blocking;
use crate::error::StepError;
use crate::option_values::OptionValues;

/// Words of `sbom_format`.
pub(crate) const FORMATS: [&str; 2] = ["cyclonedx", "spdx"];

/// A larger file is no list.
const MAX_LIST: u64 = 256 << 20;

/// A list that was found.
pub(super) struct Found {
    pub(super) kind: PredicateType,
    pub(super) text: String,
    pub(super) document: Json,
}

impl Found {
    /// How its file's name ends.
    pub(super) fn ending(&self) -> &'static str {
        if self.kind == PredicateType::Spdx { "spdx.json" } else { "cdx.json" }
    }
}

/// Finds the list: `sbom_scan_path` is its file, or the directory into which the provisioner `sbom` has written.
pub(super) async fn find(options: OptionValues<'_>, name: &str) -> Result<Found, StepError> {
    let kind = match options.text("sbom_format").as_deref() {
        Some("spdx") => PredicateType::Spdx,
        _ => PredicateType::CycloneDx,
    };
    let path = PathBuf::from(options.given("sbom_scan_path").unwrap_or_default());
    let name = name.to_owned();
    blocking("reading an SBOM", move |_| read(&path, &name, kind)).await
}

fn read(path: &Path, name: &str, kind: PredicateType) -> Result<Found, StepError> {
    let mut found = Found { kind, text: String::new(), document: Json::Null };
    let file = if path.is_dir() { path.join(format!("{name}.{}", found.ending())) } else { path.to_owned() };
    let wrong = |error: std::io::Error| {
        StepError::new(format!("cannot read the SBOM {}", file.display()))
            .with_source(error)
            .with_hint("provisioner \"sbom\" writes one of the guest's packages; sbom_scan_path names its directory")
    };
    let bytes = read_small(&file, MAX_LIST).map_err(wrong)?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(std::io::Error::other(error)))?;
    let document: Json = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
    let is_of_kind = match kind {
        PredicateType::Spdx => document.get("spdxVersion").is_some(),
        _ => document.get("bomFormat").and_then(Json::as_str) == Some("CycloneDX"),
    };
    if !is_of_kind {
        let words = if kind == PredicateType::Spdx { "SPDX" } else { "CycloneDX" };
        return Err(wrong(std::io::Error::other(format!("it is no JSON document of {words}"))));
    }
    found.text = text;
    found.document = document;
    Ok(found)
}
