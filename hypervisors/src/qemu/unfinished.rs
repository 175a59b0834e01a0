//! What a machine that is being started consists of so far, and how it goes again when the start is not finished.

use std::io;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::guest_process::GuestProcess;
use super::monitor_socket::MonitorSocket;
use super::ports::Ports;
use crate::ledger::ResourceLedger;
use crate::private_dir::PrivateDir;
use crate::process::{ChildCommand, ChildProcess, StartingProcess};

/// Everything that must go if the start is not finished.
pub(super) struct Unfinished {
    parts: Option<Parts>,
}

/// What a started machine consists of.
pub(super) struct Parts {
    pub(super) process: Option<Box<dyn GuestProcess>>,
    pub(super) tpm: Option<ChildProcess>,
    /// One of them that does not run yet.
    starting: Option<StartingProcess>,
    pub(super) serial: Option<JoinHandle<()>>,
    pub(super) directory: PrivateDir,
    /// Those that have a name: the monitor that the template has asked for, the way to the guest's agent.
    pub(super) sockets: Vec<MonitorSocket>,
    /// What QEMU listens on, which no other machine is to listen on after it.
    pub(super) ports: Option<Ports>,
}

impl Unfinished {
    /// Nothing but the machine's own directory.
    pub(super) fn new(directory: PrivateDir) -> Self {
        let parts = Parts {
            process: None,
            tpm: None,
            starting: None,
            serial: None,
            directory,
            sockets: Vec::new(),
            ports: None,
        };
        Self { parts: Some(parts) }
    }

    /// Gives the parts to somebody who looks after them.
    pub(super) fn finish(mut self) -> Option<Parts> {
        self.parts.take()
    }

    pub(super) async fn abandon(mut self) {
        if let Some(parts) = self.parts.take() {
            parts.give_up().await;
        }
    }

    pub(super) fn parts(&mut self) -> Option<&mut Parts> {
        self.parts.as_mut()
    }
}

impl Parts {
    /// Starts a process that is ended before the directory goes, whenever the start is dropped.
    pub(super) async fn spawn(
        &mut self,
        command: ChildCommand,
        ledger: &Arc<dyn ResourceLedger>,
    ) -> io::Result<ChildProcess> {
        let started = self.starting.insert(ChildProcess::begin(command, ledger.clone())).started().await;
        self.starting = None;
        started
    }

    /// Ends the processes first: nobody writes into a directory that is being removed.
    async fn give_up(mut self) {
        if let Some(starting) = self.starting.take() {
            starting.give_up().await;
        }
        if let Some(process) = &self.process {
            process.kill();
            process.ended().await;
        }
        if let Some(tpm) = &self.tpm {
            tpm.kill();
            tpm.ended().await;
        }
        if let Some(serial) = &self.serial {
            serial.abort();
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut parts) = self.parts.take() {
            // At once, for whoever drops the start may look next at the directory in which it is.
            parts.sockets.clear();
            // Outside a runtime the parts are dropped here, which kills the processes too.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(parts.give_up());
            }
        }
    }
}
