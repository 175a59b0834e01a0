//! What a conversion did.

use crate::digest::ContentDigest;
use crate::writing::output_file::FileReport;
use crate::writing::pass::collector::DiskReport;

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Size of the guest disk in bytes.
    pub virtual_size: u64,
    /// Guest bytes that are not in all-zero 64 KiB chunks.
    pub data_bytes: u64,
    /// Proof of the guest content; `None` when [`crate::ConvertOptions::content_digest`] is off.
    pub content_digest: Option<ContentDigest>,
    /// All files written, in the order of the outputs, each output's main file first.
    pub files: Vec<FileReport>,
}

/// What converting a machine's disks did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachineReport {
    /// One entry per disk, in the order given.
    pub disks: Vec<DiskReport>,
    /// All files written, in the order of the outputs, each output's main file first.
    pub files: Vec<FileReport>,
}
