//! Machines whose builds were given up: what the guest has written stays, what was put in for the build goes.

use std::sync::Arc;

use super::borrowed::{base, noted_or_none, restores};
use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::kept_mark;
use crate::machine::Hypervisor as _;
use crate::spec::{MachineSpec, NetworkMode, Origin, PortForward};
use crate::virtualbox::spec::{AfterStop, Bus, DiscRole, Drive};

/// What imports a package, as builders do, with a disc of its build's.
fn importing() -> (StandIn, MachineSpec) {
    let world = StandIn::new();
    std::fs::write(world.path("x.ova"), "").unwrap();
    std::fs::write(
        world.path("brings"),
        "storagecontrollername0=\"IDE\"\nstoragecontrollertype0=\"PIIX4\"\n\"IDE-0-0\"=\"/theirs/a.vmdk\"\n",
    )
    .unwrap();
    let mut spec = world.spec(true);
    spec.origin = Origin::Import { package: world.path("x.ova") };
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 24_000, host_max: 24_999 }) };
    let disc = Drive { image: world.path("cd.iso"), bus: Bus::Ide, role: DiscRole::Seed, stays: false };
    let part = world.part(&mut spec);
    (part.hardware, part.drives) = (None, vec![disc]);
    part.after = AfterStop { remove_media: true, ..AfterStop::default() };
    (world, spec)
}

#[tokio::test]
async fn an_import_stays_among_its_owners_machines_with_its_disks() {
    for moves in [true, false] {
        let (world, spec) = importing();
        if !moves {
            world.breaks("movevm", "no space left");
        }
        let ledger = Arc::new(RecordingLedger::default());
        let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
        machine.power_off().await;
        let left = machine.leave().await.unwrap();
        machine.kill().await;
        drop(machine);
        let uuid = world.uuids().remove(0);
        assert_eq!(left.what, format!("the machine web in VirtualBox ({uuid})"));
        assert_eq!(left.disks, [std::path::Path::new("/theirs/a.vmdk")]);
        assert!(left.hints[0].contains("vm_name = \"web\""), "{left:?}");
        assert!(left.hints[1].contains(&format!("unregistervm {uuid} --delete")), "{left:?}");
        let is_told = left.hints.get(2).is_some_and(|hint| hint.contains(&format!("movevm {uuid} --folder")));
        assert_eq!((is_told, &left.held), (!moves, &None), "{left:?}");
        assert_eq!((world.machines(), world.running(), ledger.held()), (vec!["web".to_owned()], 0, vec![]));
        assert_eq!(world.folder() == world.path("machines/web"), moves);
        assert!(world.folder().join("web.vbox").exists());
        let calls = world.calls();
        let called = |words: &str| calls.iter().any(|call| call.contains(words));
        assert!(called("--uart1 off") && called("--natpf1 delete packercomm"), "{calls:?}");
        assert!(!called("unregistervm"), "{calls:?}");
        assert_eq!(calls.iter().filter(|call| call.starts_with("movevm")).count(), 1, "{calls:?}");
        let facts = world.facts(&uuid);
        assert!(!facts.iter().any(|fact| fact.contains("cd.iso")), "{facts:?}");
        // Nor does a build of that name take it away.
        let error = world.hypervisor().start(&spec, Arc::new(crate::ledger::NoLedger)).await.err().unwrap();
        assert!(error.to_string().contains("a machine called web is there already"), "{error}");
        if !moves {
            // Whoever removes the build's files is told to leave it, until its owner has moved it.
            let mark = world.folder().parent().unwrap().join(kept_mark::NAME);
            let kept = || kept_mark::kept(&std::fs::read(&mark).unwrap());
            assert!(kept().unwrap().contains(&format!("VBoxManage movevm {uuid} --folder")), "{:?}", kept());
            world.mends("movevm");
            world.calls_by_hand(&["movevm", &uuid, "--folder", world.path("elsewhere").to_str().unwrap()]);
            assert_eq!(kept(), None);
        }
    }
}

