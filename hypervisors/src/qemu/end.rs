//! How a machine comes to its end: watches QEMU's events and its process, draws the conclusion, and cleans up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use super::architecture::Architecture;
use super::guest_process::GuestProcess;
use super::monitor_socket::MonitorSocket;
use super::ports::Ports;
use super::qmp::{Event, QmpClient};
use super::tpm::PROGRAM;
use crate::machine::ExitReport;
use crate::private_dir::PrivateDir;
use crate::process::{ChildProcess, ExitState};

/// How long the rest of QEMU's messages and of the guest's serial output is read after its process has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// What the machine and the task that watches it share.
pub(super) struct Running {
    pub(super) qmp: Arc<QmpClient>,
    pub(super) process: Box<dyn GuestProcess>,
    /// This process has asked for the end.
    pub(super) killed: AtomicBool,
    pub(super) accelerator: String,
    /// What the guest's code is for.
    pub(super) architecture: Architecture,
}

/// What goes when the process has gone.
pub(super) struct Belongings {
    pub(super) directory: PrivateDir,
    pub(super) sockets: Vec<MonitorSocket>,
    /// What QEMU listens on.
    pub(super) ports: Option<Ports>,
    pub(super) serial: Option<JoinHandle<()>>,
    pub(super) tpm: Option<ChildProcess>,
}

/// Where the conclusion is told.
pub(super) struct Verdict {
    /// Set once, when the guest will not go on.
    pub(super) report: watch::Sender<Option<ExitReport>>,
    /// Set when nothing is left.
    pub(super) finished: watch::Sender<bool>,
}

/// What the events have told so far.
#[derive(Debug, Default)]
struct Clues {
    shutdown: Option<String>,
    disk_error: Option<ExitReport>,
}

impl Clues {
    fn take(&mut self, event: &Event) {
        match event.name.as_str() {
            // The first one says why: libvirt ends a QEMU whose guest is off by a signal, which is told as another.
            "SHUTDOWN" if self.shutdown.is_none() => {
                self.shutdown = Some(event.data["reason"].as_str().unwrap_or_default().to_owned());
            }
            "BLOCK_IO_ERROR" if event.data["action"] == "stop" => {
                let word = |name: &str| event.data[name].as_str().unwrap_or("unknown").to_owned();
                self.disk_error = Some(ExitReport::DiskError {
                    no_space: event.data["nospace"].as_bool().unwrap_or(false),
                    message: format!("{} failed: {}", word("operation"), word("reason")),
                });
            }
            _ => {}
        }
    }

    /// What a stopped guest's status means; `None`: it may go on.
    fn of_status(&self, status: &str, accelerator: &str) -> Option<ExitReport> {
        match status {
            "internal-error" => Some(ExitReport::InternalError { accelerator: accelerator.to_owned() }),
            "guest-panicked" => Some(ExitReport::GuestPanicked),
            // `-no-shutdown`: the guest is off, QEMU stays.
            "shutdown" => Some(self.of_shutdown().unwrap_or(ExitReport::GuestShutdown)),
            "io-error" => Some(self.disk_error.clone().unwrap_or_else(|| ExitReport::DiskError {
                no_space: false,
                message: "input/output error".to_owned(),
            })),
            _ => None,
        }
    }

    fn of_shutdown(&self) -> Option<ExitReport> {
        match self.shutdown.as_deref()? {
            "guest-shutdown" => Some(ExitReport::GuestShutdown),
            "guest-reset" | "subsystem-reset" => Some(ExitReport::GuestReset),
            "guest-panic" => Some(ExitReport::GuestPanicked),
            reason if reason.starts_with("host-") => Some(ExitReport::Killed),
            _ => None,
        }
    }

    fn of_exit(&self, state: ExitState, killed: bool, architecture: Architecture, stderr_tail: String) -> ExitReport {
        // QEMU is a normal process: events only count when it then ended by itself.
        let orderly = match state {
            ExitState::Exited(0) | ExitState::Unseen => self.of_shutdown(),
            _ => None,
        };
        let silent = self.shutdown.is_none() && state == ExitState::Exited(0);
        match orderly {
            Some(report) => report,
            None if killed => ExitReport::Killed,
            None if silent && architecture.may_end_without_a_word() => ExitReport::GuestShutdown,
            None => ExitReport::Crashed { status: state.to_string(), stderr_tail },
        }
    }
}

/// Watches until the process has ended and everything that belongs to it is gone.
pub(super) async fn watch_over(
    running: Arc<Running>,
    mut events: broadcast::Receiver<Event>,
    belongings: Belongings,
    verdict: Verdict,
) {
    let mut clues = Clues::default();
    let mut tpm_is_alive = belongings.tpm.is_some();
    let state = loop {
        tokio::select! {
            state = running.process.ended() => break state,
            () = ended(belongings.tpm.as_ref()), if tpm_is_alive => {
                tpm_is_alive = false;
                // QEMU sends the emulator away when it ends itself.
                if tokio::time::timeout(DRAIN, running.process.ended()).await.is_err() {
                    while let Ok(event) = events.try_recv() {
                        clues.take(&event);
                    }
                    if clues.shutdown.is_none() && !running.killed.load(Ordering::Acquire) {
                        end_without_tpm(&running, belongings.tpm.as_ref(), &verdict).await;
                    }
                }
            }
            event = events.recv() => match event {
                Ok(event) => {
                    clues.take(&event);
                    if event.name == "STOP" {
                        look_at_stop(&running, &clues, &verdict).await;
                    }
                }
                // Some events were missed; the state tells what they would have.
                Err(broadcast::error::RecvError::Lagged(_)) => look_at_stop(&running, &clues, &verdict).await,
                Err(broadcast::error::RecvError::Closed) => break running.process.ended().await,
            },
        }
    };
    let _ = tokio::time::timeout(DRAIN, running.qmp.closed()).await;
    while let Ok(event) = events.try_recv() {
        clues.take(&event);
    }
    let Belongings { directory, sockets, ports, serial, tpm } = belongings;
    if let Some(mut serial) = serial
        && tokio::time::timeout(DRAIN, &mut serial).await.is_err()
    {
        serial.abort();
    }
    if let Some(tpm) = tpm {
        tpm.kill();
        tpm.ended().await;
    }
    drop((directory, sockets, ports));
    let killed = running.killed.load(Ordering::Acquire);
    let report = clues.of_exit(state, killed, running.architecture, running.process.stderr_tail());
    tell(&verdict, report);
    verdict.finished.send_replace(true);
}

