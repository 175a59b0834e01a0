//! The worker of a user's job: it is that user, has that user's files, and outlives its daemon.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::{ALICE, BAKERS, BOB, System};
use crate::rig::skip;

#[test]
fn a_worker_is_its_user_and_nothing_more() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let mut system = System::start();
    let script = json!([
        {"say_variable": "GREETING"}, {"say_variable": "LD_PRELOAD"}, {"say_variable": "SECRET_OF_ROOT"}, {"say_variable": "USER"},
        {"say_variable": "HOME"}, {"say_variable": "PACKER_CACHE_DIR"}, {"await_answer": "q"},
    ]);
    let id = system.submit(ALICE, &script);
    let asks = |system: &System| system.see(ALICE, &id)["questions"].as_array().is_some_and(|asked| !asked.is_empty());
    system.until("the question", || asks(&system).then_some(()));
    let events = system.events(ALICE, &id);
    let home = system.path("kiln-alice");
    let cache = system.path("var/cache/kiln").join(ALICE.to_string());
    for said in ["GREETING=hello\"", "LD_PRELOAD=\"", "SECRET_OF_ROOT=\"", "USER=kiln-alice\""] {
        assert!(events.contains(said), "{said}: {events}");
    }
    assert!(events.contains(&format!("HOME={}\"", home.display())), "{events}");
    assert!(events.contains(&format!("PACKER_CACHE_DIR={}\"", cache.display())), "{events}");

    let pid = system.until("the worker", || {
        let text = std::fs::read_to_string(system.job(&id).join("worker.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?["pid"].as_u64()
    });
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Uid:"), vec![ALICE.to_string(); 4]);
    assert_eq!(line("Gid:"), vec![ALICE.to_string(); 4]);
    assert_eq!(line("Groups:"), [ALICE.to_string(), BAKERS.to_string()]);
    for sets in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(sets), ["0000000000000000"], "{sets}");
    }
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), home);
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let of_root = ["kiln.db", "kilnd.log", "kilnd.lock", "kiln.lock", "kiln.sock"];
        assert!(!of_root.iter().any(|name| target.ends_with(name)), "{}", target.display());
    }
    for path in [system.job(&id), system.job(&id).join("events.ndjson"), cache] {
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o077), (ALICE, ALICE, 0), "{}", path.display());
    }

    // It goes on without its daemon, and the next one finds it.
    system.kill_and_start_again();
    system.until("the question again", || asks(&system).then_some(()));
    let answered = system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/answers"), r#"{"prompt":"q","answer":"yes"}"#);
    assert_eq!(answered.0, 204, "{}", answered.1);
    system.until_state(ALICE, &id, "succeeded");
    assert_eq!(system.answer(ALICE, "DELETE", &format!("/v1/jobs/{id}"), "").0, 204);
    assert!(!system.job(&id).exists(), "nothing is left of it");

    // One that does not listen to a cancellation is killed, by its user's right.
    let id = system.submit(ALICE, &json!([{"await_file": "/nonexistent/file"}]));
    system.until_state(ALICE, &id, "running");
    assert_eq!(system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/cancel"), r#"{"mode":"now"}"#).0, 202);
    system.until_state(ALICE, &id, "cancelled");

    // What can run guests each finds with the own rights.
    for uid in [ALICE, BOB] {
        assert_eq!(system.hypervisors(uid)[0]["reason"], format!("only a script, for user {uid}"));
    }
    assert_eq!(system.hypervisors(61009), json!([]), "nobody can look");

    // Somebody whom nobody knows.
    let request = json!({"kind": "build", "template": "t", "working_directory": "/", "environment": {}});
    let (status, body) = system.answer(61009, "POST", "/v1/jobs", &request.to_string());
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("user 61009 is not in this machine's user database"), "{body}");
}
