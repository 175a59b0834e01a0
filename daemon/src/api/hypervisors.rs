//! What can run guests here: looked for when somebody asks, in the background when it takes long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_protocol::HypervisorInfo;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::runner::JobRunner;

/// Time that a client waits for the search. Trying out an accelerator may take longer, the first time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Time for which found hypervisors are believed.
const LIFETIME: Duration = Duration::from_secs(30);

/// The hypervisors of this machine.
pub(super) struct Hypervisors {
    runner: Arc<dyn JobRunner>,
    search: Mutex<Search>,
}

#[derive(Default)]
struct Search {
    found: Option<(Instant, Vec<HypervisorInfo>)>,
    running: Option<JoinHandle<Vec<HypervisorInfo>>>,
}

impl Hypervisors {
    pub(super) fn new(runner: Arc<dyn JobRunner>) -> Self {
        Self { runner, search: Mutex::default() }
    }

    /// Returns what is known, and whether a search still goes on.
    pub(super) async fn get(&self) -> (Vec<HypervisorInfo>, bool) {
        // Held while waiting: several clients at once wait for one search.
        let mut search = self.search.lock().await;
        let Search { found, running } = &mut *search;
        if let Some((found_at, hypervisors)) = found
            && found_at.elapsed() < LIFETIME
        {
            return (hypervisors.clone(), false);
        }
        let task = running.get_or_insert_with(|| {
            let runner = Arc::clone(&self.runner);
            tokio::spawn(async move { runner.hypervisors().await })
        });
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
