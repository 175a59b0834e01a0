//! Watches one job's worker: carries its events into the journal, passes on cancellations, and cleans up after its death.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_protocol::{CancelMode, EventBody, JobId, JobState, JobSubmission};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::last_event::write_last_event;
use super::launcher::{After, Exit, JobProcess, KILL_TIMEOUT, LaunchError, Launched, SWEEP_TIMEOUT, see_to_end};
use super::shared::Shared;
use super::watched::Watched;
use crate::as_owner::Owner;
use crate::blocking::blocking;
use crate::config::environment::KILN_CONFINED;
use crate::control::{self, ControlRequest};
use crate::explain::explain;
use crate::job_dir::{JobDir, ledger_of};
use crate::journal::{Ending, Lease};
use crate::process_identity::ProcessIdentity;
use crate::wall_clock::wall_clock;
use crate::worker::EXIT_LOCKED;

/// Time between attempts to write an ending to a journal whose disk is full.
const FINISH_INTERVAL: Duration = Duration::from_secs(5);

/// Time for a worker that has the lock to say who it is.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a worker that has left a trace to say who it is: that of a machine on which everything is slow.
const TRACE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between attempts to start a worker that cannot be started just now.
const START_INTERVAL: Duration = Duration::from_secs(1);

/// How a supervisor begins.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// With a new worker.
    Start,
    /// With a worker of an earlier daemon, if it lives.
    Adopt(Option<ProcessIdentity>),
    /// As the job's files say: it was an earlier daemon's, whose journal may tell of a worker.
    TakeUp(Option<ProcessIdentity>),
}

/// The watcher of one job.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) id: JobId,
    pub(super) orders: mpsc::Receiver<CancelMode>,
    /// Whether a cancellation was asked for, here or before a restart.
    pub(super) cancelling: bool,
    /// Whether a worker that is found although none was wanted any more is to be killed.
    pub(super) killing: bool,
    /// Dropped when everything that the job had said before is known.
    pub(super) caught_up: Option<oneshot::Sender<()>>,
}

/// The worker.
type Worker = Box<dyn JobProcess>;

/// Why a worker ended that somebody wanted dead.
const KILLED_ON_REQUEST: &str = "the worker was killed on request";

/// A worker that was killed.
struct Killed {
    cause: String,
    /// Until when its end is waited for.
    deadline: Instant,
}

impl Killed {
    fn now(worker: &dyn JobProcess, cause: String) -> Self {
        worker.kill();
        Self { cause, deadline: Instant::now() + KILL_TIMEOUT }
    }
}

async fn cancel_gracefully(job: JobId, directory: JobDir) {
    if let Err(error) = control::ask(&directory, &ControlRequest::Cancel).await {
        // It may have ended this moment; if it has not, the client can cancel again.
        tracing::warn!(%job, error = explain(&error), "the worker did not take the cancellation");
    }
}

impl Supervisor {
    /// Sees the job to its end. Returns when the journal says that it is over.
    pub(super) async fn run(mut self, begin: Begin) {
        let directory = self.shared.directory(&self.id);
        let submission = directory.as_owner(JobDir::read_request).await;
        let begin = self.decide(&directory, begin).await;
        let mut watched = Watched::new(&self.id, &directory);
        if matches!(begin, Begin::Adopt(_)) {
            watched.catch_up(&self.shared).await;
        }
        drop(self.caught_up.take());
        let found = match (begin, &submission) {
            (Begin::Adopt(identity) | Begin::TakeUp(identity), _) => self.adopt(&directory, identity).await,
            (Begin::Start, Ok(submission)) => self.start_once_possible(&directory, submission).await,
            (Begin::Start, Err(error)) => Err(explain(error)),
        };
        let cause = self.see_through(&directory, found, submission.ok().as_ref(), &mut watched).await;
        self.conclude(directory, watched, cause).await;
    }

