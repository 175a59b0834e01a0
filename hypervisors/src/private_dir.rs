//! A directory of one machine's own for sockets and pictures, gone with the machine.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ledger::{Resource, ResourceLedger};

/// A directory that only this user may enter; removed with everything in it on drop.
pub(crate) struct PrivateDir {
    path: PathBuf,
    ledger: Arc<dyn ResourceLedger>,
}

impl PrivateDir {
    /// Makes a directory in `parent` with a name of its own that begins with `prefix`.
    pub(crate) fn create(
        parent: &Path,
        prefix: &str,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        // Short, because everything in it counts towards the 108 bytes of a socket's path.
        let path = parent.join(format!("{prefix}-{}", &unique[..8]));
        let resource = Resource::Directory { path: path.clone() };
        if let Err(error) = ledger.acquired(&resource) {
            return Err((path, error));
        }
        if let Err(error) = std::fs::DirBuilder::new().mode(0o700).create(&path) {
            ledger.released(&resource);
            return Err((path, error));
        }
        Ok(Self { path, ledger })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Listens on a socket called `name`, however long the directory's path is.
    pub(crate) fn listen(&self, name: &str) -> io::Result<UnixListener> {
        let directory = std::fs::File::open(&self.path)?;
        // The kernel copies at most 108 bytes of a socket's path, but follows this link to any length.
        UnixListener::bind(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "a machine's directory cannot be removed");
            }
            _ => self.ledger.released(&Resource::Directory { path: self.path.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::RecordingLedger;

    #[test]
    fn goes_with_everything_in_it_and_takes_long_socket_paths() {
        let parent = tempfile::tempdir().unwrap();
        let deep = parent.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let ledger = Arc::new(RecordingLedger::default());
        let directory = PrivateDir::create(&deep, "qemu", ledger.clone()).unwrap();
        let listener = directory.listen("qmp").unwrap();
        assert!(directory.path().join("qmp").exists());
        assert_eq!(ledger.held().len(), 1);
        drop(listener);
        drop(directory);
        assert_eq!(ledger.held(), []);
        assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
        assert!(PrivateDir::create(&deep.join("absent"), "qemu", ledger.clone()).is_err());
        assert_eq!(ledger.held(), []);
    }
}
