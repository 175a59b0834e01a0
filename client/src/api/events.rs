//! Reads an event stream line by line.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use kiln_protocol::{Event, MAX_EVENT_BYTES};
use tokio::time::timeout;

use super::error::ClientError;

/// Silence after which the daemon is taken for dead; it sends a heartbeat every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);

/// The events of a job, as they come.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    buffer: BytesMut,
    /// Bytes of `buffer` that hold no newline.
    searched: usize,
}

/// An event, and the line that it came in.
#[derive(Debug)]
pub struct Received {
    /// The event.
    pub event: Event,
    /// Its line, without the newline.
    pub line: Bytes,
}

impl EventStream {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), searched: 0 }
    }

    /// Returns the next event; nothing at the end of the stream. Cancel safe.
    ///
    /// # Errors
    ///
    /// The connection broke, or what came is no event.
    pub async fn next(&mut self) -> Result<Option<Received>, ClientError> {
        loop {
            while let Some(line) = self.take_line() {
                // An empty line is a heartbeat.
                if !line.is_empty() {
                    let event = serde_json::from_slice(&line).map_err(|error| ClientError::Nonsense(error.into()))?;
                    return Ok(Some(Received { event, line }));
                }
            }
            if self.buffer.len() > MAX_EVENT_BYTES {
                return Err(ClientError::Nonsense("an event is too long".into()));
            }
            match timeout(SILENCE_TIMEOUT, self.body.frame()).await {
                Err(_) => return Err(ClientError::Timeout),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(ClientError::Broken(error.into())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        match self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(offset) => {
                let line = self.buffer.split_to(self.searched + offset);
                self.buffer.advance(1);
                self.searched = 0;
                Some(line.freeze())
            }
            None => {
                self.searched = self.buffer.len();
                None
            }
        }
    }
}
