//! Whatever goes wrong with a call: nothing is left, and the error says what and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::error::{KeyboardError, StartError};
use crate::keyboard::{Key, KeyEvent};
use crate::ledger::NoLedger;
use crate::machine::Hypervisor as _;
use crate::virtualbox::VirtualBoxHypervisor;

/// The calls of a start, in order, by what they are known to the stand-in.
const CALLS: [&str; 5] = ["createvm", "modifyvm", "storagectl", "startvm", "list"];

#[tokio::test]
async fn every_call_of_a_start_may_fail_in_any_way() {
    for how in ["zero", "killed", "out of luck"] {
        for call in CALLS {
            let world = StandIn::new();
            world.breaks(call, how);
            let ledger = Arc::new(RecordingLedger::default());
            let error = world.hypervisor().start(&world.spec(true), ledger.clone()).await.err().unwrap();
            assert!(matches!(error, StartError::Refused { .. }), "{call} {how}: {error:?}");
            assert!(error.to_string().starts_with(&format!("VBoxManage {call}")), "{error}");
            assert_eq!(world.machines(), Vec::<String>::new(), "{call} {how}");
            assert_eq!(ledger.held(), [], "{call} {how}");
            assert_eq!(world.left_in_runtime(), 0, "{call} {how}");
        }
    }
}

#[tokio::test]
async fn garbage_is_no_machine() {
    let world = StandIn::new();
    world.breaks("--version", "garbage");
    let availability = world.hypervisor().probe().await;
    assert!(availability.reason.is_some_and(|reason| reason.contains("does not tell its version")));
    std::fs::write(world.path("x.ova"), "").unwrap();
    let mut spec = world.spec(false);
    spec.origin = crate::spec::Origin::Import { package: world.path("x.ova") };
    world.breaks("import", "garbage");
    let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(matches!(error, StartError::Setup(_)), "{error:?}");
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_call_that_hangs_is_ended() {
    let world = StandIn::new();
    world.breaks("modifyvm", "hang");
    let mut hypervisor = world.hypervisor();
    hypervisor.limit = Some(std::time::Duration::from_secs(2));
    let error = hypervisor.start(&world.spec(false), Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains("no answer within 2 s"), "{error}");
    assert_eq!((world.machines(), world.left_in_runtime()), (Vec::<String>::new(), 0));
}

#[tokio::test]
async fn a_start_that_is_dropped_while_a_call_hangs_leaves_nothing() {
    let world = StandIn::new();
    world.breaks("startvm", "killed");
    let ledger = Arc::new(RecordingLedger::default());
    let hypervisor = world.hypervisor();
    let spec = world.spec(false);
    let started = tokio::time::timeout(std::time::Duration::from_millis(60), hypervisor.start(&spec, ledger.clone()));
    drop(started.await);
    let released = async {
        // A drop cannot say when it is done.
        while !ledger.held().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), released).await.unwrap();
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_type_of_guest_that_is_not_there_is_told_with_those_that_are() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    world.part(&mut spec).hardware.as_mut().unwrap().os_type = "Bogus".to_owned();
    let error = world.hypervisor().start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(error.to_string().contains("'Bogus' is invalid; there are: Other, Debian_64"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("guest_os_type")));
}

#[tokio::test]
async fn keys_that_are_not_taken_are_told() {
    let world = StandIn::new();
    let machine = world.start(&world.spec(false)).await;
    world.breaks("keyboardputscancode", "Failed to send a scancode");
    let error = machine.keyboard().unwrap().press(&[KeyEvent::down(Key::A)]).await.unwrap_err();
    let KeyboardError::Machine(error) = error;
    assert!(error.to_string().contains("Failed to send a scancode"), "{error}");
    world.breaks("screenshotpng", "zero");
    assert!(machine.screen().unwrap().capture().await.is_err());
    machine.kill().await;
}

#[tokio::test]
async fn a_machine_that_will_not_be_switched_off_is_killed() {
    let world = StandIn::new();
    let machine = world.start(&world.spec(false)).await;
    world.end_guest("aborted");
    world.breaks("poweroff", "it does not want to");
    machine.kill().await;
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_program_it_says_what_to_install() {
    let hypervisor = VirtualBoxHypervisor::with_program(PathBuf::from("/nonexistent/VBoxManage"));
    let availability = hypervisor.probe().await;
    assert!(!availability.is_available() && availability.hint.unwrap().contains("virtualbox"));
    let world = StandIn::new();
    let complaints = hypervisor.check(&world.spec(false)).unwrap_err();
    assert_eq!(complaints[0].setting, "type");
    let error = hypervisor.start(&world.spec(false), Arc::new(NoLedger)).await.err().unwrap();
    assert!(matches!(error, StartError::ProgramMissing { .. }), "{error:?}");
}
