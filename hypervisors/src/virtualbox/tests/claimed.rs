//! Names and folders that are taken, and versions that are too old: refused before anything is made.

use std::sync::Arc;
use std::time::Duration;

use super::failures::eventually;
use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::ledger::NoLedger;
use crate::machine::Hypervisor as _;
use crate::spec::MachineSpec;

/// A machine that is to stay.
fn keeping(world: &StandIn) -> MachineSpec {
    let mut spec = world.spec(false);
    world.part(&mut spec).in_default_folder = true;
    spec
}

#[tokio::test]
async fn one_build_at_a_time_makes_a_machine_of_a_name() {
    let world = StandIn::new();
    let mut hypervisor = world.hypervisor();
    hypervisor.limit = Some(Duration::from_secs(4));
    world.breaks("createvm", "noted");
    let spec = keeping(&world);
    let (first, other) = (hypervisor.clone(), spec.clone());
    let first =
        tokio::spawn(async move { first.start(&other, Arc::new(NoLedger)).await.err().map(|error| error.to_string()) });
    eventually(|| world.path("noted").exists()).await;
    let before = world.calls().len();
    let ledger = Arc::new(RecordingLedger::default());
    let error = hypervisor.start(&spec, ledger.clone()).await.err().unwrap();
    assert!(error.to_string().contains("another build makes a machine called web"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("vm_name")));
    assert_eq!((&world.calls()[before..], ledger.held()), (&["list vms".to_owned()][..], vec![]));
    assert!(first.await.unwrap().is_some_and(|error| error.contains("no answer")));
    world.mends("createvm");
    let machine = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
    machine.kill().await;
}

#[tokio::test]
async fn a_machine_that_is_to_stay_is_not_made_among_files_of_others() {
    let world = StandIn::new();
    let log = world.path("machines/a_b/Logs/VBox.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "theirs").unwrap();
    let mut spec = keeping(&world);
    spec.name = "a:b".to_owned();
    let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains("where there are files of another"), "{error}");
    assert_eq!((std::fs::read_to_string(&log).unwrap().as_str(), world.machines().len()), ("theirs", 0));
    std::fs::remove_dir_all(world.path("machines/a_b")).unwrap();
    world.start(&spec).await.kill().await;
    assert!(!world.path("machines/a_b").exists());
}

#[tokio::test]
async fn a_version_that_is_too_old_is_refused_before_anything_is_made() {
    let world = StandIn::new();
    std::fs::write(world.path("version"), "6.1.50r161033\n").unwrap();
    let (probed, wanted) = (world.hypervisor().probe().await, "VirtualBox 7.0 or newer is needed; this is 6.1.50");
    assert_eq!((probed.reason.as_deref(), probed.hint.is_some()), (Some(wanted), true));
    let error = world.hypervisor().start(&world.spec(false), Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains(wanted) && error.hint().is_some(), "{error}");
    let error = world.hypervisor().look_first(&world.spec(false)).await.err().unwrap();
    assert!(error.to_string().contains(wanted), "{error}");
    assert_eq!(world.calls(), ["--version"; 3]);
}

/// Without a driver VirtualBox answers, but starts no guest.
#[tokio::test]
async fn a_virtualbox_without_its_driver_is_told_and_refused_before_anything_is_made() {
    let world = StandIn::new();
    std::fs::write(world.path("version"), "WARNING: The character device /dev/vboxdrv does not exist.\n7.2.4_Fake\n")
        .unwrap();
    let mut hypervisor = world.hypervisor();
    hypervisor.driver = "/nonexistent/vboxdrv";
    let probed = hypervisor.probe().await;
    assert!(probed.is_available() && probed.version.as_deref() == Some("7.2.4"), "{probed:?}");
    assert!(probed.limit.is_some_and(|limit| limit.contains("no guest can be started")));
    for error in [
        hypervisor.start(&world.spec(false), Arc::new(NoLedger)).await.err().unwrap(),
        hypervisor.look_first(&world.spec(false)).await.err().unwrap(),
    ] {
        assert!(error.to_string().contains("no guest can be started"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("modprobe vboxdrv")), "{error:?}");
    }
    assert_eq!((world.calls(), world.left_in_runtime()), (vec!["--version".to_owned(); 3], 0));
    hypervisor.driver = "/dev/null";
    assert_eq!(hypervisor.probe().await.limit, None);
}
