//! A polkit that cannot be asked: masked, without Kiln's actions, failing, gone. What answers in its place is a stand-in on a bus of the test's.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use rustix::process::geteuid;
use serde_json::json;
use tokio::runtime::Runtime;
use zbus::MessageStream;
use zbus::message::Type;

use crate::bus::TestBus;
use crate::rig::skip;
use crate::users::{ALICE, System};

const NAME: &str = "org.freedesktop.PolicyKit1";

/// Has polkit's name, and answers every question with one error.
struct StandIn {
    error: Arc<Mutex<(&'static str, &'static str)>>,
    /// Ends with the stand-in.
    _runtime: Runtime,
}

impl StandIn {
    fn start(address: &str) -> Self {
        let error = Arc::new(Mutex::new(("org.freedesktop.DBus.Error.Failed", "")));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let answer = Arc::clone(&error);
        runtime.block_on(async {
            let bus = zbus::connection::Builder::address(address).build().await.unwrap();
            let mut messages = MessageStream::from(&bus);
            bus.request_name(NAME).await.unwrap();
            tokio::spawn(async move {
                while let Some(Ok(message)) = messages.next().await {
                    if message.message_type() == Type::MethodCall {
                        let (name, text) = *answer.lock().unwrap();
                        bus.reply_error(&message.header(), name, &(text,)).await.unwrap();
                    }
                }
            });
        });
        Self { error, _runtime: runtime }
    }

    fn answer_with(&self, name: &'static str, text: &'static str) {
        *self.error.lock().unwrap() = (name, text);
    }
}

#[test]
fn who_cannot_be_asked_has_not_allowed_it() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let Some(bus) = TestBus::start() else { return };
    let polkit = StandIn::start(&bus.address());
    let system = System::start_with("", vec![("DBUS_SYSTEM_BUS_ADDRESS", bus.address())]);
    let home = system.path("kiln-alice");
    let request =
        json!({"kind": "build", "template": "t.json", "working_directory": home, "environment": {}}).to_string();
    // An answer is remembered for some seconds.
    let until = |status: u16, words: &str| {
        system.until(words, || {
            let (found, body) = system.answer(ALICE, "POST", "/v1/jobs", &request);
            (found == status && body.contains(words)).then_some(())
        });
    };

    polkit.answer_with("org.freedesktop.DBus.Error.TimedOut", "Failed to activate service: timed out");
    until(403, "polkit does not answer");
    polkit.answer_with("org.freedesktop.PolicyKit1.Error.Failed", "Action org.kiln.Kiln1.build is not registered");
    until(403, "org.kiln.Kiln1.policy is not in /usr/share/polkit-1/actions");
    // Its administrator has said that there is to be none: as dbus-daemon 1.14 and systemd 252 tell it.
    polkit.answer_with("org.freedesktop.systemd1.UnitMasked", "Unit polkit.service is masked.");
    until(201, "\"id\"");
    let (status, body) = system.answer(ALICE, "POST", "/v1/shutdown", "");
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("only root may stop the daemon"), "{body}");
    drop(polkit);
    until(201, "\"id\"");
}
