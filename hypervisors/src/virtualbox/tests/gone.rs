//! A VBoxManage that goes in the middle of a build and comes back, as an upgrade of its package does: it is named, and what it holds stays
//! noted until it is there again.

use std::sync::Arc;

use super::injected::{Made, everything, hurried, noted, others, sweeps, whole};
use crate::conformance::RecordingLedger;
use crate::machine::Hypervisor as _;

/// `off`: the guest is off by then.
async fn goes_in_the_middle(made: Made, off: bool) {
    let case = format!("{made:?} {off}");
    let (world, spec) = everything(made);
    let (hypervisor, ledger) = (hurried(&world), Arc::new(RecordingLedger::default()));
    let machine = hypervisor.start(&spec, ledger.clone()).await.unwrap();
    let (program, away) = (world.path("VBoxManage"), world.path("away"));
    if off {
        machine.power_off().await;
    }
    std::fs::rename(&program, &away).unwrap();
    let failed = if off { machine.retire().await } else { machine.power_button().await };
    let error = whole(&failed.unwrap_err());
    for words in ["VBoxManage ", &program.display().to_string(), "No such file", "install VirtualBox", "build again"] {
        assert!(error.contains(words), "{case} {words}: {error}");
    }
    machine.kill().await;
    assert_eq!(world.running(), usize::from(!off), "{case}");
    // It holds a machine of others against other builds.
    drop(machine);
    let ids = noted(&ledger);
    assert_eq!(ids.len(), 1, "{case}: {:?}", ledger.held());
    let error = whole(&hypervisor.give_back(&ids[0]).await.unwrap_err());
    assert!(error.contains("VBoxManage is not in PATH"), "{case}: {error}");
    std::fs::rename(&away, &program).unwrap();
    sweeps(&hypervisor, &ids[0]).await;
    let left: Vec<String> = others(made).iter().map(|&one| one.to_owned()).collect();
    assert_eq!((world.machines(), world.running()), (left, 0), "{case}");
}

#[tokio::test]
async fn a_program_that_goes_in_the_middle_is_named_and_what_it_holds_is_given_back_when_it_is_there_again() {
    for made in [Made::New, Made::Imported, Made::Cloned, Made::OfOthers] {
        for off in [true, false] {
            goes_in_the_middle(made, off).await;
        }
    }
}
