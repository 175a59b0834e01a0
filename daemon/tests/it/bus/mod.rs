//! The daemon on D-Bus, as desktop programs see it: a bus of the test's own, a program on it, and the daemon with scripted workers.

mod calls;
mod introspection;
mod life;
mod limits;
mod objects;
mod outside;
mod strangers;

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use kiln_daemon::config::BusConfig;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use zbus::message::Type;
use zbus::wire::DynamicDeserialize;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use crate::rig::{Daemon, PATIENCE, skip, until};

const NAME: &str = "org.kiln.Kiln1";
const ROOT: &str = "/org/kiln/Kiln1";
const MANAGER: &str = "org.kiln.Kiln1.Manager";
const JOB: &str = "org.kiln.Kiln1.Job";
const BUILD: &str = "org.kiln.Kiln1.Build";
const IMAGE: &str = "org.kiln.Kiln1.Image";
const PROMPT: &str = "org.kiln.Kiln1.Prompt";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";

/// A bus that ends with the test.
pub(crate) struct TestBus {
    scratch: TempDir,
    daemon: Child,
}

impl TestBus {
    /// Starts one; `None` (said aloud) where there is no dbus-daemon.
    pub(crate) fn start() -> Option<Self> {
        let scratch = tempfile::Builder::new().prefix("kb").tempdir().unwrap();
        // Other users are to reach it, and to be refused behind it.
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let configuration = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
                "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig><type>session</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/>
            <allow eavesdrop="false"/></policy></busconfig>"#,
            scratch.path().display()
        );
        std::fs::write(scratch.path().join("bus.conf"), configuration).unwrap();
        let Some(daemon) = run(scratch.path()) else {
            skip("dbus-daemon");
            return None;
        };
        Some(Self { scratch, daemon })
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}/bus", self.scratch.path().display())
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = std::fs::remove_file(self.scratch.path().join("bus"));
    }

    pub(crate) fn start_again(&mut self) {
        self.daemon = run(self.scratch.path()).unwrap();
    }

    fn config(&self) -> BusConfig {
        BusConfig { address: self.address(), keep_finished: Duration::from_secs(600) }
    }

    /// Starts a daemon on this bus, and waits until it is there.
    async fn kilnd(&self) -> Daemon {
        let daemon = self.kilnd_with(|_| ()).await;
        self.wait_for_kilnd().await;
        daemon
    }

    async fn kilnd_with(&self, change: impl FnOnce(&mut BusConfig)) -> Daemon {
        let mut config = self.config();
        change(&mut config);
        Daemon::with(|daemon| daemon.bus = Some(config)).await
    }

    async fn wait_for_kilnd(&self) {
        let desktop = self.desktop().await;
        until("the name", async || desktop.has_owner().await.then_some(())).await;
    }

    async fn desktop(&self) -> Desktop {
        let connection = zbus::connection::Builder::address(self.address().as_str()).build();
        Desktop { connection: connection.await.unwrap() }
    }
}

