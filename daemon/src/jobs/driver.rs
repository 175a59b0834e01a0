//! The one task that decides about jobs: takes submissions, keeps the queue, starts and stops supervisors.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::{CancelMode, EventBody, ImageTask, JobId, JobKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::error::{JobsError, StartError};
use super::last_event::write_last_event;
use super::message::{JobCounts, Message, Reply};
use super::shared::Shared;
use super::submission::Submission;
use super::supervisor::{Begin, Supervisor};
use super::{recovery, wire};
use crate::announcer::{self, Announcer};
use crate::as_owner::Owner;
use crate::blocking::blocking;
use crate::config::Mode;
use crate::explain::explain;
use crate::job_dir::{Acceptance, JobDir};
use crate::journal::{Ending, JobState, Unfinished};
use crate::memory;
use crate::queue::Queue;
use crate::quotas::{Quota, QuotaExceeded};
use crate::wall_clock::wall_clock;

/// Orders that may wait for a supervisor; one cancellation of each mode is as good as many.
const ORDERS: usize = 4;

/// Time for reading what running jobs have said; a second is enough for a hundred megabytes, and clients wait longer for a daemon.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long nothing runs and nobody orders anything before memory is given back: whoever asks next waits some tenths of a millisecond more.
const REST: Duration = Duration::from_secs(2);

