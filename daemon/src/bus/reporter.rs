//! Keeps the objects as the jobs are, and tells what is new: of each object at most four times a second (`pace.rs`), and at once after a
//! quiet quarter of a second.

use std::collections::{BTreeMap, BTreeSet};
use std::future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kiln_protocol::{Job, JobId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use zbus::{Connection, Message};

use super::listeners::Listeners;
use super::pace::Pace;
use super::place::Place;
use super::signals::{Audience, signals};
use super::tree::{News, Tree};
use crate::explain::explain;
use crate::jobs::{ChangeWatch, Jobs, JobsError};

/// Jobs that have objects. Those that are not over come first; the others are in `ListJobs` alone.
const MAX_JOBS: usize = 500;

/// News, and of whose jobs; of nobody's when it is for all.
struct Told {
    owner: Option<u32>,
    news: Vec<News>,
}

/// Keeps the objects as the jobs are.
pub(super) struct Reporter {
    jobs: Jobs,
    watch: ChangeWatch,
    tree: Arc<Mutex<Tree>>,
    /// Changes whenever there was news.
    told: watch::Sender<()>,
    /// Time for which a job that is over keeps its objects.
    keep: Duration,
    /// Jobs that have changed since they were looked at.
    changed: BTreeSet<JobId>,
    /// When each job was looked at, and when the manager was.
    looked_at: BTreeMap<JobId, Pace>,
    counted_at: Pace,
    to_count: bool,
    /// Users whose jobs have changed since they were counted, and how many running and waiting jobs each had then.
    to_count_of: BTreeSet<u32>,
    counts: BTreeMap<u32, (usize, usize)>,
    /// When the objects of jobs that are over go.
    ends: BTreeMap<JobId, Instant>,
}

impl Reporter {
    /// Shows the jobs that there are. Nobody is told: nobody knows of us yet.
    pub(super) async fn start(jobs: Jobs, keep: Duration) -> Result<Self, JobsError> {
        // Watched before the first look, so that nothing falls between the two.
        let watch = jobs.watch_changes();
        let tree = Arc::new(Mutex::new(Tree::new(jobs.observe_counts(None).await?)));
        let mut reporter = Self {
            jobs,
            watch,
            tree,
            told: watch::Sender::new(()),
            keep,
            changed: BTreeSet::new(),
            looked_at: BTreeMap::new(),
            counted_at: Pace::default(),
            to_count: false,
            to_count_of: BTreeSet::new(),
            counts: BTreeMap::new(),
            ends: BTreeMap::new(),
        };
        for id in reporter.jobs.observe_newest(u32::try_from(MAX_JOBS).unwrap_or(u32::MAX)).await? {
            reporter.look_at(&id).await?;
        }
        reporter.to_count = false;
        Ok(reporter)
    }

    pub(super) fn tree(&self) -> Arc<Mutex<Tree>> {
        Arc::clone(&self.tree)
    }

    /// Returns a receiver that changes whenever there was news.
    pub(super) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    /// Tells what is new until the connection ends.
    pub(super) async fn run(mut self, bus: &Connection, audience: Audience, listeners: Listeners) {
        while !bus.is_closed() {
            let due = self.due();
            let wait = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                changed = self.watch.changed() => {
                    self.changed.extend(changed);
                    self.to_count = true;
                }
                () = wait => {}
                () = bus.closed() => return,
            }
            if let Err(error) = self.tell_what_is_due(bus, audience, &listeners).await {
                tracing::warn!(error, "what is new is not told on the bus");
            }
        }
    }

    /// Returns when something is to be done next without another change.
    fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let looks = self.changed.iter().map(|id| self.next_look(id, now));
        let count = self.to_count.then(|| self.counted_at.next(now));
        looks.chain(count).chain(self.ends.values().copied()).min()
    }

    /// Returns when a job may be looked at again: now when it never was.
    fn next_look(&self, id: &JobId, now: Instant) -> Instant {
        self.looked_at.get(id).map_or(now, |pace| pace.next(now))
    }

    async fn tell_what_is_due(
        &mut self,
        bus: &Connection,
        audience: Audience,
        listeners: &Listeners,
    ) -> Result<(), String> {
        let now = Instant::now();
        let mut news = Vec::new();
        let gone: Vec<_> = self.ends.iter().filter(|(_, end)| **end <= now).map(|(id, _)| id.clone()).collect();
        for id in gone {
            news.push(self.hide(&id));
        }
        // What cannot be looked at now is looked at again after a pause, and what else is new is told all the same.
        let mut failed = None;
        let due: Vec<_> = self.changed.iter().filter(|id| self.next_look(id, now) <= now).cloned().collect();
        for id in due {
            match self.look_at(&id).await {
                Ok(seen) => {
                    self.changed.remove(&id);
                    news.extend(seen);
                }
                Err(error) => {
                    failed = Some(explain(&error));
                    self.looked_at.entry(id).or_default().told(now);
                }
            }
        }
        if self.to_count && self.counted_at.next(now) <= now {
            self.counted_at.told(now);
            match self.count(audience).await {
                Ok(counted) => {
                    self.to_count = false;
                    news.extend(counted);
                }
                Err(error) => failed = Some(explain(&error)),
            }
        }
        // Written under the lock, sent without it.
        let messages = self.messages(&news, audience, listeners).map_err(|error| explain(&error))?;
        for message in messages {
            bus.send(&message).await.map_err(|error| explain(&error))?;
        }
        if news.iter().any(|told| !told.news.is_empty()) {
            self.told.send_modify(|()| {});
        }
        failed.map_or(Ok(()), Err)
    }

    /// Writes the signals: on a bus of one user each for all programs, on one of many users for each program that may hear it.
    fn messages(&self, news: &[Told], audience: Audience, listeners: &Listeners) -> zbus::Result<Vec<Message>> {
        let (tree, mut messages) = (self.lock(), Vec::new());
        for told in news {
            match (audience, told.owner) {
                (Audience::OneUser, _) => messages.extend(signals(&told.news, &tree, audience, None)?),
                (Audience::Several, Some(owner)) => {
                    for program in listeners.of(owner) {
                        messages.extend(signals(&told.news, &tree, audience, Some(&program))?);
                    }
                }
                (Audience::Several, None) => {}
            }
        }
        Ok(messages)
    }

    /// Counts the jobs, for one user all and for several those of each whose jobs have changed.
    async fn count(&mut self, audience: Audience) -> Result<Vec<Told>, JobsError> {
        let all = self.jobs.observe_counts(None).await?;
        let news = self.lock().count(all);
        let mut counted = vec![Told { owner: None, news }];
        if audience == Audience::OneUser {
            return Ok(counted);
        }
        for owner in self.to_count_of.clone() {
            let counts = self.jobs.observe_counts(Some(owner)).await?;
            self.to_count_of.remove(&owner);
            let (now, before) = ((counts.running, counts.queued), self.counts.remove(&owner).unwrap_or_default());
            if now != (0, 0) {
                self.counts.insert(owner, now);
            }
            if now != before {
                let news = vec![News::Changed(Place::Manager, vec!["NQueued", "NRunning"])];
                counted.push(Told { owner: Some(owner), news });
            }
        }
        Ok(counted)
    }

    /// Shows a job as it is now, if it is to be shown.
    async fn look_at(&mut self, id: &JobId) -> Result<Vec<Told>, JobsError> {
        let now = Instant::now();
        let Some(observed) = self.jobs.observe(id).await? else { return Ok(vec![self.hide(id)]) };
        // Also when the count that its change asked for has come before this look.
        self.to_count_of.insert(observed.owner);
        self.to_count = true;
        let left = time_left(&observed.job, self.keep, Timestamp::now());
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(vec![self.hide(id)]);
        }
        if self.is_full_for(id) {
            // One that is over makes room for one that is not.
            let oldest = self.ends.iter().min_by_key(|(_, end)| **end).map(|(id, _)| id.clone());
            let Some(oldest) = oldest.filter(|_| left.is_none()) else { return Ok(Vec::new()) };
            let hidden = self.hide(&oldest);
            let news = self.lock().show(&observed);
            self.looked_at.entry(id.clone()).or_default().told(now);
            return Ok(vec![hidden, Told { owner: Some(observed.owner), news }]);
        }
        self.looked_at.entry(id.clone()).or_default().told(now);
        if let Some(left) = left {
            self.ends.insert(id.clone(), now + left);
        }
        let news = self.lock().show(&observed);
        Ok(vec![Told { owner: Some(observed.owner), news }])
    }

    /// Says whether there is no room for a job that is not shown yet.
    fn is_full_for(&self, id: &JobId) -> bool {
        let tree = self.lock();
        !tree.shows(id) && tree.len() >= MAX_JOBS
    }

    fn hide(&mut self, id: &JobId) -> Told {
        self.looked_at.remove(id);
        self.ends.remove(id);
        let mut tree = self.lock();
        Told { owner: tree.owner(id), news: tree.hide(id) }
    }

    fn lock(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns for how long a job is still shown; nothing when it is not over.
fn time_left(job: &Job, keep: Duration, now: Timestamp) -> Option<Duration> {
    if !job.state.is_over() {
        return None;
    }
    let finished = job.finished_at.as_deref().and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or(now);
    // A clock that was set back makes nothing last longer.
    let since = Duration::try_from(now.duration_since(finished)).unwrap_or_default();
    Some(keep.saturating_sub(since))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::account::AccountError;
    use crate::as_owner::Owner;
    use crate::caller::Caller;
    use crate::config::Config;
    use crate::job_dir::JobDir;
    use crate::jobs::{After, JobProcess, LaunchError, Launched, Launcher, Submission};
    use crate::process_identity::ProcessIdentity;
    use crate::runner::BoxFuture;

    /// Starts nothing.
    struct NoLauncher;

    fn nothing<'a>() -> BoxFuture<'a, Launched> {
        let source = io::Error::other("this starts nothing");
        Box::pin(future::ready(Err(LaunchError::Start { program: "none".to_owned(), source })))
    }

    impl Launcher for NoLauncher {
        fn files_of(&self, _: u32) -> BoxFuture<'_, Result<Option<Owner>, AccountError>> {
            Box::pin(future::ready(Ok(None)))
        }

        fn worker<'a>(&'a self, _: &'a JobDir, _: &'a kiln_protocol::JobSubmission) -> BoxFuture<'a, Launched> {
            nothing()
        }

        fn after<'a>(
            &'a self,
            _: &'a JobDir,
            _: Option<&'a kiln_protocol::JobSubmission>,
            _: After<'a>,
        ) -> BoxFuture<'a, Launched> {
            nothing()
        }

        fn adopt(&self, _: &JobDir, _: u32, _: &ProcessIdentity) -> Result<Option<Box<dyn JobProcess>>, LaunchError> {
            Ok(None)
        }
    }

    #[tokio::test]
    async fn a_look_that_comes_after_the_count_of_its_change_is_counted_itself() {
        let scratch = tempfile::Builder::new().prefix("kr").tempdir().unwrap();
        let config = Config::below(scratch.path());
        std::fs::create_dir_all(&config.state_directory).unwrap();
        let jobs = Jobs::start_with(config, Arc::new(NoLauncher)).await.unwrap();
        let mut reporter = Reporter::start(jobs.clone(), Duration::from_secs(600)).await.unwrap();
        assert!(reporter.due().is_none(), "nothing is to be told of what there was");
        let text = r#"{"kind":"build","template":"a","working_directory":"/"}"#;
        let request = serde_json::from_str(text).unwrap();
        let submission = Submission { request, key: None, digest: "d".to_owned() };
        let id = jobs.submit(&Caller::with_uid(1000), submission).await.unwrap().0.id;
        reporter.look_at(&id).await.unwrap();
        assert!(reporter.to_count_of.contains(&1000) && reporter.due().is_some());
        reporter.count(Audience::Several).await.unwrap();
        assert!(reporter.to_count_of.is_empty());
    }
}
