//! A daemon that takes connections and never says a word, as one that is stopped: a clear error in time, and nothing is left.

use std::os::unix::net::UnixListener;
use std::time::Instant;

use super::*;

/// How long an answer may take here.
const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_daemon_that_never_answers_is_told_in_time() {
    let mut host = Host::new();
    let socket = host.directory().join("silent");
    // The kernel takes connections for it.
    let listener = UnixListener::bind(&socket).unwrap();
    let uri = format!("qemu:///session?socket={}", socket.display());
    let cache = host.directory().join("cache");
    host.hypervisor = QemuHypervisor::new(cache).with_limit(LIMIT).through_libvirt(uri.clone());
    let begun = Instant::now();
    let probed = within(host.hypervisor.probe()).await;
    let (reason, hint) = (probed.reason.unwrap_or_default(), probed.hint.unwrap_or_default());
    assert!(reason.contains("no answer to virConnectOpen") && hint.contains("restart it"), "{reason}\n{hint}");

    let ledger = Arc::new(RecordingLedger::default());
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).binary = QEMU.to_owned();
    spec.tpm = Some(TpmVersion::V2);
    let error = within(host.hypervisor.start(&spec, ledger.clone())).await.err().unwrap();
    assert!(error.to_string().contains("libvirt's daemon did not answer within 2 s"), "{error}");
    assert!(
        error.to_string().contains(&uri) && error.hint().is_some_and(|hint| hint.contains("restart it")),
        "{error}"
    );
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    // Nothing has been asked for, so there is nothing that a sweep would have to ask for.
    assert_eq!((ledger.held(), registered(&ledger)), (Vec::new(), Vec::new()));
    assert!(!host.anything_left());
    drop(listener);
}

/// One that stops while a machine runs does not keep its QEMU alive.
#[tokio::test]
async fn a_daemon_that_stops_answering_keeps_no_machine() {
    let Some(daemon) = Daemon::start() else { return };
    // What a new daemon finds out about QEMU takes ten seconds.
    let first = host(&daemon);
    first.start(&first.spec(Guest::Echo)).await.kill().await;
    let mut host = host(&daemon);
    host.hypervisor =
        QemuHypervisor::new(host.directory().join("cache")).with_limit(LIMIT * 2).through_libvirt(daemon.uri());
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within(host.hypervisor.start(&host.spec(Guest::Echo), ledger.clone())).await.unwrap();
    let pid = machine.description().pid.unwrap();
    daemon.stop();
    let begun = Instant::now();
    machine.power_off().await;
    assert!(!runs(pid), "QEMU ends, whatever its daemon does");
    assert!(begun.elapsed() < LIMIT * 15, "{:?}", begun.elapsed());
    let held = ledger.held();
    assert!(
        held.iter().any(|it| matches!(it, Resource::Registered { .. })),
        "nobody can say that it is gone: {held:?}"
    );
    daemon.go_on();
    let id = registered(&ledger).remove(0);
    let given_back = within(host.hypervisor.give_back(&id)).await;
    assert!(matches!(given_back, Ok(GivenBack::WasGone | GivenBack::Removed)), "{given_back:?}");
    assert_eq!(daemon.domains(), 0);
    assert!(!host.anything_left());
}
