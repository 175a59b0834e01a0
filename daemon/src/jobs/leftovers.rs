//! Which jobs that are over still hold something, because it could not be given back, and of which it is tried again: for an hour after
//! their end. Until then a job is not forgotten, for its ledger is all that knows of what it holds.
//!
//! What a ledger says is read once, when the job is over or when the daemon starts, and kept in mind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kiln_protocol::JobId;
use tokio::sync::{Semaphore, watch};

/// Time after the end of a job in which it is tried again by itself. Later somebody may have made the machine or the folder his own, and
/// only `kiln jobs rm`, which he asks for, takes it.
const SURELY_OURS: Duration = Duration::from_secs(3600);

/// Processes of one user that give things back at the same time.
const ATTEMPTS_AT_ONCE: usize = 2;

/// Jobs that are over and still hold something.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    jobs: BTreeMap<JobId, Leftover>,
}

#[derive(Debug)]
struct Leftover {
    owner: u32,
    /// When the job was over, by this daemon's clock and not by what its user has written.
    ended: SystemTime,
    /// How often it was tried again.
    attempts: u32,
    /// What lies there that would let in whoever gives it back at a service.
    credentials: Credentials,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credentials {
    Kept,
    /// They could not be removed, as where a disk is full.
    Stuck,
    Gone,
}

impl Leftovers {
    pub(super) fn insert(&mut self, id: JobId, owner: u32, ended: SystemTime) {
        self.jobs.entry(id).or_insert(Leftover { owner, ended, attempts: 0, credentials: Credentials::Kept });
    }

    pub(super) fn remove(&mut self, id: &JobId) {
        self.jobs.remove(id);
    }

    pub(super) fn contains(&self, id: &JobId) -> bool {
        self.jobs.contains_key(id)
    }

    /// Returns the jobs of this user that are too many, beyond so many: those that ended first.
    pub(super) fn beyond(&self, owner: u32, most: usize) -> BTreeSet<JobId> {
        let mut own: Vec<_> = self.jobs.iter().filter(|(_, leftover)| leftover.owner == owner).collect();
        own.sort_by_key(|(_, leftover)| leftover.ended);
        own.truncate(own.len().saturating_sub(most));
        own.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Returns the users who have something to be tried again, or [past](Self::past) that.
    pub(super) fn owners(&self, now: SystemTime) -> impl Iterator<Item = u32> {
        let to_do = move |leftover: &&Leftover| leftover.is_ours(now) || leftover.credentials != Credentials::Gone;
        self.jobs.values().filter(to_do).map(|leftover| leftover.owner)
    }

    /// Returns those of this user's jobs that are not tried again any more, until [their credentials are gone](Self::credentials_went), which
    /// are of no use now.
    pub(super) fn past(&self, owner: u32, now: SystemTime) -> Vec<JobId> {
        let past = self.jobs.iter().filter(|(_, leftover)| {
            leftover.owner == owner && !leftover.is_ours(now) && leftover.credentials != Credentials::Gone
        });
        past.map(|(id, _)| id.clone()).collect()
    }

    /// Notes whether the credentials of a job could be removed.
    pub(super) fn credentials_went(&mut self, id: &JobId, are_gone: bool) {
        if let Some(leftover) = self.jobs.get_mut(id) {
            leftover.credentials = if are_gone { Credentials::Gone } else { Credentials::Stuck };
        }
    }

    /// Whether something is to be done that a daemon without anything else to do is to wait for. What cannot be done keeps none for ever.
    pub(super) fn keep_busy(&self, now: SystemTime) -> bool {
        self.jobs.values().any(|leftover| leftover.is_ours(now) || leftover.credentials == Credentials::Kept)
    }

    /// Returns those of this user's jobs that are to be tried again, at most so many: those first that were tried least.
    pub(super) fn due(&mut self, owner: u32, most: usize, now: SystemTime) -> Vec<JobId> {
        let due = self.jobs.iter_mut().filter(|(_, leftover)| leftover.owner == owner && leftover.is_ours(now));
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, leftover)| leftover.attempts);
        due.into_iter()
            .take(most)
            .map(|(id, leftover)| {
                leftover.attempts = leftover.attempts.saturating_add(1);
                id.clone()
            })
            .collect()
    }
}

impl Leftover {
    fn is_ours(&self, now: SystemTime) -> bool {
        // An end in the future was written by a clock that has been set back since.
        now.duration_since(self.ended).map_or(true, |age| age < SURELY_OURS)
    }
}

/// Attempts of users that go on. Nothing is kept of who has none.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    users: Mutex<HashMap<u32, Arc<Semaphore>>>,
    /// Jobs of which one goes on or waits for its turn; each ends with what is received from.
    jobs: Arc<Mutex<HashMap<JobId, watch::Receiver<()>>>>,
}

/// Ends an attempt for a job, however it ends.
struct Ends {
    jobs: Arc<Mutex<HashMap<JobId, watch::Receiver<()>>>>,
    id: JobId,
    _told: watch::Sender<()>,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Attempts {
    /// Begins an attempt for this job, unless one goes on already; either goes on when nobody waits for it, and is over when what is returned
    /// is closed. So however often somebody asks, there is one.
    pub(super) fn begin<F>(&self, id: &JobId, attempt: impl FnOnce() -> F) -> watch::Receiver<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(going) = jobs.get(id) {
            return going.clone();
        }
        let (told, over) = watch::channel(());
        jobs.insert(id.clone(), over.clone());
        drop(jobs);
        let ends = Ends { jobs: Arc::clone(&self.jobs), id: id.clone(), _told: told };
        let attempt = attempt();
        tokio::spawn(async move {
            attempt.await;
            drop(ends);
        });
        over
    }

