//! A polkit that cannot be asked: masked, without Kiln's actions, failing, gone. What answers in its place is a stand-in on a bus of the test's.

use std::collections::HashMap;
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

/// In the place of an error: everything is allowed.
const YES: &str = "yes";

/// Has polkit's name, and answers every question with one error, or with a yes.
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
                        let yes = ((true, false, HashMap::<String, String>::new()),);
                        let header = message.header();
                        let answered = if name == YES {
                            bus.reply(&header, &yes).await
                        } else {
                            bus.reply_error(&header, name, &(text,)).await
                        };
                        // The bus may be gone by now.
                        let _ = answered;
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

/// A bus that is gone for a moment, as when it is started anew, is no machine without polkit: else whoever can make it fail could do as if
/// nobody had forbidden anything.
#[test]
fn a_bus_that_was_there_and_is_gone_has_not_allowed_it() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let Some(mut bus) = TestBus::start() else { return };
    let polkit = StandIn::start(&bus.address());
    polkit.answer_with(YES, "");
    let system = System::start_with("", vec![("DBUS_SYSTEM_BUS_ADDRESS", bus.address())]);
    let home = system.path("kiln-alice");
    let request =
        json!({"kind": "build", "template": "t.json", "working_directory": home, "environment": {}}).to_string();
    let until = |status: u16, words: &str| {
        system.until(words, || {
            let (found, body) = system.answer(ALICE, "POST", "/v1/jobs", &request);
            (found == status && body.contains(words)).then_some(())
        });
    };
    until(201, "\"id\"");
    bus.kill();
    until(403, "polkit cannot be asked (the bus of the system is not there just now");
    let (status, body) = system.answer(ALICE, "POST", "/v1/shutdown", "");
    assert!(status == 403 && body.contains("not there just now"), "{body}");
    assert!(body.contains("`systemctl status dbus`") && !body.contains("pkcheck"), "{body}");
    // Back, and without polkit: each has just one's own jobs.
    drop(polkit);
    bus.start_again();
    until(201, "\"id\"");
}
