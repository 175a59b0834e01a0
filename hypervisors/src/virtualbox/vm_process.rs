//! The process in which VirtualBox runs a machine: it is no child of ours, but its end can be waited for.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A machine's process.
#[derive(Debug)]
pub(super) struct VmProcess {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl VmProcess {
    /// Finds the process of the machine `uuid`; `None`: there is none, or it cannot be watched. Must be called within a tokio runtime.
    pub(super) fn find(uuid: &str) -> Option<Self> {
        let pids = std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|&pid| runs(pid, uuid)).find_map(|pid| {
            let process = Self::watch(pid).ok()?;
            // Its number may have gone to another process in between.
            runs(pid, uuid).then_some(process)
        })
    }

    #[expect(unsafe_code, reason = "tokio asks for a promise that the descriptor stays open")]
    fn watch(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
        // SAFETY: the descriptor belongs to what watches it, so it stays open, and the same, for as long.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        Ok(Self { pid, pidfd })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        // Readable means that it has ended; a failure that nothing can be learned of it any more.
        let _ = self.pidfd.readable().await;
    }

    /// Kills it, without waiting.
    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(self.pidfd.get_ref().as_fd(), Signal::KILL);
    }
}

/// Whether process `pid` runs the machine `uuid`: VirtualBox's programs have `--startvm UUID` among their arguments.
fn runs(pid: u32, uuid: &str) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|&byte| byte == 0);
    words.any(|word| word == b"--startvm") && words.next() == Some(uuid.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machines_process_is_known_by_its_uuid() {
        let uuid = uuid::Uuid::new_v4().to_string();
        assert!(VmProcess::find(&uuid).is_none());
        let script = "read -r line";
        let mut child = tokio::process::Command::new("bash")
            .args(["-c", script, "VBoxHeadless", "--comment", "x", "--startvm", &uuid])
            .stdin(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let found = async {
            loop {
                // A child is seen a moment after its fork.
                match VmProcess::find(&uuid) {
                    Some(process) => break process,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let process = tokio::time::timeout(std::time::Duration::from_secs(10), found).await.unwrap();
        assert_eq!(Some(process.pid()), child.id());
        process.kill();
        process.ended().await;
        child.wait().await.unwrap();
        assert!(VmProcess::find(&uuid).is_none());
    }
}