    /// Follows the worker and sees that the job's last event is written, by it or after it; returns why the job is over if it does not say so.
    async fn see_through(
        &mut self,
        directory: &JobDir,
        found: Result<Worker, String>,
        submission: Option<&JobSubmission>,
        watched: &mut Watched,
    ) -> String {
        let (had_worker, cause) = match found {
            Ok(worker) => (true, self.watch(worker, watched).await),
            Err(cause) => (false, cause),
        };
        watched.catch_up(&self.shared).await;
        if watched.ending.is_none() {
            self.sweep(directory, submission, watched, &cause).await;
        }
        if had_worker || watched.ending.is_some() {
            return cause;
        }
        // A service manager that was away may carry out late what it was asked for. A worker that comes before the sweeper keeps it out, and
        // works; one that comes after it finds the last event, and ends.
        let is_locked = directory.as_owner(JobDir::is_locked).await;
        let cause = match self.late_worker(is_locked).await {
            Some(worker) => self.watch(worker, watched).await,
            // It has come and gone meanwhile.
            None if watched.started && !is_locked => cause,
            None => return cause,
        };
        watched.catch_up(&self.shared).await;
        if watched.ending.is_none() {
            self.sweep(directory, submission, watched, &cause).await;
        }
        cause
    }

    /// Finds a worker that nobody expects any more, and that works all the same.
    async fn late_worker(&self, is_locked: bool) -> Option<Worker> {
        if !is_locked {
            return None;
        }
        let worker = self.other_worker().await?;
        tracing::warn!(job = %self.id, pid = worker.identity().pid, "a worker has come late");
        self.note_worker(worker.identity()).await;
        Some(worker)
    }

    /// Finds out how to go on with a job of an earlier daemon. While its user's files do not answer, this job waits, and no other.
    async fn decide(&self, directory: &JobDir, begin: Begin) -> Begin {
        let Begin::TakeUp(holder) = begin else { return begin };
        let cancelling = self.cancelling;
        let decide = move |directory: &JobDir| {
            let identity = holder.or_else(|| directory.read_identity());
            // Without any trace of a worker none has done anything, and a late one loses the race for the lock.
            let untouched = identity.is_none() && !directory.has_trace_of_worker() && !cancelling;
            if untouched { Begin::Start } else { Begin::Adopt(identity) }
        };
        let begin = directory.as_owner(decide).await;
        tracing::debug!(job = %self.id, ?begin, "its files have answered");
        begin
    }

    /// Finds the worker of an earlier daemon; returns the cause of its death when there is none.
    async fn adopt(&self, directory: &JobDir, identity: Option<ProcessIdentity>) -> Result<Worker, String> {
        let was_there = identity.is_some();
        if let Some(identity) = &identity
            && let Some(worker) = self.find(directory, identity).await.map_err(|error| explain(&error))?
        {
            return Ok(worker);
        }
        // One that has the lock but has not yet said who it is, or whose identity the journal did not hear of.
        if directory.as_owner(JobDir::is_locked).await
            && let Some(worker) = self.other_worker().await
        {
            self.note_worker(worker.identity()).await;
            return Ok(worker);
        }
        let cause = if was_there { "the worker ended while no daemon ran" } else { "the worker was never started" };
        Err(cause.to_owned())
    }

    /// Finds a process of the job's owner; nothing when it has ended, or is another's.
    async fn find(&self, directory: &JobDir, identity: &ProcessIdentity) -> Result<Option<Worker>, LaunchError> {
        let owner = self.owner(directory).await.map_err(LaunchError::Watch)?;
        self.shared.launcher.adopt(directory, owner, identity)
    }

    async fn start_once_possible(&mut self, directory: &JobDir, submission: &JobSubmission) -> Result<Worker, String> {
        let started = self.start(directory, submission).await;
        if self.shared.delayed().remove(&self.id).is_some() {
            self.shared.changes.note(&self.id);
        }
        started
    }

