//! A socket of a machine at a path of somebody's choice, gone with the machine.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ledger::{Resource, ResourceLedger};
use crate::listening_socket::{SocketPlace, remove_dead_socket};

/// The name of a socket that QEMU listens on; removed on drop, unless it is somebody else's by then.
pub(super) struct MonitorSocket {
    path: PathBuf,
    identity: Option<Identity>,
    ledger: Arc<dyn ResourceLedger>,
}

/// What tells one socket from another of the same name: device, inode, and, as inodes are used again, the time of its last change.
type Identity = (u64, u64, i64, i64);

impl MonitorSocket {
    /// Listens at `path`, in whose place nothing may be but a socket that nobody listens on any more.
    pub(super) fn listen(path: &Path, ledger: Arc<dyn ResourceLedger>) -> io::Result<(Self, OwnedFd)> {
        let path = std::path::absolute(path)?;
        let place = SocketPlace::new(&path)?;
        place.clear()?;
        let resource = Resource::Socket { path: path.clone() };
        ledger.acquired(&resource)?;
        match place.bind() {
            Ok(listener) => Ok((Self { identity: identity(&path), path, ledger }, listener.into())),
            Err(error) => {
                ledger.released(&resource);
                Err(error)
            }
        }
    }
}

impl Drop for MonitorSocket {
    fn drop(&mut self) {
        let is_ours = self.identity.is_some() && identity(&self.path) == self.identity;
        let removed = if is_ours { std::fs::remove_file(&self.path) } else { remove_dead_socket(&self.path).map(drop) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "a machine's socket cannot be removed");
            }
            _ => self.ledger.released(&Resource::Socket { path: self.path.clone() }),
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let named = std::fs::symlink_metadata(path).ok()?;
    Some((named.dev(), named.ino(), named.ctime(), named.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::conformance::RecordingLedger;

    #[test]
    fn is_told_to_the_ledger_and_goes_again() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("x".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("qmp");
        let ledger = Arc::new(RecordingLedger::default());
        let (socket, listener) = MonitorSocket::listen(&path, ledger.clone()).unwrap();
        assert_eq!(ledger.held(), [Resource::Socket { path: path.clone() }]);
        let taken = MonitorSocket::listen(&path, ledger.clone()).err().unwrap();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists(), "the other machine's socket stays");
        drop((socket, listener));
        assert!(!path.exists() && ledger.held().is_empty());
    }

    #[test]
    fn what_a_dead_machine_left_makes_way_and_files_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = || Arc::new(RecordingLedger::default());
        let stale = directory.path().join("stale");
        drop(UnixListener::bind(&stale).unwrap());
        assert!(MonitorSocket::listen(&stale, ledger()).is_ok());
        let file = directory.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(MonitorSocket::listen(&file, ledger()).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        let nowhere = ledger();
        assert!(MonitorSocket::listen(&directory.path().join("absent/x"), nowhere.clone()).is_err());
        assert_eq!(nowhere.held(), []);
    }

    #[test]
    fn what_is_somebody_elses_by_then_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("qmp");
        let ledger = Arc::new(RecordingLedger::default());
        let (socket, listener) = MonitorSocket::listen(&path, ledger.clone()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (next, next_listener) = MonitorSocket::listen(&path, ledger.clone()).unwrap();
        drop(listener);
        drop(socket);
        std::os::unix::net::UnixStream::connect(&path).expect("the next machine's socket stays");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        drop((next, next_listener));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(ledger.held(), []);
        // Nobody's any more.
        std::fs::remove_file(&path).unwrap();
        let (socket, _listener) = MonitorSocket::listen(&path, ledger).unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        drop(socket);
        assert!(!path.exists());
    }
}
