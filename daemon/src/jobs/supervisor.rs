//! Watches one job's worker: carries its events into the journal, passes on cancellations, and cleans up after its death.

use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::{CancelMode, EventBody, JobId, JobState, JobSubmission};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::facts::{Meaning, meaning};
use super::last_event::write_last_event;
use super::launcher::{Exit, JobProcess};
use super::shared::Shared;
use super::steps;
use crate::blocking::blocking;
use crate::control::{self, ControlRequest};
use crate::event_log::{EventReader, ReadError};
use crate::explain::explain;
use crate::job_dir::{JobDir, ledger_of};
use crate::journal::{Ending, Fact, Lease};
use crate::process_identity::ProcessIdentity;
use crate::wall_clock::wall_clock;
use crate::worker::EXIT_LOCKED;

/// Time for cleaning up after a dead worker: a hypervisor alone may take two minutes to end and remove a machine.
pub(super) const SWEEP_TIMEOUT: Duration = Duration::from_secs(300);

/// Time between attempts to write an ending to a journal whose disk is full.
const FINISH_INTERVAL: Duration = Duration::from_secs(5);

/// Time for a worker that has the lock to say who it is.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(5);

/// How a supervisor begins.
#[derive(Clone, Debug)]
pub(super) enum Begin {
    /// With a new worker.
    Start,
    /// With a worker of an earlier daemon, if it lives.
    Adopt(Option<ProcessIdentity>),
}

/// The watcher of one job.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) id: JobId,
    pub(super) orders: mpsc::Receiver<CancelMode>,
    /// Whether a cancellation was asked for, here or before a restart.
    pub(super) cancelling: bool,
    /// Dropped when everything that the job had said before is known.
    pub(super) caught_up: Option<oneshot::Sender<()>>,
}

/// The worker.
type Worker = Box<dyn JobProcess>;

impl Supervisor {
    /// Sees the job to its end. Returns when the journal says that it is over.
    pub(super) async fn run(mut self, begin: Begin) {
        let directory = self.shared.directory(&self.id);
        let submission = directory.as_owner(JobDir::read_request).await;
        let mut watched = Watched::new(&directory);
        if matches!(begin, Begin::Adopt(_)) {
            self.read_events(&mut watched).await;
        }
        drop(self.caught_up.take());
        let cause = match (begin, &submission) {
            (Begin::Adopt(identity), _) => match self.adopt(&directory, identity).await {
                Ok(worker) => self.watch(worker, &mut watched).await,
                Err(cause) => cause,
            },
            (Begin::Start, Ok(submission)) => match self.start(&directory, submission).await {
                Ok(worker) => self.watch(worker, &mut watched).await,
                Err(cause) => cause,
            },
            (Begin::Start, Err(error)) => explain(error),
        };
        self.read_events(&mut watched).await;
        if watched.ending.is_none() {
            self.sweep(&directory, submission.ok().as_ref(), &mut watched, &cause).await;
        }
        self.conclude(directory, watched, cause).await;
    }

