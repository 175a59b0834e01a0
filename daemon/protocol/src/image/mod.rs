//! Work on disk images: what is asked for; [`result`] is what came out.
//!
//! Paths are relative to the submission's working directory. Formats and options are words here; the worker knows them, and answers
//! an unknown one with the nearest that it has.

pub mod package;
pub mod result;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Largest number of inputs, outputs or options of one request.
pub const MAX_IMAGE_ITEMS: usize = 256;

/// Something to be done with images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ImageTask {
    /// Write a disk, or a machine's disks, in other formats, in one pass.
    Convert(Box<ConvertRequest>),
    /// Describe an image.
    Info(InfoRequest),
    /// List which parts of the guest's disk hold data.
    Map(MapRequest),
    /// Check an image's structure.
    Check(CheckRequest),
    /// Compare what two guests would see.
    Compare(CompareRequest),
    /// Check files against the digests in a manifest.
    Verify(VerifyRequest),
    /// Verify a signed attestation, and the files that it is about.
    VerifyAttestation(VerifyAttestationRequest),
}

/// An image to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageSource {
    /// Its path; `web.ova:data.vmdk` is that disk of an archive.
    pub path: String,
    /// Its format; found by its signature when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Directories below which files that the image names (backing file, parent, extents) may be opened, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow_backing: Vec<String>,
    /// The internal snapshot to read instead of the present state, by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// Asks for a conversion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvertRequest {
    /// The disks to read: several of them are the disks of one machine, for packages only.
    pub inputs: Vec<ImageSource>,
    /// What to write.
    pub outputs: Vec<ConvertOutput>,
    /// Options of formats. Each counts for all outputs that know it, or for the one that it names, as `disk.vmdk:subformat`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<FormatOption>,
    /// Compresses formats that can be compressed or not (qcow2).
    #[serde(default)]
    pub compress: bool,
    /// The machine for packages.
    #[serde(default)]
    pub machine: MachineOptions,
    /// Replaces files that exist.
    #[serde(default)]
    pub force: bool,
    /// Worker threads; unset means one per processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// What to compute on the way.
    #[serde(default)]
    pub digests: Digests,
    /// Files get their names without waiting for stable storage.
    #[serde(default)]
    pub no_sync: bool,
    /// The FIFO from which the client reads what goes to its standard output (`-`). It must belong to the client's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
    /// PEM file of the key that signs an attestation of what was read and written, beside the first output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance_key: Option<String>,
}

/// An option of a format, as `subformat=streamOptimized`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FormatOption {
    /// Its name, after the name of an output and a colon where it is for that one only.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Something to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvertOutput {
    /// Its path; `-` for the client's standard output.
    pub path: String,
    /// Its format; by its suffix when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// Digests that a conversion can compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Digests {
    /// None.
    None,
    /// Of the guest's disk: equal for all images of one content, whatever their format.
    #[default]
    Content,
    /// Of the guest's disk, and the SHA-256 of every file written.
    All,
}

/// A machine, as far as it was described; the rest has defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineOptions {
    /// Its name; that of the package's file when unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Virtual processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// `bios` or `efi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Starts signed boot loaders only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secure_boot: bool,
    /// A virtual TPM.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tpm: bool,
    /// The guest's operating system, as `debian-64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest_os: Option<String>,
    /// Network cards, as `MODEL` or `MODEL:NETWORK`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nics: Vec<String>,
    /// The disks' controllers: one for all, or one for each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buses: Vec<String>,
    /// VMware's virtual hardware version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware_version: Option<u8>,
    /// Product shown by importers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Its vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_version: Option<String>,
    /// File with the licence text to accept at import.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eula: Option<String>,
    /// Free text shown to whoever imports the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation: Option<String>,
}

impl MachineOptions {
    /// Whether nothing was said about the machine.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks for facts about an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InfoRequest {
    /// The image.
    pub image: ImageSource,
    /// Describes the images below it too.
    #[serde(default)]
    pub backing_chain: bool,
}

