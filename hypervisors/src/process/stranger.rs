//! A process that is not our child: watched and killed by its pidfd, which never means another one.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that somebody else has started.
#[derive(Debug)]
pub(crate) struct Stranger {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Stranger {
    /// Takes hold of the process `pid`. Whoever asks looks again whether it is still the one that was meant.
    #[expect(unsafe_code, reason = "tokio asks for a promise that the descriptor stays open")]
    pub(crate) fn hold(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
        // SAFETY: the descriptor is moved in, and stays open and the same until it is dropped with its owner.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
        Ok(Self { pid, pidfd })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        // A pidfd is readable once its process is dead. A failure means that the runtime goes away.
        let _ = self.pidfd.readable().await;
    }

    /// Kills it, without waiting.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(self.pidfd.get_ref().as_fd(), Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn its_end_is_seen() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let stranger = Stranger::hold(child.id()).unwrap();
        assert_eq!(stranger.pid(), child.id());
        assert!(tokio::time::timeout(Duration::from_millis(30), stranger.ended()).await.is_err());
        stranger.kill();
        tokio::time::timeout(Duration::from_secs(20), stranger.ended()).await.unwrap();
        stranger.ended().await;
        child.wait().unwrap();
        assert!(Stranger::hold(u32::MAX).is_err());
    }
}
