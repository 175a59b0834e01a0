//! What fake machines and their hypervisor share: the script, and the memory of what was asked.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::script::FakeScript;
use crate::keyboard::KeyEvent;
use crate::machine::ExitReport;
use crate::spec::MachineSpec;

/// How one machine ended, once it has.
pub(super) type End = watch::Sender<Option<ExitReport>>;

/// What was asked so far.
#[derive(Default)]
pub(super) struct Log {
    pub(super) calls: Vec<String>,
    pub(super) typed: Vec<KeyEvent>,
    pub(super) specs: Vec<MachineSpec>,
    pub(super) running: Vec<End>,
}

/// Shared by a hypervisor, its clones and their machines.
#[derive(Default)]
pub(super) struct State {
    script: Mutex<FakeScript>,
    log: Mutex<Log>,
    registered: Mutex<BTreeSet<String>>,
}

impl State {
    pub(super) fn new(script: FakeScript) -> Self {
        Self { script: Mutex::new(script), ..Self::default() }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, FakeScript> {
        lock(&self.script)
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Names of the machines that outlive their process.
    pub(super) fn registered(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.registered)
    }

    pub(super) fn note(&self, call: &str) {
        self.log().calls.push(call.to_owned());
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a machine, unless it has ended before.
pub(super) fn end_once(end: &End, report: ExitReport) {
    end.send_if_modified(|current| {
        let first = current.is_none();
        if first {
            *current = Some(report);
        }
        first
    });
}