    async fn start(&mut self, directory: &JobDir, submission: &JobSubmission) -> Result<Worker, String> {
        let confined = self.shared.journal.is_confined(self.id.as_str()).await.map_err(|error| explain(&error))?;
        let mut submission = submission.clone();
        if confined {
            submission.environment.insert(KILN_CONFINED.to_owned(), "1".to_owned());
        }
        let begun = Instant::now();
        let worker = loop {
            let error = match self.shared.launcher.worker(directory, &submission).await {
                Ok(worker) => break worker,
                Err(error) => error,
            };
            let Some(patience) = error.patience() else { return Err(explain(&error)) };
            let given_up = if begun.elapsed() >= patience {
                let seconds = begun.elapsed().as_secs();
                Some(format!("{}; it was tried for {seconds} s. {}", explain(&error), about_service_manager()))
            } else {
                self.wait_to_start(&error).await.err()
            };
            // Somebody was asked to start it, and the answer may have been lost.
            if directory.as_owner(JobDir::has_trace_of_worker).await {
                return self.adopt_started(directory).await.map_err(|cause| given_up.unwrap_or(cause));
            }
            if let Some(cause) = given_up {
                return Err(cause);
            }
        };
        self.note_worker(worker.identity()).await;
        Ok(worker)
    }

    /// Finds a worker of whose start no more is known than that there is a trace of it.
    async fn adopt_started(&self, directory: &JobDir) -> Result<Worker, String> {
        let identity = async {
            loop {
                if let Some(identity) = directory.as_owner(JobDir::read_identity).await {
                    return identity;
                }
                // It is about to take its lock, which is not tried meanwhile: the worker would think that another has it.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let worker = self.adopt(directory, timeout(TRACE_TIMEOUT, identity).await.ok()).await?;
        self.note_worker(worker.identity()).await;
        Ok(worker)
    }

    /// Waits until a start can be tried again, and tells meanwhile why; says what ended the job if that is cancelled.
    async fn wait_to_start(&mut self, error: &LaunchError) -> Result<(), String> {
        let why = explain(error);
        if self.shared.delayed().insert(self.id.clone(), why.clone()).is_none() {
            tracing::warn!(job = %self.id, error = why, "the worker cannot be started just now, and is tried again");
            self.shared.changes.note(&self.id);
        }
        tokio::select! {
            Some(mode) = self.orders.recv() => {
                self.cancelling = true;
                self.killing = mode == CancelMode::Now;
                Err(format!("cancelled before its worker was started: {why}"))
            }
            // Nobody says when a bus is there again.
            () = tokio::time::sleep(START_INTERVAL) => Ok(()),
        }
    }

    async fn note_worker(&self, worker: &ProcessIdentity) {
        let lease = Lease { holder: worker.clone(), ledger: ledger_of(&self.id) };
        if let Err(error) = self.shared.journal.take_lease(self.id.as_str(), lease, wall_clock()).await {
            tracing::error!(job = %self.id, error = explain(&error), "the worker is not in the journal");
        }
    }

    /// Follows the worker to its end; returns the cause of a death. Whatever it writes, and however much, orders come first.
    async fn watch(&mut self, mut worker: Worker, watched: &mut Watched) -> String {
        // Asked for before there was one.
        let mut killed = self.killing.then(|| Killed::now(worker.as_ref(), KILLED_ON_REQUEST.to_owned()));
        let directory = self.shared.directory(&self.id);
        let watcher = self.shared.watcher.clone();
        let subscribed = directory.as_owner(move |directory| watcher.subscribe(&directory.events())).await;
        let mut subscription = match subscribed {
            Ok(subscription) => Some(subscription),
            Err(error) => {
                tracing::error!(job = %self.id, %error, "the events file cannot be watched");
                None
            }
        };
        // Asked for before a restart; the worker may not have heard of it.
        let mut pending_cancel = self.cancelling;
        let mut asking: Option<JoinHandle<()>> = None;
        let mut is_more = true;
        loop {
            if pending_cancel && watched.started {
                pending_cancel = false;
                // One word is as good as many. It may take a while, and other orders do not wait for that.
                if asking.as_ref().is_none_or(JoinHandle::is_finished) {
                    asking = Some(tokio::spawn(cancel_gracefully(self.id.clone(), self.shared.directory(&self.id))));
                }
            }
            if let (Some(exceeded), None) = (&watched.exceeded, &killed) {
                killed = Some(Killed::now(worker.as_ref(), exceeded.to_string()));
            }
            let next = async {
                match &mut subscription {
                    _ if is_more => {}
                    Some(subscription) => subscription.changed().await,
                    None => std::future::pending().await,
                }
            };
            let too_late = async {
                match &killed {
                    Some(killed) => sleep_until(killed.deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(mode) = self.orders.recv() => {
                    self.cancelling = true;
                    match mode {
                        CancelMode::Graceful => pending_cancel = true,
                        // Again does no harm, but the time for it does not begin anew.
                        CancelMode::Now if killed.is_some() => worker.kill(),
                        CancelMode::Now => killed = Some(Killed::now(worker.as_ref(), KILLED_ON_REQUEST.to_owned())),
                    }
                }
                exit = worker.ended() => {
                    if let Exit::Status(status) = &exit
                        && status.code() == Some(i32::from(EXIT_LOCKED))
                        && let Some(other) = self.other_worker().await
                    {
                        worker = other;
                        self.note_worker(worker.identity()).await;
                        continue;
                    }
                    return killed.map_or_else(|| exit.cause(), |killed| killed.cause);
                }
                () = too_late => return self.leave(worker.as_ref(), killed),
                () = next => is_more = watched.read_piece(&self.shared).await,
            }
        }
    }

    /// Goes on without a worker that a kill does not end: one that hangs in the kernel, as behind a dead file server.
    fn leave(&self, worker: &dyn JobProcess, killed: Option<Killed>) -> String {
        let pid = worker.identity().pid;
        tracing::error!(job = %self.id, pid, "the worker was killed and does not end; the job is over without it");
        let cause = killed.map_or_else(String::new, |killed| killed.cause);
        format!("{cause}; its process {pid} has not ended {} s later and is left over", KILL_TIMEOUT.as_secs())
    }

    /// Returns the worker that had the job's lock when another was started.
    async fn other_worker(&self) -> Option<Worker> {
        let directory = self.shared.directory(&self.id);
        let found = async {
            loop {
                if let Some(identity) = directory.as_owner(JobDir::read_identity).await
                    && let Ok(Some(worker)) = self.find(&directory, &identity).await
                {
                    return worker;
                }
                // Another process is about to write a file whose name does not exist yet: rare, and over at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(IDENTITY_TIMEOUT, found).await.ok()
    }

    /// Has what a dead worker left removed, and its last event written.
    async fn sweep(&self, directory: &JobDir, submission: Option<&JobSubmission>, watched: &mut Watched, cause: &str) {
        let state = if self.cancelling { JobState::Cancelled } else { JobState::Failed };
        tracing::warn!(job = %self.id, cause, "the job has no last event; sweeping");
        match self.sweeper(directory, submission, After::Sweep { state, cause }).await {
            Ok(mut sweeper) => see_to_end(sweeper.as_mut(), SWEEP_TIMEOUT, &self.id, "sweeping after the worker").await,
            Err(error) => tracing::error!(job = %self.id, error = explain(&error), "the sweeper does not start"),
        }
        watched.catch_up(&self.shared).await;
        if watched.ending.is_none() {
            let error = Some(cause.to_owned());
            let body = EventBody::JobFinished { state, exit_code: 1, elapsed_us: 0, error };
            let written = directory.as_owner(|directory| write_last_event(directory, body)).await;
            if let Err(error) = written {
                tracing::error!(job = %self.id, error = explain(error.as_ref()), "the last event cannot be written");
            }
            watched.catch_up(&self.shared).await;
        }
    }

    /// Starts a sweeper; where that is not possible just now and the job holds something, as soon as it is.
    async fn sweeper(&self, directory: &JobDir, submission: Option<&JobSubmission>, sweep: After<'_>) -> Launched {
        let begun = Instant::now();
        loop {
            let error = match self.shared.launcher.after(directory, submission, sweep).await {
                Ok(sweeper) => return Ok(sweeper),
                Err(error) => error,
            };
            let is_over = error.patience().is_none_or(|patience| begun.elapsed() >= patience);
            if is_over || directory.as_owner(JobDir::still_held).await.is_empty() {
                return Err(error);
            }
            tracing::debug!(job = %self.id, error = explain(&error), "the sweeper is tried again");
            // Nobody says when a bus is there again.
            tokio::time::sleep(START_INTERVAL).await;
        }
    }

    /// Whose job it is, by the journal, else by the kernel's word.
    async fn owner(&self, directory: &JobDir) -> io::Result<u32> {
        match self.shared.journal.owner(self.id.as_str()).await {
            Ok(Some(owner)) => return Ok(owner),
            other => tracing::error!(job = %self.id, ?other, "the journal does not tell whose job it is"),
        }
        let root = directory.root.clone();
        blocking(move || Owner::of(&root)).await.map(|owner| owner.uid)
    }

    async fn conclude(self, directory: JobDir, mut watched: Watched, cause: String) {
        // The last ones may have been recorded after the last event that tells of steps, or by a worker that died.
        watched.read_steps(&self.shared).await;
        let ending = watched.ending.unwrap_or_else(|| {
            let state = if self.cancelling { JobState::Cancelled } else { JobState::Failed };
            Ending::early(state.into(), Some(cause), wall_clock())
        });
        self.shared.questions().remove(&self.id);
        tracing::info!(job = %self.id, state = ending.state.as_str(), "the job is over");
        directory.in_turn(JobDir::remove_runtime).await;
        let (scrubbed, held) =
            directory.as_owner(|directory| (directory.scrub_request(), directory.still_held())).await;
        if !held.is_empty() {
            tracing::warn!(job = %self.id, ?held, "the job is over and still holds something");
            match self.owner(&directory).await {
                Ok(owner) => self.shared.leftovers().insert(self.id.clone(), owner, SystemTime::now()),
                Err(error) => tracing::error!(job = %self.id, %error, "whose job holds something is not known"),
            }
        }
        if let Err(error) = scrubbed {
            tracing::error!(job = %self.id, error = explain(&error), "secrets of the request are still in its file");
        }
        if let Err(error) = self.shared.journal.finish(self.id.as_str(), ending.clone()).await {
            tracing::error!(job = %self.id, error = explain(&error), "the ending is not in the journal yet");
            self.shared.unwritten_endings().insert(self.id.clone(), ending.clone());
            tokio::spawn(finish_later(Arc::clone(&self.shared), self.id.clone(), ending));
        }
        self.tell_of_builds().await;
        self.shared.endings.send_modify(|()| {});
        self.shared.changes.end_transfers(&self.id);
        self.shared.changes.note(&self.id);
    }

    /// Tells the log how each build ended.
    async fn tell_of_builds(&self) {
        // Who reads the log has heard why, when the journal cannot be read.
        let Ok(Some(job)) = self.shared.journal.job(self.id.as_str()).await else { return };
        for build in job.builds.iter().take(MAX_TOLD) {
            tracing::info!(job = %self.id, build = build.name, state = build.state.as_str(), "a build is over");
        }
    }
}

/// Says what to do where the service manager is not there.
fn about_service_manager() -> &'static str {
    "`systemctl status dbus.service` tells of the bus; `started_by = \"kilnd\"` in [workers] of kiln.toml does without it"
}

/// Builds of a job that the log tells of.
const MAX_TOLD: usize = 100;

/// Writes the ending into the journal as soon as there is room for it; the job's place in the queue is free meanwhile.
async fn finish_later(shared: Arc<Shared>, id: JobId, ending: Ending) {
    loop {
        // Nobody says when a disk is no longer full.
        tokio::time::sleep(FINISH_INTERVAL).await;
        if shared.journal.finish(id.as_str(), ending.clone()).await.is_ok() {
            tracing::info!(job = %id, "the ending is in the journal now");
            shared.unwritten_endings().remove(&id);
            shared.changes.note(&id);
            return;
        }
    }
}
