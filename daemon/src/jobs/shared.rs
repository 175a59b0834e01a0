//! What driver, supervisors and callers have in common.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use kiln_protocol::{JobId, Question};
use tokio::sync::watch;

use super::answers::Answers;
use super::changes::Changes;
use super::launcher::Launcher;
use super::leftovers::{Attempts, Leftovers};
use crate::config::Config;
use crate::event_log::EventWatcher;
use crate::job_dir::JobDir;
use crate::journal::{Ending, Journal};
use crate::quotas::{Pace, QuotaExceeded, Quotas};
use crate::turns::Turns;

/// What of the configuration can change while jobs run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Finished jobs that are remembered.
    pub(super) finished_jobs: u32,
    pub(super) quotas: Quotas,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Self {
        Self { finished_jobs: config.limits.finished_jobs, quotas: config.quotas }
    }
}

/// What driver, supervisors and handlers have in common.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) journal: Journal,
    pub(super) launcher: Arc<dyn Launcher>,
    pub(super) watcher: EventWatcher,
    /// Endings that the journal has no room for yet.
    pub(super) unwritten: Mutex<HashMap<JobId, Ending>>,
    /// What running jobs ask. Not in the journal: the events of a running job are read again after a restart.
    pub(super) asked: Mutex<HashMap<JobId, Vec<Question>>>,
    /// Jobs whose worker cannot be started just now, and why. It is tried again.
    pub(super) delayed: Mutex<HashMap<JobId, String>>,
    /// Jobs that are over and still hold something.
    pub(super) leftovers: Mutex<Leftovers>,
    /// Attempts to give that back.
    pub(super) attempts: Attempts,
    /// What of the configuration can change while jobs run.
    pub(super) settings: watch::Sender<Settings>,
    /// At which pace users submit.
    pub(super) pace: Mutex<Pace>,
    /// What the owner should know of this daemon's start.
    pub(super) notices: OnceLock<Vec<String>>,
    /// What the owner should know of the last reload.
    pub(super) reload_note: Mutex<Option<String>>,
    /// What is new of jobs, for who shows them.
    pub(super) changes: Arc<Changes>,
    /// Changes whenever a job is over, so that followers look.
    pub(super) endings: watch::Sender<()>,
    /// Pictures of guests on their way to who asked.
    pub(super) pictures: Turns,
    /// Lists of jobs, and descriptions of single ones, on their way to who asked.
    pub(super) answers: Answers,
}

impl Shared {
    pub(super) fn unwritten_endings(&self) -> MutexGuard<'_, HashMap<JobId, Ending>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leftovers(&self) -> MutexGuard<'_, Leftovers> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn questions(&self) -> MutexGuard<'_, HashMap<JobId, Vec<Question>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn delayed(&self) -> MutexGuard<'_, HashMap<JobId, String>> {
        self.delayed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory(&self, id: &JobId) -> JobDir {
        JobDir::of(&self.config.state_directory, &self.config.sockets_directory(), id)
    }

    pub(super) fn quotas(&self) -> Quotas {
        self.settings.borrow().quotas
    }

    /// Counts a submission of this user, before anything is done for it.
    pub(super) fn count_submission(&self, owner: u32) -> Result<(), QuotaExceeded> {
        let limit = self.quotas().submissions;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).count(owner, limit, Instant::now())
    }
}
