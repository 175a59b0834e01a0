//! The calls of the API, one method each.
//!
//! Each request has a connection of its own: on a Unix socket that costs some microseconds, and nothing can be stale.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kiln_protocol::{
    ALLOW_INTERACTION_HEADER, Answer, CancelMode, CancelRequest, IDEMPOTENCY_KEY_HEADER, Info, Job, JobId, JobList,
    JobState, JobSubmission, MAX_REQUEST_BYTES, NDJSON, ShutdownReport,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::asking::{Agent, Asking, Terminal, may_help, with_advice};
use super::connection::{Socket, Starting, connect, is_for_everybody};
use super::error::ClientError;
use super::events::EventStream;

/// Time for an answer, except for streams. A screen or a busy disk may take a while.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for one that somebody has to type a password for; more than the daemon gives them.
const PERSON_TIMEOUT: Duration = Duration::from_secs(150);

/// Largest answer that is read whole, in bytes.
const MAX_ANSWER_BYTES: usize = 128 << 20;

/// A daemon, by its socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    /// Lock of a daemon that may listen elsewhere.
    lock: Option<PathBuf>,
    /// Socket of a daemon that serves everybody.
    system: Option<PathBuf>,
    /// Whether the user has named the socket, and with it whoever listens there: perhaps root.
    named: bool,
    starting: Starting,
    asking: Asking,
}

/// Marks a request on behalf of which somebody is asked from the first: without, it is not refused, but carried out in part.
#[derive(Clone, Copy, Debug)]
struct AskFirst;

impl Client {
    /// Names the daemon; nothing is sent yet.
    #[must_use]
    pub fn new(socket: PathBuf, starting: Starting) -> Self {
        let asking = Asking::Nobody("whoever can be asked for it has to call");
        Self { socket, lock: None, system: None, named: false, starting, asking }
    }

    /// When nobody answers at the socket, looks for the daemon where the one that holds this lock says it listens.
    #[must_use]
    pub fn or_holder_of(self, lock: PathBuf) -> Self {
        Self { lock: Some(lock), ..self }
    }

    /// Takes the socket for one that the user has named: root's daemon may listen there, too.
    #[must_use]
    pub fn as_named(self) -> Self {
        Self { named: true, ..self }
    }

    /// When this user has no daemon, uses the one at this socket, which serves everybody, where there is one.
    #[must_use]
    pub fn or_system(self, socket: PathBuf) -> Self {
        Self { system: Some(socket), ..self }
    }

    /// Says whether somebody may be asked for a password, where a daemon for everybody wants one.
    #[must_use]
    pub fn asking(self, asking: Asking) -> Self {
        Self { asking, ..self }
    }

    /// Returns the same daemon with another way to deal with its absence.
    #[must_use]
    pub fn starting(&self, starting: Starting) -> Self {
        Self { starting, ..self.clone() }
    }

