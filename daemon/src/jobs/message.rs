//! What the driver is asked.

use kiln_protocol::{CancelMode, JobId};
use tokio::sync::oneshot;

use super::error::JobsError;
use super::submission::Submission;
use crate::as_owner::Owner;
use crate::queue::Place;

/// What the driver is asked.
pub(super) enum Message {
    Submit {
        submission: Box<Submission>,
        owner: u32,
        /// Whether it may do nothing but what its guests can.
        confined: bool,
        /// Whose the job's files shall be, when not this daemon's.
        files_of: Option<Owner>,
        reply: Reply<(JobId, bool)>,
    },
    Cancel {
        id: JobId,
        mode: CancelMode,
        reply: Reply<()>,
    },
    /// Those of this user, or of all.
    Count {
        of: Option<u32>,
        reply: oneshot::Sender<JobCounts>,
    },
    Position {
        id: JobId,
        reply: oneshot::Sender<Option<Place>>,
    },
    Over {
        id: JobId,
    },
    /// So many jobs may run at once from now on, and so many of each user; the note stands in the line of status.
    Resize {
        max_running_jobs: usize,
        of_each_user: usize,
        note: Option<String>,
    },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, JobsError>>;

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// With a worker.
    pub running: usize,
    /// Waiting.
    pub queued: usize,
    /// Those that may run at once.
    pub limit: usize,
}
