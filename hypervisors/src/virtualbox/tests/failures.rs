//! Whatever goes wrong with a call: nothing is left, and the error says what and what to do.

use std::path::PathBuf;
use std::sync::Arc;

use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::error::{KeyboardError, StartError};
use crate::keyboard::{Key, KeyEvent};
use crate::ledger::{NoLedger, Resource};
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
    let program = world.path("VBoxManage").display().to_string();
    let availability = world.hypervisor().probe().await;
    assert!(availability.reason.is_some_and(|reason| reason.contains("does not tell its version")));
    assert!(availability.hint.is_some_and(|hint| hint.contains(&format!("`{program} --version`"))));
    world.breaks("--version", "error while loading shared libraries");
    let availability = world.hypervisor().probe().await;
    let reason = availability.reason.unwrap();
    assert!(reason.starts_with(&program) && reason.contains("shared libraries"), "{reason}");
    assert!(availability.hint.is_some_and(|hint| hint.contains("anew")));
    world.breaks("--version", "garbage");
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
    std::fs::write(world.path("x.ova"), "").unwrap();
    // The first goes on until its limit, the second is asked to stop.
    for call in ["startvm", "import"] {
        world.breaks(call, "noted");
        let ledger = Arc::new(RecordingLedger::default());
        let mut hypervisor = world.hypervisor();
        hypervisor.limit = Some(std::time::Duration::from_secs(2));
        let mut spec = world.spec(false);
        if call == "import" {
            spec.origin = crate::spec::Origin::Import { package: world.path("x.ova") };
        }
        let hangs = eventually(|| world.path("noted").exists());
        tokio::select! {
            started = hypervisor.start(&spec, ledger.clone()) => panic!("{call}: {:?}", started.err()),
            () = hangs => {}
        }
        assert!(!ledger.held().is_empty(), "{call}");
        // A drop cannot say when it is done.
        eventually(|| ledger.held().is_empty()).await;
        assert_eq!((world.machines(), world.left_in_runtime()), (Vec::<String>::new(), 0), "{call}");
        world.mends(call);
        std::fs::remove_file(world.path("noted")).unwrap();
    }
}

pub(super) async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.unwrap();
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
    assert!(error.to_string().contains("boot_wait"), "{error}");
    // They may be a password.
    assert!(error.to_string().contains(" keyboardputscancode … (1 not shown)"), "{error}");
    world.breaks("screenshotpng", "zero");
    assert!(machine.screen().unwrap().capture().await.is_err());
    machine.kill().await;
}

#[tokio::test]
async fn a_machine_that_will_not_be_switched_off_is_killed() {
    let world = StandIn::new();
    world.breaks("poweroff", "it does not want to");
    for asked_before in [false, true] {
        let machine = world.start(&world.spec(false)).await;
        let [uuid] = &world.uuids()[..] else { panic!("{:?}", world.machines()) };
        if asked_before {
            machine.power_off().await;
            assert_eq!(machine.exited().await, crate::machine::ExitReport::Killed);
        }
        machine.kill().await;
        assert_eq!(world.machines(), Vec::<String>::new());
        eventually(|| crate::virtualbox::vm_process::find(uuid).is_none()).await;
    }
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

#[tokio::test]
async fn a_machine_that_cannot_be_given_back_stays_noted_with_its_files_until_it_can() {
    let world = StandIn::new();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = world.hypervisor().start(&world.spec(false), ledger.clone()).await.unwrap();
    world.breaks("unregistervm", "it is busy");
    machine.kill().await;
    assert_eq!((world.machines().len(), world.left_in_runtime()), (1, 1));
    assert!(ledger.held().iter().any(|held| matches!(held, Resource::Registered { .. })), "{:?}", ledger.held());
    assert!(ledger.held().iter().any(|held| matches!(held, Resource::Directory { .. })), "{:?}", ledger.held());
    world.mends("unregistervm");
    machine.kill().await;
    assert_eq!((world.machines().len(), world.left_in_runtime(), ledger.held()), (0, 0, vec![]));
}

#[tokio::test]
async fn the_templates_own_commands_may_take_long() {
    let world = StandIn::new();
    let mut spec = world.spec(false);
    let command = |word: &str| vec![vec![word.to_owned(), "web".to_owned()]];
    let part = world.part(&mut spec);
    (part.commands, part.after.commands) = (command("modifynvram"), command("setextradata"));
    world.breaks("modifynvram", "slow");
    world.breaks("setextradata", "slow");
    let mut hypervisor = world.hypervisor();
    hypervisor.limit = Some(std::time::Duration::from_secs(2));
    let machine = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
    machine.power_off().await;
    machine.retire().await.unwrap();
    machine.kill().await;
}

#[tokio::test]
async fn an_answer_of_which_only_the_end_is_left_is_refused_as_that() {
    let world = StandIn::new();
    world.breaks("list", "long");
    for error in [
        world.hypervisor().start(&world.spec(false), Arc::new(NoLedger)).await.err().unwrap(),
        world.hypervisor().look_first(&world.spec(false)).await.unwrap_err(),
    ] {
        let StartError::Setup(error) = error else { panic!("{error:?}") };
        let told = error.to_string();
        assert!(told.contains("VBoxManage list vms") && told.contains("its answer is too long"), "{told}");
    }
    assert_eq!((world.machines(), world.left_in_runtime()), (Vec::<String>::new(), 0));
}

#[tokio::test]
async fn a_machine_that_is_said_to_run_and_does_not_is_no_guest_that_has_shut_down() {
    let world = StandIn::new();
    std::fs::write(world.path("idle"), "").unwrap();
    let ledger = Arc::new(RecordingLedger::default());
    let error = world.hypervisor().start(&world.spec(false), ledger.clone()).await.err().unwrap();
    assert!(error.to_string().starts_with("VBoxManage startvm "), "{error}");
    assert!(error.to_string().contains("nothing runs it, and it is off"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("VBoxSVC.log")), "{error:?}");
    assert_eq!((world.machines(), ledger.held(), world.left_in_runtime()), (vec![], vec![], 0));
    // One that was over at once has left a log.
    std::fs::rename(world.path("idle"), world.path("brief")).unwrap();
    let machine = world.start(&world.spec(false)).await;
    assert_eq!(machine.exited().await, crate::machine::ExitReport::GuestShutdown);
    machine.kill().await;
    assert_eq!(world.machines(), Vec::<String>::new());
}