pub(super) struct Driver {
    shared: Arc<Shared>,
    /// Weak, so that the driver ends when nobody can send any more.
    messages: mpsc::WeakSender<Message>,
    queue: Queue,
    running: HashMap<JobId, mpsc::Sender<CancelMode>>,
    announcer: Announcer,
    /// When the rest begins; nothing where it has begun or something runs.
    rests_at: Option<Instant>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, messages: mpsc::WeakSender<Message>) -> Self {
        let mut queue = Queue::new(shared.config.max_running_jobs);
        queue.resize(shared.config.max_running_jobs, shared.config.quotas.running);
        let announcer = Announcer::new(shared.config.manager);
        let rests_at = Some(Instant::now() + REST);
        Self { shared, messages, queue, running: HashMap::new(), announcer, rests_at }
    }

    /// Takes in what the journal does not know, and takes up the jobs that are not over.
    pub(super) async fn recover(&mut self) -> Result<(), StartError> {
        let taken_in = recovery::take_in_unknown(&self.shared).await?;
        if let Some(damaged) = self.shared.journal.damaged() {
            let jobs = if taken_in == 1 { "1 job was".to_owned() } else { format!("{taken_in} jobs were") };
            let kept = damaged.display();
            let notice = format!(
                "the journal was damaged; it is kept as {kept}, and {jobs} taken in again from their directories"
            );
            // Set here and nowhere else.
            let _ = self.shared.notices.set(vec![notice]);
        }
        let mut running = Vec::new();
        for job in self.shared.journal.unfinished().await? {
            let id = wire::job_id(&job.id)?;
            match (job.state, JobKind::from(job.kind).queues()) {
                (JobState::Queued, true) => self.queue.push(id, job.owner),
                (JobState::Queued, false) => {
                    self.queue.run_free(id.clone(), job.owner);
                    self.start(id).await;
                }
                _ => running.push(self.take_up(id, job)),
            }
        }
        self.start_waiting().await;
        // What they ask is known before anybody can ask for it.
        let caught_up = async {
            for job in running {
                // Nothing is ever sent: it is dropped.
                let _ = job.await;
            }
        };
        if timeout(CATCH_UP_TIMEOUT, caught_up).await.is_err() {
            tracing::warn!("what running jobs have said is still being read; what they ask is told later");
        }
        Ok(())
    }

    /// Returns what ends when everything is known that the job had said before.
    fn take_up(&mut self, id: JobId, job: Unfinished) -> oneshot::Receiver<()> {
        if JobKind::from(job.kind).queues() {
            self.queue.adopt(id.clone(), job.owner);
        } else {
            self.queue.run_free(id.clone(), job.owner);
        }
        let ledger = job.lease.as_ref().map(|lease| lease.ledger.as_str());
        tracing::info!(job = %id, state = job.state.as_str(), ledger, "taking up a job of an earlier daemon");
        let cancelling = job.state == JobState::Cancelling;
        self.supervise(id, Begin::TakeUp(job.lease.map(|lease| lease.holder)), cancelling)
    }

    /// Serves messages until nobody can send any more. Workers run on after that.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        loop {
            self.announce();
            let rests_at = self.rests_at;
            let message = tokio::select! {
                message = inbox.recv() => message,
                () = self.announcer.due() => continue,
                () = sleep_until(rests_at.unwrap_or_else(Instant::now)), if rests_at.is_some() => {
                    self.rests_at = None;
                    memory::give_back();
                    memory::let_go_of_program();
                    continue;
                }
            };
            let Some(message) = message else { return };
            match message {
                Message::Submit { submission, owner, confined, files_of, reply } => {
                    let result = self.submit(*submission, owner, confined, files_of).await;
                    // The client may have gone; the job stays, as it would have a moment later.
                    let _ = reply.send(result);
                    self.start_waiting().await;
                }
                Message::Cancel { id, mode, reply } => self.cancel(id, mode, reply).await,
                Message::Count { of, reply } => {
                    let _ = reply.send(self.counts(of));
                }
                Message::Position { id, reply } => {
                    let _ = reply.send(self.queue.place(&id));
                }
                Message::Resize { max_running_jobs, of_each_user, note } => {
                    self.announcer.keep(note);
                    self.queue.resize(max_running_jobs, of_each_user);
                    self.start_waiting().await;
                }
                Message::Over { id } => {
                    self.running.remove(&id);
                    self.queue.finish(&id);
                    self.shared.changes.note(&id);
                    self.start_waiting().await;
                    if self.queue.running() == 0 {
                        memory::give_back();
                    }
                }
            }
            self.rests_at = (self.queue.running() == 0).then(|| Instant::now() + REST);
        }
    }

    fn counts(&self, of: Option<u32>) -> JobCounts {
        let limit = self.queue.limit();
        match of.map(|owner| self.queue.tally(owner)) {
            Some(tally) => JobCounts { running: tally.running + tally.free, queued: tally.waiting, limit },
            None => JobCounts { running: self.queue.running(), queued: self.queue.waiting(), limit },
        }
    }

    /// Tells the service manager what is due.
    fn announce(&mut self) {
        let Self { shared, queue, announcer, .. } = self;
        announcer.turn(|| {
            let asking = shared.questions().values().filter(|questions| !questions.is_empty()).count();
            announcer::status(queue.running(), queue.waiting(), asking)
        });
    }

    async fn submit(
        &mut self,
        submission: Submission,
        owner: u32,
        confined: bool,
        files_of: Option<Owner>,
    ) -> Result<(JobId, bool), JobsError> {
        let Submission { request, key, digest } = submission;
        if let Some(key) = &key
            && let Some((id, earlier)) = self.shared.journal.find_key(owner, key.clone()).await?
        {
            let id = wire::job_id(&id)?;
            return if earlier == digest { Ok((id, false)) } else { Err(JobsError::KeyReused(id)) };
        }
        let id = JobId::from_random_bits(uuid::Uuid::new_v4().as_u64_pair().1);
        let kind = request.kind;
        self.check_quotas(owner, kind)?;
        let acceptance = Acceptance { created_at: wall_clock(), owner, key, digest };
        let template = request.image.as_ref().map_or_else(|| request.template.clone(), ImageTask::subject);
        let mut job = wire::new_job(&id, kind, template, request.working_directory.clone(), acceptance.clone());
        job.confined = confined;
        let directory = self.shared.directory(&id);
        let made = directory.clone();
        // Of a daemon of one user's no job ever is.
        let noted = !confined && self.shared.config.mode == Mode::System;
        let create = move || {
            if noted {
                made.note_unconfined()?;
            }
            made.create(&request, &acceptance, files_of)
        };
        blocking(create).await?;
        if let Err(error) = self.shared.journal.insert(job).await {
            blocking(move || directory.remove()).await;
            return Err(error.into());
        }
        tracing::info!(job = %id, owner, ?kind, "submitted");
        self.shared.changes.note(&id);
        if kind.queues() {
            self.queue.push(id.clone(), owner);
        } else {
            self.queue.run_free(id.clone(), owner);
            self.start(id.clone()).await;
        }
        Ok((id, true))
    }

    /// Refuses what would be more than a user may have.
    fn check_quotas(&self, owner: u32, kind: JobKind) -> Result<(), QuotaExceeded> {
        let (tally, quotas) = (self.queue.tally(owner), self.shared.quotas());
        if kind.queues() {
            QuotaExceeded::unless_below(Quota::Queued, quotas.queued, owner, tally.waiting)
        } else {
            QuotaExceeded::unless_below(Quota::Looks, quotas.looks, owner, tally.free)
        }
    }

    async fn start_waiting(&mut self) {
        while let Some(id) = self.queue.start_next() {
            self.start(id).await;
        }
    }

    async fn start(&mut self, id: JobId) {
        // The intent comes before the act, so that a crash in between leaves a trace of the worker.
        if let Err(error) = self.shared.journal.set_state(id.as_str(), JobState::Starting).await {
            tracing::error!(job = %id, error = explain(&error), "the start is not in the journal");
        }
        self.shared.changes.note(&id);
        // A new one has said nothing yet.
        let _caught_up = self.supervise(id, Begin::Start, false);
    }

    /// Returns what ends when everything is known that the job had said before.
    fn supervise(&mut self, id: JobId, begin: Begin, cancelling: bool) -> oneshot::Receiver<()> {
        let (sender, orders) = mpsc::channel(ORDERS);
        self.running.insert(id.clone(), sender);
        let (shared, (behind, caught_up)) = (Arc::clone(&self.shared), oneshot::channel());
        let supervisor =
            Supervisor { shared, id: id.clone(), orders, cancelling, killing: false, caught_up: Some(behind) };
        let messages = self.messages.clone();
        tokio::spawn(async move {
            let watch = tokio::spawn(supervisor.run(begin));
            if let Err(error) = watch.await {
                tracing::error!(job = %id, %error, "the job's supervisor broke");
            }
            if let Some(messages) = messages.upgrade() {
                // Fails only when the driver is gone, and with it the queue.
                let _ = messages.send(Message::Over { id }).await;
            }
        });
        caught_up
    }

    async fn cancel(&mut self, id: JobId, mode: CancelMode, reply: Reply<()>) {
        if self.queue.withdraw(&id) {
            // It writes in the job's directory, for which its user may have to wait: nobody else does.
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                let result = cancel_queued(&shared, &id).await;
                // The client may have gone; the job is cancelled all the same.
                let _ = reply.send(result);
            });
            return;
        }
        let result = self.cancel_job(&id, mode).await;
        // The client may have gone; the job is cancelled all the same.
        let _ = reply.send(result);
    }

    async fn cancel_job(&mut self, id: &JobId, mode: CancelMode) -> Result<(), JobsError> {
        let job = self.shared.journal.job(id.as_str()).await?.ok_or_else(|| JobsError::NoSuchJob(id.clone()))?;
        let state = kiln_protocol::JobState::from(job.state);
        if state.is_over() {
            return Err(JobsError::Over { id: id.clone(), state });
        }
        self.shared.journal.set_state(id.as_str(), JobState::Cancelling).await?;
        self.shared.changes.note(id);
        if let Some(orders) = self.running.get(id) {
            // When it is full, the same order is in it already.
            let _ = orders.try_send(mode);
        }
        Ok(())
    }
}

/// Ends a job that has not begun.
async fn cancel_queued(shared: &Shared, id: &JobId) -> Result<(), JobsError> {
    let directory = shared.directory(id);
    let written = directory.as_owner(|directory| {
        let body = EventBody::JobFinished {
            state: kiln_protocol::JobState::Cancelled,
            exit_code: 1,
            elapsed_us: 0,
            error: None,
        };
        (write_last_event(directory, body), directory.scrub_request())
    });
    let written = written.await;
    directory.in_turn(JobDir::remove_runtime).await;
    if let (Err(error), _) = &written {
        tracing::error!(job = %id, error = explain(error.as_ref()), "the last event cannot be written");
    }
    shared.journal.finish(id.as_str(), Ending::early(JobState::Cancelled, None, wall_clock())).await?;
    shared.endings.send_modify(|()| {});
    shared.changes.note(id);
    Ok(written.1?)
}
