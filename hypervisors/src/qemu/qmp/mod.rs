//! A client for QMP, QEMU's control protocol: JSON objects, one a line, over a socket (`docs/interop/qmp-spec` of QEMU).
//!
//! It believes as little as possible about the other side, so that it works with versions of QEMU that do not exist yet: replies are found by their id,
//! events are kept as values, and anything else is skipped. A future that waits for an answer may be dropped at any time.
//!
//! What is sent is typed by the crate `qapi-qmp`, which is made from QEMU's own schema: a command or an argument that does not exist does not
//! compile. What comes back is not. Its structs hold enums without a place for a word of a newer QEMU (`RunState`, `NetworkAddressFamily`,
//! every event's reason), and one such word would cost the whole reply; so replies and events are values, and each caller takes from them the one
//! or two fields it needs.

mod connection;
mod message;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qapi_qmp::{QMPCapability, QmpCommand, human_monitor_command, qmp_capabilities, query_status};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::error::MachineError;
pub(crate) use message::Event;
use message::{Pending, lock};

/// How long an answer may take. QEMU answers in under a millisecond; a loaded host with a guest under TCG takes a few hundred.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Events kept for a receiver that is behind. A whole build sees a few hundred.
const EVENTS_KEPT: usize = 1024;

/// Commands on their way to the socket. QEMU itself reads 8 ahead.
const COMMANDS_QUEUED: usize = 16;

/// A connection to one QMP monitor.
#[derive(Debug)]
pub(crate) struct QmpClient {
    commands: mpsc::Sender<Vec<u8>>,
    pending: Pending,
    events: broadcast::Sender<Event>,
    closed: watch::Receiver<bool>,
    next_id: AtomicU64,
    version: String,
    /// How long an answer may take.
    answer_limit: Duration,
}

impl QmpClient {
    /// Waits for the greeting and takes the monitor into command mode. Where `limit` is less than what an answer may take, it holds for each
    /// answer, too.
    ///
    /// # Errors
    ///
    /// The other side closes, says something else, or says nothing within `limit`.
    pub(crate) async fn connect(stream: UnixStream, limit: Duration) -> Result<Self, MachineError> {
        let (greeting_sender, greeting) = oneshot::channel();
        let (commands, queue) = mpsc::channel(COMMANDS_QUEUED);
        let (closed_sender, closed) = watch::channel(false);
        let pending = Pending::default();
        let events = broadcast::Sender::new(EVENTS_KEPT);
        let (reader, writer) = stream.into_split();
        tokio::spawn(connection::write(writer, queue));
        tokio::spawn(connection::read(
            reader,
            connection::Incoming {
                greeting: Some(greeting_sender),
                pending: pending.clone(),
                events: events.clone(),
                closed: closed_sender,
            },
        ));
        let timeout = || MachineError::Timeout { command: "the QMP greeting".to_owned(), limit };
        let greeting =
            tokio::time::timeout(limit, greeting).await.map_err(|_| timeout())?.map_err(|_| MachineError::Gone)?;
        let client = Self {
            commands,
            pending,
            events,
            closed,
            next_id: AtomicU64::new(1),
            version: version(&greeting),
            answer_limit: ANSWER_LIMIT.min(limit),
        };
        let offers_oob = greeting["QMP"]["capabilities"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one.as_str() == Some("oob")));
        let enable = offers_oob.then(|| vec![QMPCapability::oob]);
        client.run_within(qmp_capabilities { enable }, limit).await?;
        Ok(client)
    }

    /// QEMU's version, `7.2.22`; empty when it told none.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Receives all events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Waits until the other side has closed the connection and everything it sent has been passed on.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means the reading task is gone, which is the same.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Runs a command and returns its `return` value as it came, whatever is in it.
    pub(crate) async fn run<C: QmpCommand>(&self, command: C) -> Result<Value, MachineError> {
        self.run_within(command, self.answer_limit).await
    }

    /// As [`run`](Self::run), with a limit of its own.
    pub(crate) async fn run_within<C: QmpCommand>(&self, command: C, limit: Duration) -> Result<Value, MachineError> {
        let arguments = serde_json::to_value(command).map_err(|error| MachineError::Unexpected {
            command: C::NAME.to_owned(),
            problem: format!("its arguments cannot be written: {error}"),
        })?;
        self.execute_within(C::NAME, arguments, limit).await
    }

    async fn execute_within(&self, command: &str, arguments: Value, limit: Duration) -> Result<Value, MachineError> {
        let waiting = self.exchange(command, arguments);
        let timeout = |_| MachineError::Timeout { command: command.to_owned(), limit };
        tokio::time::timeout(limit, waiting).await.map_err(timeout)?
    }

    async fn exchange(&self, command: &str, arguments: Value) -> Result<Value, MachineError> {
        let id = format!("kiln-{}", self.next_id.fetch_add(1, Ordering::Relaxed));
        let mut message = json!({ "execute": command, "id": id });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        let mut line = message.to_string().into_bytes();
        line.push(b'\n');

        let (sender, answer) = oneshot::channel();
        lock(&self.pending).insert(id.clone(), sender);
        let _forget = Forget { pending: &self.pending, id };
        // The reader marks the connection closed before it drops whoever waits, so that one of the two is seen here.
        if *self.closed.borrow() {
            return Err(MachineError::Gone);
        }
        self.commands.send(line).await.map_err(|_| MachineError::Gone)?;
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(message)) => Err(MachineError::Refused { command: command.to_owned(), message }),
            Err(_) => Err(MachineError::Gone),
        }
    }

    /// Runs a command of the human monitor and returns what it prints. What it prints is the only sign of an error.
    pub(crate) async fn human(&self, line: &str) -> Result<String, MachineError> {
        let answer = self.run(human_monitor_command { cpu_index: None, command_line: line.to_owned() }).await?;
        match answer {
            Value::String(text) => Ok(text),
            other => Err(MachineError::Unexpected {
                command: line.to_owned(),
                problem: format!("{} in place of text", kind_of(&other)),
            }),
        }
    }

    /// The machine's state: `running`, `paused`, `internal-error`, ….
    pub(crate) async fn status(&self) -> Result<String, MachineError> {
        let answer = self.run(query_status {}).await?;
        answer["status"].as_str().map(ToOwned::to_owned).ok_or_else(|| MachineError::Unexpected {
            command: "query-status".to_owned(),
            problem: "it has no status".to_owned(),
        })
    }
}

/// Takes a command's entry away when nobody waits for its answer any more.
struct Forget<'a> {
    pending: &'a Pending,
    id: String,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.pending).remove(&self.id);
    }
}

fn version(greeting: &Value) -> String {
    let version = &greeting["QMP"]["version"]["qemu"];
    match (version["major"].as_u64(), version["minor"].as_u64(), version["micro"].as_u64()) {
        (Some(major), Some(minor), Some(micro)) => format!("{major}.{minor}.{micro}"),
        _ => String::new(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
