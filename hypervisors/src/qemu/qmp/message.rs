//! What comes over a QMP connection, and who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::oneshot;

/// Something QEMU reported by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// `SHUTDOWN`, `STOP`, …; any name at all.
    pub(crate) name: String,
    /// Its `data`; null when there is none.
    pub(crate) data: Value,
}

/// A command's `return` value, or QEMU's words.
pub(super) type Reply = Result<Value, String>;
/// Who waits for the answer to which command, by its id.
pub(super) type Pending = Arc<Mutex<HashMap<String, oneshot::Sender<Reply>>>>;

/// Opens the list of those who wait.
pub(super) fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<Reply>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}