#[tokio::test]
async fn an_import_goes_beside_the_files_of_another_that_are_in_its_folder() {
    let (world, spec) = importing();
    std::fs::create_dir(world.path("machines/web")).unwrap();
    std::fs::write(world.path("machines/web/notes"), "").unwrap();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    let left = machine.leave().await.unwrap();
    drop(machine);
    let folder = world.folder();
    let beside = folder.parent().unwrap().strip_prefix(world.path("machines")).unwrap().to_str().unwrap();
    assert!(
        beside.starts_with("aborted-") && folder.ends_with("web") && folder.join("web.vbox").exists(),
        "{folder:?}"
    );
    assert!(world.path("machines/web/notes").exists() && !world.path("machines/web/web.vbox").exists());
    assert_eq!((ledger.held(), world.left_in_runtime(), left.hints.len()), (vec![], 0, 2), "{left:?}");
}

#[tokio::test]
async fn an_import_that_was_not_off_is_switched_off() {
    let (world, spec) = importing();
    let machine = world.hypervisor().start(&spec, Arc::new(crate::ledger::NoLedger)).await.unwrap();
    machine.power_off().await;
    world.calls_by_hand(&["startvm", "web"]);
    assert_eq!(world.running(), 1);
    machine.leave().await.unwrap();
    assert_eq!((world.running(), world.machines()), (0, vec!["web".to_owned()]));
}

/// A machine that may run is nobody's to keep: with all that it uses it stays on the ledger, and a sweep gives it back.
#[tokio::test]
async fn what_cannot_be_switched_off_stays_on_the_ledger() {
    let (world, spec) = importing();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    world.breaks("showvminfo", "the service is gone");
    let held = ledger.held();
    let left = machine.leave().await.unwrap();
    machine.kill().await;
    drop(machine);
    assert!(left.held.as_ref().is_some_and(|why| why.contains("the service is gone")), "{left:?}");
    assert_eq!(ledger.held(), held);
    assert!(!world.calls().iter().any(|call| call.starts_with("movevm") || call.starts_with("unregistervm")));
}

#[tokio::test]
async fn a_machine_of_others_that_could_not_be_given_back_is_told_as_such() {
    let (world, _, spec) = base();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    world.breaks("showvminfo", "the service is gone");
    let left = machine.leave().await.unwrap();
    assert!(left.held.is_some() && !ledger.held().is_empty(), "{left:?}");
    world.mends("showvminfo");
    machine.kill().await;
    assert!(ledger.held().is_empty());
}

#[tokio::test]
async fn a_machine_of_others_stays_as_the_guest_left_it() {
    let (world, uuid, spec) = base();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    assert_eq!(restores(&world), 1);
    machine.power_off().await;
    let left = machine.leave().await.unwrap();
    machine.kill().await;
    drop(machine);
    assert_eq!(restores(&world), 1, "what was done since is not undone: {:?}", world.calls());
    assert_eq!((world.machines(), world.running()), (vec!["base".to_owned()], 0));
    assert_eq!((ledger.held(), noted_or_none(&ledger)), (vec![], None));
    assert!(left.what.contains(&format!("base in VirtualBox ({uuid})")), "{left:?}");
    assert!(left.hints.iter().any(|hint| hint.ends_with(&format!("snapshot {uuid} restore \"fresh\""))), "{left:?}");
    assert!(left.hints.iter().any(|hint| hint.ends_with(&format!("snapshot {uuid} take aborted"))), "{left:?}");
}

#[tokio::test]
async fn a_new_machine_whose_disks_are_its_builds_is_none_to_leave() {
    let world = StandIn::new();
    let machine = world.start(&world.spec(false)).await;
    machine.power_off().await;
    assert_eq!(machine.leave().await, None);
    machine.kill().await;
    assert_eq!(world.machines(), Vec::<String>::new());
}
