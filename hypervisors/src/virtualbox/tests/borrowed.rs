//! Machines of others: what somebody else does with one is never undone or ended.

use std::sync::Arc;

use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::error::StartError;
use crate::ledger::{NoLedger, Resource};
use crate::machine::{GivenBack, Hypervisor as _};
use crate::spec::{MachineSpec, Origin};

const SNAPSHOTS: &str = "SnapshotName=\"fresh\"\nSnapshotUUID=\"s-fresh\"\nCurrentSnapshotUUID=\"s-fresh\"\n";

/// A machine `base` of others, its UUID, and what works on its snapshot.
fn base() -> (StandIn, String, MachineSpec) {
    let world = StandIn::new();
    // Each its own: builds are kept off one another by it.
    let uuid = uuid::Uuid::new_v4().to_string();
    world.registers("base", &uuid);
    world.has_snapshots(&uuid, SNAPSHOTS);
    let mut spec = world.spec(false);
    spec.origin = Origin::Existing { machine: "base".to_owned(), snapshot: Some("fresh".to_owned()) };
    world.part(&mut spec).hardware = None;
    (world, uuid, spec)
}

fn restores(world: &StandIn) -> usize {
    world.calls().iter().filter(|call| call.contains(" restore ")).count()
}

#[tokio::test]
async fn after_a_dead_process_one_that_somebody_else_runs_is_left_alone_and_no_snapshot_is_restored() {
    let (world, uuid, _) = base();
    let id = format!("borrowed {uuid} s-fresh");
    world.calls_by_hand(&["startvm", &uuid]);
    let error = world.hypervisor().give_back(&id).await.unwrap_err();
    assert!(error.to_string().contains("left as it is: somebody else runs it (process "), "{error}");
    assert_eq!(world.running(), 1);
    // Its process is ended, which VirtualBox sees a moment later.
    world.end_guest("aborted");
    assert_eq!(world.hypervisor().give_back(&id).await, Ok(GivenBack::LeftOn { snapshot: "fresh".to_owned() }));
    assert_eq!(restores(&world), 0);
    assert!(!world.calls().iter().any(|call| call.contains("poweroff")), "{:?}", world.calls());
}

#[tokio::test]
async fn its_process_is_noted_and_no_other_build_or_sweep_touches_it_meanwhile() {
    let (world, uuid, spec) = base();
    let ledger = Arc::new(RecordingLedger::default());
    let hypervisor = world.hypervisor();
    let machine = hypervisor.start(&spec, ledger.clone()).await.unwrap();
    let process = Resource::process(machine.description().pid.unwrap()).unwrap();
    assert!(ledger.held().contains(&process), "{:?}", ledger.held());
    let calls = world.calls().len();
    let error = hypervisor.start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(
        matches!(error, StartError::Refused { .. }) && error.to_string().contains("another build works on"),
        "{error}"
    );
    let error = hypervisor.give_back(&format!("borrowed {uuid} s-fresh")).await.unwrap_err();
    assert!(error.to_string().contains("another build works on it"), "{error}");
    assert_eq!((world.calls().len() - calls, world.running()), (1, 1), "{:?}", world.calls());
    machine.kill().await;
    assert_eq!((ledger.held(), world.running(), restores(&world)), (vec![], 0, 2));
    // It is free again.
    hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap().kill().await;
}

#[tokio::test]
async fn one_that_somebody_else_has_started_since_stays_as_it_is() {
    let (world, uuid, spec) = base();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    world.end_guest("poweroff");
    machine.exited().await;
    world.calls_by_hand(&["startvm", &uuid]);
    machine.kill().await;
    assert_eq!((world.running(), restores(&world)), (1, 1));
    assert!(ledger.held().iter().any(|held| matches!(held, Resource::Registered { .. })), "{:?}", ledger.held());
    world.end_guest("poweroff");
    machine.kill().await;
    assert_eq!((ledger.held(), world.machines()), (vec![], vec!["base".to_owned()]));
}
