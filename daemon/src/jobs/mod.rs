//! Jobs, from submission to their end. One task (`driver.rs`) decides; one task per running job (`supervisor.rs`) watches its
//! worker; everybody else holds a [`Jobs`] and sends messages.
//!
//! ```text
//! submit ─► request.json ─► journal: queued ─► queue ─► journal: starting ─► worker process ─► JobStarted ─► journal: running
//!                                                                               │ events.ndjson
//!                              journal: builds, artifacts ◄── supervisor ◄──────┤
//!           journal: over ◄── sweep when no last event ◄── worker ends ◄────────┘
//! ```
//!
//! Each arrow may be the last thing that happens before a crash: a directory without a journal entry is removed or taken in at the next
//! start (`recovery.rs`), a queued job is queued again, a starting one is started again unless its worker is found, a running one is
//! watched again. Its events are then read from the first on, so that the ending in the file decides, whatever the journal knows.

mod driver;
mod facts;
mod recovery;
mod spawn;
mod supervisor;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_protocol::{CancelMode, Job, JobId, JobState, JobSubmission, Question};
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Config, Limits};
use crate::control::{self, ControlError, ControlRequest};
use crate::event_log::EventWatcher;
use crate::job_dir::{JobDir, JobDirError};
use crate::journal::{Ending, Journal, JournalError, Wanted};

/// Messages that may wait for the driver.
const BACKLOG: usize = 64;

/// Name of the journal in the state directory.
const JOURNAL_NAME: &str = "kiln.db";

