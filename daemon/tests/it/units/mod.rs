//! Workers as units of systemd. The service manager is a mock (`manager.rs`), on a bus of the test's own: what systemd makes of the properties
//! is not shown here but in a machine that it runs (`./x lab systemd`).

mod manager;

use rustix::process::geteuid;
use serde_json::json;

use crate::bus::TestBus;
use crate::rig::skip;
use crate::users::{ALICE, System};
use manager::{Going, Manager};

/// A daemon for all users that has a service manager for its workers.
struct Units {
    system: System,
    manager: Manager,
    _bus: TestBus,
}

impl Units {
    /// Starts everything; nothing (said aloud) where that cannot be.
    fn start() -> Option<Self> {
        if !geteuid().is_root() {
            skip("root");
            return None;
        }
        let bus = TestBus::start()?;
        let manager = Manager::start(&bus.address());
        let variables = vec![("DBUS_SYSTEM_BUS_ADDRESS", bus.address())];
        let limits = "[workers]\nstarted_by = \"systemd\"\nmemory_mib = 512\ncpu_weight = 7\n";
        let system = System::start_with(limits, variables);
        Some(Self { system, manager, _bus: bus })
    }
}

#[test]
fn a_worker_is_a_unit_of_its_user_and_everybody_may_read_its_properties() {
    let Some(units) = Units::start() else { return };
    let system = &units.system;
    let id = system.submit(
        ALICE,
        &json!([{"say_variable": "GREETING"}, {"say_variable": "OF_THE_MANAGER"}, {"say_variable": "USER"}, {"stop": 3}]),
    );
    system.until_state(ALICE, &id, "failed");
    let events = system.events(ALICE, &id);
    for said in ["GREETING=hello\"", "OF_THE_MANAGER=\"", "USER=kiln-alice\""] {
        assert!(events.contains(said), "{said}: {events}");
    }
    assert_eq!(system.see(ALICE, &id)["exit_code"], 3);
    let unit = units.manager.unit(&format!("kiln-job-{id}.service")).unwrap();
    for (name, value) in [
        ("User", ALICE.to_string()),
        ("Slice", "kiln-jobs.slice".to_owned()),
        ("KillMode", "control-group".to_owned()),
        ("MemoryMax", (512u64 << 20).to_string()),
        ("CPUWeight", "7".to_owned()),
        ("TasksMax", "4096".to_owned()),
    ] {
        // Where VirtualBox is, its service outlives a worker.
        let found = unit.property(name);
        assert!(found == value || found == "process", "{name}: {found}");
    }
    assert!(!unit.text.contains("hello"), "the environment is among what everybody may read: {}", unit.text);
    system.until("systemd may forget it", || units.manager.is_released(&unit.name).then_some(()));

    // Also what looks for hypervisors is one: nothing of kilnd's sandbox is in its way.
    assert_eq!(system.hypervisors(ALICE)[0]["reason"], format!("only a script, for user {ALICE}"));
    let look = format!("kiln-look-{ALICE}.service");
    let text = units.manager.unit(&look).unwrap().text;
    assert!(!text.contains("JOB_ID") && text.contains("hypervisors"), "{text}");
    system.until("systemd may forget that", || units.manager.is_released(&look).then_some(()));
}