fn run(scratch: &Path) -> Option<Child> {
    let configuration = format!("--config-file={}/bus.conf", scratch.display());
    let mut command = Command::new("dbus-daemon");
    command.args([&*configuration, "--nofork", "--print-address"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = command.stderr(Stdio::null()).spawn().ok()?;
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("unix:"), "dbus-daemon says {line:?}");
    Some(daemon)
}

impl Drop for TestBus {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of the desktop.
struct Desktop {
    connection: Connection,
}

type Named<'a> = HashMap<&'a str, Variant<'a>>;

fn none<'a>() -> Named<'a> {
    HashMap::new()
}

impl Desktop {
    async fn has_owner(&self) -> bool {
        let bus = "org.freedesktop.DBus";
        let call = self.connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "NameHasOwner", &(NAME,));
        call.await.unwrap().body().deserialize().unwrap()
    }

    /// Returns kilnd's unique name, which it has for as long as its connection lasts.
    async fn owner_of_kilnd(&self) -> String {
        let bus = "org.freedesktop.DBus";
        let call = self.connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetNameOwner", &(NAME,));
        call.await.unwrap().body().deserialize().unwrap()
    }

    async fn try_call<B: Serialize + DynamicType>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<Message> {
        let call = self.connection.call_method(Some(NAME), path, Some(interface), method, body);
        tokio::time::timeout(PATIENCE, call).await.expect("an answer in time")
    }

    async fn call<T>(&self, path: &str, interface: &str, method: &str, body: &(impl Serialize + DynamicType)) -> T
    where
        T: for<'a> DynamicDeserialize<'a>,
    {
        self.try_call(path, interface, method, body).await.unwrap().body().deserialize().unwrap()
    }

    /// Calls what is to fail, and returns the name of the error and what it says.
    async fn refused(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> (String, String) {
        match self.try_call(path, interface, method, body).await {
            Err(error) => what_is_said(&error),
            Ok(reply) => panic!("{reply:?}"),
        }
    }

    async fn properties(&self, path: &str, interface: &str) -> HashMap<String, OwnedVariant> {
        self.call(path, PROPERTIES, "GetAll", &(interface,)).await
    }

    async fn property(&self, path: &str, interface: &str, name: &str) -> OwnedVariant {
        self.call(path, PROPERTIES, "Get", &(interface, name)).await
    }

    async fn text(&self, path: &str, interface: &str, name: &str) -> String {
        self.property(path, interface, name).await.try_into().unwrap()
    }

    /// Waits until the object is there and the property is this text, asking again.
    async fn wait_for(&self, path: &str, interface: &str, name: &str, text: &str) {
        until(name, async || {
            let value = self.try_call(path, PROPERTIES, "Get", &(interface, name)).await.ok()?;
            let value: OwnedVariant = value.body().deserialize().ok()?;
            <&str>::try_from(&*value).is_ok_and(|value| value == text).then_some(())
        })
        .await;
    }

    /// Submits a script and returns the path of its job.
    async fn submit(&self, daemon: &Daemon, script: &Value) -> String {
        let submission = daemon.submission(script);
        let environment: HashMap<String, String> = serde_json::from_value(submission["environment"].clone()).unwrap();
        let text = |name: &str| submission[name].as_str().unwrap();
        let specification: Named<'_> = HashMap::from([
            ("template", text("template").into()),
            ("working_directory", text("working_directory").into()),
            ("environment", environment.into()),
        ]);
        let job: OwnedObjectPath = self.call(ROOT, MANAGER, "Submit", &(specification, none())).await;
        job.to_string()
    }

    /// Returns all signals of the daemon from now on.
    async fn signals(&self) -> Signals {
        let rule = MatchRule::builder().msg_type(Type::Signal).path_namespace(ROOT).build().unwrap();
        let capacity = std::num::NonZeroUsize::new(10_000);
        Signals(MessageStream::for_match_rule(rule, &self.connection, capacity).await.unwrap())
    }
}

/// Returns the name of an error that was sent, and its text.
fn what_is_said(error: &zbus::Error) -> (String, String) {
    use zbus::DBusError as _;
    match error {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text.clone().unwrap_or_default()),
        zbus::Error::FDO(error) => (error.name().to_string(), error.description().unwrap_or_default().to_owned()),
        other => panic!("{other:?}"),
    }
}

/// Signals, as they come.
struct Signals(MessageStream);

/// A signal and when it came.
struct Signal {
    at: Instant,
    path: String,
    member: String,
    message: Message,
}

impl Signals {
    async fn next(&mut self) -> Signal {
        let message = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a signal in time");
        let message = message.unwrap().unwrap();
        let header = message.header();
        let path = header.path().unwrap().to_string();
        let member = header.member().unwrap().to_string();
        Signal { at: Instant::now(), path, member, message }
    }

    /// Waits until a property of an object is told to have a value that fits.
    async fn until_changed(&mut self, path: &str, name: &str, fits: impl Fn(&OwnedVariant) -> bool) -> Signal {
        loop {
            let signal = self.next().await;
            if signal.path == path && signal.changed().get(name).is_some_and(&fits) {
                return signal;
            }
        }
    }

    async fn until_member(&mut self, member: &str) -> Signal {
        loop {
            let signal = self.next().await;
            if signal.member == member {
                return signal;
            }
        }
    }
}

impl Signal {
    /// Returns what a `PropertiesChanged` says; nothing of other signals.
    fn changed(&self) -> HashMap<String, OwnedVariant> {
        if self.member != "PropertiesChanged" {
            return HashMap::new();
        }
        let body = self.message.body();
        let (_, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) = body.deserialize().unwrap();
        changed
    }

    /// Returns the object that an `InterfacesAdded` or `InterfacesRemoved` is about.
    fn object(&self) -> String {
        let body = self.message.body();
        match self.member.as_str() {
            "InterfacesAdded" => {
                type Interfaces = HashMap<String, HashMap<String, OwnedVariant>>;
                body.deserialize::<(OwnedObjectPath, Interfaces)>().unwrap().0.to_string()
            }
            _ => body.deserialize::<(OwnedObjectPath, Vec<String>)>().unwrap().0.to_string(),
        }
    }
}

/// Reads a descriptor to its end.
async fn read(descriptor: zbus::OwnedFd) -> String {
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        std::fs::File::from(std::os::fd::OwnedFd::from(descriptor)).read_to_string(&mut text).unwrap();
        text
    });
    tokio::time::timeout(PATIENCE, reading).await.expect("the end in time").unwrap()
}

/// Script of a job that waits for a file.
fn waits_for(path: &Path) -> Value {
    json!([{"await_file": path}])
}
