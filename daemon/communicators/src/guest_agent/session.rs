//! An agent that answers: requests in their order, and whether it is still the one that the session began with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::failure::{Failure, plain};
use super::wire::{CHUNK, LONGEST, SHORT, Wire, request_line, returned};

/// How long an answer may take. An emulated guest may well stand still for ten seconds, and its disk for longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(45);

/// How often an agent that has nothing to do is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Requests that wait for their turn.
const QUEUE: usize = 16;

/// A file that tells one boot from another; to have it open tells one agent from another.
const MARKER: &str = "/proc/sys/kernel/random/boot_id";

/// What commands and files need of an agent.
const NEEDED: [&str; 7] = [
    "guest-exec",
    "guest-exec-status",
    "guest-file-open",
    "guest-file-read",
    "guest-file-write",
    "guest-file-flush",
    "guest-file-close",
];

/// Why an agent that answers cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It may not do what is needed.
    #[error("the guest agent ({version}) does not offer {missing}")]
    Disabled {
        /// Of the agent.
        version: String,
        /// The commands.
        missing: String,
    },
    /// The guest is of another kind.
    #[error("the guest runs {system}, where Kiln does not know how to work through the agent")]
    Foreign {
        /// Its operating system.
        system: String,
    },
    /// Anything else, which may pass.
    #[error(transparent)]
    Failed(#[from] Failure),
}

struct Request {
    /// What is asked; nothing: whether the agent is still the same.
    line: Option<Vec<u8>>,
    /// The most bytes that an answer may have.
    most: usize,
    answer: oneshot::Sender<Result<BytesMut, Failure>>,
}

/// What is heeded of an agent's answers.
#[derive(Deserialize)]
struct Info {
    version: Option<String>,
    #[serde(default)]
    supported_commands: Vec<Offered>,
}

#[derive(Deserialize)]
struct Offered {
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct System {
    id: Option<String>,
    pretty_name: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    pid: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    exited: bool,
    exitcode: Option<i64>,
    out_data: Option<String>,
    err_data: Option<String>,
    #[serde(default)]
    out_truncated: bool,
}

/// An agent that answers. Dropping it closes the channel.
pub(super) struct Session {
    requests: mpsc::Sender<Request>,
    ended: CancellationToken,
    task: AbortOnDropHandle<()>,
    /// What it calls itself.
    pub(super) version: String,
    /// A directory of the guest for what belongs to a running command, on a file system in memory where there is one.
    pub(super) scratch: String,
}

/// How a program ended that the agent has started.
pub(super) struct Ended {
    /// Its status; `None`: a signal.
    pub(super) code: Option<i64>,
    pub(super) output: Vec<u8>,
    pub(super) errors: String,
    /// There was more output than the agent keeps.
    pub(super) truncated: bool,
}

impl Session {
    /// Begins with an agent that has agreed on where both sides are.
    pub(super) async fn begin(wire: Wire<UnixStream>) -> Result<Self, Unusable> {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let task = AbortOnDropHandle::new(tokio::spawn(serve(wire, receiver, guard)));
        let mut session = Self { requests, ended, task, version: String::new(), scratch: "/tmp".to_owned() };
        session.look().await?;
        Ok(session)
    }

    /// What the agent can do, and in what.
    async fn look(&mut self) -> Result<(), Unusable> {
        let info: Info = self.call("guest-info", json!({})).await?;
        let version = plain(info.version.as_deref().unwrap_or("of no version"));
        self.version = format!("qemu-guest-agent {version}");
        let offers = |name: &str| info.supported_commands.iter().any(|command| command.name == name && command.enabled);
        let missing: Vec<&str> = NEEDED.into_iter().filter(|name| !offers(name)).collect();
        if !missing.is_empty() {
            return Err(Unusable::Disabled { version, missing: missing.join(", ") });
        }
        if offers("guest-get-osinfo")
            && let Ok(system) = self.call::<System>("guest-get-osinfo", json!({})).await
            && system.id.as_deref() == Some("mswindows")
        {
            let system = plain(system.pretty_name.as_deref().unwrap_or("Windows"));
            return Err(Unusable::Foreign { system });
        }
        Ok(())
    }

