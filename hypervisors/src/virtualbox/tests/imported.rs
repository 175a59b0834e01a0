//! Packages: what is imported is ours alone, wherever it is to stay.

use std::path::PathBuf;
use std::sync::Arc;

use super::failures::eventually;
use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::ledger::NoLedger;
use crate::machine::{GivenBack, Hypervisor as _};
use crate::spec::{MachineSpec, Origin};
use crate::virtualbox::spec::{Bus, DiscRole, Drive};

const THEIRS: &str = "33333333-0000-0000-0000-000000000000";

/// What imports a package as a machine that stays.
fn keeping(name: &str) -> (StandIn, MachineSpec) {
    let world = StandIn::new();
    std::fs::write(world.path("x.ova"), "").unwrap();
    let mut spec = world.spec(false);
    spec.name = name.to_owned();
    spec.origin = Origin::Import { package: world.path("x.ova") };
    let part = world.part(&mut spec);
    (part.hardware, part.in_default_folder) = (None, true);
    (world, spec)
}

/// Somebody else makes a machine where VirtualBox keeps them. Returns its settings.
fn make_theirs(world: &StandIn, name: &str) -> PathBuf {
    let base = world.path("machines");
    world.calls_by_hand(&[
        "createvm",
        "--name",
        name,
        "--uuid",
        THEIRS,
        "--register",
        "--basefolder",
        base.to_str().unwrap(),
    ]);
    let settings = std::fs::read_to_string(world.path("vms").join(THEIRS).join("cfg")).unwrap();
    settings.trim().into()
}

#[tokio::test]
async fn one_that_is_to_stay_is_moved_when_it_is_done() {
    let (world, spec) = keeping("a:b");
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    assert!(!world.path("machines/a:b").exists());
    machine.power_off().await;
    machine.retire().await.unwrap();
    assert!(world.path("machines/a:b/a:b.vbox").exists());
    // Once.
    machine.retire().await.unwrap();
    assert_eq!(world.calls().iter().filter(|call| call.starts_with("movevm ")).count(), 1);
    machine.keep().await;
    drop(machine);
    assert_eq!((world.machines(), ledger.held(), world.left_in_runtime()), (vec!["a:b".to_owned()], vec![], 0));
    assert!(world.path("machines/a:b/a:b.vbox").exists());
}

#[tokio::test]
async fn a_move_that_is_given_up_goes_to_its_end() {
    let (world, spec) = keeping("web");
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    machine.power_off().await;
    world.breaks("movevm", "slow");
    let moves = eventually(|| world.calls().iter().any(|call| call.starts_with("movevm ")));
    tokio::select! {
        retired = machine.retire() => panic!("{retired:?}"),
        () = moves => {}
    }
    eventually(|| world.path("machines/web/web.vbox").exists()).await;
    machine.kill().await;
    assert_eq!((world.machines(), ledger.held(), world.left_in_runtime()), (vec![], vec![], 0));
    assert!(!world.path("machines/web").exists());
}

#[tokio::test]
async fn where_files_of_another_machine_are_nothing_is_imported_or_moved() {
    let (world, spec) = keeping("web_1");
    let theirs = make_theirs(&world, "web:1");
    let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains("machines/web_1, where there are files of another"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("vm_name")));
    assert!(!world.calls().iter().any(|call| call.starts_with("import ")), "{:?}", world.calls());
    assert!(theirs.exists() && world.machines() == ["web:1"]);

    // Made while the build was at work.
    let (world, spec) = keeping("web_1");
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
    let theirs = make_theirs(&world, "web:1");
    machine.power_off().await;
    let error = machine.retire().await.unwrap_err();
    assert!(error.to_string().contains("where there are files of another"), "{error}");
    machine.kill().await;
    assert!(theirs.exists() && world.machines() == ["web:1"]);
    assert_eq!((ledger.held(), world.left_in_runtime()), (vec![], 0));
}

#[tokio::test]
async fn one_that_is_kept_is_never_removed_with_the_directory() {
    for moves in [true, false] {
        let (world, spec) = keeping("web");
        let machine = world.start(&spec).await;
        machine.power_off().await;
        if !moves {
            world.breaks("movevm", "no space left");
        }
        machine.keep().await;
        drop(machine);
        let settings = std::fs::read_to_string(world.path("vms").join(&world.uuids()[0]).join("cfg")).unwrap();
        assert!(std::path::Path::new(settings.trim()).exists(), "{settings}");
        assert_eq!(settings.contains("/machines/"), moves, "{settings}");
    }
}

