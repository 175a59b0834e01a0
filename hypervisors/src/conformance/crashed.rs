//! A hypervisor whose process is killed under a living machine.

use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};

use super::ledgers::RecordingLedger;
use super::looks::{assert_given_back, first_words, within};
use crate::error::MachineError;
use crate::machine::{ExitReport, Hypervisor};
use crate::spec::MachineSpec;

/// The end of the machine is told, and is not taken for the guest's own or for ours. A backend that runs no process has none to lose.
pub(super) async fn a_killed_process_is_told(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("resume", machine.resume()).await.expect("the machine resumes");
    first_words(&*machine).await;
    let Some(pid) = machine.description().pid else {
        within("kill", machine.kill()).await;
        return;
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a number");
    kill_process(pid, Signal::KILL).expect("the hypervisor's process is there, and can be killed");
    let report = within("exited", machine.exited()).await;
    assert!(
        matches!(report, ExitReport::Crashed { .. } | ExitReport::Ended { .. }),
        "a killed process is told as what it is: {report:?}"
    );
    assert_eq!(within("exited", machine.exited()).await, report, "everyone who waits is told the same");
    assert_eq!(within("power_button", machine.power_button()).await, Err(MachineError::Gone));
    within("kill", machine.kill()).await;
    assert_eq!(within("exited", machine.exited()).await, report, "what is killed after its end has ended as it did");
    assert_given_back(hypervisor, spec, &ledger).await;
}
