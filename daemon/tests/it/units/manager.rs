//! A mock of systemd's manager on D-Bus: as much of `org.freedesktop.systemd1` as kilnd uses. It starts the program of a unit as the unit's
//! user, with the descriptors that were handed over, and keeps what it was told.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, OwnedVariant, Variant};

const NAME: &str = "org.freedesktop.systemd1";
const ROOT: &str = "/org/freedesktop/systemd1";

/// The mock.
pub(super) struct Manager {
    runtime: Runtime,
    bus: Connection,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    units: Vec<Unit>,
    kills: Vec<String>,
    stops: Vec<String>,
    /// Whether the next unit's process is told to nobody, and the unit of which it is so.
    hides_next: bool,
    hidden: Option<String>,
    /// What becomes of the next start.
    failure: Option<String>,
    /// How the manager goes at the next start, which it has begun.
    going: Option<Going>,
}

/// How the manager leaves a start half told, as when it executes itself anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    /// The bus says that nobody answers any more.
    Unanswered,
    /// It leaves the bus after its answer, and nothing tells that the program was executed.
    Untold,
}

/// A unit that was started.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    /// Everything that it was told to be, as text.
    pub(super) text: String,
    properties: HashMap<String, String>,
    result: String,
    pid: u32,
    /// How it ended: `ExecMainCode` and `ExecMainStatus`.
    end: Option<(i32, i32)>,
    is_referred_to: bool,
}

impl Unit {
    pub(super) fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

impl Manager {
    pub(super) fn start(address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let bus = runtime.block_on(async { zbus::connection::Builder::address(address).build().await.unwrap() });
        let serving = (bus.clone(), Arc::clone(&state));
        runtime.spawn(async move {
            let (bus, state) = serving;
            let mut messages = MessageStream::from(&bus);
            while let Some(Ok(message)) = messages.next().await {
                if message.message_type() == Type::MethodCall {
                    serve(&bus, &state, &message).await;
                }
            }
        });
        let manager = Self { runtime, bus, state };
        manager.come_back();
        manager
    }

    pub(super) fn come_back(&self) {
        self.runtime.block_on(async { self.bus.request_name(NAME).await.unwrap() });
    }

    pub(super) fn leave(&self) {
        self.runtime.block_on(async { self.bus.release_name(NAME).await.unwrap() });
    }

    /// Has the next unit fail to start.
    pub(super) fn fail_next(&self, result: &str) {
        self.state.lock().unwrap().failure = Some(result.to_owned());
    }

    /// Starts the next unit, and goes before it has told of it.
    pub(super) fn go_at_next(&self, how: Going) {
        self.state.lock().unwrap().going = Some(how);
    }

    /// Starts the next unit, and does not tell which process it is.
    pub(super) fn hide_next(&self) {
        self.state.lock().unwrap().hides_next = true;
    }

    pub(super) fn unit(&self, name: &str) -> Option<Unit> {
        self.state.lock().unwrap().units.iter().find(|unit| unit.name == name).cloned()
    }

    pub(super) fn is_released(&self, name: &str) -> bool {
        self.unit(name).is_some_and(|unit| !unit.is_referred_to)
    }

    pub(super) fn has_ended(&self, name: &str) -> bool {
        self.unit(name).is_some_and(|unit| unit.end.is_some())
    }

    pub(super) fn stops(&self) -> Vec<String> {
        self.state.lock().unwrap().stops.clone()
    }

