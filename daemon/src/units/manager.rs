//! The conversation with the service manager of the system: starting units, hearing how they end, killing them.

use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use kiln_systemd::is_booted_by_systemd;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::description::UnitDescription;
use crate::explain::explain;

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What a start is called in errors.
const START: &str = "start";

/// What systemd says of a name that another unit has.
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// Time for one answer: a manager that starts a whole system has much to do.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a unit to have executed its program.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Time for the manager to say how a process ended that is known to have ended.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for a bus to come back that has been there. An upgrade of the system takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Time for a bus to come that has never been there: perhaps there is none.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(30);

/// Signals that wait to be looked at: those of one unit.
const QUEUE: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What `ExecMainCode` is of a process that has exited by itself: `CLD_EXITED` of waitid(2). Other numbers: by a signal.
const EXITED: i32 = 1;

/// SIGKILL, as `KillUnit` wants it.
const KILL: i32 = 9;

/// Reports that the service manager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// It is not there.
    #[error(
        "the service manager cannot be reached at {address} (without systemd, `started_by = \"kilnd\"` in [workers] of kiln.toml has kilnd start workers itself)"
    )]
    Unreachable {
        /// Where the bus should be.
        address: String,
        /// Whether it has been there before, or must have been: where it has started the machine.
        was_there: bool,
        /// Why not.
        source: zbus::Error,
    },
    /// It refused, or the bus did.
    #[error("the service manager does not {action} {unit}")]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// Of what.
        unit: String,
        /// What it said.
        source: zbus::Error,
    },
    /// It did not answer.
    #[error("the service manager did not {action} {unit} within {} s", .limit.as_secs())]
    Late {
        /// What was asked for.
        action: &'static str,
        /// Of what.
        unit: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It left the bus before it had told how a start went on.
    #[error("the service manager left its bus before it had told whether {unit} has started")]
    Lost {
        /// The unit.
        unit: String,
    },
    /// The program was not executed.
    #[error("the unit {unit} did not start ({result}): `systemctl status {unit}` and `journalctl -u {unit}` say more")]
    Failed {
        /// The unit.
        unit: String,
        /// What systemd calls it.
        result: String,
    },
}

impl UnitError {
    /// How long whatever failed is to be tried again from its beginning; nothing where it would fail again. It is where the bus is away, as while
    /// it is started again, and where the manager was, as while it executes itself anew. Whether a unit was started is not known then.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { was_there: false, .. } => Some(PATIENCE_AT_FIRST),
            Self::Unreachable { .. } => Some(PATIENCE),
            Self::Refused { source, .. } if says_that_nobody_is_there(source) => Some(PATIENCE),
            Self::Lost { .. } => Some(PATIENCE),
            _ => None,
        }
    }

    /// Whether a unit that was to be started may run all the same.
    fn leaves_open_what_runs(&self) -> bool {
        match self {
            // It has said no, and why.
            Self::Refused { action, source, .. } => {
                *action != START || !matches!(source, zbus::Error::MethodError(..) | zbus::Error::FDO(_))
            }
            Self::Late { .. } | Self::Lost { .. } => true,
            Self::Unreachable { .. } | Self::Failed { .. } => false,
        }
    }
}

/// Whether this says that the bus broke, or that the manager is not on it just now, or went while it was asked.
fn says_that_nobody_is_there(error: &zbus::Error) -> bool {
    use zbus::fdo::Error::{Disconnected, NameHasNoOwner, NoReply, ServiceUnknown, TimedOut, Timeout};
    match error {
        zbus::Error::InputOutput(_) | zbus::Error::Connection(..) => true,
        zbus::Error::FDO(error) => matches!(
            **error,
            NameHasNoOwner(_) | ServiceUnknown(_) | NoReply(_) | Timeout(_) | TimedOut(_) | Disconnected(_)
        ),
        _ => false,
    }
}

/// A unit that has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    /// Its name.
    pub(crate) unit: String,
    /// Its process, which may have ended by now.
    pub(crate) pid: u32,
}

/// Which processes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// All of them.
    All,
    /// The one that was started.
    Main,
}

/// The service manager of the system. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct UnitManager {
    address: Arc<str>,
    /// Made at first need, and again when it is lost. systemd keeps a unit that has ended for as long as this connection refers to it.
    bus: Arc<Mutex<Option<Connection>>>,
    /// Whether the manager has ever answered.
    has_answered: Arc<AtomicBool>,
}

