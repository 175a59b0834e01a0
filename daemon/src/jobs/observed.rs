//! A job as the daemon itself sees it, for who shows jobs to others. It is asked by nobody, so nobody is refused: who hands anything of it
//! on has to ask [`Jobs::may_see`] for each caller.

use kiln_protocol::{Job, JobId};

use super::changes::{ChangeWatch, Transfers};
use super::handle::Jobs;
use super::submission::cut_path;
use super::{JobCounts, JobsError, wire};
use crate::journal::Wanted;

/// A job as the daemon itself sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// The job, with its steps.
    pub(crate) job: Job,
    /// User who submitted it.
    pub(crate) owner: u32,
    /// How far the transfers of its builds are.
    pub(crate) transfers: Transfers,
}

impl Jobs {
    /// Returns what tells of changes from now on. There is one at a time.
    pub(crate) fn watch_changes(&self) -> ChangeWatch {
        ChangeWatch::new(self.shared().changes.clone())
    }

    /// Returns a job as it is now; nothing when it was forgotten.
    pub(crate) async fn observe(&self, id: &JobId) -> Result<Option<Observed>, JobsError> {
        let shared = self.shared();
        let Some(row) = shared.journal.job(id.as_str()).await? else { return Ok(None) };
        let owner = row.owner;
        let mut job = wire::job(row)?;
        job.template = cut_path(job.template);
        self.add_what_is_not_written(&mut job);
        wire::add_steps(&mut job, shared.journal.steps(id.as_str()).await?);
        Ok(Some(Observed { job, owner, transfers: shared.changes.transfers(id) }))
    }

    /// Returns the newest jobs, those that are not over before all others.
    pub(crate) async fn observe_newest(&self, limit: u32) -> Result<Vec<JobId>, JobsError> {
        let wanted = Wanted { unfinished_first: true, ..Wanted::newest(limit) };
        let rows = self.shared().journal.jobs(wanted).await?;
        Ok(rows.iter().map(|row| wire::job_id(&row.id)).collect::<Result<_, _>>()?)
    }

    /// Counts the jobs that are not over: of one user, or all.
    pub(crate) async fn observe_counts(&self, of: Option<u32>) -> Result<JobCounts, JobsError> {
        self.count(of).await
    }
}