    /// Finds the worker of an earlier daemon; returns the cause of its death when there is none.
    async fn adopt(&self, directory: &JobDir, identity: Option<ProcessIdentity>) -> Result<Worker, String> {
        let was_there = identity.is_some();
        match identity.as_ref().map(|identity| self.shared.launcher.adopt(directory, identity)) {
            Some(Ok(Some(worker))) => return Ok(worker),
            Some(Err(error)) => return Err(explain(&error)),
            Some(Ok(None)) | None => {}
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

    async fn start(&self, directory: &JobDir, submission: &JobSubmission) -> Result<Worker, String> {
        let worker = self.shared.launcher.worker(directory, submission).await.map_err(|error| explain(&error))?;
        self.note_worker(worker.identity()).await;
        Ok(worker)
    }

    async fn note_worker(&self, worker: &ProcessIdentity) {
        let lease = Lease { holder: worker.clone(), ledger: ledger_of(&self.id) };
        if let Err(error) = self.shared.journal.take_lease(self.id.as_str(), lease, wall_clock()).await {
            tracing::error!(job = %self.id, error = explain(&error), "the worker is not in the journal");
        }
    }

    /// Follows the worker to its end; returns the cause of a death.
    async fn watch(&mut self, mut worker: Worker, watched: &mut Watched) -> String {
        let path = self.shared.directory(&self.id).events();
        let mut subscription = match self.shared.watcher.subscribe(&path) {
            Ok(subscription) => Some(subscription),
            Err(error) => {
                tracing::error!(job = %self.id, %error, "the events file cannot be watched");
                None
            }
        };
        if self.cancelling {
            // Asked for before a restart; the worker may not have heard of it.
            watched.pending_cancel = true;
        }
        let mut killed = false;
        loop {
            self.read_events(watched).await;
            if watched.pending_cancel && watched.started {
                watched.pending_cancel = false;
                self.cancel_gracefully().await;
            }
            let changed = async {
                match &mut subscription {
                    Some(subscription) => subscription.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                Some(mode) = self.orders.recv() => {
                    self.cancelling = true;
                    match mode {
                        CancelMode::Graceful => watched.pending_cancel = true,
                        CancelMode::Now => {
                            killed = true;
                            worker.kill();
                        }
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
                    return if killed { "the worker was killed on request".to_owned() } else { exit.cause() };
                }
            }
        }
    }

    /// Returns the worker that had the job's lock when another was started.
    async fn other_worker(&self) -> Option<Worker> {
        let directory = self.shared.directory(&self.id);
        let found = async {
            loop {
                if let Some(identity) = directory.as_owner(JobDir::read_identity).await
                    && let Ok(Some(worker)) = self.shared.launcher.adopt(&directory, &identity)
                {
                    return worker;
                }
                // Another process is about to write a file whose name does not exist yet: rare, and over at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(IDENTITY_TIMEOUT, found).await.ok()
    }

    async fn cancel_gracefully(&self) {
        let directory = self.shared.directory(&self.id);
        if let Err(error) = control::ask(&directory, &ControlRequest::Cancel).await {
            // It may have ended this moment; if it has not, the client can cancel again.
            tracing::warn!(job = %self.id, error = explain(&error), "the worker did not take the cancellation");
        }
    }

    async fn read_events(&self, watched: &mut Watched) {
        loop {
            let (after, reader) = (watched.after, watched.reader.take());
            let read = watched.directory.as_owner(move |directory| {
                let mut reader = reader.map_or_else(|| EventReader::open(&directory.events(), after), Ok)?;
                let batch = reader.read_batch();
                Ok((reader, batch))
            });
            let (reader, batch) = match read.await {
                Ok(read) => read,
                Err(error) => {
                    let error: ReadError = error;
                    tracing::error!(job = %self.id, error = explain(&error), "the events cannot be read");
                    return;
                }
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(job = %self.id, error = explain(&error), "the events cannot be read");
                    return;
                }
            };
            watched.reader = Some(reader);
            let Some(last) = batch.last().map(|line| line.seq) else { return };
            watched.after = last;
            let (mut facts, mut steps_changed, mut changed) = (Vec::new(), false, false);
            for line in &batch {
                let meaning = meaning(line);
                changed |= meaning != Meaning::Nothing;
                match meaning {
                    Meaning::Nothing => {}
                    Meaning::Moved(build, share) => self.shared.changes.note_transfer(&self.id, &build, share),
                    Meaning::Asked(question) => {
                        self.shared.questions().entry(self.id.clone()).or_default().push(question);
                    }
                    Meaning::Answered(prompt) => {
                        if let Some(questions) = self.shared.questions().get_mut(&self.id) {
                            questions.retain(|question| question.prompt != prompt);
                        }
                    }
                    Meaning::Cancelled => drop(self.shared.questions().remove(&self.id)),
                    Meaning::Started(since) => {
                        watched.started = true;
                        if let Err(error) = self.shared.journal.set_running(self.id.as_str(), since).await {
                            tracing::error!(job = %self.id, error = explain(&error), "the start is not in the journal");
                        }
                    }
                    Meaning::Build(fact) => {
                        if matches!(fact.fact, Fact::Step { .. } | Fact::Finished { .. }) {
                            self.shared.changes.note_transfer(&self.id, &fact.build, None);
                        }
                        steps_changed |= matches!(fact.fact, Fact::Step { .. });
                        facts.push(fact);
                    }
                    Meaning::StepEnded => steps_changed = true,
                    Meaning::Refused(reason) => drop(watched.refusal.get_or_insert(reason)),
                    Meaning::Ended(ending) => watched.ending = Some(ending.with_reason(watched.refusal.take())),
                }
            }
            // Texts alone change nothing that the journal shows but the number, which the next fact brings along.
            if (!facts.is_empty() || watched.ending.is_some())
                && let Err(error) = self.shared.journal.observe(self.id.as_str(), facts, last).await
            {
                tracing::error!(job = %self.id, error = explain(&error), "events are not in the journal");
            }
            if steps_changed {
                self.read_steps(watched).await;
            }
            if changed {
                self.shared.changes.note(&self.id);
            }
        }
    }

    /// Carries what the worker has recorded of its steps into the journal.
    async fn read_steps(&self, watched: &mut Watched) {
        if let Err(error) = steps::carry_over(&self.shared, &self.id).await
            // Said once: the file does not mend itself.
            && !std::mem::replace(&mut watched.steps_failed, true)
        {
            tracing::error!(job = %self.id, error, "the steps are not in the journal");
        }
    }

    /// Has what a dead worker left removed, and its last event written.
    async fn sweep(&self, directory: &JobDir, submission: Option<&JobSubmission>, watched: &mut Watched, cause: &str) {
        let state = if self.cancelling { JobState::Cancelled } else { JobState::Failed };
        tracing::warn!(job = %self.id, cause, "the job has no last event; sweeping");
        match self.shared.launcher.sweeper(directory, submission, state, cause).await {
            Ok(mut sweeper) => match timeout(SWEEP_TIMEOUT, sweeper.ended()).await {
                Ok(Exit::Status(status)) if status.success() => {}
                Ok(Exit::Status(status)) => tracing::error!(job = %self.id, %status, "the sweeper failed"),
                Ok(Exit::Unknown) => tracing::error!(job = %self.id, "the sweeper cannot be watched"),
                Err(_) => {
                    tracing::error!(job = %self.id, "the sweeper took too long");
                    sweeper.kill();
                    sweeper.ended().await;
                }
            },
            Err(error) => tracing::error!(job = %self.id, error = explain(&error), "the sweeper does not start"),
        }
        self.read_events(watched).await;
        if watched.ending.is_none() {
            let error = Some(cause.to_owned());
            let body = EventBody::JobFinished { state, exit_code: 1, elapsed_us: 0, error };
            let written = directory.as_owner(|directory| write_last_event(directory, body)).await;
            if let Err(error) = written {
                tracing::error!(job = %self.id, error = explain(error.as_ref()), "the last event cannot be written");
            }
            self.read_events(watched).await;
        }
    }

    async fn conclude(self, directory: JobDir, mut watched: Watched, cause: String) {
        // The last ones may have been recorded after the last event that tells of steps, or by a worker that died.
        self.read_steps(&mut watched).await;
        let ending = watched.ending.unwrap_or_else(|| {
            let state = if self.cancelling { JobState::Cancelled } else { JobState::Failed };
            Ending::early(state.into(), Some(cause), wall_clock())
        });
        self.shared.questions().remove(&self.id);
        tracing::info!(job = %self.id, state = ending.state.as_str(), "the job is over");
        let runtime = directory.clone();
        blocking(move || runtime.remove_runtime()).await;
        let (scrubbed, held) =
            directory.as_owner(|directory| (directory.scrub_request(), directory.still_held())).await;
        if !held.is_empty() {
            tracing::warn!(job = %self.id, ?held, "the job is over and still holds something");
            self.shared.leftovers().insert(self.id.clone());
        }
        if let Err(error) = scrubbed {
            tracing::error!(job = %self.id, error = explain(&error), "secrets of the request are still in its file");
        }
        if let Err(error) = self.shared.journal.finish(self.id.as_str(), ending.clone()).await {
            tracing::error!(job = %self.id, error = explain(&error), "the ending is not in the journal yet");
            self.shared.unwritten_endings().insert(self.id.clone(), ending.clone());
            tokio::spawn(finish_later(Arc::clone(&self.shared), self.id.clone(), ending));
        }
        self.shared.endings.send_modify(|()| {});
        self.shared.changes.end_transfers(&self.id);
        self.shared.changes.note(&self.id);
    }
}

/// What is known from the events.
struct Watched {
    directory: JobDir,
    /// Number of the last event that was read. The first of all comes after 0, also in the second life of a daemon: the journal may
    /// know an event and not what it means, or know more than a power cut left in the file.
    after: u64,
    reader: Option<EventReader>,
    started: bool,
    /// A cancellation that waits for the worker's control socket.
    pending_cancel: bool,
    /// Whether it was said that the steps cannot be read.
    steps_failed: bool,
    /// Why the job fails as a whole, when its last event need not say it.
    refusal: Option<String>,
    ending: Option<Ending>,
}

impl Watched {
    fn new(directory: &JobDir) -> Self {
        let directory = directory.clone();
        Self {
            directory,
            after: 0,
            reader: None,
            started: false,
            pending_cancel: false,
            steps_failed: false,
            refusal: None,
            ending: None,
        }
    }
}

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
