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
    /// Of each user, for a daemon for all of them.
    users: StdMutex<HashMap<u32, Arc<Search>>>,
    turns: Arc<Semaphore>,
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
        let turns = Arc::new(Semaphore::new(SEARCHES_AT_ONCE));
        Self { jobs, own: Search::by(look, LIFETIME), users: StdMutex::default(), turns }
    }

    /// Returns what is known, and whether a search still goes on.
    pub(super) async fn get(&self, caller: &Caller) -> (Vec<HypervisorInfo>, bool) {
        let search = match self.jobs.config().mode {
            Mode::User => Arc::clone(&self.own),
            // To look for them is to run them, which root does not do for others.
            Mode::System => self.of(*caller),
        };
        search.get().await
    }

    fn of(&self, caller: Caller) -> Arc<Search> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MAX_USERS {
            // Whose search goes on keeps it.
            users.retain(|_, search| Arc::strong_count(search) > 1);
        }
        let search = users.entry(caller.counts_as()).or_insert_with(|| {
            let (jobs, turns) = (self.jobs.clone(), Arc::clone(&self.turns));
            let look: Look = Box::new(move || {
                let (jobs, turns) = (jobs.clone(), Arc::clone(&turns));
                Box::pin(async move {
                    // Nobody closes it.
                    let _turn = turns.acquire().await;
                    jobs.hypervisors(&caller).await.unwrap_or_default()
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
