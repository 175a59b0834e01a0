//! An authentication agent of polkit that dismisses every question, as somebody does who closes the window.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use zbus::message::Type;
use zbus::{Connection, MessageStream, Variant};

use crate::users::as_user;

const PATH: &str = "/org/kiln/TestAgent";

pub(super) struct Agent {
    asked: Arc<Mutex<Vec<String>>>,
    /// Ends with the agent.
    _runtime: Runtime,
}

impl Agent {
    /// Registers an agent of this user for one of the user's processes.
    pub(super) fn of(address: &str, uid: u32, pid: u32) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        is_of(uid, pid);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // A connection is of the user whose thread makes it.
        let connect = async { zbus::connection::Builder::address(address).build().await.unwrap() };
        let bus = as_user(uid, || runtime.block_on(connect));
        let noted = Arc::clone(&asked);
        runtime.block_on(async {
            let start_time = kiln_builder::process_stat::ProcessStat::of(pid).unwrap().start_time;
            let process: HashMap<&str, Variant<'_>> = HashMap::from([
                ("pid", pid.into()),
                ("start-time", start_time.into()),
                ("uid", uid.cast_signed().into()),
            ]);
            let messages = MessageStream::from(&bus);
            tokio::spawn(dismiss(bus.clone(), messages, noted));
            let authority = "org.freedesktop.PolicyKit1";
            let interface = "org.freedesktop.PolicyKit1.Authority";
            let path = "/org/freedesktop/PolicyKit1/Authority";
            let arguments = (("unix-process", process), "C", PATH);
            let registered =
                bus.call_method(Some(authority), path, Some(interface), "RegisterAuthenticationAgent", &arguments);
            registered.await.unwrap();
        });
        Self { asked, _runtime: runtime }
    }

    /// Returns what it was asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Waits until a process that was just started is its user's.
fn is_of(uid: u32, pid: u32) {
    let until = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(format!("/proc/{pid}")).unwrap().uid() != uid {
        assert!(Instant::now() < until, "process {pid} does not become that of user {uid}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn dismiss(bus: Connection, mut messages: MessageStream, asked: Arc<Mutex<Vec<String>>>) {
    while let Some(Ok(message)) = messages.next().await {
        let header = message.header();
        if message.message_type() != Type::MethodCall {
            continue;
        }
        if header.member().is_some_and(|member| member.as_str() == "BeginAuthentication") {
            type Identities = Vec<(String, HashMap<String, zbus::OwnedVariant>)>;
            let body = message.body();
            let (action, text, _, _, _, _): (String, String, String, HashMap<String, String>, String, Identities) =
                body.deserialize().unwrap();
            asked.lock().unwrap().push(format!("{action}: {text}"));
        }
        let name = "org.freedesktop.PolicyKit1.Error.Cancelled";
        bus.reply_error(&header, name, &("dismissed",)).await.unwrap();
    }
}