    pub(super) fn kills(&self) -> Vec<String> {
        self.state.lock().unwrap().kills.clone()
    }
}

async fn serve(bus: &Connection, state: &Arc<Mutex<State>>, message: &Message) {
    let header = message.header();
    let member = header.member().unwrap().to_string();
    let body = message.body();
    let sent = match member.as_str() {
        "StartTransientUnit" => start(bus, state, message).await,
        "KillUnit" => {
            let (name, _, signal): (String, String, i32) = body.deserialize().unwrap();
            assert_eq!(signal, 9);
            let unit = {
                let mut state = state.lock().unwrap();
                state.kills.push(name.clone());
                state.units.iter().find(|unit| unit.name == name && unit.end.is_none()).cloned()
            };
            if let Some(pid) = unit.and_then(|unit| Pid::from_raw(unit.pid.cast_signed())) {
                let _ = kill_process(pid, Signal::KILL);
            }
            bus.reply(&header, &()).await
        }
        "StopUnit" => {
            let (name, mode): (String, String) = body.deserialize().unwrap();
            assert_eq!(mode, "replace");
            let unit = {
                let mut state = state.lock().unwrap();
                state.stops.push(name.clone());
                state.units.iter().find(|unit| unit.name == name && unit.end.is_none()).cloned()
            };
            if let Some(pid) = unit.and_then(|unit| Pid::from_raw(unit.pid.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
            bus.reply(&header, &(ObjectPath::try_from(format!("{ROOT}/job/8")).unwrap(),)).await
        }
        "GetUnitByPID" => {
            let (pid,): (u32,) = body.deserialize().unwrap();
            // systemd knows a process for as long as it lives.
            let unit = state
                .lock()
                .unwrap()
                .units
                .iter()
                .find(|unit| unit.pid == pid && unit.end.is_none())
                .map(|unit| path(&unit.name));
            match unit {
                Some(path) => bus.reply(&header, &(ObjectPath::try_from(path).unwrap(),)).await,
                None => bus.reply_error(&header, "org.freedesktop.systemd1.NoUnitForPID", &("no",)).await,
            }
        }
        "UnrefUnit" => {
            let (name,): (String,) = body.deserialize().unwrap();
            for unit in state.lock().unwrap().units.iter_mut().filter(|unit| unit.name == name) {
                unit.is_referred_to = false;
            }
            bus.reply(&header, &()).await
        }
        "Get" => {
            let (_, wanted): (String, String) = body.deserialize().unwrap();
            let at = header.path().unwrap().to_string();
            let (unit, hidden) = {
                let state = state.lock().unwrap();
                let unit = state.units.iter().rev().find(|unit| path(&unit.name) == at).cloned();
                (unit, state.hidden.clone())
            };
            let unit = unit.filter(|unit| wanted != "ExecMainPID" || hidden.as_ref() != Some(&unit.name));
            match unit.and_then(|unit| property(&unit, &wanted)) {
                Some(value) => bus.reply(&header, &(value,)).await,
                None => bus.reply_error(&header, "org.freedesktop.DBus.Error.UnknownProperty", &(wanted,)).await,
            }
        }
        _ => bus.reply(&header, &()).await,
    };
    sent.unwrap();
}

fn property(unit: &Unit, wanted: &str) -> Option<Variant<'static>> {
    let (code, status) = unit.end.unwrap_or_default();
    Some(match wanted {
        "Id" => unit.name.clone().into(),
        "Result" => unit.result.clone().into(),
        "MainPID" => if unit.end.is_none() { unit.pid } else { 0 }.into(),
        "ExecMainPID" => unit.pid.into(),
        "ExecMainCode" => code.into(),
        "ExecMainStatus" => status.into(),
        _ => return None,
    })
}

async fn start(bus: &Connection, state: &Arc<Mutex<State>>, message: &Message) -> zbus::Result<()> {
    type Properties = Vec<(String, OwnedVariant)>;
    let header = message.header();
    let body = message.body();
    let (name, mode, properties, others): (String, String, Properties, Vec<(String, Properties)>) =
        body.deserialize().unwrap();
    assert!(mode == "fail" && others.is_empty());
    let is_taken = state.lock().unwrap().units.iter().any(|unit| unit.name == name && unit.is_referred_to);
    if is_taken {
        return bus.reply_error(&header, "org.freedesktop.systemd1.UnitExists", &("it is there",)).await;
    }
    let (failure, going) = {
        let mut state = state.lock().unwrap();
        if std::mem::take(&mut state.hides_next) {
            state.hidden = Some(name.clone());
        }
        (state.failure.take(), state.going.take())
    };
    let mut unit = Unit {
        name: name.clone(),
        text: format!("{properties:?}"),
        properties: properties.iter().map(|(name, value)| (name.clone(), as_text(value))).collect(),
        result: failure.clone().unwrap_or_else(|| "success".to_owned()),
        pid: 0,
        end: None,
        is_referred_to: true,
    };
    let mut child = failure.is_none().then(|| execute(&properties));
    unit.pid = child.as_ref().map_or(0, std::process::Child::id);
    state.lock().unwrap().units.push(unit);
    let job = ObjectPath::try_from(format!("{ROOT}/job/7")).unwrap();
    match going {
        Some(Going::Unanswered) => {
            bus.reply_error(&header, "org.freedesktop.DBus.Error.NoReply", &("it has left",)).await?;
        }
        Some(Going::Untold) | None => bus.reply(&header, &(&job,)).await?,
    }
    if let Some(mut child) = child.take() {
        let (bus, state, name) = (bus.clone(), Arc::clone(state), name.clone());
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            let status = child.wait().unwrap();
            let end = status.code().map_or((2, status.signal().unwrap_or_default()), |code| (1, code));
            for unit in state.lock().unwrap().units.iter_mut().filter(|unit| unit.pid == child.id()) {
                unit.end = Some(end);
            }
            let changed: (&str, HashMap<&str, Variant<'_>>, Vec<&str>) =
                ("org.freedesktop.systemd1.Service", HashMap::new(), vec!["ExecMainStatus"]);
            let properties = "org.freedesktop.DBus.Properties";
            let signal = bus.emit_signal(None::<&str>, path(&name), properties, "PropertiesChanged", &changed);
            // The test may be over.
            let _ = runtime.block_on(signal);
        });
    }
    if going == Some(Going::Untold) {
        bus.release_name(NAME).await?;
    }
    if going.is_some() {
        return Ok(());
    }
    let result = if failure.is_some() { "failed" } else { "done" };
    let manager = "org.freedesktop.systemd1.Manager";
    bus.emit_signal(None::<&str>, ROOT, manager, "JobRemoved", &(7u32, job, name, result)).await
}

/// Starts the program of a unit.
fn execute(properties: &[(String, OwnedVariant)]) -> std::process::Child {
    let value = |wanted: &str| &properties.iter().find(|(name, _)| name == wanted).unwrap().1;
    let descriptor = |name: &str| match &**value(name) {
        Variant::Fd(fd) => Stdio::from(OwnedFd::try_from(fd.try_clone().unwrap()).unwrap()),
        other => panic!("{name}: {other:?}"),
    };
    let Variant::Array(commands) = &**value("ExecStartEx") else { panic!("no commands") };
    let [Variant::Structure(words)] = commands.inner() else { panic!("not one command") };
    let [Variant::Str(program), Variant::Array(arguments), Variant::Array(flags)] = words.fields() else {
        panic!("{words:?}")
    };
    let flags: Vec<String> = flags.inner().iter().map(|word| String::try_from(word).unwrap()).collect();
    assert_eq!(flags, ["no-env-expand"], "else systemd replaces variables in what users have said");
    let arguments: Vec<String> = arguments.inner().iter().map(|word| String::try_from(word).unwrap()).collect();
    let uid: u32 = as_text(value("User")).parse().unwrap();
    let mut command = Command::new(program.as_str());
    command.arg0(&arguments[0]).args(&arguments[1..]).env_clear().env("OF_THE_MANAGER", "something").current_dir("/");
    command.stdin(descriptor("StandardInputFileDescriptor")).stdout(descriptor("StandardOutputFileDescriptor"));
    command.stderr(descriptor("StandardErrorFileDescriptor")).uid(uid).gid(uid).process_group(0).spawn().unwrap()
}

fn as_text(value: &Variant<'_>) -> String {
    match value {
        Variant::Str(text) => text.to_string(),
        Variant::U64(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// The object of a unit.
fn path(name: &str) -> String {
    let escaped: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:02x}", u32::from(c)) })
        .collect();
    format!("{ROOT}/unit/{escaped}")
}