#[tokio::test]
async fn the_end_of_an_import_that_failed_or_of_its_process_touches_no_machine_of_others() {
    for how in ["Machine settings file '/x.vbox' already exists", "noted"] {
        let (world, spec) = keeping("web");
        world.breaks("import", how);
        let ledger = Arc::new(RecordingLedger::default());
        let hypervisor = world.hypervisor();
        let theirs = {
            let start = hypervisor.start(&spec, ledger.clone());
            let hangs = async {
                while !world.path("noted").exists() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                failed = start => drop(failed.err().unwrap()),
                () = hangs => {}
            }
            let id = super::borrowed::noted_or_none(&ledger);
            let theirs = make_theirs(&world, "web");
            if let Some(id) = id {
                assert!(id.starts_with(&format!("import {}", world.path("run").display())), "{id}");
                assert_eq!(hypervisor.give_back(&id).await, Ok(GivenBack::WasGone));
            }
            theirs
        };
        let given_back = async {
            while !ledger.held().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), given_back).await.unwrap();
        // As an earlier version noted it.
        let old = format!("import {}", theirs.display());
        assert_eq!(hypervisor.give_back(&old).await, Ok(GivenBack::WasGone));
        assert!(theirs.exists() && world.machines() == ["web"], "{how}");
    }
}

#[tokio::test]
async fn discs_of_ours_take_no_disk_out_of_what_is_imported() {
    let (world, mut spec) = keeping("web");
    std::fs::write(
        world.path("brings"),
        "storagecontrollername0=\"IDE Controller\"\nstoragecontrollertype0=\"PIIX4\"\n\
         \"IDE Controller-0-0\"=\"/a.vmdk\"\n\"IDE Controller-1-0\"=\"/b.vmdk\"\n\"IDE Controller-1-1\"=\"/c.vmdk\"\n",
    )
    .unwrap();
    let drive = |role| Drive { image: "/x.iso".into(), bus: Bus::Ide, role, stays: false };
    world.part(&mut spec).drives = vec![drive(DiscRole::Seed)];
    let machine = world.start(&spec).await;
    let attached = |world: &StandIn| -> Vec<String> {
        let calls = world.calls();
        calls.iter().filter_map(|call| Some(call.split_once("--storagectl ")?.1.to_owned())).collect()
    };
    assert_eq!(attached(&world), ["IDE Controller --port 0 --device 1 --type dvddrive --medium /x.iso"]);
    machine.kill().await;
    world.part(&mut spec).drives.push(drive(DiscRole::GuestAdditions));
    let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains("no free place for the guest additions; it has /a.vmdk at"), "{error}");
    assert_eq!((world.machines(), attached(&world).len()), (Vec::<String>::new(), 1));
}

#[tokio::test]
async fn what_a_move_that_fails_half_way_has_moved_goes_with_the_machine_or_is_moved_on() {
    for again in [false, true] {
        let (world, spec) = keeping("web");
        let ledger = Arc::new(RecordingLedger::default());
        let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
        std::fs::write(world.folder().join("disk.vmdk"), "disk").unwrap();
        std::fs::write(world.path("half"), "").unwrap();
        machine.power_off().await;
        let error = machine.retire().await.unwrap_err();
        assert!(error.to_string().contains("Could not copy the rest"), "{error}");
        let moved = world.path("machines/web");
        assert!(moved.join("disk.vmdk").exists() && !moved.join("web.vbox").exists());
        assert!(ledger.held().contains(&crate::ledger::Resource::Directory { path: moved.clone() }));
        if again {
            machine.retire().await.unwrap();
            machine.keep().await;
            assert!(moved.join("disk.vmdk").exists() && moved.join("web.vbox").exists());
        } else {
            machine.kill().await;
            assert!(!moved.exists(), "nothing stays among its user's machines");
        }
        assert_eq!((ledger.held(), world.machines().len()), (vec![], usize::from(again)));
    }
}
