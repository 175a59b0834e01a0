//! Whose a machine is for now: one build borrows a machine of others at a time, and only what that build let run is ended by it; and one build
//! at a time makes a machine of a name.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::process::getuid;
use tokio::time::Instant;

use super::identity::Moment;
use super::program::START_LIMIT;
use crate::process_stat::boot_id;

/// What is known of who let a machine run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// This process has not started it: if it runs, somebody else did.
    NotStarted,
    /// This process has told it to run at this moment (in clock ticks since boot); the process that runs it has not been seen.
    ToldToRun {
        /// The moment.
        since: u64,
    },
    /// This process has started it, in the process with this number.
    Started(u32),
    /// A process that is dead held it. What that process let run was noted, and is ended before the machine is given back; but for one
    /// that was told to run right before its end.
    OfADeadProcess {
        /// When that was.
        told_to_run: Option<Moment>,
    },
}

/// A process that runs a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Runs {
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in clock ticks since boot; `None`: that cannot be read.
    pub(super) started: Option<u64>,
}

impl Claim {
    /// Whether a machine that VirtualBox calls running is ours to end. `runs`: the process that runs it, where there is one.
    pub(super) fn covers(&self, runs: Option<Runs>) -> bool {
        match (self, runs) {
            (Self::NotStarted, _) => false,
            // Its process is gone; VirtualBox has yet to see that.
            (_, None) => true,
            (Self::Started(ours), Some(runs)) => *ours == runs.pid,
            (Self::ToldToRun { since }, Some(runs)) => runs.started.is_some_and(|started| started >= *since),
            (Self::OfADeadProcess { told_to_run }, Some(runs)) => {
                // The machine was off then, and no other build can have started it since: only its owner, later.
                let ours = |moment: &Moment| {
                    let limit = moment.ticks.saturating_add(START_LIMIT.as_secs().saturating_mul(TICKS_PER_SECOND));
                    boot_id().is_ok_and(|boot| boot == moment.boot)
                        && runs.started.is_some_and(|started| (moment.ticks..=limit).contains(&started))
                };
                told_to_run.as_ref().is_some_and(ours)
            }
        }
    }
}

/// Linux counts so on every processor that VirtualBox runs on.
const TICKS_PER_SECOND: u64 = 100;

/// How long a name may outlive its owner.
const LINGERING: Duration = Duration::from_secs(1);

/// Pause between two tries to have it: nothing tells when it is free.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// The right to work on a machine of others, or to make one of a name, against all other builds of this user, until this value goes.
pub(super) struct Borrowing {
    /// A name that lives as long as this socket, also when this process is killed.
    _promise: UnixDatagram,
}

impl Borrowing {
    /// Takes the machine `uuid`. A name that was just given up may live for moments more in a child between its fork and its exec.
    ///
    /// # Errors
    ///
    /// Another build has it: [`io::ErrorKind::AddrInUse`].
    pub(super) async fn take(uuid: &str) -> io::Result<Self> {
        Self::take_name(&format!("borrows-virtualbox-{uuid}")).await
    }

    /// Takes the name that a machine is to have, of those that the VirtualBox of `program` keeps: it has one of each, and one folder for it.
    ///
    /// # Errors
    ///
    /// Another build has it: [`io::ErrorKind::AddrInUse`].
    pub(super) async fn take_machine_name(program: &Path, name: &str) -> io::Result<Self> {
        // These names are short, those of machines are not.
        let what = format!("{}\0{name}", program.display());
        let what = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, what.as_bytes());
        Self::take_name(&format!("makes-virtualbox-{what}")).await
    }

    async fn take_name(name: &str) -> io::Result<Self> {
        let deadline = Instant::now() + LINGERING;
        loop {
            match Self::try_take(name) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                taken => return taken,
            }
        }
    }

    fn try_take(name: &str) -> io::Result<Self> {
        let name = format!("kiln-{}-{name}", getuid().as_raw());
        Ok(Self { _promise: UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_build_let_run_is_its_own() {
        let runs = |pid, started| Some(Runs { pid, started: Some(started) });
        let dead = |ticks| Claim::OfADeadProcess { told_to_run: Some(Moment::of_this_boot(ticks).unwrap()) };
        let other_boot = Claim::OfADeadProcess { told_to_run: Some(Moment { ticks: 100, boot: "other".to_owned() }) };
        let limit = 100 + START_LIMIT.as_secs() * TICKS_PER_SECOND;
        for (claim, runs, ours) in [
            (Claim::NotStarted, runs(7, 100), false),
            (Claim::NotStarted, None, false),
            (Claim::Started(7), runs(7, 100), true),
            (Claim::Started(7), runs(8, 100), false),
            (Claim::Started(7), None, true),
            (Claim::ToldToRun { since: 100 }, runs(8, 100), true),
            (Claim::ToldToRun { since: 100 }, runs(8, 99), false),
            (Claim::ToldToRun { since: 100 }, Some(Runs { pid: 8, started: None }), false),
            (Claim::ToldToRun { since: 100 }, None, true),
            (Claim::OfADeadProcess { told_to_run: None }, runs(7, 100), false),
            (Claim::OfADeadProcess { told_to_run: None }, None, true),
            (dead(100), runs(7, 99), false),
            (dead(100), runs(7, 100), true),
            (dead(100), runs(7, limit), true),
            (dead(100), runs(7, limit + 1), false),
            (other_boot, runs(7, 100), false),
        ] {
            assert_eq!(claim.covers(runs), ours, "{claim:?} {runs:?}");
        }
    }

    #[tokio::test]
    async fn one_machine_is_borrowed_once() {
        let uuid = uuid::Uuid::new_v4().to_string();
        let first = Borrowing::take(&uuid).await.unwrap();
        assert_eq!(Borrowing::take(&uuid).await.err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert!(Borrowing::take(&uuid::Uuid::new_v4().to_string()).await.is_ok());
        drop(first);
        assert!(Borrowing::take(&uuid).await.is_ok());
    }
}
