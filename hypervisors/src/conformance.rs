//! The promises of [`Hypervisor`] and [`Machine`](crate::Machine) as one suite, which every backend's tests call with a spec it can start. Panics with
//! the promise that was broken.

mod crashed;
mod dead_worker;
mod dropped;
mod guest;
mod ledgers;
mod looks;

use std::sync::Arc;
use std::time::Duration;

pub use self::guest::ends_by_its_button;
pub use self::ledgers::{FullLedger, RecordingLedger};
use self::looks::{TAIL, assert_empty, assert_given_back, assert_unregistered, first_words, released, within};
use crate::error::{MachineError, StartError};
use crate::fake::spec::FakeSpec;
use crate::guest_network::GuestNetwork;
use crate::keyboard::{Key, KeyEvent};
use crate::ledger::Resource;
use crate::machine::{ExitReport, GivenBack, Hypervisor};
use crate::qemu::spec::QemuSpec;
use crate::spec::{BackendSpec, MachineSpec, Origin, SavedState};

/// Runs the whole suite. `spec` must be one that the backend can start, with an empty runtime directory, and with a guest that writes
/// something to its first serial port, then sends what is typed there, and goes on for ever. The machine has a keyboard and a screen.
pub async fn check(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    assert!(!hypervisor.name().is_empty(), "a hypervisor has a name");
    let availability = within("probe", hypervisor.probe()).await;
    assert!(availability.is_available(), "the suite needs a hypervisor that is available: {availability:?}");
    assert_eq!(hypervisor.check(spec), Ok(()), "the suite needs a spec that can be started");
    kill_is_idempotent_and_leaves_nothing(hypervisor, spec).await;
    dropping_leaves_nothing(hypervisor, spec).await;
    dropping_the_start_leaves_nothing(hypervisor, spec).await;
    dropped::calls_dropped_in_the_middle_harm_nothing(hypervisor, spec).await;
    a_machine_that_never_ran_can_be_killed(hypervisor, spec).await;
    crashed::a_killed_process_is_told(hypervisor, spec).await;
    guest::keys_arrive(hypervisor, spec).await;
    what_cannot_be_noted_does_not_come_to_be(hypervisor, spec).await;
    dead_worker::what_it_left_is_given_back(hypervisor, spec).await;
    what_belongs_to_another_is_refused(hypervisor, spec).await;
    an_origin_is_refused_or_looked_for(hypervisor, spec).await;
    let host = hypervisor.host_seen_by_guest(&spec.network.mode);
    assert!(host.is_some_and(|host| !host.name.is_empty()), "a guest can name the host");
    nothing_is_given_back_of_what_is_not_there(hypervisor).await;
}

/// What of the suite needs nobody in the machine: for a hypervisor that makes machines here and runs no guest, with something in the guest's place
/// that writes to the serial port. Keys, screens, and an end by itself are not asked for.
pub async fn check_without_a_guest(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    assert_eq!(hypervisor.check(spec), Ok(()), "the suite needs a spec that can be started");
    dropping_leaves_nothing(hypervisor, spec).await;
    dropping_the_start_leaves_nothing(hypervisor, spec).await;
    a_machine_that_never_ran_can_be_killed(hypervisor, spec).await;
    what_cannot_be_noted_does_not_come_to_be(hypervisor, spec).await;
    dead_worker::what_it_left_is_given_back(hypervisor, spec).await;
    what_belongs_to_another_is_refused(hypervisor, spec).await;
    an_origin_is_refused_or_looked_for(hypervisor, spec).await;
    nothing_is_given_back_of_what_is_not_there(hypervisor).await;
}

async fn nothing_is_given_back_of_what_is_not_there(hypervisor: &dyn Hypervisor) {
    let given_back = within("give_back", hypervisor.give_back("kiln-conformance-nothing")).await;
    assert_eq!(given_back, Ok(GivenBack::WasGone), "a machine that is not there is gone, which is no error");
}

