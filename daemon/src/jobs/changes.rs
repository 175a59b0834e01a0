//! What is new of jobs, for who shows them and wants to be told: which have changed, and how far their transfers are.
//!
//! Nothing is queued: a job that changes a thousand times before anybody looks is one job that has changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_protocol::JobId;
use tokio::sync::Notify;

/// How much of its present transfer each build of a job has done, from 0 to 1.
pub(crate) type Transfers = BTreeMap<String, f64>;

/// What is new of jobs. One watcher at most; without one nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_watched: bool,
    changed: BTreeSet<JobId>,
    transfers: HashMap<JobId, Transfers>,
}

/// The one who is told. What changes after its making is noticed, until it is dropped.
#[derive(Debug)]
pub(crate) struct ChangeWatch {
    changes: Arc<Changes>,
}

impl Changes {
    /// Notes that a job is no longer what it was, or is there no more.
    pub(super) fn note(&self, id: &JobId) {
        let mut state = self.state();
        if state.is_watched && state.changed.insert(id.clone()) {
            self.news.notify_one();
        }
    }

    /// Notes how far a transfer is; nothing when its length is unknown.
    pub(super) fn note_transfer(&self, id: &JobId, build: &str, done: Option<f64>) {
        let mut state = self.state();
        if !state.is_watched {
            return;
        }
        match (state.transfers.get_mut(id), done) {
            (Some(transfers), Some(done)) => drop(transfers.insert(build.to_owned(), done)),
            (Some(transfers), None) => drop(transfers.remove(build)),
            (None, Some(done)) => drop(state.transfers.insert(id.clone(), [(build.to_owned(), done)].into())),
            (None, None) => {}
        }
    }

    /// Forgets the transfers of a job: it is over.
    pub(super) fn end_transfers(&self, id: &JobId) {
        self.state().transfers.remove(id);
    }

    /// Returns how far the transfers of a job are.
    pub(super) fn transfers(&self, id: &JobId) -> Transfers {
        self.state().transfers.get(id).cloned().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeWatch {
    pub(super) fn new(changes: Arc<Changes>) -> Self {
        changes.state().is_watched = true;
        Self { changes }
    }

    /// Waits until jobs have changed, and returns them. Cancel safe.
    pub(crate) async fn changed(&mut self) -> BTreeSet<JobId> {
        loop {
            let changed = mem::take(&mut self.changes.state().changed);
            if !changed.is_empty() {
                return changed;
            }
            self.changes.news.notified().await;
        }
    }
}

impl Drop for ChangeWatch {
    fn drop(&mut self) {
        *self.changes.state() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn changes_are_noticed_once_and_only_while_somebody_watches() {
        let (changes, one, other) =
            (Arc::new(Changes::default()), JobId::from_random_bits(1), JobId::from_random_bits(2));
        changes.note(&one);
        changes.note_transfer(&one, "qemu.a", Some(0.5));
        assert!(changes.transfers(&one).is_empty(), "nobody watches");
        let mut watch = ChangeWatch::new(Arc::clone(&changes));
        assert!(watch.changed().now_or_never().is_none(), "what was before is not told");
        (0..1000).for_each(|_| changes.note(&one));
        changes.note(&other);
        assert_eq!(watch.changed().now_or_never(), Some([one.clone(), other.clone()].into()));
        assert!(watch.changed().now_or_never().is_none());
        changes.note(&one);
        assert_eq!(watch.changed().now_or_never(), Some([one.clone()].into()), "it has changed again");

        changes.note_transfer(&one, "qemu.a", Some(0.5));
        changes.note_transfer(&one, "qemu.b", Some(1.0));
        changes.note_transfer(&one, "qemu.b", None);
        assert_eq!(changes.transfers(&one), [("qemu.a".to_owned(), 0.5)].into());
        changes.end_transfers(&one);
        assert!(changes.transfers(&one).is_empty());
        changes.note(&one);
        drop(watch);
        let mut watch = ChangeWatch::new(changes);
        assert!(watch.changed().now_or_never().is_none(), "a new watcher starts anew");
    }
}