impl UnitManager {
    /// Will speak to the manager by the bus at this address.
    pub(crate) fn at(address: &str) -> Self {
        Self { address: address.into(), bus: Arc::default(), has_answered: Arc::default() }
    }

    /// Starts a unit, and waits until its program was executed. Other names are tried while an earlier unit still has the first.
    ///
    /// # Errors
    ///
    /// It does not start; then it does not run.
    pub(crate) async fn start(&self, name: &str, unit: &UnitDescription) -> Result<Started, UnitError> {
        const NAMES: u32 = 9;
        let mut number = 1;
        loop {
            let full = if number == 1 { format!("{name}.service") } else { format!("{name}-{number}.service") };
            match self.start_as(&full, unit).await {
                Err(UnitError::Refused { source: zbus::Error::MethodError(error, ..), .. })
                    if error.as_str() == UNIT_EXISTS && number < NAMES =>
                {
                    number += 1;
                }
                started => return started,
            }
        }
    }

    async fn start_as(&self, name: &str, unit: &UnitDescription) -> Result<Started, UnitError> {
        let bus = self.bus().await?;
        let refused = |source| UnitError::Refused { action: START, unit: name.to_owned(), source };
        let rule = leavings_of_manager().map_err(refused)?;
        let mut leavings = MessageStream::for_match_rule(rule, &bus, Some(QUEUE)).await.map_err(refused)?;
        let rule = signals_of_manager(&bus).await.map_err(refused)?.interface(MANAGER).member("JobRemoved");
        let rule = rule.arg(2, name.to_owned()).build().map_err(refused)?;
        let mut ends = MessageStream::for_match_rule(rule, &bus, Some(QUEUE)).await.map_err(refused)?;
        let started = self.begin(&bus, name, unit, (&mut ends, &mut leavings)).await;
        if started.as_ref().is_err_and(|error| error.leaves_open_what_runs() && error.patience().is_none()) {
            // Nobody would watch it. Where it is tried again, what runs by then is found.
            self.stop(name).await;
        }
        started
    }

