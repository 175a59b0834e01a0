//! A QMP socket at a path of the user's choice, gone with the machine.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ledger::{Resource, ResourceLedger};

/// The name of a socket that QEMU listens on; removed on drop.
pub(super) struct MonitorSocket {
    path: PathBuf,
    ledger: Arc<dyn ResourceLedger>,
}

impl MonitorSocket {
    /// Listens at `path`, in whose place nothing may be but a socket that nobody listens on any more.
    pub(super) fn listen(path: &Path, ledger: Arc<dyn ResourceLedger>) -> io::Result<(Self, OwnedFd)> {
        let path = std::path::absolute(path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
        };
        let directory = std::fs::File::open(parent)?;
        // The kernel copies at most 108 bytes of a socket's path, but follows this link to any length.
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        make_way(&path, &short)?;
        let resource = Resource::File { path: path.clone() };
        ledger.acquired(&resource)?;
        match UnixListener::bind(&short) {
            Ok(listener) => Ok((Self { path, ledger }, listener.into())),
            Err(error) => {
                ledger.released(&resource);
                Err(error)
            }
        }
    }
}

impl Drop for MonitorSocket {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "a machine's QMP socket cannot be removed");
            }
            _ => self.ledger.released(&Resource::File { path: self.path.clone() }),
        }
    }
}

/// Removes a socket that a dead machine has left at `path`, which `short` leads to.
fn make_way(path: &Path, short: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.file_type(),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    match UnixStream::connect(short) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(ledger.held(), [Resource::File { path: path.clone() }]);
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
}
