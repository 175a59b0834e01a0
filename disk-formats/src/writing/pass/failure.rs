//! The first error of a pass, and the sign to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::Error;

/// How often a caller that waits for slow work is asked whether to go on.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The first error of any thread, and the sign for all others to stop.
#[derive(Default)]
pub(super) struct Failure {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) first: Mutex<Option<Error>>,
}

impl Failure {
    pub(super) fn report(&self, error: Error) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