async fn kill_is_idempotent_and_leaves_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    assert!(!machine.description().command_line.is_empty(), "a machine tells how it was started");
    assert!(!ledger.ever().is_empty(), "a machine's resources are told to the ledger");
    if hypervisor.starts_paused() {
        assert_eq!(machine.serial_tail(16), b"", "a paused guest has run nothing");
    }
    within("resume", machine.resume()).await.expect("the machine resumes");
    within("resume", machine.resume()).await.expect("a second resume does nothing");
    let said = first_words(&*machine).await;
    let keyboard = machine.keyboard().expect("the suite needs a machine with a keyboard");
    let stroke: Vec<KeyEvent> = KeyEvent::stroke(Key::A, false).collect();
    within("press", keyboard.press(&stroke)).await.expect("a running machine takes keys");
    within("release_all", keyboard.release_all()).await.expect("a running machine lets go of keys");
    let screen = machine.screen().expect("the suite needs a machine with a screen");
    let picture = within("capture", screen.capture()).await.expect("a running machine's screen can be captured");
    assert_eq!(picture.png.get(..4), Some(&b"\x89PNG"[..]), "a screenshot is a PNG file");
    assert!(picture.width > 0 && picture.height > 0, "a screenshot has a size");
    let early = tokio::time::timeout(Duration::from_millis(50), machine.exited()).await;
    assert!(early.is_err(), "a running machine has not exited: {early:?}");
    within("network", machine.network()).await;
    let endpoint = within("endpoint", machine.endpoint(22)).await.expect("a running machine can be reached");
    assert!(!endpoint.host.is_empty() && endpoint.port > 0, "an endpoint has a host and a port: {endpoint:?}");

    let (first, second) = tokio::join!(within("exited", machine.exited()), async {
        within("kill", machine.kill()).await;
        within("exited", machine.exited()).await
    });
    assert_eq!(first, ExitReport::Killed, "kill is reported as such");
    assert_eq!(first, second, "everyone who waits is told the same");
    assert_eq!(ledger.held(), [], "kill gives everything back before it returns");
    assert_given_back(hypervisor, spec, &ledger).await;
    within("kill", machine.kill()).await;
    assert_eq!(within("resume", machine.resume()).await, Err(MachineError::Gone), "a dead machine is gone");
    assert_eq!(within("power_button", machine.power_button()).await, Err(MachineError::Gone));
    assert_eq!(within("network", machine.network()).await, GuestNetwork::default());
    assert_eq!(within("endpoint", machine.endpoint(22)).await, None, "a dead machine is nowhere");
    let event = [KeyEvent::down(Key::A)];
    assert!(within("press", keyboard.press(&event)).await.is_err(), "a dead machine takes no keys");
    assert!(within("capture", screen.capture()).await.is_err(), "a dead machine shows nothing");
    let left = machine.serial_tail(TAIL);
    assert!(left.starts_with(&said), "what the guest wrote outlives it, for it explains failures: {left:?}");
    assert_eq!(left.last_chunk::<1>().map(|last| &last[..]), Some(&machine.serial_tail(1)[..]), "the last of it");
}

async fn dropping_leaves_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("resume", machine.resume()).await.expect("the machine resumes");
    within("power_button", machine.power_button()).await.expect("a running machine has a power button");
    drop(machine);
    released(&ledger, "a dropped machine").await;
    assert_given_back(hypervisor, spec, &ledger).await;
}

async fn dropping_the_start_leaves_nothing(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    for milliseconds in [0, 3, 15, 40] {
        let ledger = Arc::new(RecordingLedger::default());
        let start = hypervisor.start(spec, ledger.clone());
        let started = tokio::time::timeout(Duration::from_millis(milliseconds), start).await;
        drop(started);
        released(&ledger, "a start dropped in the middle").await;
        assert_given_back(hypervisor, spec, &ledger).await;
    }
}

