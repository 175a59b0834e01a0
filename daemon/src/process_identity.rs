//! Names a process so that a reused process id is never mistaken for it.

use std::io;
use std::os::fd::OwnedFd;

use kiln_builder::process_stat::{ProcessStat, boot_id};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process id together with what makes it unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat`, proc(5).
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id` of the boot in which it ran.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// Identifies the process that has this id now.
    ///
    /// # Errors
    ///
    /// There is none, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: start_ticks(pid)?, boot_id: boot_id()? })
    }

    /// Returns a descriptor that becomes readable when the process ends; nothing when it is gone already.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        if boot_id().ok()? != self.boot_id {
            return None;
        }
        let descriptor = pidfd_open(self.raw()?, PidfdFlags::NONBLOCK).ok()?;
        // Compared after the descriptor is open: from here on the id cannot pass to somebody else unnoticed.
        (start_ticks(self.pid).ok()? == self.start_ticks).then_some(descriptor)
    }

    /// Kills the process and everything in its process group. `descriptor` comes from [`ProcessIdentity::open`].
    pub fn kill(&self, descriptor: &OwnedFd) {
        // The group first, while its leader still holds the number.
        if let Some(pid) = self.raw()
            && start_ticks(self.pid).ok() == Some(self.start_ticks)
        {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = pidfd_send_signal(descriptor, Signal::KILL);
    }

    /// Whether it is a process of this user and of nobody else: real, effective, saved and file user id.
    #[must_use]
    pub fn is_of(&self, uid: u32) -> bool {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.pid)) else { return false };
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.is_some_and(|ids| {
            ids.split_whitespace().all(|id| id.parse() == Ok(uid)) && ids.split_whitespace().count() == 4
        })
    }

    fn raw(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

fn start_ticks(pid: u32) -> io::Result<u64> {
    Ok(ProcessStat::of(pid)?.start_time)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_same_process_is_found_again() {
        let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
        let identity = ProcessIdentity::of(child.id()).unwrap();
        let descriptor = identity.open().expect("it runs");
        assert!(ProcessIdentity { start_ticks: identity.start_ticks + 1, ..identity.clone() }.open().is_none());
        assert!(ProcessIdentity { boot_id: "other".to_owned(), ..identity.clone() }.open().is_none());
        identity.kill(&descriptor);
        assert!(!child.wait().unwrap().success());
        assert!(identity.open().is_none());
    }
}