    /// Describes the daemon.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.get("/v1/info").await
    }

    /// Submits a job. The same `key` and submission may be sent again when the answer was lost.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or refuses.
    pub async fn submit(&self, submission: &JobSubmission, key: &str) -> Result<Job, ClientError> {
        self.json(submitting(key), job_of(submission)?).await
    }

    /// Submits a job as [`submit`](Self::submit) does, and has whoever sits at the terminal asked for the password with which it is not
    /// confined to its guests.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or refuses.
    pub async fn submit_asking(&self, submission: &JobSubmission, key: &str) -> Result<Job, ClientError> {
        self.json(submitting(key).extension(AskFirst), job_of(submission)?).await
    }

    /// Whether anybody may be asked for a password.
    #[must_use]
    pub fn may_ask(&self) -> bool {
        matches!(self.asking, Asking::AtTerminal(_))
    }

    /// Lists the newest jobs, newest first; without `all`, leaves out looks at images that are over.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub async fn jobs(&self, limit: u32, all: bool) -> Result<JobList, ClientError> {
        self.get(&format!("/v1/jobs?limit={limit}&all={all}")).await
    }

    /// Lists the newest jobs that are in one of these states (in any when there are none) and were submitted since then; those that are
    /// not over come first.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub async fn jobs_in(
        &self,
        limit: u32,
        all: bool,
        states: &[JobState],
        since: Option<jiff::Timestamp>,
    ) -> Result<JobList, ClientError> {
        let states = states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(",");
        let since = since.map_or_else(String::new, |since| format!("&since={since}"));
        self.get(&format!("/v1/jobs?limit={limit}&all={all}&unfinished_first=true&state={states}{since}")).await
    }

    /// Removes a job that is over, with its events and files.
    ///
    /// # Errors
    ///
    /// It cannot be reached, there is no such job, or it is not over.
    pub async fn remove(&self, id: &JobId) -> Result<(), ClientError> {
        self.bytes(request(Method::DELETE, &format!("/v1/jobs/{id}")), Bytes::new()).await.map(drop)
    }

    /// Describes a job.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or there is no such job.
    pub async fn job(&self, id: &JobId) -> Result<Job, ClientError> {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// Describes a job that may be seen without a password; nothing of others. Nobody is asked: what follows is worth the question.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub async fn job_unasked(&self, id: &JobId) -> Result<Option<Job>, ClientError> {
        let quiet = Self { asking: Asking::Nobody("whoever can be asked for it has to call"), ..self.clone() };
        match quiet.job(id).await {
            Err(ClientError::Problem(problem)) if may_help(&problem) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Opens the stream of a job's events with numbers above `after`.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or there is no such job.
    pub async fn events(&self, id: &JobId, after: u64, follow: bool) -> Result<EventStream, ClientError> {
        let path = format!("/v1/jobs/{id}/events?after={after}&follow={follow}");
        let response = self.send(request(Method::GET, &path).header(ACCEPT, NDJSON), Bytes::new()).await?;
        Ok(EventStream::new(response.into_body()))
    }

    /// Cancels a job.
    ///
    /// # Errors
    ///
    /// It cannot be reached, there is no such job, or it is over.
    pub async fn cancel(&self, id: &JobId, mode: CancelMode) -> Result<Job, ClientError> {
        let body = encode(&CancelRequest { mode })?;
        self.json(request(Method::POST, &format!("/v1/jobs/{id}/cancel")), body).await
    }

    /// Answers a prompt.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or the prompt does not wait or does not take this answer.
    pub async fn answer(&self, id: &JobId, answer: &Answer) -> Result<(), ClientError> {
        let body = encode(answer)?;
        self.bytes(request(Method::POST, &format!("/v1/jobs/{id}/answers")), body).await.map(drop)
    }

    /// Returns the screen of a build's guest, as PNG.
    ///
    /// # Errors
    ///
    /// It cannot be reached, or no guest runs.
    pub async fn screen(&self, id: &JobId, build: Option<&str>) -> Result<Bytes, ClientError> {
        let query = build.map_or_else(String::new, |build| format!("?build={}", percent_encode(build)));
        self.bytes(request(Method::GET, &format!("/v1/jobs/{id}/screen{query}")), Bytes::new()).await
    }

    /// Stops the daemon.
    ///
    /// # Errors
    ///
    /// It cannot be reached.
    pub async fn shut_down(&self) -> Result<ShutdownReport, ClientError> {
        self.json(request(Method::POST, "/v1/shutdown"), Bytes::new()).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(request(Method::GET, path), Bytes::new()).await
    }

    async fn json<T: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let bytes = self.bytes(request, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Nonsense(error.into()))
    }

    async fn bytes(&self, request: hyper::http::request::Builder, body: Bytes) -> Result<Bytes, ClientError> {
        let response = self.send(request, body).await?;
        read(response.into_body()).await
    }

    /// Sends a request and returns the answer when it is a good one.
    async fn send(
        &self,
        request: hyper::http::request::Builder,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Nonsense(error.into()))?;
        // A daemon that is just going takes a connection and drops it. What may be asked twice is asked the next one.
        let again = request.method() == Method::GET || request.headers().contains_key(IDEMPOTENCY_KEY_HEADER);
        match self.send_once(request.clone()).await {
            Err(ClientError::Broken(_)) if again => self.send_once(request).await,
            other => other,
        }
    }

    async fn send_once(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let ask_first = request.extensions().get::<AskFirst>().is_some();
        let stream = self.connect().await?;
        let everybodys = is_for_everybody(&stream);
        match &self.asking {
            Asking::AtTerminal(terminal) if everybodys && ask_first => exchange_asking(stream, request, terminal).await,
            Asking::AtTerminal(terminal) if everybodys => match exchange(stream, request.clone(), ANSWER_TIMEOUT).await
            {
                // What is refused has not been begun.
                Err(ClientError::Problem(problem)) if may_help(&problem) => {
                    exchange_asking(self.connect().await?, request, terminal).await
                }
                other => other,
            },
            Asking::AtTerminal(_) => exchange(stream, request, ANSWER_TIMEOUT).await,
            Asking::Nobody(advice) => advised(exchange(stream, request, ANSWER_TIMEOUT).await, advice),
        }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let socket = if self.named { Socket::OfAnyDaemon(&self.socket) } else { Socket::OfThisUser(&self.socket) };
        connect(socket, self.lock.as_deref(), self.system.as_deref(), self.starting).await
    }
}

