//! What can be done with jobs, and by whom: the only way to them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use kiln_protocol::{CancelMode, HypervisorInfo, Job, JobId, JobState, PlaceHolder, Question};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::answers::Answers;
use super::authorizer::{Action, Authorizer};
use super::driver::Driver;
use super::error::{JobsError, StartError};
use super::launcher::Launcher;
use super::leftovers::Attempts;
use super::message::{JobCounts, Message};
use super::shared::{Settings, Shared};
use super::spawn::ProcessLauncher;
use super::submission::Submission;
use super::unit_launcher::UnitLauncher;
use super::user_launcher::UserLauncher;
use super::{giving_back, housekeeping, looks, recovery, steps, wire};
use crate::caller::Caller;
use crate::config::{Config, Limits, Mode, UnitsConfig};
use crate::control::{self, ControlError, ControlRequest};
use crate::event_log::EventWatcher;
use crate::job_dir::JobDir;
use crate::journal::{Journal, Wanted};
use crate::polkit::Polkit;
use crate::turns::{InTurn, Turn, Turns};
use crate::units::UnitManager;

/// Messages that may wait for the driver.
const BACKLOG: usize = 64;

/// Time for pictures before this one to be taken.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(3);

/// Name of the journal in the state directory.
const JOURNAL_NAME: &str = "kiln.db";

/// The jobs of a daemon. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    messages: mpsc::Sender<Message>,
    authorizer: Authorizer,
    shared: Arc<Shared>,
}

