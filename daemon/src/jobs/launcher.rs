//! The seam between supervisors and the processes that work on jobs.
//!
//! `spawn.rs` starts real ones, `user_launcher.rs` as the users whose jobs they work on; tests put a launcher of their own here.

use std::future;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use kiln_protocol::{JobId, JobState, JobSubmission};
use tokio::time::timeout;

use crate::account::AccountError;
use crate::as_owner::Owner;
use crate::job_dir::{JobDir, JobDirError};
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;
use crate::units::UnitError;

/// Time for cleaning up after a dead worker: a hypervisor alone may take two minutes to end and remove a machine.
pub(super) const SWEEP_TIMEOUT: Duration = Duration::from_secs(300);

/// Time for a killed process to be gone. One that hangs in the kernel, as behind a dead file server, goes much later or never.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A process that was started, and is watched.
pub type Launched = Result<Box<dyn JobProcess>, LaunchError>;

/// Starts processes for jobs, and finds them again.
pub trait Launcher: Send + Sync {
    /// Says whose the files of a job are that this user submits, when not this daemon's.
    ///
    /// # Errors
    ///
    /// Nothing can be started for this user.
    fn files_of(&self, uid: u32) -> BoxFuture<'_, Result<Option<Owner>, AccountError>>;

    /// Starts the worker of a job: in the caller's directory, with the caller's environment, its output in the job's log.
    ///
    /// # Errors
    ///
    /// It does not start, or cannot be watched; then it does not run.
    fn worker<'a>(&'a self, directory: &'a JobDir, submission: &'a JobSubmission) -> BoxFuture<'a, Launched>;

    /// Starts what cleans up when the worker is gone.
    ///
    /// # Errors
    ///
    /// It does not start, or cannot be watched; then it does not run.
    fn after<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        what: After<'a>,
    ) -> BoxFuture<'a, Launched>;

    /// Finds a process that an earlier daemon started for this job of this user; nothing when it has ended.
    ///
    /// # Errors
    ///
    /// It runs, but cannot be watched.
    fn adopt(
        &self,
        directory: &JobDir,
        owner: u32,
        identity: &ProcessIdentity,
    ) -> Result<Option<Box<dyn JobProcess>>, LaunchError>;

    /// Starts a process of this user's that looks for hypervisors; nothing where this launcher starts none.
    ///
    /// # Errors
    ///
    /// It does not start, or cannot be watched; then it does not run.
    fn look(&self, _uid: u32) -> BoxFuture<'_, Result<Option<Look>, LaunchError>> {
        Box::pin(future::ready(Ok(None)))
    }
}

/// A process that looks for hypervisors.
pub struct Look {
    pub(super) process: Box<dyn JobProcess>,
    /// What it says: their list, as JSON in its last line.
    pub(super) said: OwnedFd,
}

/// Command of this program that looks for hypervisors.
pub(super) const HYPERVISORS: &str = "hypervisors";

/// What is to be done after a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After<'a> {
    /// Giving back all that a dead one held and writing the job's last event, with the environment that the worker had.
    Sweep {
        /// How the job ends.
        state: JobState,
        /// Why it ends.
        cause: &'a str,
    },
    /// Trying again to give back what a job that is over still holds, with as much of its environment as there is.
    GiveBack,
}

impl After<'_> {
    /// Returns the words of the command line that ask for it.
    pub(super) fn arguments(self) -> Vec<String> {
        match self {
            Self::Sweep { state, cause } => {
                vec!["--sweep".to_owned(), format!("--state={state}"), format!("--cause={cause}")]
            }
            Self::GiveBack => vec!["--give-back".to_owned()],
        }
    }
}

/// A process that works on a job.
pub trait JobProcess: Send + Sync {
    /// Returns which it is.
    fn identity(&self) -> &ProcessIdentity;

    /// Kills it, and what it has started as far as that can be found. Does not wait.
    fn kill(&self);

    /// Waits until it has ended. Cancel safe.
    fn ended(&mut self) -> BoxFuture<'_, Exit>;
}

/// Reports that a process for a job cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Its log cannot be opened.
    #[error(transparent)]
    Log(#[from] JobDirError),
    /// Nobody is there to start it for.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The service manager does not start it.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A directory that it needs cannot be made.
    #[error("cannot prepare {path} for the worker")]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The program does not start.
    #[error("cannot start the worker {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody would hear of its end.
    #[error("the worker cannot be watched")]
    Watch(#[source] std::io::Error),
}

impl LaunchError {
    /// How long a start is to be tried again that failed so; nothing where it would fail again.
    pub(super) fn patience(&self) -> Option<Duration> {
        match self {
            Self::Unit(error) => error.patience(),
            _ => None,
        }
    }
}

/// How a process ended, as far as can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As the system says.
    Status(ExitStatus),
    /// It was the child of another daemon.
    Unknown,
}

/// Waits for a process to end, so long, then for it to be dead, and says in the log what was wrong.
pub(super) async fn see_to_end(process: &mut dyn JobProcess, limit: Duration, job: &JobId, work: &str) {
    match timeout(limit, process.ended()).await {
        Ok(Exit::Status(status)) if status.success() => return,
        Ok(exit) => return tracing::error!(%job, ?exit, "{work} failed"),
        Err(_) => tracing::error!(%job, "{work} took more than {} s", limit.as_secs()),
    }
    process.kill();
    if timeout(KILL_TIMEOUT, process.ended()).await.is_err() {
        tracing::error!(%job, pid = process.identity().pid, "{work} was killed and does not end; it is left over");
    }
}

impl Exit {
    /// Says why a worker that wrote no last event is gone.
    pub(super) fn cause(self) -> String {
        match self {
            Self::Status(status) => match (status.signal(), status.code()) {
                (Some(9), _) => "the worker was killed (SIGKILL: by hand, or because memory ran out)".to_owned(),
                (Some(signal), _) => format!("the worker died of signal {signal}"),
                (None, Some(code)) => format!("the worker ended with exit code {code} before the job was over"),
                (None, None) => "the worker died".to_owned(),
            },
            Self::Unknown => {
                "the worker died; it was started by an earlier daemon, so its exit status is unknown".to_owned()
            }
        }
    }
}
