//! Guests that VirtualBox stops for good, in a process that stays.

use std::sync::Arc;
use std::time::Duration;

use super::stand_in::StandIn;
use crate::conformance::RecordingLedger;
use crate::machine::{ExitReport, Hypervisor as _};

const TOLD: &str = "00:01:02 Changing the VM state from 'RUNNING' to 'GURU_MEDITATION'\n00:01:02 last words\n";

#[tokio::test]
async fn a_guru_meditation_is_told_soon_with_the_end_of_the_log_and_nothing_stays() {
    for in_default_folder in [false, true] {
        let world = StandIn::new();
        let mut spec = world.spec(false);
        world.part(&mut spec).in_default_folder = in_default_folder;
        let ledger = Arc::new(RecordingLedger::default());
        let machine = world.hypervisor().start(&spec, ledger.clone()).await.unwrap();
        assert_eq!(world.folder() == world.path("machines/web"), in_default_folder);
        world.stops_guest_for_good("gurumeditation", TOLD);
        let exit = tokio::time::timeout(Duration::from_secs(20), machine.exited()).await.unwrap();
        let ExitReport::Crashed { status, stderr_tail } = &exit else { panic!("{exit:?}") };
        let log = world.folder().join("Logs/VBox.log");
        assert!(status.contains("Guru Meditation (VMState gurumeditation)"), "{status}");
        assert!(status.contains(log.to_str().unwrap()) && stderr_tail.ends_with("last words"), "{exit:?}");
        assert!(!exit.is_clean() && world.running() == 1);
        machine.kill().await;
        assert_eq!((world.running(), world.machines(), ledger.held()), (0, vec![], vec![]));
        assert!(!world.path("machines/web").exists() && world.left_in_runtime() == 0);
    }
}

#[tokio::test]
async fn a_guest_that_only_says_so_goes_on() {
    let world = StandIn::new();
    let machine = world.start(&world.spec(false)).await;
    world.stops_guest_for_good("running", "00:01:02 VRDP: the user is called Guru Meditation\n");
    let asked = world.calls().len();
    // It is looked at, and then no more.
    let looked = async {
        while world.calls().len() == asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.unwrap();
    world.end_guest("poweroff");
    assert_eq!(machine.exited().await, ExitReport::GuestShutdown);
    machine.kill().await;
}

/// VirtualBox says that the machine is off a while before its process has ended.
#[tokio::test]
async fn the_power_button_of_a_guest_that_is_off_already_finds_it_gone() {
    let world = StandIn::new();
    let machine = world.start(&world.spec(false)).await;
    let state = world.path("vms").join(&world.uuids()[0]).join("state");
    std::fs::write(state, "poweroff\n").unwrap();
    let asked = world.calls().len();
    let (pressed, ()) = tokio::join!(machine.power_button(), async {
        while !world.calls()[asked..].iter().any(|call| call.contains("acpipowerbutton")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.end_process();
    });
    assert_eq!(pressed, Err(crate::error::MachineError::Gone));
    assert_eq!(machine.exited().await, ExitReport::GuestShutdown);
    machine.kill().await;
}