#[test]
fn workers_are_killed_by_their_units_also_those_of_an_earlier_daemon() {
    let Some(mut units) = Units::start() else { return };
    let stubborn = json!([{"clean_up_until": "/nonexistent/file"}, {"await_file": "/nonexistent/file"}]);
    let id = units.system.submit(ALICE, &stubborn);
    units.system.until_state(ALICE, &id, "running");
    let now = r#"{"mode":"now"}"#;
    assert_eq!(units.system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/cancel"), now).0, 202);
    units.system.until_state(ALICE, &id, "cancelled");
    assert!(units.manager.kills().contains(&format!("kiln-job-{id}.service")), "{:?}", units.manager.kills());
    assert!(units.manager.unit(&format!("kiln-sweep-{id}.service")).is_some(), "what it left is swept by a unit");

    let id = units.system.submit(ALICE, &stubborn);
    units.system.until_state(ALICE, &id, "running");
    units.system.kill_and_start_again();
    assert_eq!(units.system.see(ALICE, &id)["state"], "running");
    assert_eq!(units.system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/cancel"), now).0, 202);
    units.system.until_state(ALICE, &id, "cancelled");
    let killed = format!("kiln-job-{id}.service");
    units.system.until("the unit to be killed", || units.manager.kills().contains(&killed).then_some(()));
}

/// One of which the manager does not say which process it is: nobody would see it end, or could end it.
#[test]
fn a_unit_that_nobody_can_watch_is_stopped() {
    let Some(units) = Units::start() else { return };
    let (system, manager) = (&units.system, &units.manager);
    manager.hide_next();
    let id = system.submit(ALICE, &json!([{"await_file": "/nonexistent/file"}]));
    system.until_state(ALICE, &id, "failed");
    let error = system.see(ALICE, &id)["error"].as_str().unwrap().to_owned();
    let unit = format!("kiln-job-{id}.service");
    assert!(error.contains(&format!("the service manager does not tell of {unit}")), "{error}");
    assert_eq!(manager.stops(), std::slice::from_ref(&unit));
    system.until("its end", || manager.has_ended(&unit).then_some(()));
    system.until("systemd may forget it", || manager.is_released(&unit).then_some(()));
    // No later one is in its way.
    let id = system.submit(ALICE, &json!([{"stop": 0}]));
    system.until_state(ALICE, &id, "succeeded");
    assert_eq!(manager.stops().len(), 1);
}

#[test]
fn a_unit_that_does_not_start_fails_its_job_in_words() {
    let Some(units) = Units::start() else { return };
    let (system, manager) = (&units.system, &units.manager);
    manager.fail_next("exit-code");
    let id = system.submit(ALICE, &json!([{"stop": 0}]));
    system.until_state(ALICE, &id, "failed");
    let error = system.see(ALICE, &id)["error"].as_str().unwrap().to_owned();
    assert!(error.contains(&format!("kiln-job-{id}.service did not start (exit-code)")), "{error}");
    assert!(error.contains("journalctl -u"), "{error}");

    // The manager goes away, and comes back: the job waits for it, and says so.
    manager.leave();
    let id = system.submit(ALICE, &json!([{"stop": 0}]));
    let note = system.until("a note", || system.see(ALICE, &id)["notes"][0].as_str().map(str::to_owned));
    assert!(note.contains("tried again: the service manager"), "{note}");
    manager.come_back();
    system.until_state(ALICE, &id, "succeeded");
}

/// As when systemd is upgraded, and executes itself anew: whether the unit was started is not known, and it was.
#[test]
fn a_worker_lives_on_of_which_the_manager_could_not_tell() {
    let Some(units) = Units::start() else { return };
    let (system, manager) = (&units.system, &units.manager);
    // Everybody may look whether it is there.
    let gate = system.path("gate");
    let waits = json!([{"await_file": gate.to_str().unwrap()}, {"stop": 0}]);
    let jobs = [Going::Unanswered, Going::Untold].map(|how| {
        manager.go_at_next(how);
        let id = system.submit(ALICE, &waits);
        system.until_state(ALICE, &id, "running");
        id
    });
    // Those that are tried again while the first of them runs are no second workers, and it is none's end.
    manager.come_back();
    let id = system.submit(ALICE, &json!([{"stop": 0}]));
    system.until_state(ALICE, &id, "succeeded");
    assert!(manager.stops().is_empty() && manager.kills().is_empty(), "{:?}", manager.stops());
    for id in &jobs {
        assert_eq!(system.see(ALICE, id)["state"], "running");
    }
    std::fs::write(&gate, "").unwrap();
    for id in &jobs {
        system.until_state(ALICE, id, "succeeded");
        assert_eq!(system.events(ALICE, id).matches("job_started").count(), 1);
    }
}