    async fn begin(
        &self,
        bus: &Connection,
        name: &str,
        unit: &UnitDescription,
        (ends, leavings): (&mut MessageStream, &mut MessageStream),
    ) -> Result<Started, UnitError> {
        let refused = |source| UnitError::Refused { action: START, unit: name.to_owned(), source };
        let late = |limit| UnitError::Late { action: START, unit: name.to_owned(), limit };
        let others: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let arguments = (name, "fail", unit.properties(), others);
        let begin = bus.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "StartTransientUnit", &arguments);
        let job = timeout(ANSWER_TIMEOUT, begin).await.map_err(|_| late(ANSWER_TIMEOUT))?.map_err(refused)?;
        let job: OwnedObjectPath = job.body().deserialize().map_err(refused)?;
        let done = async {
            tokio::select! {
                result = end_of_job(ends, &job) => result.ok_or_else(|| UnitError::Lost { unit: name.to_owned() }),
                // The new one sends its signals under another name.
                _ = leavings.next() => Err(UnitError::Lost { unit: name.to_owned() }),
            }
        };
        let result = match timeout(START_TIMEOUT, done).await.unwrap_or_else(|_| Err(late(START_TIMEOUT))) {
            Ok(result) => result,
            Err(error) => return self.started_unheard(bus, name).await.ok_or(error),
        };
        if result != "done" {
            let why = self.property(bus, name, SERVICE, "Result").await.ok();
            let why = why.and_then(|why| String::try_from(why).ok()).unwrap_or(result);
            self.release(name).await;
            return Err(UnitError::Failed { unit: name.to_owned(), result: why });
        }
        let pid = self.property(bus, name, SERVICE, "ExecMainPID").await?;
        Ok(Started { unit: name.to_owned(), pid: u32::try_from(&*pid).unwrap_or_default() })
    }

    /// Returns a unit that runs though nobody has told that it has started.
    async fn started_unheard(&self, bus: &Connection, name: &str) -> Option<Started> {
        let state = self.property(bus, name, UNIT, "ActiveState").await.ok()?;
        if String::try_from(state).ok()? != "active" {
            return None;
        }
        let pid = self.property(bus, name, SERVICE, "ExecMainPID").await.ok()?;
        let pid = u32::try_from(&*pid).ok().filter(|pid| *pid != 0)?;
        Some(Started { unit: name.to_owned(), pid })
    }

    /// Returns how the process of a unit ended that is known to have ended; nothing when nobody knows it any more.
    pub(crate) async fn exit_of(&self, unit: &str) -> Option<ExitStatus> {
        let exit = async {
            let bus = self.bus().await.ok()?;
            let path = unit_path(unit);
            let rule = signals_of_manager(&bus).await.ok()?.path(path).member("PropertiesChanged");
            let mut changes = MessageStream::for_match_rule(rule.build().ok()?, &bus, Some(QUEUE)).await.ok()?;
            loop {
                let number = async |name| {
                    let value = self.property(&bus, unit, SERVICE, name).await.ok()?;
                    i32::try_from(&*value).ok()
                };
                match (number("ExecMainCode").await?, number("ExecMainStatus").await?) {
                    // Not yet noticed.
                    (0, _) => changes.next().await?.ok()?,
                    (EXITED, code) => return Some(ExitStatus::from_raw((code & 0xff) << 8)),
                    (_, signal) => return Some(ExitStatus::from_raw(signal & 0x7f)),
                };
            }
        };
        timeout(END_TIMEOUT, exit).await.ok().flatten()
    }

    /// Whether this is still the process of the unit: until now nobody else can have got its number.
    pub(crate) async fn runs(&self, started: &Started) -> Result<bool, UnitError> {
        let bus = self.bus().await?;
        let pid = self.property(&bus, &started.unit, SERVICE, "MainPID").await?;
        Ok(started.pid != 0 && u32::try_from(&*pid) == Ok(started.pid))
    }

    /// Kills processes of a unit.
    pub(crate) async fn kill(&self, unit: &str, whom: Whom) -> Result<(), UnitError> {
        let whom = match whom {
            Whom::All => "all",
            Whom::Main => "main",
        };
        self.ask("kill", unit, "KillUnit", &(unit, whom, KILL)).await.map(drop)
    }

    /// Returns the unit that a process belongs to, if it is one of these.
    pub(crate) async fn unit_of(&self, pid: u32, beginning: &str) -> Option<String> {
        let what = pid.to_string();
        let path = self.ask("look for the unit of", &what, "GetUnitByPID", &(pid,)).await.ok()?;
        let path: OwnedObjectPath = path.body().deserialize().ok()?;
        let bus = self.bus().await.ok()?;
        let name = get(&bus, path.as_str(), UNIT, "Id").await.ok()?;
        String::try_from(name).ok().filter(|name| name.starts_with(beginning))
    }

    /// Stops a unit that nobody wants any more.
    pub(crate) async fn stop(&self, unit: &str) {
        if let Err(error) = self.ask("stop", unit, "StopUnit", &(unit, "replace")).await {
            tracing::error!(unit, error = explain(&error), "a unit that nobody watches may still run");
        }
        self.release(unit).await;
    }

    /// Lets systemd forget a unit once it has ended.
    pub(crate) async fn release(&self, unit: &str) {
        if let Err(error) = self.ask("forget", unit, "UnrefUnit", &(unit,)).await {
            // It is forgotten with the connection, at the latest.
            tracing::debug!(unit, error = explain(&error), "a unit is still referred to");
        }
    }

    async fn ask(
        &self,
        action: &'static str,
        unit: &str,
        method: &'static str,
        arguments: &(impl Serialize + DynamicType),
    ) -> Result<Message, UnitError> {
        let bus = self.bus().await?;
        let call = bus.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), method, arguments);
        let late = |_| UnitError::Late { action, unit: unit.to_owned(), limit: ANSWER_TIMEOUT };
        let answer = timeout(ANSWER_TIMEOUT, call).await.map_err(late)?;
        answer.map_err(|source| UnitError::Refused { action, unit: unit.to_owned(), source })
    }

    async fn property(&self, bus: &Connection, unit: &str, of: &str, name: &str) -> Result<OwnedVariant, UnitError> {
        let action = "tell of";
        let got = timeout(ANSWER_TIMEOUT, get(bus, &unit_path(unit), of, name)).await;
        let late = |_| UnitError::Late { action, unit: unit.to_owned(), limit: ANSWER_TIMEOUT };
        got.map_err(late)?.map_err(|source| UnitError::Refused { action, unit: unit.to_owned(), source })
    }

    /// Returns the connection, which is subscribed to the manager's signals.
    async fn bus(&self) -> Result<Connection, UnitError> {
        let mut bus = self.bus.lock().await;
        if let Some(bus) = bus.as_ref().filter(|bus| !bus.is_closed()) {
            return Ok(bus.clone());
        }
        let was_there = self.has_answered.load(Ordering::Relaxed) || is_booted_by_systemd();
        let unreachable = |source| UnitError::Unreachable { address: self.address.to_string(), was_there, source };
        let connect = async {
            let new = Builder::address(&*self.address).method_timeout(ANSWER_TIMEOUT).build().await?;
            new.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &()).await?;
            Ok(new)
        };
        let late = || Err(zbus::Error::Failure("no answer in time".to_owned()));
        let new = timeout(ANSWER_TIMEOUT, connect).await.unwrap_or_else(|_| late()).map_err(unreachable)?;
        self.has_answered.store(true, Ordering::Relaxed);
        Ok(bus.insert(new).clone())
    }
}

