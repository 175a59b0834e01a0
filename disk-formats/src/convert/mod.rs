//! One pass over a disk, any number of outputs: the public face of converting.

mod empty;
#[cfg(test)]
mod fault_tests;
mod outputs;
#[cfg(test)]
mod power_loss_tests;
mod preflight;
mod publish;
mod report;
mod settle;

pub(crate) use empty::write_empty;
pub use report::{MachineReport, Report};

use crate::digest::ContentDigest;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::reading::reader::DiskReader;
pub use crate::writing::convert_options::ConvertOptions;
pub use crate::writing::output_file::FileReport;
pub use crate::writing::pass::collector::DiskReport;
pub use crate::writing::progress::{NoProgress, Progress};
use crate::writing::storage::FileSystem;

/// Writes a disk to all outputs in one pass.
///
/// Each allocated byte is read once. Outputs appear under their final names only when all of them are whole and on disk; on any
/// error, and when `progress` says stop, nothing is left behind. Memory is bounded by the number of threads, not by the disk.
///
/// # Errors
/// When the reader fails, an output cannot be written, exists (without [`ConvertOptions::overwrite`]), is one of the
/// reader's own files, or cannot hold the disk (too large for its format).
pub fn convert(
    reader: &dyn DiskReader,
    outputs: &[Output],
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut reports = convert_disks(&[reader], outputs, options, progress)?;
    let disk = reports.disks.remove(0);
    Ok(Report {
        virtual_size: disk.virtual_size,
        data_bytes: disk.data_bytes,
        content_digest: disk.content_digest,
        files: reports.files,
    })
}

/// Writes a machine with several disks into packages ([`crate::OutputKind::Ovf`], [`crate::OutputKind::Ova`]), one pass per disk.
///
/// # Errors
/// As [`convert`]; also when an output that holds one disk is asked for with several.
pub fn convert_disks(
    readers: &[&dyn DiskReader],
    outputs: &[Output],
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<MachineReport> {
    let files = FileSystem { mark: options.mark.clone() };
    outputs::convert_to(readers, outputs, options, progress, &files)
}

/// Computes the content digest of a disk without writing anything.
///
/// # Errors
/// When the reader fails or `progress` says stop.
pub fn content_digest(
    reader: &dyn DiskReader,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<ContentDigest> {
    let options = ConvertOptions { content_digest: true, ..options.clone() };
    let report = convert(reader, &[], &options, progress)?;
    report.content_digest.ok_or_else(|| Error::unsupported("no content digest was computed"))
}
