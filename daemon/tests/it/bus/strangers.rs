//! Other users on the same bus: nothing is done for them, and nothing said to them.

use std::collections::HashSet;

use super::*;
use crate::users::attempts::{OVER_D_BUS, at_least};

/// Has another user's busctl call something; returns its exit code and what it says.
async fn as_stranger(bus: &TestBus, arguments: &[&str]) -> Option<(bool, String)> {
    if !rustix::process::geteuid().is_root() {
        skip("root");
        return None;
    }
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "busctl", "--address", &bus.address()]);
    let output = match command.args(["--timeout=20"]).args(arguments).stdin(Stdio::null()).output().await {
        Ok(output) => output,
        Err(error) => {
            skip(&format!("setpriv and busctl ({error})"));
            return None;
        }
    };
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[tokio::test]
async fn a_stranger_is_refused_whatever_it_asks() {
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    let job = desktop.submit(&daemon, &json!([{"await_answer": "go"}, {"await_file": daemon.path("never")}])).await;
    desktop.wait_for(&job, JOB, "State", "running").await;
    let prompt = format!("{job}/prompt/_1");
    desktop.wait_for(&prompt, PROMPT, "Text", "What now?").await;
    let id = job.rsplit('_').next().unwrap();
    let introspectable = "org.freedesktop.DBus.Introspectable";
    let attempts: &[&[&str]] = &[
        &["call", NAME, ROOT, MANAGER, "ListJobs", "a{sv}", "0"],
        &[
            "call",
            NAME,
            ROOT,
            MANAGER,
            "Submit",
            "a{sv}a{sv}",
            "2",
            "template",
            "s",
            "a",
            "working_directory",
            "s",
            "/",
            "0",
        ],
        &["call", NAME, ROOT, OBJECT_MANAGER, "GetManagedObjects"],
        &["call", NAME, ROOT, introspectable, "Introspect"],
        &["call", NAME, "/", introspectable, "Introspect"],
        &["call", NAME, &job, introspectable, "Introspect"],
        &["call", NAME, &job, PROPERTIES, "GetAll", "s", JOB],
        &["call", NAME, &job, PROPERTIES, "Get", "ss", JOB, "State"],
        &["call", NAME, ROOT, PROPERTIES, "Get", "ss", MANAGER, "NRunning"],
        &["call", NAME, &job, PROPERTIES, "Set", "ssv", JOB, "State", "s", "x"],
        &["call", NAME, &job, JOB, "Cancel", "a{sv}", "0"],
        &["call", NAME, &job, JOB, "Cancel", "a{sv}", "1", "mode", "s", "now"],
        &["call", NAME, &job, JOB, "OpenLog", "a{sv}", "0"],
        &["call", NAME, &job, JOB, "OpenEvents", "ta{sv}", "0", "0"],
        &["call", NAME, &job, JOB, "Screenshot", "a{sv}", "0"],
        &["call", NAME, &prompt, PROMPT, "Answer", "sa{sv}", "c", "0"],
        &["call", NAME, &prompt, PROPERTIES, "GetAll", "s", PROMPT],
        &["call", NAME, "/org/kiln/Kiln1/job/_aaaaaaaaaa", JOB, "Cancel", "a{sv}", "0"],
        &["call", NAME, ROOT, "org.freedesktop.DBus.Peer", "Ping"],
        &["call", NAME, ROOT, MANAGER, "Nonsense"],
    ];
    for attempt in attempts {
        let Some((done, text)) = as_stranger(&bus, attempt).await else { return };
        assert!(!done && text.contains("serves user"), "{attempt:?}: {text}");
        assert!(!text.contains(id) && !text.contains("What now"), "{attempt:?}: {text}");
    }
    let distinct: HashSet<_> = attempts.iter().collect();
    assert!(distinct.len() >= at_least(OVER_D_BUS), "{} attempts", distinct.len());
    println!("{} distinct attempts of a stranger, 0 through", distinct.len());
    assert_eq!(desktop.text(&job, JOB, "State").await, "running");
    assert_eq!(desktop.text(&prompt, PROMPT, "Text").await, "What now?");
    assert_eq!(daemon.get("/v1/jobs").await.json::<Value>()["jobs"].as_array().unwrap().len(), 1);
}
