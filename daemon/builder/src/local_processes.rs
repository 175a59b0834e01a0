//! The processes of a script that runs on this machine, named before they come to be, so that none outlives a killed worker.
//!
//! The script gets a mark in its environment, which its children inherit. What is killed are the marked processes of the
//! worker's session and their process groups: what a script has put into a session of its own (`setsid`) is meant to stay.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use kiln_hypervisors::Resource;
use kiln_hypervisors::process_stat::{ProcessStat, boot_id};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The mark's name in the environment.
pub(crate) const MARK: &str = "KILN_SCRIPT";

/// Processes of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalProcesses {
    pub(crate) mark: String,
    pub(crate) session: i32,
    pub(crate) boot_id: String,
}

impl LocalProcesses {
    /// Names the processes of a script that is about to start.
    pub(crate) fn new() -> io::Result<Self> {
        // Not by `getsid`: where the session's leader lives outside our PID namespace the kernel says 0, which rustix
        // takes for a fault. `/proc` says 0 too, for us and for what we start.
        let session = ProcessStat::of(std::process::id())?.session;
        Ok(Self { mark: uuid::Uuid::new_v4().to_string(), session, boot_id: boot_id()? })
    }

    /// What the ledger calls them.
    pub(crate) fn resource(&self) -> Resource {
        let Self { mark, session, boot_id } = self.clone();
        Resource::LocalProcesses { mark, session, boot_id }
    }

    /// The mark's value.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }

    /// Kills them all; says what was done.
    pub(crate) fn kill(&self, limit: Duration) -> Result<Option<String>, String> {
        if boot_id().is_ok_and(|now| now != self.boot_id) {
            return Ok(None);
        }
        let until = Instant::now() + limit;
        let mut killed = BTreeSet::new();
        // Again and again, for one may fork while the others are killed.
        loop {
            let found = self.running();
            if found.is_empty() {
                let list: Vec<String> = killed.iter().map(ToString::to_string).collect();
                return Ok((!list.is_empty()).then(|| format!("killed the script's processes {}", list.join(", "))));
            }
            for (pid, pidfd) in &found {
                pidfd_send_signal(pidfd, Signal::KILL)
                    .map_err(|error| format!("cannot kill process {pid}: {error}"))?;
                killed.insert(*pid);
            }
            for (pid, pidfd) in &found {
                if !wait_for_exit(pidfd, until.saturating_duration_since(Instant::now())) {
                    return Err(format!("process {pid} did not end within {} s of being killed", limit.as_secs()));
                }
            }
        }
    }

    fn running(&self) -> Vec<(i32, OwnedFd)> {
        let entry = format!("{MARK}={}", self.mark);
        let mut candidates = Vec::new();
        let mut groups = BTreeSet::new();
        let names = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for pid in names.filter_map(|name| name.parse::<i32>().ok()) {
            // From here on the number cannot become somebody else: if the process goes, what is read below is nobody's.
            let Some(pidfd) = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
                continue;
            };
            let Some(stat) = stat(pid).filter(|stat| stat.session == self.session) else {
                continue;
            };
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if environment.split(|&byte| byte == 0).any(|text| text == entry.as_bytes()) {
                groups.insert(stat.group);
            }
            candidates.push((pid, stat.group, pidfd));
        }
        let found = candidates.into_iter().filter(|(_, group, _)| groups.contains(group));
        found.map(|(pid, _, pidfd)| (pid, pidfd)).collect()
    }
}

fn stat(pid: i32) -> Option<ProcessStat> {
    ProcessStat::of(u32::try_from(pid).ok()?).ok()
}

/// Waits until the process has ended; false when it takes longer than `timeout`.
pub(crate) fn wait_for_exit(pidfd: &OwnedFd, timeout: Duration) -> bool {
    let timeout = rustix::event::Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: 0 };
    let mut descriptors = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut descriptors, Some(&timeout)), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_script_goes_with_its_children_and_nothing_else() {
        let script = LocalProcesses::new().unwrap();
        assert_eq!(script.kill(Duration::from_secs(1)).unwrap(), None, "nothing has started");
        let start = |text: &str, mark: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", text]).env(MARK, mark).process_group(0).stdout(Stdio::piped());
            command.spawn().unwrap()
        };
        // The second child has lost the mark; it is in the group all the same.
        let mut marked = start("sleep 1000 & env -i sleep 1000 & echo ready; wait", script.mark());
        let mut other = start("echo ready; exec sleep 1000", "another");
        for child in [&mut marked, &mut other] {
            let mut line = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        }
        let elsewhere = LocalProcesses { session: script.session + 1, ..script.clone() };
        let before = LocalProcesses { boot_id: "another boot".to_owned(), ..script.clone() };
        assert_eq!(elsewhere.kill(Duration::from_secs(1)).unwrap(), None);
        assert_eq!(before.kill(Duration::from_secs(1)).unwrap(), None);
        assert!(marked.try_wait().unwrap().is_none());
        let killed = script.kill(Duration::from_secs(10)).unwrap().unwrap();
        assert_eq!(killed.matches(',').count(), 2, "the shell and two children: {killed}");
        assert!(!marked.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none(), "somebody else's goes on");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(script.running().is_empty());
    }
}
