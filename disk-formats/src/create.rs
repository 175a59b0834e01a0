//! Empty images, overlays and growing: what a hypervisor needs before a machine starts.

use std::path::Path;

use crate::convert::{self, convert};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::Format;
use crate::open::open;
use crate::output::{Output, OutputKind};
use crate::output_options::Qcow2Options;
use crate::qcow2::writer::{Backing, Qcow2Writer};
use crate::reading::open_policy::OpenPolicy;
use crate::reading::reader::ZeroDisk;
use crate::writing::convert_options::ConvertOptions;
use crate::writing::progress::NoProgress;
use crate::writing::storage::FileSystem;
use crate::writing::writer::WriterContext;

/// Makes an empty raw disk of `size` bytes: one hole.
///
/// # Errors
/// When `path` exists or cannot be written.
pub fn create_raw(path: &Path, size: u64) -> Result<()> {
    create(path, size, OutputKind::Raw)
}

/// Makes an empty qcow2 (version 3, 64 KiB clusters) with a guest disk of `size` bytes.
///
/// # Errors
/// When `path` exists, the size is over the format's limit, or the file cannot be written.
pub fn create_qcow2(path: &Path, size: u64) -> Result<()> {
    create(path, size, OutputKind::qcow2())
}

/// Makes an empty dynamic VDI with a guest disk of `size` bytes. Two of one size have the same UUID: VirtualBox has to be told to give
/// one another before it has both.
///
/// # Errors
/// When `path` exists, the size is over the format's limit, or the file cannot be written.
pub fn create_vdi(path: &Path, size: u64) -> Result<()> {
    create(path, size, OutputKind::Vdi)
}

fn create(path: &Path, size: u64, kind: OutputKind) -> Result<()> {
    let options = ConvertOptions { threads: Some(1), ..ConvertOptions::without_digests() };
    convert(&ZeroDisk::new(size), &[Output::new(path, kind)], &options, &NoProgress)?;
    Ok(())
}

/// Makes an empty qcow2 over `backing`, which is not opened for writing and must not change afterwards.
///
/// `backing` is stored as an absolute path; its format is stored too, so that nobody has to guess. `size` in bytes defaults to
/// the backing disk's and may be larger (the rest reads as zeroes).
///
/// # Errors
/// When `path` exists, `backing` cannot be opened as `backing_format`, or `size` is smaller than the backing disk.
pub fn create_overlay(path: &Path, backing: &Path, backing_format: Format, size: Option<u64>) -> Result<()> {
    let invalid = |rule: &'static str| Error::new(ErrorKind::InvalidInput, Operation::Create, rule).with_path(path);
    let backing_size = open(backing, Some(backing_format), &OpenPolicy::allow_any())?.virtual_size();
    let size = size.unwrap_or(backing_size);
    if size < backing_size {
        return Err(invalid("the overlay would be smaller than its backing disk"));
    }
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(ErrorKind::AlreadyExists, Operation::Create, "the file exists already").with_path(path));
    }
    let absolute = backing.canonicalize().map_err(|error| Error::io(Operation::Create, error).with_path(backing))?;
    let name = absolute.to_str().ok_or_else(|| invalid("the backing file's path is not UTF-8"))?;
    // QEMU takes what stands before the first colon of a name for a protocol.
    let name = if name.contains(':') { format!("file:{name}") } else { name.to_owned() };
    let backing = Backing { name, format: backing_format };
    let mut context = WriterContext::new(&FileSystem { mark: None }, &ConvertOptions::without_digests());
    let writer = Qcow2Writer::create(path, size, &Qcow2Options::default(), Some(backing), &mut context)?;
    convert::write_empty(writer, size)
}

/// Grows the guest disk of an image in place to `new_size` bytes; nothing else may have it open. Raw and qcow2 can be grown so.
///
/// # Errors
/// When the image is of another format, has internal snapshots, or would shrink.
pub fn resize(path: &Path, format: Format, new_size: u64) -> Result<()> {
    let Some(resize) = format.row().reading.as_ref().and_then(|reading| reading.resize) else {
        let rule = format!("{format} images cannot be resized in place");
        return Err(Error::new(ErrorKind::Unsupported, Operation::Resize, rule).with_path(path));
    };
    resize(path, new_size).map_err(|error| error.during(Operation::Resize).with_path(path))
}
