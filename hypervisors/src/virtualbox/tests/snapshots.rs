//! Snapshots of machines of others: only what a build has made or may replace is touched.

use std::sync::Arc;

use super::borrowed::{base, noted, restores};
use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::machine::Hypervisor as _;
use crate::spec::{MachineSpec, Origin};
use crate::virtualbox::spec::TakeSnapshot;

/// `fresh`, a `built` on it, and another `built` on that one.
const TREE: &str = "SnapshotName=\"fresh\"\nSnapshotUUID=\"s-fresh\"\nSnapshotName-1=\"built\"\nSnapshotUUID-1=\"s-1\"\n\
                    SnapshotName-1-1=\"built\"\nSnapshotUUID-1-1=\"s-1-1\"\n";

/// What builds from `attach` to `built`, on a machine that stands on `current`.
fn building(current: &str, attach: Option<&str>) -> (StandIn, String, MachineSpec) {
    let (world, uuid, mut spec) = base();
    world.has_snapshots(&uuid, &format!("{TREE}CurrentSnapshotUUID=\"{current}\"\n"));
    spec.origin = Origin::Existing { machine: "base".to_owned(), snapshot: attach.map(ToOwned::to_owned) };
    world.part(&mut spec).after.snapshot = Some(TakeSnapshot { name: "built".to_owned(), replace: true });
    (world, uuid, spec)
}

fn deleted(world: &StandIn) -> Vec<String> {
    let calls = world.calls();
    calls.iter().filter_map(|call| Some(call.split_once(" delete ")?.1.to_owned())).collect()
}

#[tokio::test]
async fn only_the_one_that_was_taken_where_the_machine_stands_is_replaced() {
    for (current, attach, replaced) in [
        ("s-fresh", None, vec!["s-1"]),
        ("s-1", None, vec!["s-1-1"]),
        ("s-1-1", None, vec![]),
        ("s-1-1", Some("fresh"), vec!["s-1"]),
    ] {
        let (world, _, spec) = building(current, attach);
        let ledger = Arc::new(RecordingLedger::default());
        let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
        machine.power_off().await;
        machine.retire().await.unwrap();
        assert_eq!(deleted(&world), replaced, "{current} {attach:?}");
        machine.kill().await;
        assert_eq!(ledger.held(), []);
    }
}

#[tokio::test]
async fn a_machine_that_stood_on_the_one_that_is_replaced_stands_on_the_new_one() {
    let (world, uuid, spec) = building("s-1", Some("fresh"));
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    assert!(noted(&ledger).starts_with(&format!("borrowed {uuid} s-1 ")), "{:?}", ledger.held());
    machine.power_off().await;
    machine.retire().await.unwrap();
    let new = "s-built-5";
    assert!(noted(&ledger).starts_with(&format!("borrowed {uuid} {new} ")), "{:?}", ledger.held());
    machine.kill().await;
    assert_eq!(world.calls().last().unwrap(), &format!("snapshot {uuid} restore {new}"));
    assert_eq!(ledger.held(), []);
}

#[tokio::test]
async fn a_target_that_is_there_is_refused_where_the_machine_stands() {
    for (current, attach, refused) in [
        ("s-fresh", None, true),
        ("s-1-1", None, false),
        ("s-1-1", Some("fresh"), true),
        ("s-fresh", Some("s-1-1"), true),
    ] {
        let (world, _, mut spec) = building(current, attach);
        let snapshot = &mut world.part(&mut spec).after.snapshot;
        snapshot.as_mut().unwrap().replace = false;
        let started = world.hypervisor().start(&spec, Arc::new(RecordingLedger::default())).await;
        match started {
            Ok(ref machine) => machine.kill().await,
            Err(ref error) => assert!(error.hint().is_some_and(|hint| hint.contains("target_snapshot")), "{error:?}"),
        }
        assert_eq!((started.is_err(), deleted(&world)), (refused, vec![]), "{current} {attach:?}");
    }
}

#[tokio::test]
async fn a_snapshot_that_could_not_be_restored_is_not_undone() {
    let (world, _, mut spec) = building("s-1-1", Some("fresh"));
    world.part(&mut spec).after.snapshot = None;
    world.breaks("restore", "out of luck");
    let ledger = Arc::new(RecordingLedger::default());
    let error = world.hypervisor().start(&spec, ledger.clone()).await.err().unwrap();
    assert!(error.to_string().contains("out of luck"), "{error}");
    assert_eq!((restores(&world), ledger.held()), (1, vec![]));
}

#[tokio::test]
async fn a_snapshot_that_is_gone_keeps_nothing_from_being_given_back() {
    let (world, uuid, mut spec) = building("s-1-1", Some("fresh"));
    world.part(&mut spec).after.snapshot = None;
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    world.calls_by_hand(&["snapshot", &uuid, "delete", "s-1-1"]);
    machine.kill().await;
    assert_eq!(ledger.held(), []);
}
