//! What came out of work on disk images; [`super::package`] is for machines. JSON keys of facts about images are qemu-img's, so that scripts move over.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::package::PackageFacts;

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
    /// Of the verification of an attestation that holds.
    Attestation(AttestationResult),
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
    /// The attestation of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attestation: Option<String>,
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
    /// The package that the image is in (an OVA, or a box with an OVF); with the first of its disks only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageFacts>,
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

/// An attestation that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AttestationResult {
    /// Its file.
    pub filename: String,
    /// The URI of what it says.
    pub predicate_type: String,
    /// Who made its subjects, where it says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder_id: Option<String>,
    /// What it is about.
    pub subjects: Vec<AttestedFile>,
    /// What it is about, too, and gives no SHA-256 of: no file can be compared with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_sha256: Vec<String>,
}

/// A file that an attestation is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AttestedFile {
    /// Its name.
    pub name: String,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The file that has it; unset when none was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

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
