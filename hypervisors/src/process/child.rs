//! A child process that can never be lost: it dies with this process, is waited for exactly once, and is known to the ledger.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::io::AsyncReadExt as _;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::command::ChildCommand;
use super::spawner;
use super::tail::Tail;
use crate::ledger::{Resource, ResourceLedger};

/// How much of a program's standard error is kept: enough for its last words, small beside the program.
const STDERR_TAIL_BYTES: usize = 16 << 10;

/// How much of its standard output is kept, where that is heard: more than any answer has that is read.
const STDOUT_TAIL_BYTES: usize = 1 << 20;

/// How long the rest of what it wrote is waited for after the program's end; a grandchild may hold the pipe open.
const DRAIN: Duration = Duration::from_millis(500);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitState {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Somehow: it was no child of this process.
    #[cfg_attr(not(feature = "libvirt"), expect(dead_code, reason = "only libvirt starts QEMU for us"))]
    Unseen,
}

impl std::fmt::Display for ExitState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exit status {status}"),
            Self::Signalled(6) => f.write_str("signal 6 (SIGABRT)"),
            Self::Signalled(9) => f.write_str("signal 9 (SIGKILL)"),
            Self::Signalled(11) => f.write_str("signal 11 (SIGSEGV)"),
            Self::Signalled(15) => f.write_str("signal 15 (SIGTERM)"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::Unseen => f.write_str("a status that only libvirt has seen"),
        }
    }
}

/// A running child process. Dropping it kills it; a task of its own waits for it in any case.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    pid: u32,
    pidfd: Arc<OwnedFd>,
    ended: watch::Receiver<Option<ExitState>>,
    stdout: Arc<Tail>,
    stderr: Arc<Tail>,
}

impl ChildProcess {
    /// Starts a program with nothing on standard input, in a process group of its own. Must be called within a tokio runtime.
    pub(crate) async fn spawn(command: ChildCommand, ledger: Arc<dyn ResourceLedger>) -> io::Result<Self> {
        Self::begin(command, ledger).started().await
    }

    /// [`Self::spawn`] for whoever must wait for the process's end even when nobody waits for its start any more.
    pub(crate) fn begin(command: ChildCommand, ledger: Arc<dyn ResourceLedger>) -> StartingProcess {
        StartingProcess(tokio::spawn(Self::start(command, ledger)))
    }

    async fn start(command: ChildCommand, ledger: Arc<dyn ResourceLedger>) -> io::Result<Self> {
        let mut child = spawner::spawn(command).await?;
        let pid = child.id();
        let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        let watched = open_pidfd(pid).and_then(|pidfd| Ok((Arc::new(pidfd), Resource::process(pid)?)));
        let (pidfd, resource) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                // Cannot be watched, so it must not live; it is ours and unreaped, so its pid is still its own.
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        if let Err(error) = ledger.acquired(&resource) {
            // It dies with this process all the same.
            tracing::warn!(%error, pid, "a process cannot be noted");
        }
        let tails = [Arc::new(Tail::new(STDOUT_TAIL_BYTES)), Arc::new(Tail::new(STDERR_TAIL_BYTES))];
        let [stdout, stderr] = tails.clone();
        let (sender, ended) = watch::channel(None);
        let process = Self { pid, pidfd: pidfd.clone(), ended, stdout, stderr };
        let heard = pipes.into_iter().zip(tails).filter_map(|(pipe, tail)| Some(tokio::spawn(keep_tail(pipe?, tail))));
        let heard: Vec<_> = heard.collect();
        tokio::spawn(async move {
            let state = wait_for_end(&pidfd).await;
            for mut drain in heard {
                if tokio::time::timeout(DRAIN, &mut drain).await.is_err() {
                    drain.abort();
                }
            }
            ledger.released(&resource);
            let _ = sender.send(Some(state));
        });
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The end of its standard error, as text.
    pub(crate) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.stderr.last(STDERR_TAIL_BYTES)).trim().to_owned()
    }

    /// What it wrote to standard output, where that is heard, or the end of it.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.last(STDOUT_TAIL_BYTES)).into_owned()
    }

    /// Whether it wrote more than is kept of that.
    pub(crate) fn stdout_is_cut(&self) -> bool {
        self.stdout.is_cut()
    }

    /// Kills it, without waiting. Does nothing when it has ended: the pidfd never means another process.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL);
    }

    /// Does to it what Ctrl-C does, without waiting.
    pub(crate) fn interrupt(&self) {
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::INT);
    }

    /// Waits until it has ended, what it wrote is read and it is off the ledger.
    pub(crate) async fn ended(&self) -> ExitState {
        let mut ended = self.ended.clone();
        let state = ended.wait_for(Option::is_some).await.ok().and_then(|state| *state);
        // The waiting task only goes without an answer when the runtime shuts down.
        state.unwrap_or(ExitState::Signalled(9))
    }
}

/// A process that is being started, by a task of its own: dropping this ends the process as soon as it runs.
#[derive(Debug)]
pub(crate) struct StartingProcess(JoinHandle<io::Result<ChildProcess>>);

impl StartingProcess {
    /// Waits until it runs. Can be dropped and asked again; once it has answered it has none.
    pub(crate) async fn started(&mut self) -> io::Result<ChildProcess> {
        (&mut self.0).await.map_err(io::Error::other)?
    }

    /// Ends it, whether it runs yet or not, and waits for that.
    pub(crate) async fn give_up(mut self) {
        if let Ok(process) = self.started().await {
            process.kill();
            process.ended().await;
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

#[expect(unsafe_code, reason = "tokio asks for a promise that the descriptor stays open")]
async fn wait_for_end(pidfd: &OwnedFd) -> ExitState {
    // SAFETY: the borrow keeps `pidfd` open, and the same, for as long as `watched` lives.
    let watched = match unsafe { AsyncFd::register(pidfd.as_fd()) } {
        Ok(watched) => watched,
        Err(error) => {
            tracing::error!(%error, "a child process cannot be watched");
            return ExitState::Signalled(9);
        }
    };
    loop {
        let ready = watched.readable().await;
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => {
                return match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => ExitState::Exited(code),
                    (None, signal) => ExitState::Signalled(signal.unwrap_or(9)),
                };
            }
            Ok(None) => {
                if let Ok(mut guard) = ready {
                    guard.clear_ready();
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "a child process cannot be waited for");
                return ExitState::Signalled(9);
            }
        }
    }
}

async fn keep_tail(pipe: OwnedFd, tail: Arc<Tail>) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(pipe) else { return };
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        tail.push(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests;