/// Makes a rule for signals that the manager sends. Everybody on the bus can send signals that look like these.
async fn signals_of_manager(bus: &Connection) -> zbus::Result<zbus::match_rule::Builder<'static>> {
    let name = "org.freedesktop.DBus";
    // Asked each time: it is another one when the manager has executed itself anew.
    let owner = bus.call_method(Some(name), "/org/freedesktop/DBus", Some(name), "GetNameOwner", &(SYSTEMD,)).await?;
    let owner: String = owner.body().deserialize()?;
    Ok(MatchRule::builder().msg_type(Type::Signal).sender(owner))
}

/// Makes a rule for the bus telling that another has the manager's name, or nobody.
fn leavings_of_manager() -> zbus::Result<MatchRule<'static>> {
    let bus = "org.freedesktop.DBus";
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(bus).interface(bus).member("NameOwnerChanged");
    rule.arg(0, SYSTEMD).build()
}

/// Waits for the end of a job (as systemd calls it) of which the signals tell.
async fn end_of_job(ends: &mut MessageStream, job: &OwnedObjectPath) -> Option<String> {
    loop {
        let signal = ends.next().await?.ok()?;
        let body = signal.body();
        let (_, of, _, result): (u32, OwnedObjectPath, String, String) = body.deserialize().ok()?;
        if of == *job {
            return Some(result);
        }
    }
}

async fn get(bus: &Connection, path: &str, of: &str, name: &str) -> zbus::Result<OwnedVariant> {
    bus.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &(of, name)).await?.body().deserialize()
}

/// Returns the object of a unit: its name, in which everything but letters and digits is written as two digits.
fn unit_path(unit: &str) -> String {
    let escaped: String = unit
        .bytes()
        .enumerate()
        .map(|(at, byte)| {
            let is_plain = byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit());
            if is_plain { char::from(byte).to_string() } else { format!("_{byte:02x}") }
        })
        .collect();
    format!("{MANAGER_PATH}/unit/{escaped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_the_path_that_systemd_gives_it() {
        // busctl tree org.freedesktop.systemd1
        assert_eq!(unit_path("kiln-job-a1.service"), "/org/freedesktop/systemd1/unit/kiln_2djob_2da1_2eservice");
        assert_eq!(unit_path("1.service"), "/org/freedesktop/systemd1/unit/_31_2eservice");
    }

    /// What may run is tried again and found, or stopped: never both.
    #[test]
    fn a_start_of_which_nobody_knows_is_tried_again_and_not_stopped() {
        use zbus::fdo::Error;
        let refused = |action, error| UnitError::Refused {
            action,
            unit: "u".to_owned(),
            source: zbus::Error::FDO(Box::new(error)),
        };
        let text = || "as systemd executes itself anew".to_owned();
        let lost =
            [Error::NoReply(text()), Error::Timeout(text()), Error::TimedOut(text()), Error::Disconnected(text())];
        for error in lost.map(|error| refused(START, error)).into_iter().chain([UnitError::Lost { unit: text() }]) {
            assert_eq!(error.patience(), Some(PATIENCE), "{error:?}");
        }
        let denied = refused(START, Error::AccessDenied(text()));
        assert!(denied.patience().is_none() && !denied.leaves_open_what_runs(), "it has said no");
        let late = UnitError::Late { action: START, unit: text(), limit: START_TIMEOUT };
        assert!(late.patience().is_none() && late.leaves_open_what_runs());
    }
}
