//! Digests of files, however large: read once, until somebody says stop.

use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

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
    // To read a device or a fifo could take for ever.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no file")));
    }
    let mut file = std::fs::File::open(path).map_err(failed)?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
