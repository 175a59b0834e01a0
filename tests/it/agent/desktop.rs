//! Stands in for a desktop: a bus of the test's own, and on it a server of notifications and one of KDE's job views that keep what they are
//! told and press the buttons that the test names. No real desktop has shown anything here.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use tokio::runtime::Runtime;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, OwnedVariant};

pub(super) const NOTIFICATIONS: &str = "org.freedesktop.Notifications";
pub(super) const JOB_VIEWS: &str = "org.kde.JobViewServer";

/// A session bus that ends with the test.
pub(super) struct SessionBus {
    daemon: Child,
    pub(super) address: String,
}

impl SessionBus {
    pub(super) fn start(directory: &Path) -> Self {
        let configuration = directory.join("bus.conf");
        let text = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
                "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig><type>session</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
            <allow eavesdrop="false"/></policy></busconfig>"#,
            directory.display()
        );
        std::fs::write(&configuration, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg(format!("--config-file={}", configuration.display())).args(["--nofork", "--print-address"]);
        let mut daemon = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { daemon, address: line.trim().to_owned() }
    }
}

impl Drop for SessionBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A notification, as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) number: u32,
    pub(super) replaces: u32,
    pub(super) summary: String,
    pub(super) body: String,
    /// Labels of the buttons, by their keys.
    pub(super) buttons: Vec<(String, String)>,
    pub(super) urgency: u8,
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) shown: Vec<Shown>,
    pub(super) closed: Vec<u32>,
    /// Calls of the views, as `view 1: setInfoMessage …`.
    pub(super) views: Vec<String>,
}

/// One of the servers.
pub(super) struct Server {
    runtime: Runtime,
    bus: Connection,
    pub(super) told: Arc<Mutex<Told>>,
}

impl Server {
    /// Puts a server of this name on the bus.
    pub(super) fn start(address: &str, name: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let told: Arc<Mutex<Told>> = Arc::default();
        let (kept, address) = (Arc::clone(&told), address.to_owned());
        let bus = runtime.block_on(async move {
            let builder = zbus::connection::Builder::address(address.as_str());
            // A bus that lets nobody hear its answers must fail the test, and not hang it.
            let bus = tokio::time::timeout(crate::agent::PATIENCE, builder.build()).await.unwrap().unwrap();
            let mut messages = MessageStream::from(&bus);
            bus.request_name(name).await.unwrap();
            let answering = bus.clone();
            tokio::spawn(async move {
                while let Some(Ok(message)) = messages.next().await {
                    if message.message_type() == Type::MethodCall {
                        answer(&answering, &kept, &message).await;
                    }
                }
            });
            bus
        });
        Self { runtime, bus, told }
    }

    /// Presses a button of a notification.
    pub(super) fn press(&self, number: u32, button: &str) {
        let (path, arguments) = ("/org/freedesktop/Notifications", (number, button));
        let signal = self.bus.emit_signal(None::<&str>, path, NOTIFICATIONS, "ActionInvoked", &arguments);
        self.runtime.block_on(signal).unwrap();
    }

    /// Presses the button of a view that cancels its job.
    pub(super) fn cancel(&self, view: usize) {
        let path = format!("/view/{view}");
        let signal = self.bus.emit_signal(None::<&str>, path, "org.kde.JobViewV2", "cancelRequested", &());
        self.runtime.block_on(signal).unwrap();
    }
}

async fn answer(bus: &Connection, told: &Mutex<Told>, message: &Message) {
    let header = message.header();
    let body = message.body();
    let sent = match header.member().unwrap().as_str() {
        "GetCapabilities" => bus.reply(&header, &(["actions", "body", "body-markup"].as_slice(),)).await,
        "Notify" => {
            type Hints = HashMap<String, OwnedVariant>;
            let (_, replaces, _, summary, body, actions, hints, _): (
                String,
                u32,
                String,
                String,
                String,
                Vec<String>,
                Hints,
                i32,
            ) = body.deserialize().unwrap();
            let buttons = actions.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            let urgency = u8::try_from(&*hints["urgency"]).unwrap();
            let number = {
                let shown = &mut told.lock().unwrap().shown;
                let number = if replaces == 0 { u32::try_from(shown.len()).unwrap() + 1 } else { replaces };
                shown.push(Shown { number, replaces, summary, body, buttons, urgency });
                number
            };
            bus.reply(&header, &(number,)).await
        }
        "CloseNotification" => {
            let (number,): (u32,) = body.deserialize().unwrap();
            told.lock().unwrap().closed.push(number);
            bus.reply(&header, &()).await
        }
        "requestView" => {
            let (program, _, capabilities): (String, String, i32) = body.deserialize().unwrap();
            let path = {
                let views = &mut told.lock().unwrap().views;
                let number = views.iter().filter(|call| call.contains("requestView")).count() + 1;
                views.push(format!("view {number}: requestView {program} {capabilities}"));
                format!("/view/{number}")
            };
            bus.reply(&header, &(ObjectPath::try_from(path).unwrap(),)).await
        }
        member => {
            let what = match member {
                "setInfoMessage" | "terminate" => body.deserialize::<(String,)>().unwrap().0,
                "setDescriptionField" => body.deserialize::<(u32, String, String)>().unwrap().2,
                "setPercent" => body.deserialize::<(u32,)>().unwrap().0.to_string(),
                other => panic!("an agent has no use for {other}"),
            };
            let view = header.path().unwrap().as_str().trim_start_matches("/view/").to_owned();
            told.lock().unwrap().views.push(format!("view {view}: {member} {what}"));
            // A view's field says whether it was taken.
            if member == "setDescriptionField" {
                bus.reply(&header, &(true,)).await
            } else {
                bus.reply(&header, &()).await
            }
        }
    };
    sent.unwrap();
}
