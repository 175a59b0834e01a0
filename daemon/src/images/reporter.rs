//! What a task on images reports to and hears from, and how it ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_protocol::{EventBody, ImageResult, Severity};

use crate::runner::{EventSink, JobEvent};

/// Exit code for whatever fails.
pub(super) const EXIT_FAILURE: u8 = 1;

/// How the work ended: the exit code, and why it is not 0, for lists of jobs.
pub(super) struct Ended {
    pub(super) exit_code: u8,
    pub(super) why: Option<String>,
}

impl Ended {
    pub(super) fn well() -> Self {
        Self { exit_code: 0, why: None }
    }
}

/// What tasks report to, and hear from.
pub(super) struct Reporter {
    sink: EventSink,
    stop: Arc<AtomicBool>,
}

impl Reporter {
    pub(super) fn new(sink: EventSink, stop: Arc<AtomicBool>) -> Self {
        Self { sink, stop }
    }

    pub(super) fn emit(&self, body: EventBody) {
        (self.sink)(JobEvent { build: None, body });
    }

    pub(super) fn result(&self, result: ImageResult) {
        self.emit(EventBody::Result { result });
    }

    /// Says what does not keep the work from going on.
    pub(super) fn warn(&self, text: String) {
        self.emit(EventBody::Diagnostics { severity: Severity::Warning, text, diagnostics: Vec::new() });
    }

    /// Whether nobody wants the work any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Returns a callback for the library that reports progress under this name.
    pub(super) fn progress(&self, what: String) -> impl Fn(u64, u64) -> ControlFlow<()> + Sync {
        move |done, total| {
            self.emit(EventBody::Progress { what: what.clone(), done, total: Some(total) });
            if self.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}
