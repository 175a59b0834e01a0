//! Clones and snapshots by a `vmrun` that is broken in one way each: a clear error, and nothing is left of what it began.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::broken::Broken;
use super::within;
use crate::conformance::RecordingLedger;
use crate::error::StartError;
use crate::machine::Hypervisor as _;
use crate::spec::{MachineSpec, Origin};
use crate::vmware::vmrun::Vmrun;

/// How long a call may take: long enough for those that work, on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);

/// What is done instead of what is asked, and the words that are told of it.
const WAYS: [(&str, &str); 5] = [
    ("echo 'Error: Insufficient permissions'; exit 255", "Insufficient permissions"),
    ("echo 'Error: The file is corrupt'; exit 0", "The file is corrupt"),
    ("exit 7", "exit status 7"),
    ("kill -9 $$", "signal 9 (SIGKILL)"),
    ("exec sleep 1000", "within 3000 ms"),
];

/// The same of a call that has begun: some of what it makes is there.
const HALF_WAY: [(&str, &str); 2] = [
    ("cp \"$vmx\" \"$5\"; echo half > \"$(dirname \"$5\")/disk.vmdk\"; kill -9 $$", "signal 9 (SIGKILL)"),
    ("cp \"$vmx\" \"$5\"; echo half > \"$(dirname \"$5\")/disk.vmdk\"; exec sleep 1000", "within 3000 ms"),
];

/// A machine that clones an original, with one snapshot.
fn cloning(broken: &Broken, linked: bool) -> MachineSpec {
    let original = broken.directory.path().join("original.vmx");
    let vmx = "ide0:0.present = \"TRUE\"\nide0:0.fileName = \"disk.vmdk\"\nethernet0.present = \"TRUE\"\n";
    std::fs::write(&original, vmx).unwrap();
    let mut spec = broken.spec();
    spec.disks.clear();
    spec.origin = Origin::Clone { machine: original.display().to_string(), snapshot: Some("clean".to_owned()) };
    super::vmware(&mut spec).linked = linked;
    spec
}

fn hurried(first: &str) -> Broken {
    let mut broken = Broken::new(first);
    broken.hypervisor.limit = Some(LIMIT);
    broken
}

/// What is told of such a start, with its causes.
async fn fails(verb: &str, how: &str, linked: bool) -> String {
    let broken = hurried(&format!("[ $verb = {verb} ] && {{ {how}; }}"));
    let (spec, ledger) = (cloning(&broken, linked), Arc::new(RecordingLedger::default()));
    let started = within(broken.hypervisor.start(&spec, ledger.clone())).await;
    let error = started.err().unwrap_or_else(|| panic!("{verb}: {how}: it starts"));
    broken.is_clean(&ledger);
    whole(&error)
}

fn whole(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", whole(source)))
}

#[tokio::test]
async fn a_clone_that_works_starts_and_goes() {
    let broken = hurried("");
    for linked in [false, true] {
        let (spec, ledger) = (cloning(&broken, linked), Arc::new(RecordingLedger::default()));
        let machine = within(broken.hypervisor.start(&spec, ledger.clone())).await.unwrap();
        within(machine.kill()).await;
        drop(machine);
        broken.is_clean(&ledger);
    }
}

#[tokio::test]
async fn every_call_of_a_clone_broken_in_every_way() {
    for linked in [false, true] {
        for (verb, ways) in [("listSnapshots", &WAYS[..]), ("clone", &WAYS), ("clone", &HALF_WAY)] {
            let cases = ways.iter().map(|(how, words)| async move {
                let error = fails(verb, how, linked).await;
                assert!(error.contains(&format!("vmrun {verb}")) && error.contains(words), "{verb}: {how}: {error}");
            });
            futures_util::future::join_all(cases).await;
        }
        let error = fails("listSnapshots", "echo '<html>'; exit 0", linked).await;
        assert!(error.contains("unexpected answer to vmrun listSnapshots: \"<html>\" is no list"), "{error}");
        // It says that it has cloned, and there is nothing.
        let error = fails("clone", "exit 0", linked).await;
        assert!(error.contains(".vmx"), "{error}");
    }
}

#[tokio::test]
async fn a_snapshot_broken_in_every_way_is_told() {
    let vmx = PathBuf::from("/nowhere/a.vmx");
    for (how, words) in WAYS {
        let broken = Broken::new(&format!("[ $verb = snapshot ] && {{ {how}; }}"));
        let vmrun = Vmrun::find(Some(&broken.directory.path().join("bin"))).unwrap().with_limit(LIMIT);
        let error = within(vmrun.snapshot(&vmx, "done")).await.unwrap_err().to_string();
        assert!(error.contains("vmrun snapshot") && error.contains(words), "{how}: {error}");
    }
    let broken = Broken::new("");
    std::fs::remove_file(broken.directory.path().join("bin/vmrun")).unwrap();
    let bin = broken.directory.path().join("bin");
    let error = crate::vmware::snapshot::take_with(Some(&bin), &vmx, "done").await.unwrap_err();
    assert!(matches!(&error, StartError::ProgramMissing { program, .. } if program == "vmrun"), "{error}");
    assert!(error.hint().is_some());
}