/// Asks for an image's map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapRequest {
    /// The image.
    pub image: ImageSource,
    /// First byte of the guest's disk to look at.
    #[serde(default)]
    pub start: u64,
    /// Bytes to look at; to the end of the disk when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

/// Asks for a check of an image's structure, and of a VMDK's extents that lie below its own directory. No other file is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// The image.
    pub path: String,
    /// Its format; found by its signature when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// Asks for a comparison of two disks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareRequest {
    /// The one.
    pub left: ImageSource,
    /// The other.
    pub right: ImageSource,
    /// Disks of different sizes are different, even if only zeroes follow.
    #[serde(default)]
    pub strict: bool,
}

/// Asks whether files are those of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// A manifest (`.mf`, `SHA256SUMS`), an OVF with a manifest beside it, or an OVA.
    pub path: String,
}

/// Asks whether an attestation holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyAttestationRequest {
    /// The attestation: a DSSE envelope.
    pub path: String,
    /// PEM file of the public key, or of the private key that it belongs to.
    pub key: String,
    /// Files that it must be about. Without any, those of its subjects that lie beside it are looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// The URI that its predicate must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
    /// The builder that it must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder_id: Option<String>,
    /// A source that it must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_uri: Option<String>,
}

impl ImageTask {
    /// Says in a few words what is worked on, for lists of jobs.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Convert(request) => {
                let inputs: Vec<_> = request.inputs.iter().map(|input| input.path.as_str()).collect();
                let outputs: Vec<_> = request.outputs.iter().map(|output| output.path.as_str()).collect();
                format!("{} to {}", inputs.join(" "), outputs.join(" "))
            }
            Self::Info(request) => format!("info {}", request.image.path),
            Self::Map(request) => format!("map {}", request.image.path),
            Self::Check(request) => format!("check {}", request.path),
            Self::Compare(request) => format!("compare {} {}", request.left.path, request.right.path),
            Self::Verify(request) => format!("verify {}", request.path),
            Self::VerifyAttestation(request) => format!("verify-attestation {}", request.path),
        }
    }

    /// Returns every text of the request that is a path.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let sources: Vec<&ImageSource> = match self {
            Self::Convert(request) => request.inputs.iter().collect(),
            Self::Info(InfoRequest { image, .. }) | Self::Map(MapRequest { image, .. }) => vec![image],
            Self::Compare(request) => vec![&request.left, &request.right],
            Self::Check(_) | Self::Verify(_) | Self::VerifyAttestation(_) => Vec::new(),
        };
        let mut paths: Vec<&str> = Vec::new();
        for source in sources {
            paths.push(&source.path);
            paths.extend(source.allow_backing.iter().map(String::as_str));
        }
        match self {
            Self::Convert(request) => {
                paths.extend(request.outputs.iter().map(|output| output.path.as_str()));
                paths.extend(request.stdout.as_deref());
                paths.extend(request.machine.eula.as_deref());
                paths.extend(request.provenance_key.as_deref());
            }
            Self::Check(request) => paths.push(&request.path),
            Self::Verify(request) => paths.push(&request.path),
            Self::VerifyAttestation(request) => {
                paths.extend([request.path.as_str(), &request.key]);
                paths.extend(request.artifacts.iter().map(String::as_str));
            }
            _ => {}
        }
        paths.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_flat_and_its_mistakes_are_named() {
        let text = r#"{"action":"convert","inputs":[{"path":"a.raw"}],"outputs":[{"path":"b.ova"}]}"#;
        let ImageTask::Convert(request) = serde_json::from_str(text).unwrap() else { panic!("a conversion") };
        assert_eq!(request.digests, Digests::Content);
        let text = text.replace("inputs", "input");
        let error = serde_json::from_str::<ImageTask>(&text).unwrap_err();
        assert!(error.to_string().contains("unknown field `input`"), "{error}");
    }
}