impl Jobs {
    /// Opens the journal and takes up where the last daemon left off. Workers are processes of this machine.
    ///
    /// # Errors
    ///
    /// The journal cannot be used, or the system gives no inotify.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let processes = ProcessLauncher::new(config.worker_program.clone());
        let launcher: Arc<dyn Launcher> = match config.mode {
            Mode::User => Arc::new(processes),
            Mode::System => {
                let users = UserLauncher::new(processes, config.cache_directory.clone())
                    .admitting(config.nologin_users.clone());
                match &config.units {
                    None => Arc::new(users),
                    Some(UnitsConfig { address, limits }) => {
                        let manager = UnitManager::at(address);
                        Arc::new(UnitLauncher::new(users, config.worker_program.clone(), manager, *limits))
                    }
                }
            }
        };
        Self::start_with(config, launcher).await
    }

    /// [`Jobs::start`] with a launcher of the caller's choice.
    ///
    /// # Errors
    ///
    /// The journal cannot be used, or the system gives no inotify.
    pub async fn start_with(config: Config, launcher: Arc<dyn Launcher>) -> Result<Self, StartError> {
        let journal = Journal::open(&config.state_directory.join(JOURNAL_NAME))?;
        let watcher =
            EventWatcher::start().map_err(|source| StartError::System { action: "watch files (inotify)", source })?;
        let (messages, inbox) = mpsc::channel(BACKLOG);
        let polkit = config.polkit.as_deref().map(Polkit::at);
        let authorizer = Authorizer::new(config.mode, config.owner, polkit);
        let settings = Settings::of(&config);
        let shared = Arc::new(Shared {
            config,
            journal,
            launcher,
            watcher,
            unwritten: Mutex::default(),
            asked: Mutex::default(),
            delayed: Mutex::default(),
            leftovers: Mutex::default(),
            attempts: Attempts::default(),
            settings: watch::Sender::new(settings),
            pace: Mutex::default(),
            notices: OnceLock::new(),
            reload_note: Mutex::default(),
            changes: Arc::default(),
            endings: watch::Sender::new(()),
            pictures: Turns::new(control::PICTURES_OF_EACH_USER),
            answers: Answers::default(),
        });
        let mut driver = Driver::new(Arc::clone(&shared), messages.downgrade());
        driver.recover().await?;
        tokio::spawn(driver.run(inbox));
        tokio::spawn(recovery::read_later(Arc::clone(&shared)));
        tokio::spawn(housekeeping::run(Arc::clone(&shared)));
        Ok(Self { messages, authorizer, shared })
    }

    /// Lets the caller speak to this daemon at all.
    ///
    /// # Errors
    ///
    /// It is not one of those who are served.
    pub async fn admit(&self, caller: &Caller) -> Result<(), JobsError> {
        self.allow(caller, Action::Connect).await
    }

    /// Submits a job; the flag is true when it is new, false when the key named an earlier one.
    ///
    /// # Errors
    ///
    /// The caller may not, the submission cannot be run, the disk is full, the journal failed, the key was used for something else, or the
    /// daemon stops.
    pub async fn submit(&self, caller: &Caller, submission: Submission) -> Result<(Job, bool), JobsError> {
        self.allow(caller, Action::Submit).await?;
        submission.check()?;
        // Before anything is done that costs more than the asking.
        self.shared.count_submission(caller.counts_as())?;
        let files_of = self.shared.launcher.files_of(caller.uid()).await?;
        let confined = self.authorizer.confines(caller).await;
        let (reply, answer) = oneshot::channel();
        let submission = Box::new(submission);
        self.send(Message::Submit { submission, owner: caller.uid(), confined, files_of, reply }).await?;
        let (id, new) = answer.await.map_err(|_| JobsError::Stopping)??;
        Ok((self.find(caller, &id).await?, new))
    }

    /// Cancels a job and returns what it is then; `cancelling` as a rule.
    ///
    /// # Errors
    ///
    /// The caller may not, there is no such job, or it is over.
    pub async fn cancel(&self, caller: &Caller, id: &JobId, mode: CancelMode) -> Result<Job, JobsError> {
        self.allow_on(caller, Action::Cancel, id).await?;
        let (reply, answer) = oneshot::channel();
        self.send(Message::Cancel { id: id.clone(), mode, reply }).await?;
        answer.await.map_err(|_| JobsError::Stopping)??;
        self.find(caller, id).await
    }

    /// Returns a job, with the steps of its builds. A person may be asked for a password for it.
    ///
    /// # Errors
    ///
    /// The caller may not, there is no such job, or the journal failed.
    pub async fn job(&self, caller: &Caller, id: &JobId) -> Result<Job, JobsError> {
        self.job_in_turn(caller, id).await.map(|(job, _)| job)
    }

    /// Returns the same, and what it counts against the caller by until that is dropped.
    pub(crate) async fn job_in_turn(&self, caller: &Caller, id: &JobId) -> Result<(Job, Turn), JobsError> {
        self.allow_on(caller, Action::SeeOne, id).await?;
        // Not while a person is asked for a password.
        let turn = self.shared.answers.turn_for_description(caller).await?;
        let mut job = self.find(caller, id).await?;
        wire::add_steps(&mut job, self.shared.journal.steps(id.as_str()).await?);
        if job.state.is_over() {
            let directory = self.directory(id);
            let (held, kept) = directory.as_owner(|directory| (directory.still_on_ledger(), directory.keeps())).await;
            job.notes
                .extend(held.into_iter().map(|held| format!("still holds {held}: that could not be given back yet")));
            job.notes.extend(kept.into_iter().map(|kept| format!("its directory keeps {kept}")));
        }
        job.notes.extend(steps::note(&self.shared, id, job.state.is_over()).await);
        Ok((job, turn))
    }

    /// Waits until the caller may have another list on its way. It counts until the turn is dropped.
    pub(crate) async fn turn_for_list(&self, caller: &Caller) -> Result<Turn, JobsError> {
        self.allow(caller, Action::See).await?;
        self.shared.answers.turn_for_list(caller).await
    }

    /// Returns the newest jobs that are wanted and that the caller sees, newest first, without steps.
    ///
    /// # Errors
    ///
    /// The caller may not, or the journal failed.
    pub async fn list(&self, caller: &Caller, wanted: Wanted) -> Result<Vec<Job>, JobsError> {
        self.allow(caller, Action::See).await?;
        let owner = self.authorizer.horizon(caller).await.or(wanted.owner);
        let rows = self.shared.journal.jobs(Wanted { owner, ..wanted }).await?;
        let mut jobs = Vec::with_capacity(rows.len());
        for row in rows {
            let mut job = wire::job(row)?;
            self.complete(caller, &mut job).await?;
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Looks with the caller's rights for what can run guests; for a daemon for all users. May take a minute.
    ///
    /// # Errors
    ///
    /// The caller may not.
    pub async fn hypervisors(&self, caller: &Caller) -> Result<Vec<HypervisorInfo>, JobsError> {
        self.allow(caller, Action::Connect).await?;
        Ok(looks::look(&*self.shared.launcher, caller.uid()).await)
    }

    /// Removes a job that is over, with its directory, after giving back what it still holds.
    ///
    /// # Errors
    ///
    /// The caller may not, there is no such job, it is not over, or something of it cannot be given back.
    pub async fn remove(&self, caller: &Caller, id: &JobId) -> Result<(), JobsError> {
        self.allow_on(caller, Action::Remove, id).await?;
        let state = self.find(caller, id).await?.state;
        if state.is_over() {
            giving_back::before_removal(&self.shared, id).await?;
        }
        if !self.shared.journal.forget(id.as_str()).await? {
            return Err(JobsError::NotOver { id: id.clone(), state });
        }
        self.shared.changes.note(id);
        // Followers that still read have the file open.
        let directory = self.directory(id);
        directory.in_turn(JobDir::remove).await;
        tracing::info!(job = %id, "removed");
        Ok(())
    }

    /// Answers a question of a running job.
    ///
    /// # Errors
    ///
    /// The caller may not, there is no such job, it does not run, or its worker does not take the answer.
    pub async fn answer(&self, caller: &Caller, id: &JobId, prompt: String, answer: String) -> Result<(), JobsError> {
        let prompt = self.question_for(id, prompt, self.allow_on(caller, Action::Answer, id)).await?;
        if prompt.is_empty() {
            let job = self.find(caller, id).await?;
            if matches!(job.state, JobState::Running | JobState::Cancelling) {
                let name = |question: Question| match question.build {
                    Some(build) => format!("{} ({build})", question.prompt),
                    None => question.prompt,
                };
                let waiting = job.questions.into_iter().map(name).collect();
                return Err(JobsError::WhichQuestion { id: id.clone(), waiting });
            }
        }
        self.ask(caller, id, &ControlRequest::Answer { prompt, answer }).await.map(drop)
    }

    /// Returns the question that is meant, once there is leave to answer it. It is the one that waits now: while a person types a password, others
    /// may be asked, and what was meant may have been answered.
    pub(super) async fn question_for(
        &self,
        id: &JobId,
        name: String,
        leave: impl Future<Output = Result<(), JobsError>>,
    ) -> Result<String, JobsError> {
        let meant = self.question_meant(id, name);
        leave.await?;
        Ok(meant)
    }

    /// Returns the question that is meant: the one of this name, that of the build of this name, or the only one when there is no name. Others
    /// are for the worker to refuse.
    pub(super) fn question_meant(&self, id: &JobId, name: String) -> String {
        let all = self.shared.questions();
        let questions = all.get(id).map(Vec::as_slice).unwrap_or_default();
        let meant = match questions {
            [only] if name.is_empty() => Some(only),
            _ if questions.iter().any(|question| question.prompt == name) => None,
            _ => questions.iter().find(|question| question.build.as_deref() == Some(name.as_str())),
        };
        meant.map_or(name, |question| question.prompt.clone())
    }

    /// Returns the screen of the build's guest (of any guest when unnamed) as PNG. It counts against the caller until it is dropped.
    ///
    /// # Errors
    ///
    /// The caller may not, has as many as may be, there is no such job, it does not run, or no guest of it does.
    pub async fn screen(&self, caller: &Caller, id: &JobId, build: Option<String>) -> Result<InTurn, JobsError> {
        self.allow_on(caller, Action::SeeScreen, id).await?;
        // What comes from a worker is whatever its user likes, as large as may be.
        let turn = timeout(PICTURE_TIMEOUT, self.shared.pictures.turn(caller.counts_as())).await;
        let turn = turn.map_err(|_| ControlError::Busy)?;
        Ok(InTurn::new(self.ask(caller, id, &ControlRequest::Screen { build }).await?, turn))
    }

    /// Returns the job's directory, whose events the caller may read.
    ///
    /// # Errors
    ///
    /// The caller may not, there is no such job, or the journal failed.
    pub async fn events(&self, caller: &Caller, id: &JobId) -> Result<JobDir, JobsError> {
        self.allow_on(caller, Action::ReadEvents, id).await?;
        Ok(self.directory(id))
    }

    /// Says whether the caller may see a job. Nobody is asked for a password.
    ///
    /// # Errors
    ///
    /// It may not, or there is no such job.
    pub(crate) async fn may_see(&self, caller: &Caller, id: &JobId) -> Result<(), JobsError> {
        self.allow_on(caller, Action::See, id).await
    }

    /// Says whether the caller may see the jobs of this user. Nobody is asked for a password.
    ///
    /// # Errors
    ///
    /// It may not speak to this daemon.
    pub(crate) async fn sees_jobs_of(&self, caller: &Caller, owner: u32) -> Result<bool, JobsError> {
        self.allow(caller, Action::See).await?;
        Ok(self.authorizer.may_with_job_of(caller, Action::See, owner).await)
    }

    /// Says whether the caller sees the jobs of everybody. Nobody is asked for a password.
    ///
    /// # Errors
    ///
    /// It may not speak to this daemon.
    pub(crate) async fn sees_everything(&self, caller: &Caller) -> Result<bool, JobsError> {
        self.allow(caller, Action::See).await?;
        Ok(self.authorizer.horizon(caller).await.is_none())
    }

    /// Says whether a job is over: no more events of it will come. For its followers, who have had leave from [`events`](Self::events).
    pub(super) async fn is_over(&self, id: &JobId) -> Result<bool, JobsError> {
        let row = self.shared.journal.job(id.as_str()).await?;
        let mut job = wire::job(row.ok_or_else(|| JobsError::NoSuchJob(id.clone()))?)?;
        self.add_what_is_not_written(&mut job);
        Ok(job.state.is_over())
    }

    /// Counts the jobs that are not over and that the caller sees.
    ///
    /// # Errors
    ///
    /// The caller may not, or the daemon is stopping.
    pub async fn counts(&self, caller: &Caller) -> Result<JobCounts, JobsError> {
        self.allow(caller, Action::See).await?;
        self.count(self.authorizer.horizon(caller).await).await
    }

    /// Lets the caller stop this daemon, and counts the jobs that wait for the next one.
    ///
    /// # Errors
    ///
    /// The caller may not, or the daemon is stopping.
    pub async fn before_stop(&self, caller: &Caller) -> Result<JobCounts, JobsError> {
        self.allow(caller, Action::Stop).await?;
        self.count(None).await
    }

    /// Takes over what of the configuration can change while jobs run. The note stands in the line of status, and among the notices, from then on.
    ///
    /// # Errors
    ///
    /// The daemon is stopping.
    pub(crate) async fn reconfigure(&self, config: &Config, note: Option<String>) -> Result<(), JobsError> {
        self.shared.settings.send_replace(Settings::of(config));
        *self.shared.reload_note.lock().unwrap_or_else(PoisonError::into_inner) = note.clone();
        let (max_running_jobs, of_each_user) = (config.max_running_jobs, config.quotas.running);
        self.send(Message::Resize { max_running_jobs, of_each_user, note }).await
    }

    /// Says whether any job is not over, or holds what is tried again to be given back.
    ///
    /// # Errors
    ///
    /// The daemon is stopping.
    pub(crate) async fn is_busy(&self) -> Result<bool, JobsError> {
        let counts = self.count(None).await?;
        Ok(counts.running + counts.queued > 0 || self.shared.leftovers().keep_busy(SystemTime::now()))
    }

    /// Returns what the owner should know of this daemon's start, and of the last time that it has read its configuration.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        let of_start = self.shared.notices.get().into_iter().flatten().cloned();
        let of_reload = self.shared.reload_note.lock().unwrap_or_else(PoisonError::into_inner).clone();
        of_start.chain(of_reload).collect()
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

    /// Lets the caller do something that is about no job in particular.
    async fn allow(&self, caller: &Caller, action: Action) -> Result<(), JobsError> {
        Ok(self.authorizer.check(caller, action).await?)
    }

    /// Lets the caller do something with this job. One that it may not touch is refused as one that does not exist, in the same words and
    /// after the same work.
    async fn allow_on(&self, caller: &Caller, action: Action, id: &JobId) -> Result<(), JobsError> {
        self.allow(caller, action).await?;
        match self.shared.journal.owner(id.as_str()).await? {
            Some(owner) if self.authorizer.may_with_job_of(caller, action, owner).await => Ok(()),
            _ => Err(JobsError::NoSuchJob(id.clone())),
        }
    }

    /// Returns a job that the caller may see.
    async fn find(&self, caller: &Caller, id: &JobId) -> Result<Job, JobsError> {
        let row = self.shared.journal.job(id.as_str()).await?;
        let mut job = wire::job(row.ok_or_else(|| JobsError::NoSuchJob(id.clone()))?)?;
        self.complete(caller, &mut job).await?;
        Ok(job)
    }

    pub(super) async fn count(&self, of: Option<u32>) -> Result<JobCounts, JobsError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Count { of, reply }).await?;
        answer.await.map_err(|_| JobsError::Stopping)
    }

    async fn ask(&self, caller: &Caller, id: &JobId, request: &ControlRequest) -> Result<Vec<u8>, JobsError> {
        let job = self.find(caller, id).await?;
        match job.state {
            state if state.is_over() => Err(JobsError::Over { id: id.clone(), state }),
            JobState::Queued => Err(JobsError::NotRunning { id: id.clone(), state: job.state }),
            // A worker that has begun is known to who reads its events some milliseconds before the journal has it.
            JobState::Starting => control::ask(&self.directory(id), request).await.map_err(|error| match error {
                ControlError::Unreachable { .. } => JobsError::NotRunning { id: id.clone(), state: job.state },
                error => error.into(),
            }),
            _ => Ok(control::ask(&self.directory(id), request).await?),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn directory(&self, id: &JobId) -> JobDir {
        self.shared.directory(id)
    }

    /// Adds what the journal does not know, and leaves out what is not for the caller.
    async fn complete(&self, caller: &Caller, job: &mut Job) -> Result<(), JobsError> {
        if self.shared.config.mode == Mode::User {
            job.owner = None;
        }
        self.add_what_is_not_written(job);
        if job.state == JobState::Queued {
            let (reply, answer) = oneshot::channel();
            self.send(Message::Position { id: job.id.clone(), reply }).await?;
            if let Some(place) = answer.await.map_err(|_| JobsError::Stopping)? {
                job.queue_position = u32::try_from(place.ahead).ok();
                let questions = self.shared.questions();
                let asks = |id: &JobId| questions.get(id).is_some_and(|questions| !questions.is_empty());
                let seen = place.holders.into_iter().filter(|holder| self.authorizer.owns(caller, holder.owner));
                job.waits_for = seen.map(|holder| PlaceHolder { asks: asks(&holder.job), job: holder.job }).collect();
            }
        }
        Ok(())
    }

    /// Adds what it asks, and how it ended where the journal has no room for that.
    pub(super) fn add_what_is_not_written(&self, job: &mut Job) {
        if let Some(questions) = self.shared.questions().get(&job.id) {
            job.questions.clone_from(questions);
        }
        let delayed = self.shared.delayed().get(&job.id).cloned();
        job.notes
            .extend(delayed.map(|why| format!("its worker cannot be started just now, and is tried again: {why}")));
        let unwritten = self.shared.unwritten_endings().get(&job.id).cloned();
        if let Some(ending) = unwritten {
            (job.state, job.exit_code, job.error) = (ending.state.into(), Some(ending.exit_code), ending.error);
            job.finished_at = Some(ending.finished_at);
        }
    }

    async fn send(&self, message: Message) -> Result<(), JobsError> {
        self.messages.send(message).await.map_err(|_| JobsError::Stopping)
    }
}