async fn a_machine_that_never_ran_can_be_killed(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within("start", hypervisor.start(spec, ledger.clone())).await.expect("the machine starts");
    within("kill", machine.kill()).await;
    assert_eq!(within("exited", machine.exited()).await, ExitReport::Killed);
    drop(machine);
    assert_given_back(hypervisor, spec, &ledger).await;
}

/// Where the ledger is full, what would outlive a crash is not made.
async fn what_cannot_be_noted_does_not_come_to_be(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let ledger = Arc::new(FullLedger::default());
    let started = within("start", hypervisor.start(spec, ledger.clone())).await;
    let asked = ledger.asked();
    if asked.iter().any(Resource::outlives_power_loss) {
        assert!(started.is_err(), "a machine was started although it could not be noted: {asked:?}");
    }
    if let Ok(machine) = started {
        within("kill", machine.kill()).await;
    }
    assert_empty(&spec.runtime_dir);
    assert_unregistered(hypervisor, &asked).await;
}

/// A part for another backend, and saved states of another, are refused by name before anything is touched.
async fn what_belongs_to_another_is_refused(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let others = [BackendSpec::from(QemuSpec::default()), BackendSpec::from(FakeSpec::default())];
    let other = others.into_iter().find(|one| one.hypervisor() != hypervisor.name()).expect("there is another backend");
    let foreign = MachineSpec { backend: other.clone(), ..spec.clone() };
    is_refused(hypervisor, &foreign, "backend", other.hypervisor()).await;
    let state = SavedState { hypervisor: "another".to_owned(), path: spec.runtime_dir.join("state") };
    let foreign = MachineSpec { origin: Origin::SavedState(state), ..spec.clone() };
    is_refused(hypervisor, &foreign, "origin", "another").await;
}

/// An origin that the backend does not have is refused by both; one that it has fails cleanly where there is nothing to be found.
async fn an_origin_is_refused_or_looked_for(hypervisor: &dyn Hypervisor, spec: &MachineSpec) {
    let absent = spec.runtime_dir.join("kiln-conformance-nothing");
    let state = SavedState { hypervisor: hypervisor.name().to_owned(), path: absent.clone() };
    for origin in [
        Origin::Import { package: absent.clone() },
        Origin::Clone { machine: "kiln-conformance-nothing".to_owned(), snapshot: None },
        Origin::SavedState(state),
    ] {
        let spec = MachineSpec { origin, ..spec.clone() };
        if hypervisor.check(&spec).is_err() {
            is_refused(hypervisor, &spec, "origin", "").await;
            continue;
        }
        let ledger = Arc::new(RecordingLedger::default());
        let started = within("start", hypervisor.start(&spec, ledger.clone())).await;
        assert!(started.is_err(), "a machine came of nothing: {:?}", spec.origin);
        assert_given_back(hypervisor, &spec, &ledger).await;
    }
}

/// Both `check` and `start` refuse the spec for its `setting`, in words that have `words` in them, and nothing is touched.
async fn is_refused(hypervisor: &dyn Hypervisor, spec: &MachineSpec, setting: &str, words: &str) {
    let complaints = hypervisor.check(spec).expect_err("check refuses it");
    let ledger = Arc::new(RecordingLedger::default());
    let started = within("start", hypervisor.start(spec, ledger.clone())).await;
    let Some(StartError::Unsupported(refused)) = started.err() else { panic!("start does not refuse {setting}") };
    for complaints in [complaints, refused] {
        let complaint = complaints.iter().find(|one| one.setting == setting).expect("the setting is named");
        assert!(complaint.problem.contains(words), "{complaint} does not say {words:?}");
        assert!(complaint.hint.is_some(), "{complaint} does not say what to do");
    }
    assert_eq!(ledger.ever(), [], "nothing was touched");
    assert_empty(&spec.runtime_dir);
}