    /// Asks the agent for something.
    pub(super) async fn call<T: DeserializeOwned>(&self, command: &str, arguments: Value) -> Result<T, Failure> {
        let most = match command {
            "guest-exec-status" => LONGEST,
            "guest-file-read" => SHORT + 2 * CHUNK,
            _ => SHORT,
        };
        returned(&self.ask(Some(request_line(command, &arguments)), most).await?)
    }

    /// Asks for something whose answer says no more than that it is done.
    pub(super) async fn order(&self, command: &str, arguments: Value) -> Result<(), Failure> {
        self.call::<IgnoredAny>(command, arguments).await.map(drop)
    }

    async fn ask(&self, line: Option<Vec<u8>>, most: usize) -> Result<BytesMut, Failure> {
        let (answer, answered) = oneshot::channel();
        let gone = || Failure::Lost("the session has ended".to_owned());
        self.requests.send(Request { line, most, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Resolves when it is over.
    pub(super) async fn over(&self) {
        self.ended.cancelled().await;
    }

    /// Ends it.
    pub(super) fn end(&self) {
        self.task.abort();
    }

    /// Whether the agent is there right now, and the same one.
    pub(super) async fn is_there(&self) -> bool {
        self.ask(None, SHORT).await.is_ok()
    }

    /// Starts a program and returns its number. Its input is empty.
    pub(super) async fn start(&self, arguments: &[&str], capture: bool) -> Result<i64, Failure> {
        let request = json!({ "path": "/bin/sh", "arg": arguments, "capture-output": capture });
        self.call("guest-exec", request).await.map(|started: Started| started.pid)
    }

    /// How a program ended; `None`: it runs.
    pub(super) async fn status(&self, pid: i64) -> Result<Option<Ended>, Failure> {
        let status: Status = match self.call("guest-exec-status", json!({ "pid": pid })).await {
            // The agent was started anew: what it had started is nobody's any more.
            Err(Failure::Refused(words)) => {
                self.end();
                return Err(Failure::Lost(words));
            }
            other => other?,
        };
        if !status.exited {
            return Ok(None);
        }
        Ok(Some(Ended {
            code: status.exitcode,
            output: decoded(status.out_data.as_deref())?,
            errors: plain(&String::from_utf8_lossy(&decoded(status.err_data.as_deref())?)),
            truncated: status.out_truncated,
        }))
    }
}

/// Bytes in base64; none where there are none.
pub(super) fn decoded(text: Option<&str>) -> Result<Vec<u8>, Failure> {
    STANDARD
        .decode(text.unwrap_or_default())
        .map_err(|error| Failure::Nonsense(format!("bytes that are no base64: {error}")))
}

/// Answers requests until the agent does not, or is another one than at the beginning. The guard tells that it is over.
async fn serve(mut wire: Wire<UnixStream>, mut requests: mpsc::Receiver<Request>, _over: DropGuard) {
    let ping = match mark(&mut wire).await {
        Some(handle) => request_line("guest-file-seek", &json!({ "handle": handle, "offset": 0, "whence": 0 })),
        None => request_line("guest-ping", &json!({})),
    };
    loop {
        let request = tokio::select! {
            request = requests.recv() => request,
            () = sleep(PING_EVERY) => {
                if let Err(failure) = ask(&mut wire, &ping, SHORT).await {
                    tracing::debug!(%failure, "the guest agent is not there any more");
                    return;
                }
                continue;
            }
        };
        // Nobody asks any more.
        let Some(request) = request else { return };
        let answer = ask(&mut wire, request.line.as_ref().unwrap_or(&ping), request.most).await;
        let is_over = answer.as_ref().is_err_and(|failure| failure.ends_session() || request.line.is_none());
        // Whoever asked may have gone; the answer had to be read all the same.
        let _ = request.answer.send(answer);
        if is_over {
            return;
        }
    }
}

/// Opens the file by which this agent is known; `None`: the guest has none.
async fn mark(wire: &mut Wire<UnixStream>) -> Option<i64> {
    let request = request_line("guest-file-open", &json!({ "path": MARKER, "mode": "r" }));
    returned(&ask(wire, &request, SHORT).await.ok()?).ok()
}

async fn ask(wire: &mut Wire<UnixStream>, request: &[u8], most: usize) -> Result<BytesMut, Failure> {
    timeout(ANSWER_LIMIT, wire.ask(request, most)).await.unwrap_or(Err(Failure::Silent(ANSWER_LIMIT)))
}
