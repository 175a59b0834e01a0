//! What can run guests here: looked for when somebody asks, in the background when it takes long. A daemon for all users has each of them
//! look with the own rights, and tells each what it has found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_protocol::HypervisorInfo;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

use crate::caller::Caller;
use crate::config::Mode;
use crate::jobs::Jobs;
use crate::runner::{BoxFuture, JobRunner};
use crate::subordinates;
use crate::turns::Turns;

/// Time that a client waits for the search. Trying out an accelerator may take longer, the first time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time for which found hypervisors are believed; longer where a process has to be started for each user.
const LIFETIME: Duration = Duration::from_secs(30);
const LIFETIME_OF_USERS: Duration = Duration::from_secs(300);

/// Users whose findings are kept, and searches of different users that go on at once.
const MAX_USERS: usize = 256;
const SEARCHES_AT_ONCE: usize = 8;

/// Looks once.
type Look = Box<dyn Fn() -> BoxFuture<'static, Vec<HypervisorInfo>> + Send + Sync>;

/// The hypervisors of this machine, for whoever asks.
pub(super) struct Hypervisors {
    jobs: Jobs,
    own: Arc<Search>,
    users: Users,
}

/// The searches of each user, for a daemon for all of them.
struct Users {
    /// By their own ids: each looks as itself. Of the subordinate ids of a range one at a time has what it found kept.
    searches: StdMutex<HashMap<u32, Arc<Search>>>,
    turns: Arc<Semaphore>,
    /// The ids of a range look one after the other.
    turns_of_each: Turns,
}

/// A search, and what came of the last one.
struct Search {
    look: Look,
    lifetime: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<(Instant, Vec<HypervisorInfo>)>,
    running: Option<JoinHandle<Vec<HypervisorInfo>>>,
}

impl Hypervisors {
    pub(super) fn new(runner: Arc<dyn JobRunner>, jobs: Jobs) -> Self {
        let look: Look = Box::new(move || {
            let runner = Arc::clone(&runner);
            Box::pin(async move { runner.hypervisors().await })
        });
        Self { jobs, own: Search::by(look, LIFETIME), users: Users::new() }
    }

    /// Returns what is known, and whether a search still goes on.
    pub(super) async fn get(&self, caller: &Caller) -> (Vec<HypervisorInfo>, bool) {
        let search = match self.jobs.config().mode {
            Mode::User => Arc::clone(&self.own),
            // To look for them is to run them, which root does not do for others.
            Mode::System => {
                let (jobs, caller) = (self.jobs.clone(), *caller);
                let look: Look = Box::new(move || {
                    let jobs = jobs.clone();
                    Box::pin(async move { jobs.hypervisors(&caller).await.unwrap_or_default() })
                });
                self.users.of(&caller, look)
            }
        };
        search.get().await
    }
}

impl Users {
    fn new() -> Self {
        let turns = Arc::new(Semaphore::new(SEARCHES_AT_ONCE));
        Self { searches: StdMutex::default(), turns, turns_of_each: Turns::new(1) }
    }

    /// Returns the caller's search; one that is new looks by this.
    fn of(&self, caller: &Caller, look: Look) -> Arc<Search> {
        let (uid, counts_as) = (caller.uid(), caller.counts_as());
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        if !searches.contains_key(&uid) {
            // Whose search goes on keeps it.
            let is_waited_for = |search: &Arc<Search>| Arc::strong_count(search) > 1;
            if counts_as != uid {
                searches.retain(|other, search| {
                    *other == counts_as || subordinates::counts_as(*other) != counts_as || is_waited_for(search)
                });
            }
            if searches.len() >= MAX_USERS {
                searches.retain(|_, search| is_waited_for(search));
            }
        }
        let search = searches.entry(uid).or_insert_with(|| {
            let (turns, turns_of_each, look) = (Arc::clone(&self.turns), self.turns_of_each.clone(), Arc::new(look));
            let look: Look = Box::new(move || {
                let (turns, turns_of_each, look) = (Arc::clone(&turns), turns_of_each.clone(), Arc::clone(&look));
                Box::pin(async move {
                    let _turn_of_range = turns_of_each.turn(counts_as).await;
                    // Nobody closes it.
                    let _turn = turns.acquire().await;
                    look().await
                })
            });
            Search::by(look, LIFETIME_OF_USERS)
        });
        Arc::clone(search)
    }
}

impl Search {
    fn by(look: Look, lifetime: Duration) -> Arc<Self> {
        Arc::new(Self { look, lifetime, state: Mutex::default() })
    }

    async fn get(&self) -> (Vec<HypervisorInfo>, bool) {
        // Held while waiting: several clients at once wait for one search.
        let mut state = self.state.lock().await;
        let State { found, running } = &mut *state;
        if let Some((found_at, hypervisors)) = found
            && found_at.elapsed() < self.lifetime
        {
            return (hypervisors.clone(), false);
        }
        let task = running.get_or_insert_with(|| tokio::spawn((self.look)()));
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(result) => {
                *running = None;
                let hypervisors = result.unwrap_or_else(|error| {
                    tracing::error!(%error, "the search for hypervisors broke");
                    Vec::new()
                });
                *found = Some((Instant::now(), hypervisors.clone()));
                (hypervisors, false)
            }
            // What was found earlier is better than nothing.
            Err(_) => (found.as_ref().map_or_else(Vec::new, |(_, hypervisors)| hypervisors.clone()), true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A range that no machine has.
    const RANGE: u32 = 4_100_000_000;

    #[tokio::test]
    async fn each_id_of_a_range_looks_as_itself_and_one_of_them_is_kept() {
        subordinates::add_range(RANGE, RANGE + 65_536);
        let (users, looked) = (Users::new(), Arc::new(StdMutex::new(Vec::new())));
        let get = async |uid: u32| {
            let noted = Arc::clone(&looked);
            let look: Look = Box::new(move || {
                let noted = Arc::clone(&noted);
                Box::pin(async move {
                    noted.lock().unwrap().push(uid);
                    Vec::new()
                })
            });
            let search = users.of(&Caller::with_uid(uid), look);
            while search.get().await.1 {}
        };
        let (carol, container) = (RANGE + 28, RANGE + 7);
        get(carol).await;
        get(container).await;
        assert_eq!(*looked.lock().unwrap(), [carol, container], "nobody is shown what another has found");
        // An account is itself once it is known, and what its neighbours do is nothing to it.
        subordinates::note_account(carol);
        get(carol).await;
        for uid in RANGE + 100..RANGE + 200 {
            get(uid).await;
        }
        assert_eq!(users.searches.lock().unwrap().len(), 2);
        let before = looked.lock().unwrap().len();
        get(carol).await;
        get(RANGE + 199).await;
        assert_eq!(looked.lock().unwrap().len(), before, "what was found is believed for a while");
    }
}
