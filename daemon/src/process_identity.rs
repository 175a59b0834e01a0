//! Names a process so that a reused process id is never mistaken for it.

use std::io;
use std::os::fd::OwnedFd;

use kiln_builder::process_stat::{ProcessStat, boot_id};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// How often a session is looked through for processes that have come meanwhile.
const SESSION_ROUNDS: usize = 5;

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

    /// Names a process that had this id in this boot and has ended.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub(crate) fn gone(pid: u32) -> io::Result<Self> {
        // No process of a user starts in the first tick of a boot.
        Ok(Self { pid, start_ticks: 0, boot_id: boot_id()? })
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
        if let Err(error) = Self::kill_alone(descriptor) {
            tracing::error!(pid = self.pid, %error, "a process cannot be killed");
        }
    }

    /// Kills the process of this descriptor, and nothing else. One that is gone needs no signal.
    ///
    /// # Errors
    ///
    /// It is not this process's to kill.
    pub(crate) fn kill_alone(descriptor: &OwnedFd) -> io::Result<()> {
        match pidfd_send_signal(descriptor, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills every process in the session that this process leads, or led, and that is of this user alone; returns how many are left, of
    /// others or because they come faster than they go.
    pub(crate) fn kill_session(&self, uid: u32) -> usize {
        let mut left = 0;
        for _ in 0..SESSION_ROUNDS {
            let members = self.session();
            left = members.len();
            let killed = members.iter().filter(|member| {
                let descriptor = member.open();
                // Asked again once it is held fast.
                let is_meant = |_: &OwnedFd| member.is_of(uid) && self.leads(member.pid);
                descriptor
                    .filter(is_meant)
                    .is_some_and(|descriptor| pidfd_send_signal(descriptor, Signal::KILL).is_ok())
            });
            let killed = killed.count();
            left -= killed;
            if killed == 0 {
                break;
            }
        }
        left
    }

    /// Returns the processes of the session that this one leads, or led, without those that have ended.
    fn session(&self) -> Vec<Self> {
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| self.leads(*pid)).filter_map(|pid| Self::of(pid).ok()).collect()
    }

    /// Whether a process that has not ended is in the session of this one.
    fn leads(&self, pid: u32) -> bool {
        ProcessStat::of(pid).is_ok_and(|stat| !stat.ended && u32::try_from(stat.session) == Ok(self.pid))
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
