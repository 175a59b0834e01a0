//! What becomes of a machine whose TPM's emulator ends.

use super::*;
use crate::process_stat::ProcessStat;

/// The process of the ledger that runs `program`.
fn pid_of(ledger: &RecordingLedger, program: &str) -> u32 {
    let pids = ledger.held().into_iter().filter_map(|held| match held {
        Resource::Process { pid, .. } => Some(pid),
        _ => None,
    });
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.into_iter().find(|pid| name(pid).trim() == program).expect("it runs")
}

#[tokio::test]
async fn a_machine_ends_with_its_tpm_and_says_so() {
    if missing(QEMU) || missing("swtpm") {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    spec.tpm = Some(TpmVersion::V2);
    let ledger = Arc::new(RecordingLedger::default());
    let machine = host.hypervisor.start(&spec, ledger.clone()).await.unwrap();
    machine.resume().await.unwrap();
    within(host.serial(machine.as_ref(), "ready")).await;
    let (qemu, swtpm) = (machine.description().pid.unwrap(), pid_of(&ledger, "swtpm"));
    assert_eq!(std::process::Command::new("kill").args(["-9", &swtpm.to_string()]).status().unwrap().code(), Some(0));
    let report = within(machine.exited()).await;
    let status = "signal 9 (SIGKILL)".to_owned();
    assert_eq!(report, ExitReport::HelperEnded { program: "swtpm", status, stderr_tail: String::new() });
    assert_eq!(report.to_string(), "swtpm, which the machine needs, ended with signal 9 (SIGKILL)");
    within(machine.kill()).await;
    assert!(ProcessStat::of(qemu).map_or(true, |stat| stat.ended), "QEMU goes, too");
    assert_eq!(ledger.held(), []);
    assert!(!host.anything_left());
}

/// An emulator that does not do what one does: it hangs, or ends, as if all were well or not.
#[tokio::test]
async fn an_emulator_that_does_not_work_is_named() {
    if missing(QEMU) {
        return;
    }
    for (how, words) in [
        ("exec sleep 1000", "did not greet, which comes after swtpm's answer, within 8 s"),
        ("echo 'all is well' >&2; exit 0", "swtpm ended before the machine was ready (exit status 0): all is well"),
        ("echo 'no room' >&2; exit 3", "swtpm ended before the machine was ready (exit status 3): no room"),
        ("kill -9 $$", "swtpm ended before the machine was ready (signal 9 (SIGKILL)): "),
    ] {
        let host = Host::new();
        let program = host.directory().join("swtpm");
        crate::process::script::write_script(&program, &format!("#!/bin/sh\n{how}\n"));
        let hypervisor = QemuHypervisor::new(host.directory().join("cache")).with_limit(Duration::from_secs(8));
        let hypervisor = hypervisor.with_tpm_program(program.display().to_string());
        let mut spec = host.spec(Guest::Echo);
        spec.tpm = Some(TpmVersion::V2);
        let ledger = Arc::new(RecordingLedger::default());
        let error = within(hypervisor.start(&spec, ledger.clone())).await.err().expect("it does not start").to_string();
        assert!(error.contains(words), "{how}: {error}");
        assert_eq!((ledger.held(), ledger.mistakes()), (vec![], vec![]), "{error}");
        assert!(!host.anything_left(), "{error}");
    }
}

/// QEMU's own fault stays its own, though the emulator ends with it.
#[tokio::test]
async fn an_emulator_is_not_blamed_for_what_qemu_refuses() {
    if missing(QEMU) || missing("swtpm") {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    spec.tpm = Some(TpmVersion::V2);
    spec.network.device = Some("no-such-card".to_owned());
    let error = within(host.hypervisor.start(&spec, Arc::new(RecordingLedger::default()))).await.err().unwrap();
    assert!(
        error.to_string().starts_with("qemu-system-x86_64 ended") && error.to_string().contains("no-such-card"),
        "{error}"
    );
    assert!(!host.anything_left());
}

#[tokio::test]
async fn a_guest_that_switches_off_has_not_lost_its_tpm() {
    if missing(QEMU) || missing("swtpm") {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::PowerOff);
    spec.tpm = Some(TpmVersion::V2);
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::GuestShutdown);
    machine.kill().await;
    assert!(!host.anything_left());
}
