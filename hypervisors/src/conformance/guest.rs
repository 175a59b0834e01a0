//! What a guest notices of its machine: the keys that are typed, and its power button.

use std::sync::Arc;
use std::time::Duration;

use super::ledgers::RecordingLedger;
use super::looks::{TAIL, assert_given_back, first_words, within};
use crate::error::MachineError;
use crate::keyboard::KeyEvent;
use crate::ledger::Resource;
use crate::machine::{GivenBack, Hypervisor};
use crate::spec::MachineSpec;

/// Typed into a guest that sends it back.
const TEXT: &str = "kiln";
/// Typed before and after it; nothing that a guest says by itself.
const MARK: &str = "zq";

/// What is typed arrives, in its order and once; also while somebody else asks the hypervisor, as a kilnd does that was started anew beside a
/// machine whose worker has gone on.
pub(super) async fn keys_arrive(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("resume", machine.resume()).await.expect("the machine resumes");
    first_words(&*machine).await;
    for resource in ledger.held() {
        if let Resource::Registered { id, .. } = resource {
            let shown = within("shown", hypervisor.shown(&id)).await;
            assert!(!shown.is_empty(), "a machine that is registered has a name for people");
        }
    }
    assert!(within("probe", hypervisor.probe()).await.is_available(), "a hypervisor is there while a machine runs");
    let given_back = within("give_back", hypervisor.give_back("kiln-conformance-nothing")).await;
    assert_eq!(
        given_back,
        Ok(GivenBack::WasGone),
        "a machine that is not there is gone, which is no error, also while another runs"
    );
    let keyboard = machine.keyboard().expect("the suite needs a machine with a keyboard");
    let keys = KeyEvent::text(&format!("{MARK}{TEXT}{MARK}")).expect("a US keyboard types it");
    within("press", keyboard.press(&keys)).await.expect("a running machine takes keys");
    let heard = || String::from_utf8_lossy(&machine.serial_tail(TAIL)).into_owned();
    let arriving = async {
        // Nothing tells when it has.
        while heard().matches(MARK).count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the way of the keys into the guest and back", arriving).await;
    let heard = heard();
    assert_eq!(heard.split(MARK).nth(1), Some(TEXT), "keys arrive in their order, and once: {heard:?}");
    assert!(within("endpoint", machine.endpoint(22)).await.is_some(), "the machine goes on");
    within("kill", machine.kill()).await;
    drop(machine);
    assert_given_back(hypervisor, spec, &ledger).await;
}

/// A further part of the suite: the guest of `spec` writes something to its first serial port when it heeds its power button, and switches
/// itself off when that is pressed.
pub async fn ends_by_its_button(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("resume", machine.resume()).await.expect("the machine resumes");
    first_words(&*machine).await;
    let early = tokio::time::timeout(Duration::from_millis(50), machine.exited()).await;
    assert!(early.is_err(), "nobody has pressed the button yet: {early:?}");
    within("power_button", machine.power_button()).await.expect("a running machine has a power button");
    let report = within("exited", machine.exited()).await;
    assert!(report.is_clean(), "a guest that switches itself off ends as a guest should: {report:?}");
    assert_eq!(within("power_button", machine.power_button()).await, Err(MachineError::Gone));
    within("kill", machine.kill()).await;
    assert_eq!(within("exited", machine.exited()).await, report, "what is killed after its end has ended as it did");
    drop(machine);
    assert_given_back(hypervisor, spec, &ledger).await;
}