/// Sends a request on behalf of which whoever sits at the terminal may be asked for a password.
async fn exchange_asking(
    stream: UnixStream,
    mut request: Request<Full<Bytes>>,
    terminal: &Terminal,
) -> Result<Response<Incoming>, ClientError> {
    let _turn = terminal.turn().await;
    let agent = Agent::start(terminal).await;
    request.headers_mut().insert(ALLOW_INTERACTION_HEADER, HeaderValue::from_static("yes"));
    let answered = exchange(stream, request, PERSON_TIMEOUT).await;
    let ended = match agent {
        Ok(agent) => agent.end().await,
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => answered,
        Err(no_agent) => advised(answered, &no_agent.to_string()),
    }
}

/// Adds how to be asked to a refusal that a password would help.
fn advised<T>(answered: Result<T, ClientError>, advice: &str) -> Result<T, ClientError> {
    answered.map_err(|error| match error {
        ClientError::Problem(problem) => ClientError::Problem(with_advice(problem, advice)),
        other => other,
    })
}

/// Sends a request and returns the answer when it is a good one.
async fn exchange(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Result<Response<Incoming>, ClientError> {
    let broken = |error: hyper::Error| ClientError::Broken(error.into());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends by itself when the answer has been read or dropped; its errors come out at the sender.
    tokio::spawn(connection);
    let response = timeout(limit, sender.send_request(request)).await;
    let response = response.map_err(|_| ClientError::Timeout)?.map_err(broken)?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let body = read(response.into_body()).await?;
    match serde_json::from_slice(&body) {
        Ok(problem) => Err(ClientError::Problem(problem)),
        Err(_) => Err(ClientError::Nonsense(format!("HTTP status {status} without a problem").into())),
    }
}

fn submitting(key: &str) -> hyper::http::request::Builder {
    request(Method::POST, "/v1/jobs").header(IDEMPOTENCY_KEY_HEADER, key)
}

fn job_of(submission: &JobSubmission) -> Result<Bytes, ClientError> {
    let body = encode(submission)?;
    if body.len() > MAX_REQUEST_BYTES { Err(ClientError::TooLarge(body.len())) } else { Ok(body) }
}

fn request(method: Method, path: &str) -> hyper::http::request::Builder {
    Request::builder().method(method).uri(path).header(HOST, "kiln").header(CONTENT_TYPE, "application/json")
}

fn encode(value: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| ClientError::Nonsense(error.into()))
}

async fn read(body: Incoming) -> Result<Bytes, ClientError> {
    let read = timeout(ANSWER_TIMEOUT, Limited::new(body, MAX_ANSWER_BYTES).collect()).await;
    let read = read.map_err(|_| ClientError::Timeout)?;
    Ok(read.map_err(ClientError::Broken)?.to_bytes())
}

/// Encodes all but unreserved characters, RFC 3986 section 2.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_builds_are_safe_in_queries() {
        assert_eq!(percent_encode("web.qemu.ä b&c"), "web.qemu.%C3%A4%20b%26c");
    }
}
