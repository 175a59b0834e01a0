//! The seam between the worker process and the engine that runs builds.
//!
//! The daemon and the worker's shell (events file, control socket, signals, final event) know only these types. `kiln-builder` is
//! put behind them in `engine.rs`; tests put a scripted runner there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use futures_util::future::BoxFuture;
use kiln_protocol::{EventBody, HypervisorInfo, JobSubmission};

/// Takes events in the order in which they happen. Callable from any thread; never blocks for long.
pub type EventSink = Arc<dyn Fn(JobEvent) + Send + Sync>;

/// An event before it has a number and a time.
#[derive(Clone, Debug, PartialEq)]
pub struct JobEvent {
    /// The build that it is about.
    pub build: Option<String>,
    /// What happened.
    pub body: EventBody,
}

/// What the worker was started for.
#[derive(Clone)]
pub struct JobRequest {
    /// What the client asked for. The worker already runs in its directory, with its environment and mask.
    pub submission: JobSubmission,
    /// The job's own directory, kept after the job: for ledger, screens, logs.
    pub job_directory: PathBuf,
    /// A short directory for sockets, removed after the job.
    pub runtime_directory: PathBuf,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOutcome {
    /// Exit code for the client: 0, or 1 when anything failed.
    pub exit_code: u8,
    /// Whether it ended early because of a cancellation, and is cleaned up.
    pub cancelled: bool,
    /// Why it failed as a whole, when no event said so.
    pub error: Option<String>,
}

/// A job that runs.
pub struct StartedJob {
    /// Reaches into it.
    pub control: Arc<dyn JobControl>,
    /// Completes when everything, clean-up included, is done. Must be polled to make progress.
    pub outcome: BoxFuture<'static, JobOutcome>,
}

/// Reports that a running job refused a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Why: lower-case, without a full stop.
    pub reason: String,
}

/// What reaches a running job from outside.
pub trait JobControl: Send + Sync {
    /// Asks it to stop and to clean up. Calling it again does nothing.
    fn cancel(&self);

    /// Captures the screen of the build's guest (of any guest when unnamed) as PNG.
    fn screen<'a>(&'a self, build: Option<&'a str>) -> BoxFuture<'a, Result<Vec<u8>, Refused>>;

    /// Answers a prompt.
    ///
    /// # Errors
    ///
    /// The prompt does not wait, or does not accept this answer.
    fn answer(&self, prompt: &str, answer: &str) -> Result<(), Refused>;
}

/// What was found and removed after a worker died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// One line for each thing that was left and is gone now.
    pub removed: Vec<String>,
    /// One line for each thing that could not be removed, with the reason.
    pub failed: Vec<String>,
}

/// Runs jobs. Holds no descriptor before its first call.
pub trait JobRunner: Send + Sync {
    /// Begins a job. Called once in a worker, inside a tokio runtime with several threads.
    fn start(&self, request: JobRequest, sink: EventSink) -> StartedJob;

    /// Removes what a dead worker of this job directory left: processes, files, registered machines. May block.
    ///
    /// # Errors
    ///
    /// What the worker held cannot be found out.
    fn sweep(&self, job_directory: &Path) -> io::Result<SweepReport>;

    /// As [`sweep`](Self::sweep), for a job that was over at `ended`: what came to be since then at the place of its own is another's.
    ///
    /// # Errors
    ///
    /// What the job still holds cannot be found out.
    fn give_back(&self, job_directory: &Path, ended: SystemTime) -> io::Result<SweepReport>;

    /// Says what can run guests here. The daemon gives it a few seconds.
    fn hypervisors(&self) -> BoxFuture<'_, Vec<HypervisorInfo>>;
}
