//! Whether anybody uses the bus: a daemon that ends when it is idle has to know.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::streams::Streams;

/// When the last call came, and whether anybody reads a stream. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Activity {
    last_call: Arc<Mutex<Instant>>,
    streams: Streams,
}

impl Activity {
    pub(super) fn new(streams: Streams) -> Self {
        Self { last_call: Arc::new(Mutex::new(Instant::now())), streams }
    }

    pub(super) fn note(&self) {
        *self.last_call.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when the last call came; the start when none has.
    pub(crate) fn last_call(&self) -> Instant {
        *self.last_call.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether somebody reads a log or events.
    pub(crate) fn is_read(&self) -> bool {
        self.streams.are_open()
    }
}
