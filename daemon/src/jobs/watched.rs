//! What is known of one job from its events: read piece by piece, within what is kept of a job, and carried into the journal.

use std::time::{Duration, Instant};

use kiln_protocol::JobId;
use tokio::time::sleep;

use super::allowance::{Allowance, Exceeded};
use super::facts::{Meaning, meaning};
use super::shared::Shared;
use super::steps;
use crate::event_log::{EventLine, EventReader, REST, ReadError, last_event};
use crate::explain::explain;
use crate::job_dir::JobDir;
use crate::journal::{Ending, Fact};

/// Time for reading what a worker that is gone, or that an earlier daemon started, has said. A second is enough for a hundred megabytes; where
/// somebody goes on writing there is no end.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(30);

/// What is known from the events of a job.
pub(super) struct Watched {
    id: JobId,
    directory: JobDir,
    /// Number of the last event that was read. The first of all comes after 0, also in the second life of a daemon: the journal may
    /// know an event and not what it means, or know more than a power cut left in the file.
    after: u64,
    reader: Option<EventReader>,
    allowance: Allowance,
    /// Whether it was said that the steps cannot be read.
    steps_failed: bool,
    /// Why the job fails as a whole, when its last event need not say it.
    refusal: Option<String>,
    /// Whether the worker can be spoken to.
    pub(super) started: bool,
    /// Set when it has said more than is kept: nothing is read any more.
    pub(super) exceeded: Option<Exceeded>,
    /// How it ended; nothing is read after that.
    pub(super) ending: Option<Ending>,
}

impl Watched {
    pub(super) fn new(id: &JobId, directory: &JobDir) -> Self {
        Self {
            id: id.clone(),
            directory: directory.clone(),
            after: 0,
            reader: None,
            allowance: Allowance::default(),
            steps_failed: false,
            refusal: None,
            started: false,
            exceeded: None,
            ending: None,
        }
    }

    /// Reads what there is, for a limited time; when that is over, only how the job ended.
    pub(super) async fn catch_up(&mut self, shared: &Shared) {
        // Looked at between pieces: one that was read is taken in, too.
        let deadline = Instant::now() + CATCH_UP_TIMEOUT;
        while Instant::now() < deadline {
            if !self.read_piece(shared).await {
                return;
            }
        }
        tracing::warn!(job = %self.id, "the events are too many to be read now: how the job ended is looked for at their end");
        let last = self.directory.as_owner(|directory| last_event(&directory.events())).await;
        let Ok(Some(last)) = last else { return };
        let mut last = meaning(&last);
        if self.allowance.admit(&mut last).is_ok()
            && let Meaning::Ended(ending) = last
        {
            self.ending = Some(ending.with_reason(self.refusal.take()));
        }
    }

    /// Reads the next piece; false when there is nothing new, or nothing that matters any more.
    pub(super) async fn read_piece(&mut self, shared: &Shared) -> bool {
        if self.ending.is_some() || self.exceeded.is_some() {
            return false;
        }
        let (after, reader) = (self.after, self.reader.take());
        let read = self.directory.as_owner(move |directory| {
            let mut reader = reader.map_or_else(|| EventReader::open(&directory.events(), after), Ok)?;
            let piece = reader.read_piece()?;
            Ok((reader, piece))
        });
        let read: Result<_, ReadError> = read.await;
        let piece = match read {
            Ok((reader, piece)) => {
                self.reader = Some(reader);
                piece
            }
            Err(error) => {
                tracing::error!(job = %self.id, error = explain(&error), "the events cannot be read");
                return false;
            }
        };
        let Some(events) = piece else { return false };
        if events.is_empty() {
            // Nothing of ours writes so much that is no event, and who does shall not keep us busy.
            sleep(REST).await;
        }
        if let Some(last) = events.last().map(|line| line.seq) {
            self.after = last;
            self.take_in(shared, &events, last).await;
        }
        true
    }

    /// Learns what these events say.
    async fn take_in(&mut self, shared: &Shared, events: &[EventLine], last: u64) {
        let (mut facts, mut steps_changed, mut changed) = (Vec::new(), false, false);
        for line in events {
            let mut meaning = meaning(line);
            if let Err(exceeded) = self.allowance.admit(&mut meaning) {
                tracing::warn!(job = %self.id, error = explain(&exceeded), "a job says too much");
                self.exceeded = Some(exceeded);
                break;
            }
            changed |= meaning != Meaning::Nothing;
            match meaning {
                Meaning::Nothing => {}
                Meaning::Moved(build, share) => shared.changes.note_transfer(&self.id, &build, share),
                Meaning::Asked(question) => {
                    shared.questions().entry(self.id.clone()).or_default().push(question);
                }
                Meaning::Answered(prompt) => {
                    if let Some(questions) = shared.questions().get_mut(&self.id) {
                        questions.retain(|question| question.prompt != prompt);
                    }
                }
                Meaning::Cancelled => drop(shared.questions().remove(&self.id)),
                // The first one counts, and is written down once.
                Meaning::Started(_) if self.started => {}
                Meaning::Started(since) => {
                    self.started = true;
                    if let Err(error) = shared.journal.set_running(self.id.as_str(), since).await {
                        tracing::error!(job = %self.id, error = explain(&error), "the start is not in the journal");
                    }
                }
                Meaning::Build(fact) => {
                    if matches!(fact.fact, Fact::Step { .. } | Fact::Finished { .. }) {
                        shared.changes.note_transfer(&self.id, &fact.build, None);
                    }
                    steps_changed |= matches!(fact.fact, Fact::Step { .. });
                    facts.push(fact);
                }
                Meaning::StepEnded => steps_changed = true,
                Meaning::Refused(reason) => drop(self.refusal.get_or_insert(reason)),
                Meaning::Ended(ending) => {
                    self.ending = Some(ending.with_reason(self.refusal.take()));
                    break;
                }
            }
        }
        // Texts alone change nothing that the journal shows but the number, which the next fact brings along.
        if (!facts.is_empty() || self.ending.is_some())
            && let Err(error) = shared.journal.observe(self.id.as_str(), facts, last).await
        {
            tracing::error!(job = %self.id, error = explain(&error), "events are not in the journal");
        }
        if steps_changed {
            self.read_steps(shared).await;
        }
        if changed {
            shared.changes.note(&self.id);
        }
    }

    /// Carries what the worker has recorded of its steps into the journal.
    pub(super) async fn read_steps(&mut self, shared: &Shared) {
        if let Err(error) = steps::carry_over(shared, &self.id).await
            // Said once: the file does not mend itself.
            && !std::mem::replace(&mut self.steps_failed, true)
        {
            tracing::error!(job = %self.id, error, "the steps are not in the journal");
        }
    }
}
