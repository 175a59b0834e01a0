//! What driver, supervisors and callers have in common.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_protocol::{JobId, Question};
use tokio::sync::watch;

use super::changes::Changes;
use super::launcher::Launcher;
use crate::config::Config;
use crate::event_log::EventWatcher;
use crate::job_dir::JobDir;
use crate::journal::{Ending, Journal};

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
    /// Jobs that are over and still hold something.
    pub(super) leftovers: Mutex<BTreeSet<JobId>>,
    /// What the owner should know of this daemon's start.
    pub(super) notices: OnceLock<Vec<String>>,
    /// What is new of jobs, for who shows them.
    pub(super) changes: Arc<Changes>,
    /// Changes whenever a job is over, so that followers look.
    pub(super) endings: watch::Sender<()>,
}

impl Shared {
    pub(super) fn unwritten_endings(&self) -> MutexGuard<'_, HashMap<JobId, Ending>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leftovers(&self) -> MutexGuard<'_, BTreeSet<JobId>> {
        self.leftovers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn questions(&self) -> MutexGuard<'_, HashMap<JobId, Vec<Question>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory(&self, id: &JobId) -> JobDir {
        JobDir::of(&self.config.state_directory, self.config.runtime_directory(), id)
    }
}
