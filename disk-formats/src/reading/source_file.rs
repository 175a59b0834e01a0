//! A file that is read from: opened safely, with errors that name it and the place.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, SeekFrom, seek};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Operation, Result};

/// What to look for with [`SourceFile::seek`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeekTarget {
    /// Stored bytes.
    Data,
    /// A hole, or the end of the file.
    Hole,
}

/// An open image file or block device.
///
/// It can be a part of a file, such as a member of an archive: offsets then count from the part's front, also in errors.
#[derive(Debug)]
pub(crate) struct SourceFile {
    file: File,
    path: PathBuf,
    /// Offset of the part in the file.
    base: u64,
    len: u64,
    identity: (u64, u64),
    /// The bytes are not those of the file of this name.
    unpacked: bool,
    /// The name in the archive that it was taken out of.
    member: Option<String>,
}

impl SourceFile {
    /// Opens a regular file or block device for reading; never waits, as opening a FIFO would.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |error| Error::io(Operation::Open, error).with_path(path);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let kind = metadata.file_type();
        let len = if kind.is_file() {
            metadata.len()
        } else if kind.is_block_device() {
            // A block device's inode has no size; its end does.
            seek(&file, SeekFrom::End(0)).map_err(|error| fail(error.into()))?
        } else {
            let rule = "neither a regular file nor a block device";
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Open, rule).with_path(path));
        };
        Ok(Self {
            file,
            path: path.to_path_buf(),
            base: 0,
            len,
            identity: (metadata.dev(), metadata.ino()),
            unpacked: false,
            member: None,
        })
    }

    /// Narrows to a member of the archive that this file is.
    pub(crate) fn part(mut self, offset: u64, len: u64) -> Result<Self> {
        self.check_range(offset, len, "a member of the archive")?;
        self.base += offset;
        self.len = len;
        Ok(self)
    }

    /// Says which member of the archive it is.
    pub(crate) fn into_member(self, name: &str) -> Self {
        Self { member: Some(name.to_owned()), ..self }
    }

    /// Replaces the bytes by those of `file`, which holds this one unpacked; name and identity stay.
    pub(crate) fn unpacked_as(&self, file: File, len: u64) -> Self {
        let (path, member) = (self.path.clone(), self.member.clone());
        Self { file, path, base: 0, len, identity: self.identity, unpacked: true, member }
    }

    /// Gives the file away.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the name in the archive that it was taken out of, if it was.
    pub(crate) fn member(&self) -> Option<&str> {
        self.member.as_deref()
    }

    /// Returns the length in bytes when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns where in the file of this name a byte lies; `None` when it was unpacked from there.
    pub(crate) fn place(&self, offset: u64) -> Option<u64> {
        if self.unpacked { None } else { self.base.checked_add(offset) }
    }

    /// Returns device and inode number, which tell whether two names are one file.
    pub(crate) fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Returns the offset of the next data (or hole) at or after `offset`; `None` when the file system cannot tell.
    pub(crate) fn seek(&self, to: SeekTarget, offset: u64) -> Result<Option<u64>> {
        let at = self.base + offset;
        let from = match to {
            SeekTarget::Data => SeekFrom::Data(at),
            SeekTarget::Hole => SeekFrom::Hole(at),
        };
        match seek(&self.file, from) {
            Ok(found) => Ok(Some((found - self.base).min(self.len))),
            // Nothing but a hole up to the end of the file.
            Err(Errno::NXIO) => Ok(Some(self.len)),
            // Block devices and some file systems cannot tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY) => Ok(None),
            Err(error) => Err(Error::io(Operation::Read, error.into()).with_path(&self.path).at(offset)),
        }
    }

    /// Fills `buf` from `offset`.
    pub(crate) fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        // A part must not show what follows it in the file.
        self.check_range(offset, buf.len() as u64, "the read")?;
        self.file
            .read_exact_at(buf, self.base.saturating_add(offset))
            .map_err(|error| Error::io(Operation::Read, error).with_path(&self.path).at(offset))
    }

    /// Fills `buf` with guest data from `offset`, all of which lies inside the file unless that was cut short.
    pub(crate) fn read_data_at(&self, offset: u64, buf: &mut [u8], what: &'static str) -> Result<()> {
        if offset >= self.len {
            return Err(self.error(ErrorKind::Truncated, format!("{what} lies behind the end of the file")).at(offset));
        }
        self.check_range(offset, buf.len() as u64, what)?;
        self.read_exact_at(offset, buf)
    }

    /// Fills `buf` from `offset`; what lies behind the end of the file reads as zeroes, as formats say whose writers leave them out.
    pub(crate) fn read_padded_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let inside = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (inside, outside) = buf.split_at_mut(inside);
        outside.fill(0);
        self.read_exact_at(offset, inside)
    }

    /// Reads a table of `len` bytes after checking that it lies inside the file.
    pub(crate) fn read_table(&self, offset: u64, len: u64, what: &'static str) -> Result<Vec<u8>> {
        self.check_range(offset, len, what)?;
        let len = usize::try_from(len).map_err(|_| self.error(ErrorKind::TooLarge, what).at(offset))?;
        let mut bytes = vec![0; len];
        self.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fails unless the range lies inside the file.
    pub(crate) fn check_range(&self, offset: u64, len: u64, what: &'static str) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(self.error(ErrorKind::Truncated, format!("{what} reaches past the end of the file")).at(offset)),
        }
    }

    /// Makes an error about this file.
    pub(crate) fn error(&self, kind: ErrorKind, rule: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::new(kind, Operation::Read, rule).with_path(&self.path)
    }
}
