//! Whose a machine of others is for now: one build borrows it at a time, and only what that build let run is ended by it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::process::getuid;

/// What is known of who let a machine run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// This process has not started it: if it runs, somebody else did.
    NotStarted,
    /// This process has started it, in the process with this number where it was seen.
    Started(Option<u32>),
    /// A process that is dead held it. What that process let run was noted, and is ended before the machine is given back.
    OfADeadProcess,
}

impl Claim {
    /// Whether a machine that VirtualBox calls running is ours to end. `runs`: the process that runs it, where there is one.
    pub(super) fn covers(self, runs: Option<u32>) -> bool {
        match (self, runs) {
            (Self::NotStarted, _) => false,
            (Self::Started(Some(ours)), Some(runs)) => ours == runs,
            (Self::Started(_), _) => true,
            // Its process is gone; VirtualBox has yet to see that.
            (Self::OfADeadProcess, runs) => runs.is_none(),
        }
    }
}

/// The right to work on a machine of others, against all other builds of this user, until this value goes.
pub(super) struct Borrowing {
    /// A name that lives as long as this socket, also when this process is killed.
    _promise: UnixDatagram,
}

impl Borrowing {
    /// Takes the machine `uuid`.
    ///
    /// # Errors
    ///
    /// Another build has it: [`io::ErrorKind::AddrInUse`].
    pub(super) fn take(uuid: &str) -> io::Result<Self> {
        let name = format!("kiln-{}-borrows-virtualbox-{uuid}", getuid().as_raw());
        Ok(Self { _promise: UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_build_let_run_is_its_own() {
        for (claim, runs, ours) in [
            (Claim::NotStarted, Some(7), false),
            (Claim::NotStarted, None, false),
            (Claim::Started(Some(7)), Some(7), true),
            (Claim::Started(Some(7)), Some(8), false),
            (Claim::Started(Some(7)), None, true),
            (Claim::Started(None), Some(8), true),
            (Claim::OfADeadProcess, Some(7), false),
            (Claim::OfADeadProcess, None, true),
        ] {
            assert_eq!(claim.covers(runs), ours, "{claim:?} {runs:?}");
        }
    }

    #[test]
    fn one_machine_is_borrowed_once() {
        let uuid = uuid::Uuid::new_v4().to_string();
        let first = Borrowing::take(&uuid).unwrap();
        assert_eq!(Borrowing::take(&uuid).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert!(Borrowing::take(&uuid::Uuid::new_v4().to_string()).is_ok());
        drop(first);
        assert!(Borrowing::take(&uuid).is_ok());
    }
}
