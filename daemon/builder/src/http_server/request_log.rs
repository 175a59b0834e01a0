//! What is told of every request: what was asked for, what was answered, how much of it was sent.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use hyper::{Method, StatusCode, Uri};

use std::io;

/// Longest path that is told; what is longer is cut.
const MAX_PATH: usize = 500;

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestLog {
    /// `GET`, `HEAD` or what else was tried.
    pub(crate) method: String,
    /// Path and query as asked for, without control characters.
    pub(crate) path: String,
    /// Who asked.
    pub(crate) peer: SocketAddr,
    /// Status code of the answer.
    pub(crate) status: u16,
    /// Bytes of the body that were sent.
    pub(crate) sent: u64,
    /// Whether the whole body was sent.
    pub(crate) complete: bool,
    /// What the status does not say, such as a name that is close to the one asked for.
    pub(crate) note: Option<String>,
}

impl RequestLog {
    pub(super) fn new(method: &Method, uri: &Uri, peer: SocketAddr, status: StatusCode, note: Option<String>) -> Self {
        // What a guest sends ends up on terminals.
        let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
        let path = path.chars().filter(|character| !character.is_control()).take(MAX_PATH).collect();
        Self {
            method: method.to_string().chars().take(MAX_PATH).collect(),
            path,
            peer,
            status: status.as_u16(),
            sent: 0,
            complete: false,
            note,
        }
    }
}

impl fmt::Display for RequestLog {
    /// Shows the path, and what is special about the answer.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method != "GET" {
            write!(formatter, "{} ", self.method)?;
        }
        formatter.write_str(&self.path)?;
        if self.status >= 400 {
            let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
            write!(formatter, ": {} {}", self.status, reason.unwrap_or_default())?;
        } else if !self.complete {
            write!(formatter, " (broken off after {} bytes)", self.sent)?;
        } else {
            write!(formatter, " ({} bytes)", self.sent)?;
        }
        match &self.note {
            Some(note) => write!(formatter, ", {note}"),
            None => Ok(()),
        }
    }
}

/// A body that tells, when it is done with, how much of it was sent.
pub(super) struct LoggedBody {
    body: BoxBody<Bytes, io::Error>,
    /// Bytes that make it complete.
    expected: u64,
    log: Option<RequestLog>,
    on_request: Arc<dyn Fn(RequestLog) + Send + Sync>,
}

impl LoggedBody {
    pub(super) fn new(
        body: BoxBody<Bytes, io::Error>,
        expected: u64,
        log: RequestLog,
        on_request: Arc<dyn Fn(RequestLog) + Send + Sync>,
    ) -> Self {
        Self { body, expected, log: Some(log), on_request }
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let (Some(data), Some(log)) = (frame.data_ref(), &mut self.log)
        {
            log.sent += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        if let Some(mut log) = self.log.take() {
            log.complete = log.sent >= self.expected;
            (self.on_request)(log);
        }
    }
}
