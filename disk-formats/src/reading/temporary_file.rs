//! A file without a name in the folder for temporary files: what has to be unpacked or put together before it can be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::error::{Error, Operation, Result};
use crate::zeroes::is_zero;

/// The file while it is filled; gone with its last handle.
#[derive(Debug)]
pub(crate) struct TemporaryFile {
    file: File,
    folder: PathBuf,
    len: u64,
}

impl TemporaryFile {
    pub(crate) fn new() -> Result<Self> {
        let folder = std::env::temp_dir();
        let file = tempfile::tempfile_in(&folder).map_err(|error| fail(&folder, error))?;
        Ok(Self { file, folder, len: 0 })
    }

    /// Returns how much it holds in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes at the end; when all of them are zero, they take no room.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if !is_zero(bytes) {
            self.file.write_all_at(bytes, self.len).map_err(|error| fail(&self.folder, error))?;
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Adds zeroes up to this length.
    pub(crate) fn extend_to(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Ends the filling.
    pub(crate) fn finish(self) -> Result<File> {
        self.file.set_len(self.len).map_err(|error| fail(&self.folder, error))?;
        Ok(self.file)
    }
}

fn fail(folder: &std::path::Path, error: io::Error) -> Error {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge);
    let error = Error::io(Operation::Write, error).with_path(folder);
    if full { error.with_hint("point TMPDIR at a folder with room for the unpacked image") } else { error }
}
