//! `org.kiln.Kiln1` on the system bus, as programs of two users see it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::runtime::Runtime;
use zbus::message::Type;
use zbus::{MatchRule, MessageStream};

use super::SystemBus;
use crate::users::{ALICE, BOB, as_user};

const NAME: &str = "org.kiln.Kiln1";
const ROOT: &str = "/org/kiln/Kiln1";
const MANAGER: &str = "org.kiln.Kiln1.Manager";
const JOB: &str = "org.kiln.Kiln1.Job";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Listens to all signals of kilnd's, as a user.
struct Listener {
    heard: Arc<Mutex<Vec<String>>>,
    /// Ends with the listener.
    _runtime: Runtime,
}

impl Listener {
    fn start(address: &str, uid: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        // A connection is of the user whose thread makes it.
        let connect = async { zbus::connection::Builder::address(address).build().await.unwrap() };
        let bus = as_user(uid, || runtime.block_on(connect));
        let noted = Arc::clone(&heard);
        runtime.block_on(async {
            let rule = MatchRule::builder().msg_type(Type::Signal).sender(NAME).build().unwrap();
            let mut signals = MessageStream::for_match_rule(rule, &bus, None).await.unwrap();
            // Who has asked for the objects is told of them.
            let manager = "org.freedesktop.DBus.ObjectManager";
            bus.call_method(Some(NAME), ROOT, Some(manager), "GetManagedObjects", &()).await.unwrap();
            tokio::spawn(async move {
                while let Some(Ok(message)) = signals.next().await {
                    let header = message.header();
                    let text = format!("{:?} {:?} {}", header.path(), header.member(), body(&message));
                    noted.lock().unwrap().push(text);
                }
            });
        });
        Self { heard, _runtime: runtime }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// What a message has, with all texts in it.
fn body(message: &zbus::Message) -> String {
    String::from_utf8_lossy(message.body().data()).into_owned()
}

#[test]
fn each_user_has_its_own_jobs_on_the_system_bus() {
    let Some(bus) = SystemBus::start() else { return };
    let system = bus.kilnd();
    let planned = json!({"emit": {"build": "qemu.a", "kind": "build_planned", "position": 0}});
    let left = json!({"emit": {"build": "qemu.a", "kind": "artifact", "builder_id": "b", "id": "i", "files": ["/f"]}});
    let id = system.submit(ALICE, &json!([planned, left, {"await_answer": "q"}]));
    let asks = || system.see(ALICE, &id)["questions"].as_array().is_some_and(|asked| !asked.is_empty());
    system.until("the question", || asks().then_some(()));
    let job = format!("{ROOT}/job/_{id}");
    let prompt = format!("{job}/prompt/_1");
    let build = format!("{job}/build/_0");
    let of_job = ["call", NAME, &job, PROPERTIES, "Get", "ss", JOB, "State"];
    system.until("alice's job", || bus.busctl(ALICE, &of_job).1.contains("running").then_some(()));

    let image = format!("{build}/image/_0");
    let of_image = ["call", NAME, &image, PROPERTIES, "GetAll", "s", "org.kiln.Kiln1.Image"];
    system.until("alice's image", || bus.busctl(ALICE, &of_image).1.contains("/f").then_some(()));
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
        &["call", NAME, &build, "org.kiln.Kiln1.Build", "Screenshot", "a{sv}", "0"],
        &["call", NAME, &build, PROPERTIES, "GetAll", "s", "org.kiln.Kiln1.Build"],
        &of_image,
        &["call", NAME, &image, PROPERTIES, "Get", "ss", "org.kiln.Kiln1.Image", "Files"],
        &["call", NAME, &job, PROPERTIES, "Set", "ssv", JOB, "State", "s", "x"],
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
    // Descriptors of streams are opened for who asked, and for nobody by another's name.
    let spoofed = format!("/org/kiln/Kiln1/job/_{}", id.to_uppercase());
    assert!(!bus.busctl(BOB, &["call", NAME, &spoofed, JOB, "OpenLog", "a{sv}", "0"]).0);
    println!("{} attempts of another user, 0 through", attempts.len() + 4);

    // Signals go to those who may see the job: she hears of her question, he of his own job alone.
    let (hers, his) = (Listener::start(&bus.address(), ALICE), Listener::start(&bus.address(), BOB));
    let later = system
        .submit(ALICE, &json!([planned, {"await_answer": "q"}, {"emit": {"kind": "say", "text": "private words"}}]));
    let prompt_of_later = format!("{ROOT}/job/_{later}/prompt/_1");
    let asked = || hers.heard().iter().any(|text| text.contains(&prompt_of_later));
    system.until("what she is told of her question", || asked().then_some(()));
    assert!(
        bus.busctl(ALICE, &["call", NAME, &prompt_of_later, "org.kiln.Kiln1.Prompt", "Answer", "sa{sv}", "c", "0"]).0
    );
    system.until_state(ALICE, &later, "succeeded");
    assert!(bus.busctl(ALICE, &["call", NAME, &prompt, "org.kiln.Kiln1.Prompt", "Answer", "sa{sv}", "c", "0"]).0);
    system.until_state(ALICE, &id, "succeeded");
    let own = system.submit(BOB, &json!([{"stop": 0}]));
    system.until("what he is told", || his.heard().iter().any(|text| text.contains(&own)).then_some(()));
    let heard = his.heard();
    for secret in [&*id, &later, "What now?", "t.json", "kiln-alice", "qemu.a", "private words"] {
        assert!(heard.iter().all(|text| !text.contains(secret)), "{secret}: {heard:?}");
    }
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
    let mut signals = MessageStream::from(&listener);
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
