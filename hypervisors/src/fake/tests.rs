//! The fake keeps the promises of the real ones, follows its script, and knows all three origins.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::conformance::{self, RecordingLedger};
use crate::error::StartError;
use crate::keyboard::KeyEvent;
use crate::ledger::{NoLedger, Resource, ResourceLedger};
use crate::machine::{ExitReport, GivenBack, Hypervisor as _};
use crate::qemu::spec::QemuSpec;
use crate::spec::{MachineSpec, Origin, SavedState};

#[tokio::test]
async fn keeps_the_promises_of_a_hypervisor() {
    let runtime = tempfile::tempdir().unwrap();
    for (registered, starts_paused) in [(false, true), (true, true), (true, false)] {
        let spec = MachineSpec::new("fake", runtime.path(), FakeSpec { registered });
        let hypervisor = FakeHypervisor::new(FakeScript { starts_paused, echoes: true, ..FakeScript::default() });
        conformance::check(&hypervisor, &spec).await;
        conformance::ends_by_its_button(&hypervisor, &spec).await;
        assert_eq!(hypervisor.registered(), Vec::<String>::new());
    }
    let spec = MachineSpec::new("fake", runtime.path(), QemuSpec::default());
    let script = FakeScript { echoes: true, ..FakeScript::default() };
    conformance::check(&FakeHypervisor::in_place_of("qemu", script), &spec).await;
}

#[tokio::test]
async fn follows_its_script() {
    let runtime = tempfile::tempdir().unwrap();
    let spec = MachineSpec::new("fake", runtime.path(), FakeSpec::default());
    let hypervisor =
        FakeHypervisor::new(FakeScript { start: FakeStart::Fails("no".to_owned()), ..FakeScript::default() });
    let ledger: Arc<dyn ResourceLedger> = Arc::new(NoLedger);
    assert!(hypervisor.start(&spec, ledger.clone()).await.is_err());

    let soon = FakeEnd::After(Duration::from_millis(1), ExitReport::GuestPanicked);
    hypervisor.change(|script| {
        script.start = FakeStart::Works;
        script.end = soon;
    });
    let machine = hypervisor.start(&spec, ledger).await.unwrap();
    assert_eq!(hypervisor.running(), 1);
    machine.keyboard().unwrap().press(&KeyEvent::text("hi").unwrap()).await.unwrap();
    assert_eq!(hypervisor.typed(), KeyEvent::text("hi").unwrap());
    machine.resume().await.unwrap();
    assert_eq!(machine.exited().await, ExitReport::GuestPanicked);
    drop(machine);
    assert_eq!(hypervisor.running(), 0);
    assert_eq!(hypervisor.calls(), ["start", "start", "press", "resume", "drop"]);
}

#[tokio::test]
async fn a_machine_comes_from_a_package_a_machine_or_a_saved_state() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = directory.path().join("run");
    std::fs::create_dir(&runtime).unwrap();
    let hypervisor = FakeHypervisor::default();
    let package = directory.path().join("x.ovf");
    std::fs::write(&package, "").unwrap();
    hypervisor.register("base");
    let state = hypervisor.save_state(&directory.path().join("state")).unwrap();
    let origins = [
        ("import", Origin::Import { package }),
        ("clone", Origin::Clone { machine: "base".to_owned(), snapshot: None }),
        ("restore", Origin::SavedState(state)),
    ];
    for (call, origin) in origins {
        let spec = MachineSpec { origin, ..MachineSpec::new("fake", &runtime, FakeSpec::default()) };
        assert_eq!(hypervisor.check(&spec), Ok(()));
        let machine = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
        machine.resume().await.unwrap();
        machine.kill().await;
        drop(machine);
        assert_eq!(hypervisor.calls()[hypervisor.calls().len() - 4..], [call, "resume", "kill", "drop"]);
    }
    assert_eq!(hypervisor.registered(), ["base"], "what it was cloned from stays");
}

#[tokio::test]
async fn a_saved_state_of_another_is_refused_whatever_its_record_says() {
    let directory = tempfile::tempdir().unwrap();
    let hypervisor = FakeHypervisor::default();
    let path = directory.path().join("state");
    for (contents, words) in
        [("virtualbox", r#"a saved state of "virtualbox", not of "fake""#), ("", r#"a saved state of "", not"#)]
    {
        std::fs::write(&path, contents).unwrap();
        let origin = Origin::SavedState(SavedState { hypervisor: "fake".to_owned(), path: path.clone() });
        let spec = MachineSpec { origin, ..MachineSpec::new("fake", directory.path(), FakeSpec::default()) };
        let error = hypervisor.start(&spec, Arc::new(NoLedger)).await.err().unwrap();
        assert!(
            matches!(&error, StartError::Prepare { source, .. } if source.to_string().contains(words)),
            "{error:?}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), contents, "it is left as it is");
    }
}

#[tokio::test]
async fn a_registered_machine_outlives_its_process() {
    let runtime = tempfile::tempdir().unwrap();
    let spec = MachineSpec::new("web", runtime.path(), FakeSpec { registered: true });
    let hypervisor = FakeHypervisor::default();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = hypervisor.start(&spec, ledger.clone()).await.unwrap();
    let registration = Resource::Registered { hypervisor: "fake".to_owned(), id: "web".to_owned() };
    assert!(ledger.held().contains(&registration));
    // As a process that is killed does: nothing of it is run any more.
    std::mem::forget(machine);
    assert_eq!(hypervisor.registered(), ["web"]);
    hypervisor.change(|script| script.give_back_error = Some("busy".to_owned()));
    assert!(hypervisor.give_back("web").await.is_err());
    hypervisor.change(|script| script.give_back_error = None);
    assert_eq!(hypervisor.give_back("web").await, Ok(GivenBack::Removed));
    assert_eq!(hypervisor.give_back("web").await, Ok(GivenBack::WasGone));
    assert_eq!(hypervisor.registered(), Vec::<String>::new());

    let first = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
    first.kill().await;
    let _second = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
    drop(first);
    assert_eq!(hypervisor.registered(), ["web"], "a machine that was given back takes no other with it");
}