/// Reports that a request about jobs was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// There is no such job.
    #[error("there is no job {0}")]
    NoSuchJob(JobId),
    /// The job is over already.
    #[error("job {id} is over ({state})")]
    Over {
        /// The job.
        id: JobId,
        /// How it ended.
        state: JobState,
    },
    /// The job is not over.
    #[error("job {id} is not over ({state})")]
    NotOver {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
    },
    /// The job does not run yet.
    #[error("job {id} does not run yet ({state})")]
    NotRunning {
        /// The job.
        id: JobId,
        /// Its state.
        state: JobState,
    },
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request, job {0}")]
    KeyReused(JobId),
    /// The worker did not do it.
    #[error(transparent)]
    Worker(#[from] ControlError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file of the job cannot be written.
    #[error(transparent)]
    Directory(#[from] JobDirError),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Reports that the jobs of this daemon cannot be taken care of.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The jobs of a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What driver, supervisors and handlers have in common.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) journal: Journal,
    pub(crate) watcher: EventWatcher,
    /// Endings that the journal has no room for yet.
    unwritten_endings: Mutex<HashMap<JobId, Ending>>,
    /// What running jobs ask. Not in the journal: the events of a running job are read again after a restart.
    questions: Mutex<HashMap<JobId, Vec<Question>>>,
    /// What the owner should know of this daemon's start.
    notices: OnceLock<Vec<String>>,
    /// Changes whenever a job is over, so that followers look.
    pub(crate) endings: watch::Sender<()>,
}

/// What the driver is asked.
pub(crate) enum Message {
    Submit {
        submission: Box<JobSubmission>,
        owner: u32,
        key: Option<String>,
        digest: String,
        reply: Reply<(JobId, bool)>,
    },
    Cancel {
        id: JobId,
        mode: CancelMode,
        reply: Reply<()>,
    },
    Count {
        reply: oneshot::Sender<JobCounts>,
    },
    Position {
        id: JobId,
        reply: oneshot::Sender<Option<usize>>,
    },
    Over {
        id: JobId,
    },
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, JobsError>>;

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// With a worker.
    pub running: usize,
    /// Waiting.
    pub queued: usize,
}

impl Jobs {
    /// Opens the journal and takes up where the last daemon left off.
    ///
    /// # Errors
    ///
    /// The journal cannot be used, or the system gives no inotify.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let journal = Journal::open(&config.state_directory.join(JOURNAL_NAME))?;
        let watcher =
            EventWatcher::start().map_err(|source| StartError::System { action: "watch files (inotify)", source })?;
        let (messages, inbox) = mpsc::channel(BACKLOG);
        let endings = watch::Sender::new(());
        let shared = Arc::new(Shared {
            config,
            journal,
            watcher,
            unwritten_endings: Mutex::default(),
            questions: Mutex::default(),
            notices: OnceLock::new(),
            endings,
        });
        let mut driver = driver::Driver::new(Arc::clone(&shared), messages.downgrade());
        driver.recover().await?;
        tokio::spawn(driver.run(inbox));
        tokio::spawn(recovery::read_later(Arc::clone(&shared)));
        Ok(Self { messages, shared })
    }

    /// Submits a job; the flag is true when it is new, false when the key named an earlier one.
    ///
    /// # Errors
    ///
    /// The disk is full, the journal failed, the key was used for something else, or the daemon stops.
    pub async fn submit(
        &self,
        submission: JobSubmission,
        owner: u32,
        key: Option<String>,
        digest: String,
    ) -> Result<(Job, bool), JobsError> {
        let (reply, answer) = oneshot::channel();
        let submission = Box::new(submission);
        self.send(Message::Submit { submission, owner, key, digest, reply }).await?;
        let (id, new) = answer.await.map_err(|_| JobsError::Stopping)??;
        Ok((self.job(&id).await?, new))
    }

    /// Cancels a job and returns what it is then; `cancelling` as a rule.
    ///
    /// # Errors
    ///
    /// There is no such job, or it is over.
    pub async fn cancel(&self, id: &JobId, mode: CancelMode) -> Result<Job, JobsError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Cancel { id: id.clone(), mode, reply }).await?;
        answer.await.map_err(|_| JobsError::Stopping)??;
        self.job(id).await
    }

    /// Returns a job.
    ///
    /// # Errors
    ///
    /// There is no such job, or the journal failed.
    pub async fn job(&self, id: &JobId) -> Result<Job, JobsError> {
        let job = self.shared.journal.job(id.clone()).await?;
        let mut job = job.ok_or_else(|| JobsError::NoSuchJob(id.clone()))?;
        self.complete(&mut job).await?;
        Ok(job)
    }

    /// Returns the newest jobs that are wanted, newest first.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn list(&self, wanted: Wanted) -> Result<Vec<Job>, JobsError> {
        let mut jobs = self.shared.journal.jobs(wanted).await?;
        for job in &mut jobs {
            self.complete(job).await?;
        }
        Ok(jobs)
    }

    /// Removes a job that is over, with its directory.
    ///
    /// # Errors
    ///
    /// There is no such job, or it is not over.
    pub async fn remove(&self, id: &JobId) -> Result<(), JobsError> {
        if !self.shared.journal.forget(id.clone()).await? {
            let state = self.job(id).await?.state;
            return Err(JobsError::NotOver { id: id.clone(), state });
        }
        // Followers that still read have the file open.
        let directory = self.directory(id);
        supervisor::blocking(move || directory.remove()).await;
        tracing::info!(job = %id, "removed");
        Ok(())
    }

    /// Asks the worker of a running job.
    ///
    /// # Errors
    ///
    /// There is no such job, it does not run, or its worker refuses.
    pub async fn ask(&self, id: &JobId, request: &ControlRequest) -> Result<Vec<u8>, JobsError> {
        let job = self.job(id).await?;
        match job.state {
            state if state.is_over() => Err(JobsError::Over { id: id.clone(), state }),
            state @ (JobState::Queued | JobState::Starting) => Err(JobsError::NotRunning { id: id.clone(), state }),
            _ => Ok(control::ask(&self.directory(id).control_socket(), request).await?),
        }
    }

    /// Returns what the owner should know of this daemon's start.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        self.shared.notices.get().map_or(&[], Vec::as_slice)
    }

    /// Counts the jobs that are not over.
    ///
    /// # Errors
    ///
    /// The daemon is stopping.
    pub async fn counts(&self) -> Result<JobCounts, JobsError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Count { reply }).await?;
        answer.await.map_err(|_| JobsError::Stopping)
    }

    /// Returns the job's events file.
    #[must_use]
    pub fn events(&self, id: &JobId) -> PathBuf {
        self.directory(id).events()
    }

    /// Returns the only user who is served.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.shared.config.owner
    }

    /// Returns the limits against bad clients.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.shared.config.limits
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn watcher(&self) -> &EventWatcher {
        &self.shared.watcher
    }

    /// Returns a receiver that changes whenever a job is over.
    pub(crate) fn endings(&self) -> watch::Receiver<()> {
        self.shared.endings.subscribe()
    }

    fn directory(&self, id: &JobId) -> JobDir {
        self.shared.directory(id)
    }

    /// Adds what the journal does not know.
    async fn complete(&self, job: &mut Job) -> Result<(), JobsError> {
        if let Some(questions) = self.shared.questions().get(&job.id) {
            job.questions.clone_from(questions);
        }
        let unwritten = self.shared.unwritten_endings().get(&job.id).cloned();
        if let Some(ending) = unwritten {
            (job.state, job.exit_code, job.error) = (ending.state, Some(ending.exit_code), ending.error);
            job.finished_at = Some(ending.finished_at);
        }
        if job.state == JobState::Queued {
            let (reply, answer) = oneshot::channel();
            self.send(Message::Position { id: job.id.clone(), reply }).await?;
            let position = answer.await.map_err(|_| JobsError::Stopping)?;
            job.queue_position = position.and_then(|position| u32::try_from(position).ok());
        }
        Ok(())
    }

    async fn send(&self, message: Message) -> Result<(), JobsError> {
        self.messages.send(message).await.map_err(|_| JobsError::Stopping)
    }
}

impl Shared {
    pub(crate) fn unwritten_endings(&self) -> MutexGuard<'_, HashMap<JobId, Ending>> {
        self.unwritten_endings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn questions(&self) -> MutexGuard<'_, HashMap<JobId, Vec<Question>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn directory(&self, id: &JobId) -> JobDir {
        JobDir::of(&self.config.state_directory, self.config.runtime_directory(), id)
    }
}
