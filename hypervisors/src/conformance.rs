//! The promises of [`Hypervisor`] and [`Machine`](crate::Machine) as one suite, which every backend's tests call with a spec it can start. Panics with
//! the promise that was broken.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{ExitReport, Hypervisor, MachineError, MachineSpec, Resource, ResourceLedger};

/// Longest wait for anything, generous because test machines are slow and shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger that remembers what is held.
#[derive(Debug, Default)]
pub struct RecordingLedger {
    held: Mutex<BTreeSet<Resource>>,
    ever: Mutex<BTreeSet<Resource>>,
}

impl RecordingLedger {
    /// What is held now.
    pub fn held(&self) -> Vec<Resource> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// What was ever held.
    pub fn ever(&self) -> Vec<Resource> {
        self.ever.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl ResourceLedger for RecordingLedger {
    fn acquired(&self, resource: &Resource) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.clone());
        self.ever.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.clone());
    }

    fn released(&self, resource: &Resource) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(resource);
    }
}

/// Runs the whole suite. `spec` must be one that the backend can start, with an empty runtime directory.
pub async fn check(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    assert!(!hypervisor.name().is_empty(), "a hypervisor has a name");
    let availability = within("probe", hypervisor.probe()).await;
    assert!(availability.is_available(), "the suite needs a hypervisor that is available: {availability:?}");
    assert_eq!(hypervisor.check(spec), Ok(()), "the suite needs a spec that can be started");
    kill_is_idempotent_and_leaves_nothing(hypervisor, spec).await;
    dropping_leaves_nothing(hypervisor, spec).await;
    dropping_the_start_leaves_nothing(hypervisor, spec).await;
    a_paused_machine_can_be_killed(hypervisor, spec).await;
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come to an end within {} s", PATIENCE.as_secs()),
    }
}

async fn kill_is_idempotent_and_leaves_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    assert!(!machine.description().command_line.is_empty(), "a machine tells how it was started");
    assert!(!ledger.ever().is_empty(), "a machine's resources are told to the ledger");
    within("resume", machine.resume()).await.expect("the machine resumes");
    within("resume", machine.resume()).await.expect("a second resume does nothing");
    if let Some(screen) = machine.screen() {
        let picture = within("capture", screen.capture()).await.expect("a running machine's screen can be captured");
        assert_eq!(picture.png.get(..4), Some(&b"\x89PNG"[..]), "a screenshot is a PNG file");
        assert!(picture.width > 0 && picture.height > 0, "a screenshot has a size");
    }
    let early = tokio::time::timeout(Duration::from_millis(50), machine.exited()).await;
    assert!(early.is_err(), "a running machine has not exited: {early:?}");
    within("network", machine.network()).await;

    let (first, second) = tokio::join!(within("exited", machine.exited()), async {
        within("kill", machine.kill()).await;
        within("exited", machine.exited()).await
    });
    assert_eq!(first, ExitReport::Killed, "kill is reported as such");
    assert_eq!(first, second, "everyone who waits is told the same");
    assert_eq!(ledger.held(), [], "kill gives everything back before it returns");
    assert_empty(&spec.runtime_dir);
    within("kill", machine.kill()).await;
    assert_eq!(within("resume", machine.resume()).await, Err(MachineError::Gone), "a dead machine is gone");
    assert_eq!(within("power_button", machine.power_button()).await, Err(MachineError::Gone));
    assert_eq!(within("network", machine.network()).await, crate::GuestNetwork::default());
    if let Some(keyboard) = machine.keyboard() {
        let event = [crate::KeyEvent::down(crate::Key::A)];
        assert!(within("press", keyboard.press(&event)).await.is_err(), "a dead machine takes no keys");
    }
    // The tail must survive the machine: it explains failures.
    let _ = machine.serial_tail(16);
}

async fn dropping_leaves_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("resume", machine.resume()).await.expect("the machine resumes");
    drop(machine);
    released(&ledger, "a dropped machine").await;
    assert_empty(&spec.runtime_dir);
}

async fn dropping_the_start_leaves_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    for milliseconds in [0, 3, 15, 40] {
        let ledger = Arc::new(RecordingLedger::default());
        let start = hypervisor.start(spec, ledger.clone());
        let started = tokio::time::timeout(Duration::from_millis(milliseconds), start).await;
        drop(started);
        released(&ledger, "a start dropped in the middle").await;
        assert_empty(&spec.runtime_dir);
    }
}

async fn a_paused_machine_can_be_killed(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("kill", machine.kill()).await;
    assert_eq!(within("exited", machine.exited()).await, ExitReport::Killed);
    drop(machine);
    assert_eq!(ledger.held(), []);
    assert_empty(&spec.runtime_dir);
}

async fn released(ledger: &RecordingLedger, what: &str) {
    let wait = async {
        // A drop cannot say when it is done, so this is the one place that has to look again and again.
        while !ledger.held().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{what} still holds {:?}", ledger.held());
    }
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> = std::fs::read_dir(directory)
        .expect("the runtime directory can be read")
        .map(|entry| entry.expect("the runtime directory can be read").file_name())
        .collect();
    assert!(left.is_empty(), "left behind in the runtime directory: {left:?}");
}
