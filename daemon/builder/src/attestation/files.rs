//! Reads files that a user names: digests of those however large, until somebody says stop; keys and statements whole, up to a limit. Nothing
//! of it waits for ever: a device is refused, and a pipe has to be filled in time.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use sha2::{Digest as _, Sha256};

use crate::regular_file::open_named;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// How long the program that fills a pipe may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum FileDigestError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody wants it any more.
    #[error("cancelled")]
    Cancelled,
}

/// The SHA-256 of a file in hexadecimal. `progress` is told how many bytes have been read, and says whether to go on.
///
/// # Errors
///
/// It is no file, cannot be read, or nobody wants it any more.
pub fn digest_of_file(path: &Path, progress: &dyn Fn(u64) -> ControlFlow<()>) -> Result<String, FileDigestError> {
    let failed = |source| FileDigestError::Read { path: path.to_owned(), source };
    let mut file = open_named(path).map_err(failed)?;
    let (mut hasher, mut buffer, mut done) = (Sha256::new(), vec![0; PIECE], 0_u64);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        hasher.update(&buffer[..count]);
        done = done.saturating_add(count as u64);
        if progress(done).is_break() {
            return Err(FileDigestError::Cancelled);
        }
    }
}

/// Reads all of a file of at most `limit` bytes. A pipe that a program fills serves, when it is filled within [`PATIENCE`].
pub(crate) fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_within(path, limit, PATIENCE)
}

fn read_within(path: &Path, limit: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.metadata()?.file_type().is_fifo() {
        read_pipe(&open_pipe(path)?, limit, patience, &mut bytes)?;
    } else {
        open_named(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

/// Opens the reading end without waiting for the other one.
fn open_pipe(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY).bits().cast_signed();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads until whoever fills it is done.
fn read_pipe(mut pipe: &File, limit: u64, patience: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    let started = Instant::now();
    let mut buffer = vec![0; 64 << 10];
    while bytes.len() as u64 <= limit {
        let left = patience.saturating_sub(started.elapsed());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left)) {
            Ok(0) => {
                let words = format!("nobody has filled this pipe within {} s", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, words));
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_read_when_it_is_filled_and_not_waited_for_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        let error = read_within(&path, 9, Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("nobody has filled this pipe"), "{error}");
        assert!(digest_of_file(&path, &|_| ControlFlow::Continue(())).is_err());
        for (text, expected) in [("a key", Some("a key")), ("longer than that", None)] {
            let (filled, text) = (path.clone(), text.to_owned());
            let filling = std::thread::spawn(move || std::fs::write(filled, text));
            let read = read_within(&path, 9, Duration::from_secs(60));
            assert_eq!(read.ok().as_deref(), expected.map(str::as_bytes));
            filling.join().unwrap().ok();
        }
        assert!(read_within(Path::new("/dev/zero"), 9, PATIENCE).unwrap_err().to_string().contains("a device"));
        assert!(read_within(directory.path(), 9, PATIENCE).unwrap_err().to_string().contains("a directory"));
    }

    #[test]
    fn a_file_is_read_until_somebody_says_stop() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "abc").unwrap();
        let digest = digest_of_file(&path, &|_| ControlFlow::Continue(())).unwrap();
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let stopped = digest_of_file(&path, &|_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(FileDigestError::Cancelled)));
        for other in [directory.path(), Path::new("/dev/zero"), &directory.path().join("none")] {
            let error = digest_of_file(other, &|_| ControlFlow::Continue(())).unwrap_err();
            assert!(error.to_string().starts_with("cannot read "), "{error}");
        }
    }
}
