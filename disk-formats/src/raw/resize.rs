//! Grows a raw disk in place.

use std::fs::OpenOptions;
use std::path::Path;

use crate::error::{Error, ErrorKind, Operation, Result};

/// Grows the disk to `new_size` bytes: a hole is added.
///
/// # Errors
/// When the disk would shrink, or the file cannot be changed.
pub(crate) fn resize(path: &Path, new_size: u64) -> Result<()> {
    let fail = |error| Error::io(Operation::Resize, error).with_path(path);
    let file = OpenOptions::new().write(true).open(path).map_err(fail)?;
    if new_size < file.metadata().map_err(fail)?.len() {
        return Err(Error::new(ErrorKind::InvalidInput, Operation::Resize, "the disk would shrink"));
    }
    file.set_len(new_size).and_then(|()| file.sync_all()).map_err(fail)
}
