//! Why a request about jobs was not carried out, and why a daemon cannot take care of its jobs.

use std::path::PathBuf;

use kiln_protocol::{JobId, JobState};

use super::authorizer::Forbidden;
use super::submission::InvalidSubmission;
use crate::account::AccountError;
use crate::control::ControlError;
use crate::job_dir::JobDirError;
use crate::journal::JournalError;
use crate::quotas::QuotaExceeded;

/// Reports that a request about jobs was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// There is no such job.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job is over already.
    #[error("job {id} is over ({state})")]
    Over {
        /// The job.
        id: JobId,
        /// How it ended.
        state: JobState,
    },
    /// The job is not over.
    #[error("job {id} is not over ({state})")]
    NotOver {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
    },
    /// The job is over and still holds something.
    #[error("job {id} still holds {}, which could not be given back{}", held.join(" and "), because(reasons))]
    Holds {
        /// The job.
        id: JobId,
        /// What it holds, as phrases.
        held: Vec<String>,
        /// Why that stays, as far as it is known.
        reasons: Vec<String>,
        /// The file that names it.
        ledger: PathBuf,
    },
    /// The job is over, and its directory has in it what was not to be lost.
    #[error("job {id} cannot be removed: in its directory lies {}", kept.join(" and "))]
    Keeps {
        /// The job.
        id: JobId,
        /// What lies there, as phrases.
        kept: Vec<String>,
    },
    /// The job does not run yet.
    #[error("job {id} does not run yet ({state})")]
    NotRunning {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
    },
    /// An answer says nothing of which question it is for, and there is not one.
    #[error("{}", which_question(id, waiting))]
    WhichQuestion {
        /// The job.
        id: JobId,
        /// The names of the questions that wait, with the builds that ask.
        waiting: Vec<String>,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request, job {0}")]
    KeyReused(JobId),
    /// The caller has as much as a user may have.
    #[error(transparent)]
    Quota(#[from] QuotaExceeded),
    /// As many answers as may be are on their way to the caller.
    #[error("{limit} {what} are on their way to you, as many as each user may have at once")]
    Busy {
        /// How many.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// Nothing can be run as the caller.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The caller may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// What was submitted cannot be run.
    #[error(transparent)]
    Invalid(#[from] InvalidSubmission),
    /// The worker did not do it.
    #[error(transparent)]
    Worker(#[from] ControlError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file of the job cannot be written.
    #[error(transparent)]
    Directory(#[from] JobDirError),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

fn which_question(id: &JobId, waiting: &[String]) -> String {
    match waiting {
        [] => format!("job {id} asks nothing"),
        // It was asked meanwhile.
        [only] => format!("job {id} asks now, and has not when this answer came: {only}"),
        several => {
            format!(
                "job {id} asks {} questions, and the answer names none of them: {}",
                several.len(),
                several.join(", ")
            )
        }
    }
}

fn because(reasons: &[String]) -> String {
    if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) }
}

/// Reports that the jobs of this daemon cannot be taken care of.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl StartError {
    /// Returns what to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Journal(error) => error.hint(),
            Self::System { .. } => None,
        }
    }
}
