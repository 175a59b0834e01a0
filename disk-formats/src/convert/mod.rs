//! One pass over a disk, any number of outputs: the public face of converting.

use std::ops::ControlFlow;
use std::path::PathBuf;

mod batch;
#[cfg(test)]
mod fault_tests;
mod outputs;
mod pipeline;
#[cfg(test)]
mod power_loss_tests;
mod preflight;
mod process;
mod settle;
mod turns;
mod windows;

pub(crate) use batch::{Batch, Method, Recipe};
pub(crate) use outputs::{OutputWriter, WriterContext, write_empty};
pub(crate) use pipeline::{BatchWriter, Identity, PassReport};
pub(crate) use process::is_zero;

use crate::storage::FileSystem;
use crate::{ContentDigest, DiskReader, Error, Output, Result, Sha256Digest};

/// How to convert.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// Worker threads; `None` means one per core. The bytes written do not depend on it.
    pub threads: Option<usize>,
    /// Replaces existing files of the outputs' names; otherwise they are an error.
    pub overwrite: bool,
    /// Computes the content digest of the guest disk.
    pub content_digest: bool,
    /// Computes the SHA-256 of every file written (those that a manifest needs are computed anyway). A hole costs as much as data
    /// here: about a second per GiB of a raw disk.
    pub file_digests: bool,
    /// Waits until everything is on stable storage before files get their names. Without it a power loss soon afterwards can
    /// leave files with missing content, as with most tools.
    pub durable: bool,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self { threads: None, overwrite: false, content_digest: true, file_digests: true, durable: true }
    }
}

impl ConvertOptions {
    /// Returns the defaults without any digest: the fastest way when nobody needs a proof.
    #[must_use]
    pub fn without_digests() -> Self {
        Self { content_digest: false, file_digests: false, ..Self::default() }
    }
}

/// Told about the work as it goes on; may stop it.
pub trait Progress: Sync {
    /// Called often, from one thread, with guest bytes done and in all; `Break` cancels the conversion, which then removes
    /// what it has written and fails with [`crate::ErrorKind::Cancelled`].
    fn advance(&self, done: u64, total: u64) -> ControlFlow<()>;
}

/// Ignores progress and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn advance(&self, _done: u64, _total: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: Fn(u64, u64) -> ControlFlow<()> + Sync> Progress for F {
    fn advance(&self, done: u64, total: u64) -> ControlFlow<()> {
        self(done, total)
    }
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// Its final name.
    pub path: PathBuf,
    /// Its length in bytes (not its allocation).
    pub size: u64,
    /// Its SHA-256; `None` when [`ConvertOptions::file_digests`] is off and no manifest needed it.
    pub sha256: Option<Sha256Digest>,
}

/// What a conversion did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Size of the guest disk in bytes.
    pub virtual_size: u64,
    /// Guest bytes that are not in all-zero 64 KiB chunks.
    pub data_bytes: u64,
    /// Proof of the guest content; `None` when [`ConvertOptions::content_digest`] is off.
    pub content_digest: Option<ContentDigest>,
    /// All files written, in the order of the outputs, each output's main file first.
    pub files: Vec<FileReport>,
}

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

/// What converting a machine's disks did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachineReport {
    /// One entry per disk, in the order given.
    pub disks: Vec<DiskReport>,
    /// All files written, in the order of the outputs, each output's main file first.
    pub files: Vec<FileReport>,
}

/// What was found on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskReport {
    /// Size of the guest disk in bytes.
    pub virtual_size: u64,
    /// Guest bytes that are not in all-zero 64 KiB chunks.
    pub data_bytes: u64,
    /// Proof of the guest content; `None` when [`ConvertOptions::content_digest`] is off.
    pub content_digest: Option<ContentDigest>,
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
    outputs::convert_to(readers, outputs, options, progress, &FileSystem)
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
