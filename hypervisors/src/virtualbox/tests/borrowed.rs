//! Machines of others: what somebody else does with one is never undone or ended.

use std::sync::Arc;

use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::error::StartError;
use crate::ledger::{NoLedger, Resource};
use crate::machine::{GivenBack, Hypervisor as _};
use crate::process_stat::{ProcessStat, boot_id};
use crate::spec::{MachineSpec, Origin};

pub(super) const SNAPSHOTS: &str =
    "SnapshotName=\"fresh\"\nSnapshotUUID=\"s-fresh\"\nCurrentSnapshotUUID=\"s-fresh\"\n";

/// A machine `base` of others, its UUID, and what works on its snapshot.
pub(super) fn base() -> (StandIn, String, MachineSpec) {
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

pub(super) fn restores(world: &StandIn) -> usize {
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
    assert_eq!(restores(&world), 1, "what they did in it since is not undone");
}

/// How the ledger names the machine that is held.
pub(super) fn noted(ledger: &RecordingLedger) -> String {
    noted_or_none(ledger).unwrap()
}

pub(super) fn noted_or_none(ledger: &RecordingLedger) -> Option<String> {
    let id = |held| if let Resource::Registered { id, .. } = held { Some(id) } else { None };
    ledger.held().into_iter().find_map(id)
}

#[tokio::test]
async fn one_that_its_owner_starts_right_before_the_build_does_stays_as_it_is() {
    let (world, uuid, mut spec) = base();
    world.part(&mut spec).commands = vec![vec!["startvm".to_owned(), uuid.clone()]];
    let ledger = Arc::new(RecordingLedger::default());
    let error = world.hypervisor().start(&spec, ledger.clone()).await.err().unwrap();
    assert!(error.to_string().contains("is already locked"), "{error}");
    assert_eq!((world.running(), restores(&world)), (1, 1), "{:?}", world.calls());
    assert!(!world.calls().iter().any(|call| call.contains("poweroff")), "{:?}", world.calls());
    let id = noted(&ledger);
    assert!(!id.contains("since="), "{id}");
    world.end_guest("poweroff");
    // The build's own try to give it back is over, but for the machine that it still holds against others.
    let given_back = async {
        loop {
            match world.hypervisor().give_back(&id).await {
                Err(error) if error.to_string().contains("another build works on it") => tokio::task::yield_now().await,
                other => break other,
            }
        }
    };
    let given_back = tokio::time::timeout(std::time::Duration::from_secs(30), given_back).await.unwrap();
    assert_eq!((given_back, restores(&world)), (Ok(GivenBack::LeftOn { snapshot: "fresh".to_owned() }), 1));
}

#[tokio::test]
async fn one_that_its_owner_starts_while_the_build_waits_for_it_stays_as_it_is() {
    let (world, uuid, spec) = base();
    world.breaks("startvm", "The machine 'base' is already locked by a session (or being locked or unlocked)");
    let ledger = Arc::new(RecordingLedger::default());
    let hypervisor = world.hypervisor();
    let owner = async {
        // Between two tries.
        let tried = || world.calls().iter().any(|call| call.starts_with("startvm"));
        while !tried() || noted(&ledger).contains("since=") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        world.mends("startvm");
        world.calls_by_hand(&["startvm", &uuid]);
    };
    tokio::select! {
        started = hypervisor.start(&spec, ledger.clone()) => panic!("{:?}", started.err()),
        () = owner => {}
    }
    // What was dropped is given back, until when it is held against others.
    let given_back = async {
        loop {
            match hypervisor.give_back(&noted(&ledger)).await {
                Err(error) if error.to_string().contains("another build works on it") => tokio::task::yield_now().await,
                other => break other,
            }
        }
    };
    let given_back = tokio::time::timeout(std::time::Duration::from_secs(30), given_back).await.unwrap();
    assert!(given_back.unwrap_err().to_string().contains("somebody else runs it"));
    assert_eq!((world.running(), restores(&world)), (1, 1), "{:?}", world.calls());
    assert!(!world.calls().iter().any(|call| call.contains("poweroff")), "{:?}", world.calls());
}

#[tokio::test]
async fn one_that_runs_though_its_start_was_said_to_fail_is_ended() {
    let (world, _, spec) = base();
    std::fs::write(world.path("lost-words"), "Failed to create the VirtualBox object!").unwrap();
    std::fs::write(world.path("lost"), "").unwrap();
    let ledger = Arc::new(RecordingLedger::default());
    let error = world.hypervisor().start(&spec, ledger.clone()).await.err().unwrap();
    assert!(error.to_string().contains("is already locked"), "{error}");
    assert_eq!((world.running(), ledger.held()), (0, vec![]), "{:?}", world.calls());
}

#[tokio::test]
async fn one_that_a_dead_process_had_just_told_to_run_is_ended_and_no_later_one() {
    let (world, uuid, _) = base();
    let since = |ticks: u64| format!("borrowed {uuid} since={ticks}@{}", boot_id().unwrap());
    let before = ProcessStat::now().unwrap();
    world.calls_by_hand(&["startvm", &uuid]);
    // Somebody else, who started it too late or too early for that.
    for ticks in [0, before + 100_000] {
        let error = world.hypervisor().give_back(&since(ticks)).await.unwrap_err();
        assert!(error.to_string().contains("somebody else runs it"), "{error}");
        assert_eq!(world.running(), 1);
    }
    assert_eq!(world.hypervisor().give_back(&since(before)).await, Ok(GivenBack::HandedBack));
    assert_eq!((world.running(), world.machines()), (0, vec!["base".to_owned()]));
}

#[tokio::test]
async fn that_it_is_told_to_run_is_noted_before_it_is() {
    let (world, _, spec) = base();
    world.breaks("startvm", "noted");
    let ledger = Arc::new(RecordingLedger::default());
    let mut hypervisor = world.hypervisor();
    hypervisor.limit = Some(std::time::Duration::from_secs(2));
    let hangs = async {
        while !world.path("noted").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        started = hypervisor.start(&spec, ledger.clone()) => panic!("{:?}", started.err()),
        () = hangs => {}
    }
    assert!(noted(&ledger).contains(" since="), "{:?}", ledger.held());
}

#[tokio::test]
async fn one_whose_memory_is_saved_is_refused() {
    for state in ["saved", "aborted-saved"] {
        let (world, uuid, spec) = base();
        std::fs::write(world.path("vms").join(&uuid).join("state"), state).unwrap();
        let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
        assert!(error.to_string().contains(&format!("the machine is {state}")), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("discardstate")), "{error:?}");
        assert_eq!(restores(&world), 0);
    }
}
