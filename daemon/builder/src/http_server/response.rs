//! Answers: status, headers, body.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use hyper::{Response, StatusCode};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::range::{Requested, requested};
use super::request_log::{LoggedBody, RequestLog};

/// Bytes read from a file at a time.
const READ_BYTES: usize = 64 * 1024;

/// An answer on its way.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: AnswerBody,
    /// For the log.
    pub(super) note: Option<String>,
}

enum AnswerBody {
    Bytes(Bytes),
    /// The next so many bytes of a file.
    File(File, u64),
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: Bytes) -> Self {
        Self { status, headers: HeaderMap::new(), body: AnswerBody::Bytes(body), note: None }
    }

    /// Makes an answer of a part of a file that is positioned at its start.
    pub(super) fn file(status: StatusCode, file: File, length: u64) -> Self {
        Self { status, headers: HeaderMap::new(), body: AnswerBody::File(file, length), note: None }
    }

    #[must_use]
    pub(super) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    #[must_use]
    pub(super) fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn into_response(
        self,
        is_head: bool,
        log: RequestLog,
        on_request: Arc<dyn Fn(RequestLog) + Send + Sync>,
    ) -> Response<LoggedBody> {
        let length = match &self.body {
            AnswerBody::Bytes(bytes) => bytes.len() as u64,
            AnswerBody::File(_, length) => *length,
        };
        let body: BoxBody<Bytes, io::Error> = match self.body {
            _ if is_head => Empty::new().map_err(|never| match never {}).boxed(),
            AnswerBody::Bytes(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed(),
            AnswerBody::File(file, length) => {
                let stream = ReaderStream::with_capacity(file.take(length), READ_BYTES);
                StreamBody::new(stream.map_ok(Frame::data)).boxed()
            }
        };
        let expected = if is_head { 0 } else { length };
        let mut response = Response::new(LoggedBody::new(body, expected, log, on_request));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

/// Answers with a short text.
pub(super) fn plain(status: StatusCode, text: String) -> Answer {
    Answer::new(status, Bytes::from(text)).with_header(CONTENT_TYPE, "text/plain; charset=utf-8")
}

/// Answers with bytes in memory, or the part that was asked for.
pub(super) fn bytes(content: Bytes, path: &str, request: &HeaderMap) -> Answer {
    let length = content.len() as u64;
    let kind = content_type(path, &content);
    let header = request.get(RANGE).and_then(|value| value.to_str().ok());
    match requested(header, length) {
        Requested::All => Answer::new(StatusCode::OK, content),
        Requested::Part(part) => {
            let range = content_range(&part, length);
            Answer::new(StatusCode::PARTIAL_CONTENT, content.slice(part.start as usize..part.end as usize))
                .with_header(CONTENT_RANGE, &range)
        }
        Requested::Outside => return outside(length),
    }
    .with_header(CONTENT_TYPE, kind)
    .with_header(ACCEPT_RANGES, "bytes")
}

/// Answers that there is no such part.
pub(super) fn outside(length: u64) -> Answer {
    plain(StatusCode::RANGE_NOT_SATISFIABLE, format!("there are {length} bytes\n"))
        .with_header(CONTENT_RANGE, &format!("bytes */{length}"))
}

pub(super) fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1))
}

/// Returns the media type by name, or else by what the first bytes look like.
pub(super) fn content_type(path: &str, start: &[u8]) -> &'static str {
    let extension =
        path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "json" => "application/json",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "gz" | "tgz" => "application/gzip",
        "zip" => "application/zip",
        "png" => "image/png",
        // A character may be cut at the end of what was read.
        _ => match std::str::from_utf8(start) {
            Ok(text) if !text.contains('\0') => "text/plain; charset=utf-8",
            Err(error) if error.error_len().is_none() && !start.contains(&0) => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        },
    }
}
