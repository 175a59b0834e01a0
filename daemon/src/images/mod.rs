//! Work on disk images in the worker: conversions, and looks at images. The only part of the daemon that knows disk formats.
//!
//! ```text
//! ImageTask (words) ─► values of disk-formats, all mistakes at once ─► a thread that works ─► Progress*, Result* | Failure+
//! ```
//!
//! Exit codes are qemu-img's. Files have no name until they are whole; where that cannot be, the ledger has their names.

mod attest;
mod check;
mod compare;
mod convert;
mod failure;
mod info;
mod machine;
mod map;
mod outputs;
mod package;
mod reporter;
mod source;
mod stdout;
mod verify;
mod verify_attestation;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_protocol::ImageTask;

use reporter::{EXIT_FAILURE, Ended, Reporter};

use crate::runner::{BoxFuture, EventSink, JobControl, JobOutcome, Refused, StartedJob};

struct Control {
    stop: Arc<AtomicBool>,
}

impl JobControl for Control {
    fn cancel(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn screen<'a>(&'a self, _build: Option<&'a str>) -> BoxFuture<'a, Result<Vec<u8>, Refused>> {
        Box::pin(async { Err(Refused { reason: "this job has no guest".to_owned() }) })
    }

    fn answer(&self, _prompt: &str, _answer: &str) -> Result<(), Refused> {
        Err(Refused { reason: "this job asks nothing".to_owned() })
    }
}

/// Begins a task.
pub(crate) fn start(task: ImageTask, job_directory: PathBuf, sink: EventSink) -> StartedJob {
    let stop = Arc::new(AtomicBool::new(false));
    let reporter = Reporter::new(sink, Arc::clone(&stop));
    let outcome = async move {
        match tokio::task::spawn_blocking(move || run(&task, &job_directory, &reporter)).await {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    };
    StartedJob { control: Arc::new(Control { stop }), outcome: Box::pin(outcome) }
}

fn run(task: &ImageTask, job_directory: &Path, reporter: &Reporter) -> JobOutcome {
    let ended = match task {
        ImageTask::Convert(request) => convert::run(request, job_directory, reporter),
        ImageTask::Info(request) => info::run(request, reporter),
        ImageTask::Map(request) => map::run(request, reporter),
        ImageTask::Check(request) => check::run(request, reporter),
        ImageTask::Compare(request) => compare::run(request, reporter),
        ImageTask::Verify(request) => verify::run(request, reporter),
        ImageTask::VerifyAttestation(request) => verify_attestation::run(request, reporter),
    };
    match ended {
        Ok(Ended { exit_code, why }) => JobOutcome { exit_code, cancelled: false, error: why },
        Err(failures) if failures.cancelled => JobOutcome { exit_code: EXIT_FAILURE, cancelled: true, error: None },
        Err(failures) => {
            let error = failures.summary();
            let exit_code = failures.exit_code;
            failures.report(reporter);
            JobOutcome { exit_code, cancelled: false, error: Some(error) }
        }
    }
}
