//! Has a person asked for the password that polkit wants, where the daemon serves everybody: by the agent of the desktop session or, where
//! none runs, by polkit's own at this terminal (pkttyagent(1)), for the time of one call.

#![expect(
    unsafe_code,
    reason = "an agent must not outlive its client, which only the process itself can arrange before it begins"
)]

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::{Problem, ProblemCode};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// polkit's agent for terminals.
const AGENT: &str = "pkttyagent";

/// Time for it to be known to polkit, and for its end.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether somebody may be asked for a password on behalf of a client.
#[derive(Clone, Debug)]
pub enum Asking {
    /// Nobody; with what to do to be asked.
    Nobody(&'static str),
    /// Who sits at this terminal.
    AtTerminal(Terminal),
}

/// A terminal at which somebody sits.
#[derive(Clone, Debug)]
pub struct Terminal {
    /// Who is asked about one thing is not asked about another.
    turns: Arc<Mutex<()>>,
    /// Whether it stands on a desktop, which may have an agent of its own.
    on_desktop: bool,
}

impl Asking {
    /// Lets whoever sits at this terminal be asked.
    #[must_use]
    pub fn at_terminal(on_desktop: bool) -> Self {
        Self::AtTerminal(Terminal { turns: Arc::default(), on_desktop })
    }
}

impl Terminal {
    /// Waits until nobody is asked here; nobody else is while the answer lives.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turns.lock().await
    }

    /// Whether polkit knows a session to which this process belongs. Of a process without one it asks no agent that has offered itself for
    /// want of a better one.
    fn has_session(&self) -> bool {
        let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        is_in_session(&cgroup, self.on_desktop)
    }
}

/// Whether a process of these control groups is in a session of systemd-logind's: one of its own, or the desktop's of its user.
fn is_in_session(cgroup: &str, on_desktop: bool) -> bool {
    cgroup.contains("/session-") || (on_desktop && cgroup.contains("/user@"))
}

/// An agent that is ready to ask.
#[derive(Debug)]
pub(super) struct Agent {
    process: Child,
}

/// Reports that no agent asks at this terminal. One of the session may all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAgent {
    #[error(
        "no agent of a desktop session runs, and {AGENT}, which asks at a terminal, is not installed; it comes with polkit"
    )]
    NotInstalled,
    #[error("{AGENT}, which asks at a terminal, cannot be run ({0})")]
    Run(io::Error),
    #[error("{AGENT}, which asks at a terminal, has not become ready; `{AGENT} --process $$` shows why")]
    NotReady,
}

impl Agent {
    /// Starts one that asks for this process, where its session has none, and waits until polkit knows it.
    pub(super) async fn start(terminal: &Terminal) -> Result<Self, NoAgent> {
        let this = rustix::process::getpid();
        let mut command = Command::new(AGENT);
        // It reads from the terminal itself, whatever its input is, and closes its output when it is ready.
        command.args(["--process", &this.as_raw_nonzero().to_string(), "--notify-fd", "1"]);
        command.args(terminal.has_session().then_some("--fallback"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        // SAFETY: between fork and exec this makes two system calls, and allocates nothing.
        unsafe {
            command.pre_exec(move || end_with(this));
        }
        let mut process = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => NoAgent::NotInstalled,
            _ => NoAgent::Run(error),
        })?;
        let ready = process.stdout.take();
        let agent = Self { process };
        if let Some(mut ready) = ready {
            // One that polkit does not want ends, which closes its output, too: that shows when nobody could be asked.
            let closed = timeout(READY_TIMEOUT, ready.read_to_end(&mut Vec::new())).await;
            if matches!(closed, Ok(Ok(_))) {
                return Ok(agent);
            }
        }
        let _ = agent.end().await;
        Err(NoAgent::NotReady)
    }

    /// Ends it, with time to put the terminal back in order; says whether it has been one until now: one that polkit did not want has failed.
    pub(super) async fn end(mut self) -> Result<(), NoAgent> {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        for signal in [Signal::TERM, Signal::CONT] {
            // It is not waited for yet, so that the number is its own.
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
        match timeout(END_TIMEOUT, self.process.wait()).await {
            Ok(Ok(status)) if status.code().is_some_and(|code| code != 0) => Err(NoAgent::NotReady),
            Ok(_) => Ok(()),
            Err(_) => {
                let _ = self.process.kill().await;
                Ok(())
            }
        }
    }
}

/// Has this process, which is about to become an agent, end with its client.
fn end_with(client: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have ended just before.
    if getppid() == Some(client) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
}

/// Whether a password may be all that is missing: the daemon says so or, of a job that is another's, that there is none.
pub(super) fn may_help(problem: &Problem) -> bool {
    matches!(problem.code, ProblemCode::NeedsAuthentication | ProblemCode::NoSuchJob)
}

/// Adds how to be asked to what the daemon says of a password that it wants.
pub(super) fn with_advice(mut problem: Problem, advice: &str) -> Problem {
    if problem.code == ProblemCode::NeedsAuthentication {
        problem.hint = Some(match problem.hint {
            Some(hint) => format!("{advice}. {hint}"),
            None => advice.to_owned(),
        });
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_steps_back_where_there_may_be_another() {
        for (cgroup, on_desktop, session) in [
            ("0::/user.slice/user-1000.slice/session-3.scope", false, true),
            (
                "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte.scope",
                true,
                true,
            ),
            // A multiplexer that outlives its session.
            ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/tmux.scope", false, false),
            ("0::/system.slice/cron.service", false, false),
            ("0::/", true, false),
            ("", true, false),
        ] {
            assert_eq!(is_in_session(cgroup, on_desktop), session, "{cgroup}");
        }
    }
}
