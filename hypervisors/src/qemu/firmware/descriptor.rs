//! One firmware descriptor: the JSON by which a distribution tells what a firmware image is for (QEMU's `docs/interop/firmware.json`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::architecture::Architecture;
use crate::spec::DiskFormat;

/// More is no descriptor; real ones have one KiB.
const MAX_BYTES: u64 = 64 << 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Json {
    #[serde(default)]
    interface_types: Vec<String>,
    mapping: Mapping,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    mode: Option<String>,
    executable: Option<FlashFile>,
    nvram_template: Option<FlashFile>,
}

#[derive(Debug, Deserialize)]
struct FlashFile {
    filename: PathBuf,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
    #[serde(default)]
    machines: Vec<String>,
}

/// An image with its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlashImage {
    /// The image.
    pub path: PathBuf,
    /// Raw or qcow2.
    pub format: DiskFormat,
}

/// A UEFI firmware whose code and variables are two flash images.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) path: PathBuf,
    pub(super) code: FlashImage,
    pub(super) vars: FlashImage,
    targets: Vec<Target>,
    features: Vec<String>,
}

impl Descriptor {
    /// Reads a descriptor; `None`: it is of something else than what machines of ours can have, as a BIOS or firmware in one piece.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, String> {
        let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if length > MAX_BYTES {
            return Err(format!("it has {length} bytes, more than a descriptor has"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let json: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let Mapping { device, mode, executable: Some(code), nvram_template: Some(vars) } = json.mapping else {
            return Ok(None);
        };
        let split = device == "flash" && mode.as_deref().is_none_or(|mode| mode == "split");
        let uefi = json.interface_types.iter().any(|kind| kind == "uefi");
        let (Some(code), Some(vars)) = (image(code), image(vars)) else { return Ok(None) };
        let (targets, features) = (json.targets, json.features);
        Ok((split && uefi).then(|| Self { path: path.to_owned(), code, vars, targets, features }))
    }

    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|one| one == feature)
    }

    /// Tells whether it is made for machines of this type.
    pub(super) fn is_for(&self, architecture: Architecture, machine: &str) -> bool {
        let versioned = versioned(machine);
        self.targets.iter().any(|target| {
            Some(target.architecture.as_str()) == architecture.name()
                && target.machines.iter().any(|pattern| matches(pattern, &versioned) || matches(pattern, machine))
        })
    }

    /// Tells whether both of its images are there.
    pub(super) fn is_whole(&self) -> bool {
        self.code.path.is_file() && self.vars.path.is_file()
    }
}

fn image(file: FlashFile) -> Option<FlashImage> {
    let format = DiskFormat::parse(&file.format)?;
    matches!(format, DiskFormat::Raw | DiskFormat::Qcow2).then_some(FlashImage { path: file.filename, format })
}

/// The name with a version that a machine type without one stands for; patterns are written for those. The version itself does not count.
fn versioned(machine: &str) -> String {
    match machine {
        "pc" => "pc-i440fx-0".to_owned(),
        "q35" => "pc-q35-0".to_owned(),
        "virt" => "virt-0".to_owned(),
        other => other.to_owned(),
    }
}

/// Patterns are names, or end with a star.
fn matches(pattern: &str, machine: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => machine.starts_with(start),
        None => pattern == machine,
    }
}