    /// Waits until this user may have one more, and makes it.
    pub(super) async fn make<T>(&self, owner: u32, attempt: impl Future<Output = T>) -> T {
        let turns = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.retain(|_, turns| Arc::strong_count(turns) > 1);
            Arc::clone(users.entry(owner).or_insert_with(|| Arc::new(Semaphore::new(ATTEMPTS_AT_ONCE))))
        };
        // Nobody closes one.
        let _turn = turns.acquire().await;
        attempt.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        JobId::from_random_bits(number)
    }

    #[test]
    fn what_ended_long_ago_is_left_alone_and_each_user_has_turns_of_its_own() {
        let now = SystemTime::now();
        let mut leftovers = Leftovers::default();
        leftovers.insert(id(1), 1000, now - 2 * SURELY_OURS);
        leftovers.insert(id(2), 1000, now + SURELY_OURS);
        (3..10).for_each(|number| leftovers.insert(id(number), 1000, now));
        leftovers.insert(id(10), 1001, now);
        leftovers.insert(id(11), 1002, now - 2 * SURELY_OURS);
        // Of what is past the hour only the credentials are seen to, until that has worked.
        assert_eq!(leftovers.past(1002, now), [id(11)]);
        leftovers.credentials_went(&id(11), false);
        assert_eq!(leftovers.past(1002, now), [id(11)]);
        assert!(leftovers.owners(now).any(|owner| owner == 1002));
        leftovers.credentials_went(&id(11), true);
        assert_eq!((leftovers.past(1002, now), leftovers.past(1001, now)), (Vec::new(), Vec::new()));
        assert_eq!(leftovers.past(1000, now), [id(1)]);
        let owners: BTreeSet<_> = leftovers.owners(now).collect();
        assert_eq!(owners, [1000, 1001].into());
        assert_eq!(leftovers.due(1001, 4, now), [id(10)]);
        // Eight are due, four at a time: after two rounds each was tried once.
        let mut tried = leftovers.due(1000, 4, now);
        tried.extend(leftovers.due(1000, 4, now));
        tried.sort();
        let mut all: Vec<_> = (2..10).map(id).collect();
        all.sort();
        assert_eq!(tried, all);
        // Nine of hers, of which one ended long ago: that goes first, when eight may stay.
        assert_eq!(leftovers.beyond(1000, 8), [id(1)].into());
        assert_eq!((leftovers.beyond(1000, 9), leftovers.beyond(1001, 0)), ([].into(), [id(10)].into()));
        leftovers.remove(&id(2));
        assert!(!leftovers.contains(&id(2)) && leftovers.contains(&id(1)));
    }

    #[test]
    fn a_daemon_is_busy_until_all_that_can_be_done_is_done() {
        let now = SystemTime::now();
        let mut leftovers = Leftovers::default();
        assert!(!leftovers.keep_busy(now));
        leftovers.insert(id(1), 1000, now);
        assert!(leftovers.keep_busy(now), "it is tried again");
        let later = now + SURELY_OURS;
        assert!(leftovers.keep_busy(later), "there are credentials");
        leftovers.credentials_went(&id(1), false);
        assert!(!leftovers.keep_busy(later), "they cannot be removed");
        leftovers.insert(id(2), 1000, now);
        leftovers.credentials_went(&id(2), true);
        assert!(!leftovers.keep_busy(later));
    }

    #[tokio::test]
    async fn one_users_attempts_that_hang_keep_nobody_else_waiting() {
        use futures_util::FutureExt as _;
        let attempts = Attempts::default();
        let hang = || attempts.make(1000, std::future::pending::<()>());
        let mut hanging = [Box::pin(hang()), Box::pin(hang())];
        assert!(hanging.iter_mut().all(|attempt| attempt.now_or_never().is_none()));
        assert!(attempts.make(1000, async {}).now_or_never().is_none(), "no third one of theirs");
        assert!(attempts.make(1001, async {}).now_or_never().is_some());
        drop(hanging);
        attempts.make(1001, async {}).await;
        assert_eq!(attempts.users.lock().unwrap().len(), 1, "nothing is kept of who has none");
    }

    #[tokio::test]
    async fn of_each_job_there_is_one_attempt_however_often_it_is_asked_for() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let attempts = Attempts::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let (end, ended) = watch::channel(());
        let begin = |number: u64| {
            let (begun, mut ended) = (Arc::clone(&begun), ended.clone());
            attempts.begin(&id(number), || async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let _ = ended.changed().await;
            })
        };
        let mut waiting: Vec<_> = (0..100).map(|_| begin(1)).collect();
        let mut other = begin(2);
        tokio::task::yield_now().await;
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        assert_eq!(attempts.jobs.lock().unwrap().len(), 2);
        drop(end);
        for over in waiting.iter_mut().chain([&mut other]) {
            assert!(over.changed().await.is_err(), "it is over for all who wait");
        }
        assert_eq!(attempts.jobs.lock().unwrap().len(), 0);
        // One that breaks is over, too.
        let mut broken = attempts.begin(&id(1), || async { panic!("as a test wants it") });
        assert!(broken.changed().await.is_err());
        assert_eq!(attempts.jobs.lock().unwrap().len(), 0);
    }
}
