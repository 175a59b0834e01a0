//! `org.kiln.Kiln1` on the system bus, as programs of two users see it.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use zbus::message::Type;

use super::SystemBus;
use crate::users::{ALICE, BOB};

const NAME: &str = "org.kiln.Kiln1";
const ROOT: &str = "/org/kiln/Kiln1";
const MANAGER: &str = "org.kiln.Kiln1.Manager";
const JOB: &str = "org.kiln.Kiln1.Job";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

#[test]
fn each_user_has_its_own_jobs_on_the_system_bus() {
    let Some(bus) = SystemBus::start() else { return };
    let system = bus.kilnd();
    let id = system.submit(ALICE, &json!([{"await_answer": "q"}]));
    let asks = || system.see(ALICE, &id)["questions"].as_array().is_some_and(|asked| !asked.is_empty());
    system.until("the question", || asks().then_some(()));
    let job = format!("{ROOT}/job/_{id}");
    let prompt = format!("{job}/prompt/_1");
    let of_job = ["call", NAME, &job, PROPERTIES, "Get", "ss", JOB, "State"];
    system.until("alice's job", || bus.busctl(ALICE, &of_job).1.contains("running").then_some(()));

    let list = ["call", NAME, ROOT, MANAGER, "ListJobs", "a{sv}", "0"];
    let (_, alices) = bus.busctl(ALICE, &list);
    assert!(alices.starts_with("aa{sv} 1 ") && alices.contains(&id), "{alices}");
    assert_eq!(bus.busctl(BOB, &list), (true, "aa{sv} 0\n".to_owned()));
    let object_manager = "org.freedesktop.DBus.ObjectManager";
    assert!(!bus.busctl(BOB, &["call", NAME, ROOT, object_manager, "GetManagedObjects"]).1.contains(&id));

    let attempts: &[&[&str]] = &[
        &of_job,
        &["call", NAME, &job, PROPERTIES, "GetAll", "s", JOB],
        &["call", NAME, &job, JOB, "Cancel", "a{sv}", "0"],
        &["call", NAME, &job, JOB, "Cancel", "a{sv}", "1", "mode", "s", "now"],
        &["call", NAME, &job, JOB, "OpenLog", "a{sv}", "0"],
        &["call", NAME, &job, JOB, "OpenEvents", "ta{sv}", "0", "0"],
        &["call", NAME, &job, JOB, "Screenshot", "a{sv}", "0"],
        &["call", NAME, &prompt, "org.kiln.Kiln1.Prompt", "Answer", "sa{sv}", "c", "0"],
        &["call", NAME, &prompt, PROPERTIES, "GetAll", "s", "org.kiln.Kiln1.Prompt"],
    ];
    for attempt in attempts {
        let (done, text) = bus.busctl(BOB, attempt);
        assert!(!done && text.contains("there is no job"), "{attempt:?}: {text}");
    }
    // Nobody else can be kilnd, and interfaces that are not ours are not let through.
    let own = [
        "call",
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "RequestName",
        "su",
        NAME,
        "2",
    ];
    assert!(!bus.busctl(BOB, &own).0);
    assert!(!bus.busctl(BOB, &["call", NAME, ROOT, "org.example.Other", "Method"]).0);
    println!("{} attempts of another user, 0 through", attempts.len() + 2);

    assert!(bus.busctl(ALICE, &["call", NAME, &prompt, "org.kiln.Kiln1.Prompt", "Answer", "sa{sv}", "c", "0"]).0);
    system.until_state(ALICE, &id, "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_told_to_each_program_by_itself() {
    let Some(bus) = SystemBus::start() else { return };
    let system = tokio::task::block_in_place(|| bus.kilnd());
    // Root sees everything. What is told to all would reach it, too.
    let listener = zbus::connection::Builder::address(&*bus.address()).build().await.unwrap();
    let dbus = "org.freedesktop.DBus";
    let rule = ("type='signal',path_namespace='/org/kiln/Kiln1'",);
    listener.call_method(Some(dbus), "/org/freedesktop/DBus", Some(dbus), "AddMatch", &rule).await.unwrap();
    let mut signals = zbus::MessageStream::from(&listener);
    let version = (MANAGER, "Version");
    listener.call_method(Some(NAME), ROOT, Some(PROPERTIES), "Get", &version).await.unwrap();

    let id = tokio::task::block_in_place(|| system.submit(ALICE, &json!([{"await_answer": "q"}])));
    let job = format!("{ROOT}/job/_{id}");
    let heard = async {
        while let Some(Ok(message)) = signals.next().await {
            let header = message.header();
            let path = header.path().map(|path| path.to_string()).unwrap_or_default();
            if message.message_type() != Type::Signal || !path.starts_with(ROOT) {
                continue;
            }
            let to = header.destination().map(|name| name.to_string());
            assert_eq!(to, listener.unique_name().map(|name| name.to_string()), "{message:?}");
            if path == job {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("it hears of the job");
}
