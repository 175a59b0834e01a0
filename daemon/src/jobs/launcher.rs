//! The seam between supervisors and the processes that work on jobs.
//!
//! `spawn.rs` starts real ones, `user_launcher.rs` as the users whose jobs they work on; tests put a launcher of their own here.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use kiln_protocol::{JobState, JobSubmission};

use crate::account::AccountError;
use crate::as_owner::Owner;
use crate::job_dir::{JobDir, JobDirError};
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;

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

    /// Starts what gives back all that a dead worker held and writes the job's last event, with the environment that the worker had.
    ///
    /// # Errors
    ///
    /// It does not start, or cannot be watched; then it does not run.
    fn sweeper<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        state: JobState,
        cause: &'a str,
    ) -> BoxFuture<'a, Launched>;

    /// Starts what tries again to give back what a job that is over still holds, with as much of its environment as there is.
    ///
    /// # Errors
    ///
    /// It does not start, or cannot be watched; then it does not run.
    fn give_back<'a>(&'a self, directory: &'a JobDir, submission: Option<&'a JobSubmission>)
    -> BoxFuture<'a, Launched>;

    /// Finds a process that an earlier daemon started for this job; nothing when it has ended.
    ///
    /// # Errors
    ///
    /// It runs, but cannot be watched.
    fn adopt(&self, directory: &JobDir, identity: &ProcessIdentity)
    -> Result<Option<Box<dyn JobProcess>>, LaunchError>;
}

/// A process that works on a job.
pub trait JobProcess: Send + Sync {
    /// Returns which it is.
    fn identity(&self) -> &ProcessIdentity;

    /// Kills it, and everything in its process group.
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
    /// A directory that it needs cannot be made.
    #[error("cannot prepare {path} for the worker")]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The working directory is gone or closed.
    #[error("cannot enter the working directory {path}")]
    WorkingDirectory {
        /// The directory.
        path: String,
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

/// How a process ended, as far as can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As the system says.
    Status(ExitStatus),
    /// It was the child of another daemon.
    Unknown,
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
