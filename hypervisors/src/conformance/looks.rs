//! What several promises look at: that something comes to an end, and that nothing is left.

use std::path::Path;
use std::time::Duration;

use super::ledgers::RecordingLedger;
use crate::ledger::Resource;
use crate::machine::{GivenBack, Hypervisor, Machine};
use crate::spec::MachineSpec;

/// Longest wait for anything, generous because test machines are slow and shared.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The most that is asked for of what a guest wrote to its serial port, in bytes.
pub(super) const TAIL: usize = 4096;

pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come to an end within {} s", PATIENCE.as_secs()),
    }
}

/// Waits until the guest has written something to its serial port.
pub(super) async fn first_words(machine: &dyn Machine) -> Vec<u8> {
    let writing = async {
        // Nothing tells when it has.
        while machine.serial_tail(TAIL).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the guest's first words", writing).await;
    machine.serial_tail(TAIL)
}

pub(super) async fn released(ledger: &RecordingLedger, what: &str) {
    let wait = async {
        // A drop cannot say when it is done.
        while !ledger.held().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{what} still holds {:?}", ledger.held());
    }
}

/// Nothing is held, nothing is left, and the ledger was told all of it at the right time.
pub(super) async fn assert_given_back(hypervisor: &dyn Hypervisor, spec: &MachineSpec, ledger: &RecordingLedger) {
    assert_eq!(ledger.held(), []);
    assert_eq!(ledger.mistakes(), Vec::<String>::new());
    assert_empty(&spec.runtime_dir);
    assert_unregistered(hypervisor, &ledger.ever()).await;
}

/// Of what was noted as registered nothing is left in the registry, which is the hypervisor's own.
pub(super) async fn assert_unregistered(hypervisor: &dyn Hypervisor, noted: &[Resource]) {
    for resource in noted {
        let Resource::Registered { hypervisor: name, id } = resource else { continue };
        assert_eq!(name, hypervisor.name(), "a sweep asks the hypervisor that is named for {id}");
        let given_back = within("give_back", hypervisor.give_back(id)).await;
        assert_eq!(given_back, Ok(GivenBack::WasGone), "{id} was registered still");
    }
}

pub(super) fn assert_empty(directory: &Path) {
    let left: Vec<_> = std::fs::read_dir(directory)
        .expect("the runtime directory can be read")
        .map(|entry| entry.expect("the runtime directory can be read").file_name())
        .collect();
    assert!(left.is_empty(), "left behind in the runtime directory: {left:?}");
}