async fn ended(tpm: Option<&ChildProcess>) {
    if let Some(tpm) = tpm {
        tpm.ended().await;
    }
}

/// Ends a machine whose TPM's emulator has ended: its guest would wait for the TPM's answers for ever.
async fn end_without_tpm(running: &Running, tpm: Option<&ChildProcess>, verdict: &Verdict) {
    let Some(tpm) = tpm else { return };
    let (status, stderr_tail) = (tpm.ended().await.to_string(), tpm.stderr_tail());
    tell(verdict, ExitReport::HelperEnded { program: PROGRAM, status, stderr_tail });
    running.process.kill();
}

async fn look_at_stop(running: &Running, clues: &Clues, verdict: &Verdict) {
    match running.qmp.status().await {
        Ok(status) => {
            if let Some(report) = clues.of_status(&status, &running.accelerator) {
                tell(verdict, report);
            }
        }
        // When it is gone, its end says more.
        Err(error) => tracing::debug!(%error, "a stopped machine does not tell why"),
    }
}

fn tell(verdict: &Verdict, report: ExitReport) {
    verdict.report.send_if_modified(|current| {
        let first = current.is_none();
        if first {
            *current = Some(report);
        }
        first
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn clues(events: &[(&str, Value)]) -> Clues {
        let mut clues = Clues::default();
        for (name, data) in events {
            clues.take(&Event { name: (*name).to_owned(), data: data.clone() });
        }
        clues
    }

    #[test]
    fn ends_are_told_apart() {
        let ended = |reason: &str, state, killed| {
            clues(&[("SHUTDOWN", json!({ "guest": true, "reason": reason }))]).of_exit(
                state,
                killed,
                Architecture::X86,
                String::new(),
            )
        };
        let fine = ExitState::Exited(0);
        assert_eq!(ended("guest-shutdown", fine, false), ExitReport::GuestShutdown);
        assert_eq!(ended("guest-shutdown", fine, true), ExitReport::GuestShutdown);
        assert_eq!(ended("guest-reset", fine, false), ExitReport::GuestReset);
        assert_eq!(ended("host-qmp-quit", fine, true), ExitReport::Killed);
        assert_eq!(ended("host-signal", fine, false), ExitReport::Killed);
        let crashed = ExitReport::Crashed { status: "signal 9 (SIGKILL)".to_owned(), stderr_tail: String::new() };
        assert_eq!(ended("guest-shutdown", ExitState::Signalled(9), false), crashed);
        assert_eq!(ended("something-new", ExitState::Signalled(9), true), ExitReport::Killed);
        let none =
            |state, killed, architecture| Clues::default().of_exit(state, killed, architecture, "words".to_owned());
        let crashed = |status: &str| ExitReport::Crashed { status: status.to_owned(), stderr_tail: "words".to_owned() };
        for architecture in [Architecture::X86, Architecture::Riscv64] {
            assert_eq!(none(ExitState::Exited(1), false, architecture), crashed("exit status 1"));
            assert_eq!(none(fine, true, architecture), ExitReport::Killed);
        }
        assert_eq!(none(fine, false, Architecture::X86), crashed("exit status 0"));
        assert_eq!(none(fine, false, Architecture::Riscv64), ExitReport::GuestShutdown);
        let unknown = clues(&[("SHUTDOWN", json!({ "reason": "something-new" }))]);
        assert_ne!(unknown.of_exit(fine, false, Architecture::Riscv64, String::new()), ExitReport::GuestShutdown);
    }

    #[test]
    fn stops_for_good_are_told_apart_from_pauses() {
        let full = clues(&[(
            "BLOCK_IO_ERROR",
            json!({ "action": "stop", "operation": "write", "nospace": true, "reason": "No space left on device" }),
        )]);
        let message = "write failed: No space left on device".to_owned();
        assert_eq!(full.of_status("io-error", "tcg"), Some(ExitReport::DiskError { no_space: true, message }));
        let reported = clues(&[("BLOCK_IO_ERROR", json!({ "action": "report" }))]);
        assert!(reported.disk_error.is_none());
        let none = Clues::default();
        let internal = none.of_status("internal-error", "kvm").unwrap();
        assert_eq!(internal, ExitReport::InternalError { accelerator: "kvm".to_owned() });
        assert!(internal.hint().unwrap().contains("tcg"));
        assert_eq!(none.of_status("guest-panicked", "tcg"), Some(ExitReport::GuestPanicked));
        assert_eq!(none.of_status("shutdown", "tcg"), Some(ExitReport::GuestShutdown));
        for status in ["paused", "running", "prelaunch", "save-vm", "something-new"] {
            assert_eq!(none.of_status(status, "tcg"), None);
        }
    }
}
