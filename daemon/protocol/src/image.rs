//! Work on disk images: what is asked for, and what came out. JSON keys of facts about images are qemu-img's, so that scripts move over.
//!
//! Paths are relative to the submission's working directory. Formats and options are words here; the worker knows them, and answers
//! an unknown one with the nearest that it has.

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
        }
    }

    /// Returns every text of the request that is a path.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let sources: Vec<&ImageSource> = match self {
            Self::Convert(request) => request.inputs.iter().collect(),
            Self::Info(InfoRequest { image, .. }) | Self::Map(MapRequest { image, .. }) => vec![image],
            Self::Compare(request) => vec![&request.left, &request.right],
            Self::Check(_) | Self::Verify(_) => Vec::new(),
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
            }
            Self::Check(request) => paths.push(&request.path),
            Self::Verify(request) => paths.push(&request.path),
            _ => {}
        }
        paths.into_iter()
    }
}

/// What came out of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "of", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ImageResult {
    /// Of a conversion.
    Convert(ConvertResult),
    /// Facts about an image.
    Info {
        /// The image, then those below it, when asked for.
        images: Vec<ImageFacts>,
    },
    /// A part of an image's map; the parts follow each other.
    Map {
        /// Ascending.
        extents: Vec<MapExtent>,
    },
    /// Of a check.
    Check(CheckResult),
    /// Of a comparison.
    Compare(CompareResult),
    /// Of a verification.
    Verify {
        /// Every file of the manifest.
        files: Vec<VerifiedFile>,
    },
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// What a conversion wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConvertResult {
    /// The disks read, in order.
    pub disks: Vec<ConvertedDisk>,
    /// The files written, in the order of the outputs, each output's main file first.
    pub files: Vec<WrittenFile>,
}

/// What was found on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConvertedDisk {
    /// The image it was read from.
    pub filename: String,
    /// Size of the guest's disk in bytes.
    pub virtual_size: u64,
    /// Bytes of it that are not in all-zero 64 KiB chunks.
    pub data_bytes: u64,
    /// Kiln's content digest, version 1, in hexadecimal; equal for all images of one content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_digest: Option<String>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WrittenFile {
    /// Its path.
    pub filename: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Facts about an image, named as in `qemu-img info --output=json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ImageFacts {
    /// Its path.
    pub filename: String,
    /// Its format, in qemu-img's words: VHD is `vpc`.
    pub format: String,
    /// Size of the guest's disk in bytes.
    pub virtual_size: u64,
    /// Bytes that the file takes on the disk.
    pub actual_size: u64,
    /// Unit of allocation in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_size: Option<u64>,
    /// Whether the image was not closed properly.
    pub dirty_flag: bool,
    /// Whether it is encrypted; unset means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,
    /// The file below it, as written in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_filename: Option<String>,
    /// The file below it, from the image's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_backing_filename: Option<String>,
    /// The recorded format of the file below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backing_filename_format: Option<String>,
    /// Internal snapshots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<SnapshotFacts>,
    /// The shape within the format, as `streamOptimized`. qemu-img says so in `format-specific` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What only this format has: `{"type": FORMAT, "data": {…}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_specific: Option<serde_json::Value>,
}

/// Facts about an internal snapshot, named as in `qemu-img info --output=json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotFacts {
    /// Its identifier, a number in practice.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Size of the machine's saved state in bytes; 0 for a snapshot of the disk alone.
    pub vm_state_size: u64,
    /// When it was taken, in seconds since 1970-01-01 UTC.
    pub date_sec: u64,
    /// And nanoseconds.
    pub date_nsec: u32,
    /// The guest's clock in seconds.
    pub vm_clock_sec: u64,
    /// And nanoseconds.
    pub vm_clock_nsec: u32,
    /// Instructions that the guest had executed, when recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icount: Option<u64>,
}

/// A run of the guest's disk, named as in `qemu-img map --output=json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MapExtent {
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
    /// Number of the image that holds it: 0 is the one asked for, 1 the one below.
    pub depth: u32,
    /// Whether an image of the chain says anything about it.
    pub present: bool,
    /// Whether it reads as zeroes.
    pub zero: bool,
    /// Whether it holds stored bytes.
    pub data: bool,
    /// Whether the bytes are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressed: Option<bool>,
    /// Where the bytes are in the file, when they are there as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// What a check found, named as in `qemu-img check --output=json`; as there, numbers that are 0 are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckResult {
    /// The image's path.
    pub filename: String,
    /// Its format, in qemu-img's words.
    pub format: String,
    /// Parts that could not be checked.
    pub check_errors: u64,
    /// End of the part of the file that is in use, in bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub image_end_offset: u64,
    /// Corruptions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub corruptions: u64,
    /// Clusters of the file that nothing uses.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub leaks: u64,
    /// Clusters of the guest's disk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub total_clusters: u64,
    /// Those with data in the file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub allocated_clusters: u64,
    /// Those that do not follow the one before them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fragmented_clusters: u64,
    /// Those that are compressed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compressed_clusters: u64,
    /// The first of the corruptions and leaks. qemu-img says them on standard error.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<CheckFinding>,
}

/// A rule that an image breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckFinding {
    /// How bad it is.
    pub kind: CheckFindingKind,
    /// Offset in the file in bytes of what is wrong.
    pub offset: u64,
    /// Byte of the guest's disk that it concerns, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_offset: Option<u64>,
    /// What is wrong.
    pub rule: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CheckFindingKind {
    /// Guest data may be wrong, or become wrong when the image is written to.
    Corruption,
    /// Space that nothing uses; harmless.
    Leak,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CompareResult {
    /// Whether both guests would see the same, as far as was asked.
    pub identical: bool,
    /// Whether both disks have the same size.
    pub same_size: bool,
    /// First byte of the guest's disk that differs; bytes behind a disk's end count as zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_difference: Option<u64>,
}

/// A file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedFile {
    /// Its name in the manifest.
    pub filename: String,
    /// Name of the digest that is right, as `SHA256`; unset when something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
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

    #[test]
    fn results_of_a_newer_daemon_are_skipped_not_refused() {
        let text = r#"{"of":"coffee","cups":2}"#;
        assert_eq!(serde_json::from_str::<ImageResult>(text).unwrap(), ImageResult::Unknown);
    }

    #[test]
    fn facts_have_the_keys_of_qemu_img() {
        let extent = MapExtent {
            start: 0,
            length: 1,
            depth: 0,
            present: true,
            zero: false,
            data: true,
            compressed: None,
            offset: Some(7),
        };
        let text = serde_json::to_string(&extent).unwrap();
        assert_eq!(text, r#"{"start":0,"length":1,"depth":0,"present":true,"zero":false,"data":true,"offset":7}"#);
    }
}
