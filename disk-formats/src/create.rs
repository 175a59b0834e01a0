//! Empty images, overlays and growing: what a hypervisor needs before a machine starts.

use std::path::Path;

use crate::{Error, Format, Result};

/// Makes an empty raw disk of `size` bytes: one hole.
///
/// # Errors
/// When `path` exists or cannot be written.
pub fn create_raw(path: &Path, size: u64) -> Result<()> {
    let _ = size;
    Err(Error::unsupported("not built in").with_path(path))
}

/// Makes an empty qcow2 (version 3, 64 KiB clusters) with a guest disk of `size` bytes.
///
/// # Errors
/// When `path` exists, the size is over the format's limit, or the file cannot be written.
pub fn create_qcow2(path: &Path, size: u64) -> Result<()> {
    let _ = size;
    Err(Error::unsupported("not built in").with_path(path))
}

/// Makes an empty qcow2 over `backing`, which is not opened for writing and must not change afterwards.
///
/// `backing` is stored as an absolute path; its format is stored too, so that nobody has to guess. `size` in bytes defaults to
/// the backing disk's and may be larger (the rest reads as zeroes).
///
/// # Errors
/// When `path` exists, `backing` cannot be opened as `backing_format`, or `size` is smaller than the backing disk.
pub fn create_overlay(path: &Path, backing: &Path, backing_format: Format, size: Option<u64>) -> Result<()> {
    let _ = (backing, backing_format, size);
    Err(Error::unsupported("not built in").with_path(path))
}

/// Grows the guest disk of a raw or qcow2 image in place to `new_size` bytes; nothing else may have it open.
///
/// # Errors
/// When the image is of another format, has internal snapshots, or would shrink.
pub fn resize(path: &Path, format: Format, new_size: u64) -> Result<()> {
    let _ = (format, new_size);
    Err(Error::unsupported("not built in").with_path(path))
}
