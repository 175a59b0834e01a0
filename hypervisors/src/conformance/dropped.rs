//! Each call of a running machine, dropped in the middle: as a build is that is cancelled. The machine takes the next one, and goes whole.

use std::sync::Arc;
use std::time::Duration;

use super::ledgers::RecordingLedger;
use super::looks::{assert_given_back, first_words, released, within};
use crate::error::MachineError;
use crate::keyboard::KeyEvent;
use crate::machine::Hypervisor;
use crate::spec::MachineSpec;

/// When calls are dropped, in milliseconds from their beginning: before they have done anything, and on the way.
const MOMENTS: [u64; 5] = [0, 3, 15, 40, 120];

/// Takes more than one call to any keyboard.
const TEXT: &str = "linux console=ttyS0 root=/dev/sda auto url=http 0123456789 abcdefghijklmnopqrstuvwxyz\n";

pub(super) async fn calls_dropped_in_the_middle_harm_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    for milliseconds in MOMENTS {
        let moment = Duration::from_millis(milliseconds);
        let ledger = Arc::new(RecordingLedger::default());
        let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
        drop(tokio::time::timeout(moment, machine.resume()).await);
        within("resume", machine.resume()).await.expect("the machine resumes after a call that was dropped");
        first_words(&*machine).await;
        if let Some(keyboard) = machine.keyboard() {
            let text = KeyEvent::text(TEXT).expect("a US keyboard types it");
            drop(tokio::time::timeout(moment, keyboard.press(&text)).await);
            drop(tokio::time::timeout(moment, keyboard.release_all()).await);
            within("release_all", keyboard.release_all())
                .await
                .expect("held keys are let go after a call that was dropped");
            within("press", keyboard.press(&text[..2])).await.expect("keys are taken after a call that was dropped");
        }
        if let Some(screen) = machine.screen() {
            drop(tokio::time::timeout(moment, screen.capture()).await);
            within("capture", screen.capture()).await.expect("the screen is captured after a call that was dropped");
        }
        drop(tokio::time::timeout(moment, machine.network()).await);
        drop(tokio::time::timeout(moment, machine.endpoint(22)).await);
        let endpoint = within("endpoint", machine.endpoint(22)).await;
        assert!(endpoint.is_some(), "the machine can be reached after a call that was dropped");
        drop(tokio::time::timeout(moment, machine.exited()).await);
        drop(tokio::time::timeout(moment, machine.power_button()).await);
        // The first press may have ended it.
        let pressed = within("power_button", machine.power_button()).await;
        assert!(matches!(pressed, Ok(()) | Err(MachineError::Gone)), "the power button is pressed again: {pressed:?}");
        drop(tokio::time::timeout(moment, machine.kill()).await);
        released(&ledger, "a kill dropped in the middle").await;
        within("kill", machine.kill()).await;
        drop(machine);
        assert_given_back(hypervisor, spec, &ledger).await;
    }
}
