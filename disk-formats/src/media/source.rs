//! Where the content of a file on a medium comes from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Bytes moved at a time when a file is copied into an image: large enough that system calls do not matter.
const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// The content of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// Content held in memory.
    Bytes(Vec<u8>),
    /// A file of this machine, read only while the image is written and never held in memory as a whole.
    Path(PathBuf),
}

/// Why the content of a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened, examined or read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A socket, device or pipe was named where a regular file is needed.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// The file had one length when the image was laid out and another when it was copied.
    #[error("`{}` changed while the image was written: it had {expected} bytes, then {found}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// Length in bytes when the image was laid out.
        expected: u64,
        /// Bytes that could be read (one more than expected when the file grew).
        found: u64,
    },
}

/// Why content did not arrive in the image.
#[derive(Debug)]
pub(super) enum CopyError {
    Source(SourceError),
    Write(io::Error),
}

/// What the layout of an image needs to know of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// Length in bytes.
    pub(super) bytes: u64,
    /// POSIX permission bits as they are put on the medium.
    pub(super) permissions: u32,
}

impl MediaSource {
    pub(super) fn measure(&self) -> Result<Measured, SourceError> {
        match self {
            Self::Bytes(bytes) => Ok(Measured { bytes: bytes.len() as u64, permissions: 0o644 }),
            Self::Path(path) => open_regular(path).map(|(_, measured)| measured),
        }
    }

    /// Copies exactly `expected` bytes into `out`.
    pub(super) fn copy_to(&self, expected: u64, out: &mut impl Write) -> Result<(), CopyError> {
        let path = match self {
            Self::Bytes(bytes) => return out.write_all(bytes).map_err(CopyError::Write),
            Self::Path(path) => path,
        };
        let (mut file, _) = open_regular(path).map_err(CopyError::Source)?;
        let mut buffer = vec![0; COPY_BUFFER_BYTES];
        let mut copied = 0_u64;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(CopyError::Source(SourceError::Read { path: path.clone(), source })),
            };
            if count == 0 {
                break;
            }
            if copied + count as u64 > expected {
                let found = expected.saturating_add(1);
                return Err(CopyError::Source(SourceError::Changed { path: path.clone(), expected, found }));
            }
            out.write_all(&buffer[..count]).map_err(CopyError::Write)?;
            copied += count as u64;
        }
        if copied != expected {
            let error = SourceError::Changed { path: path.clone(), expected, found: copied };
            return Err(CopyError::Source(error));
        }
        Ok(())
    }
}

/// Opens a regular file; never waits for the other end of a named pipe.
fn open_regular(path: &Path) -> Result<(File, Measured), SourceError> {
    let failed = |source| SourceError::Read { path: path.to_owned(), source };
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    // Some special files (sockets) cannot be opened at all: look first for the better message, and again once open
    // because only that is free of races.
    let not_a_file = || SourceError::NotAFile { path: path.to_owned() };
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(not_a_file());
    }
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(not_a_file());
    }
    let permissions = portable_permissions(metadata.permissions().mode());
    Ok((file, Measured { bytes: metadata.len(), permissions }))
}

/// Reduces permissions to what an author means by them, so that umask and checkout do not change the image: may it be
/// executed, and is it private to its owner.
const fn portable_permissions(mode: u32) -> u32 {
    let executable = mode & 0o100 != 0;
    let private = mode & 0o077 == 0;
    match (executable, private) {
        (false, false) => 0o644,
        (true, false) => 0o755,
        (false, true) => 0o600,
        (true, true) => 0o700,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_executable_and_private_only() {
        assert_eq!(portable_permissions(0o100_664), 0o644);
        assert_eq!(portable_permissions(0o100_775), 0o755);
        assert_eq!(portable_permissions(0o100_400), 0o600);
        assert_eq!(portable_permissions(0o104_700), 0o700);
    }

    #[test]
    fn refuses_a_pipe_without_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(matches!(MediaSource::Path(path).measure(), Err(SourceError::NotAFile { .. })));
    }

    #[test]
    fn notices_a_file_that_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, b"12345").unwrap();
        let source = MediaSource::Path(path);
        for expected in [4, 6] {
            let result = source.copy_to(expected, &mut Vec::new());
            assert!(matches!(result, Err(CopyError::Source(SourceError::Changed { .. }))), "{expected}");
        }
        let mut copy = Vec::new();
        source.copy_to(5, &mut copy).unwrap();
        assert_eq!(copy, b"12345");
    }
}
