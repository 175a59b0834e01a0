//! Jobs that only their directories know, because the journal was lost: taken in again, with what the directories say of them.
//!
//! | Directory | Becomes |
//! |---|---|
//! | with a last event | a job that is over, as that event says; its builds and artifacts are read afterwards ([`read_later`]) |
//! | with a trace of a worker | a running job: its worker is found, or swept after |
//! | with a request, no trace, and the journal is new | a queued job |
//! | with a request and no trace, but the journal is an old one | nothing: a crash came before its submission was answered |
//! | without a request | nothing: a crash came while it was made |

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use kiln_protocol::{ImageTask, JobId, JobKind};

use super::allowance::Allowance;
use super::facts::{Meaning, meaning};
use super::shared::Shared;
use super::{steps, wire};
use crate::as_owner::Owner;
use crate::blocking::blocking;
use crate::config::Mode;
use crate::event_log::{EventReader, last_event};
use crate::explain::explain;
use crate::job_dir::{Acceptance, JobDir};
use crate::journal::{FoundJob, FoundState, JournalError, Observation};

/// What stands for a template whose name is lost.
const UNKNOWN_TEMPLATE: &str = "(unknown)";

/// Takes in what the journal does not know; returns the number of jobs taken in. What never became a job is removed afterwards: it may be much, and
/// nobody's start waits for it.
pub(super) async fn take_in_unknown(shared: &Arc<Shared>) -> Result<usize, JournalError> {
    let known = shared.journal.ids().await?;
    let this = Arc::clone(shared);
    let (mut found, no_jobs) = blocking(move || {
        let (mut found, mut no_jobs) = (Vec::new(), Vec::new());
        let Ok(entries) = std::fs::read_dir(this.config.state_directory.join("jobs")) else { return (found, no_jobs) };
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<JobId>().ok());
            let Some(id) = id.filter(|id| !known.contains(id.as_str())) else { continue };
            let directory = this.directory(&id);
            // The kernel's word: what the directory says itself its user may have written.
            let owner = match this.config.mode {
                Mode::User => Ok(this.config.owner),
                Mode::System => Owner::of(&directory.root).map(|owner| owner.uid),
            };
            let Ok(owner) = owner else { continue };
            match directory.as_owner_now(|directory| examine(directory, this.journal.is_new())) {
                Some(state) => {
                    tracing::warn!(job = %id, ?state, "taking in a job that only its directory knows");
                    // Its directory is its user's to write; what polkit said of it is beside, where it is not.
                    let confined = this.config.mode == Mode::System && !directory.is_unconfined();
                    let mut one = directory.as_owner_now(|directory| describe(id, directory, state, owner));
                    one.job.confined = confined;
                    found.push(one);
                }
                None => no_jobs.push(id),
            }
        }
        (found, no_jobs)
    })
    .await;
    tokio::spawn(remove(Arc::clone(shared), no_jobs));
    // The order of submission, by the clock; that of the directory means nothing.
    let time = |found: &FoundJob| found.job.created_at.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
    found.sort_by_key(time);
    let count = found.len();
    shared.journal.take_in(found).await?;
    Ok(count)
}

/// Removes directories that never became jobs, each when its user has a turn.
async fn remove(shared: Arc<Shared>, no_jobs: Vec<JobId>) {
    for id in no_jobs {
        tracing::warn!(job = %id, "removing a directory that never became a job");
        shared.directory(&id).in_turn(JobDir::remove).await;
    }
}

/// Returns how far a job came; nothing when it never was one.
fn examine(directory: &JobDir, journal_is_new: bool) -> Option<FoundState> {
    let last = last_event(&directory.events()).unwrap_or_else(|error| {
        tracing::error!(error = explain(&error), "a job's events cannot be read");
        None
    });
    let mut said = last.as_ref().map(meaning);
    // Never more than is kept: it is one event, and its texts are cut.
    let admitted = said.iter_mut().try_for_each(|said| Allowance::default().admit(said)).is_ok();
    match said {
        Some(Meaning::Ended(ending)) if admitted => Some(FoundState::Over(ending)),
        _ if directory.has_trace_of_worker() => Some(FoundState::Running),
        _ if journal_is_new && directory.has_request() => Some(FoundState::Queued),
        _ => None,
    }
}

fn describe(id: JobId, directory: &JobDir, state: FoundState, owner: u32) -> FoundJob {
    let request = directory.read_request();
    if let Err(error) = &request {
        tracing::warn!(job = %id, error = explain(error), "what was asked for is not known any more");
    }
    let request = request.ok();
    let subject = request
        .as_ref()
        .map(|request| request.image.as_ref().map_or_else(|| request.template.clone(), ImageTask::subject));
    let acceptance = directory.read_acceptance().map(|acceptance| Acceptance { owner, ..acceptance });
    let acceptance = acceptance.unwrap_or_else(|| Acceptance {
        created_at: changed_at(&directory.root),
        owner,
        key: None,
        digest: String::new(),
    });
    let kind = request.as_ref().map_or(JobKind::Build, |request| request.kind);
    let template = subject.unwrap_or_else(|| UNKNOWN_TEMPLATE.to_owned());
    let working_directory = request.map_or_else(String::new, |request| request.working_directory);
    let job = wire::new_job(&id, kind, template, working_directory, acceptance);
    FoundJob { job, state }
}

/// Returns when the directory was last changed, for jobs of a kilnd that did not write down when they came.
fn changed_at(path: &Path) -> String {
    let time = path.symlink_metadata().and_then(|metadata| metadata.modified());
    let time = time.ok().and_then(|time| Timestamp::try_from(time).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Reads the events of jobs that are over and were taken in: their builds and artifacts. One after the other, while the daemon serves.
pub(super) async fn read_later(shared: Arc<Shared>) {
    let jobs = match shared.journal.unread().await {
        Ok(jobs) => jobs,
        Err(error) => return tracing::error!(error = explain(&error), "what was taken in is not read"),
    };
    for id in jobs.iter().filter_map(|id| wire::job_id(id).ok()) {
        let written = match read_all(&shared.directory(&id)).await {
            Ok((facts, refusal, last)) => write_down(&shared, &id, facts, refusal, last).await,
            Err(error) => Err(error),
        };
        let written = match written {
            Ok(()) => steps::carry_over(&shared, &id).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::error!(job = %id, error, "the builds of a job, or their steps, are not known");
        }
    }
}

/// What the events of a job say of its builds, why it failed as a whole, and the number of the last one.
type Said = (Vec<Observation>, Option<String>, u64);

/// Reads all events of a job, a piece at a time, as far as they are kept.
async fn read_all(directory: &JobDir) -> Result<Said, String> {
    let mut reader = directory
        .as_owner(|directory| EventReader::open(&directory.events(), 0))
        .await
        .map_err(|error| explain(&error))?;
    let (mut allowance, mut facts, mut refusal, mut last) = (Allowance::default(), Vec::new(), None, 0);
    loop {
        let read = directory.as_owner(move |_| reader.read_piece().map(|piece| (reader, piece))).await;
        let (same, piece) = read.map_err(|error| explain(&error))?;
        reader = same;
        let Some(events) = piece else { return Ok((facts, refusal, last)) };
        for line in &events {
            last = line.seq;
            let mut said = meaning(line);
            if let Err(exceeded) = allowance.admit(&mut said) {
                tracing::warn!(error = explain(&exceeded), "not everything is kept of what a job has said");
                return Ok((facts, refusal, last));
            }
            match said {
                Meaning::Build(fact) => facts.push(fact),
                Meaning::Refused(reason) => drop(refusal.get_or_insert(reason)),
                // Nothing comes after it.
                Meaning::Ended(_) => return Ok((facts, refusal, last)),
                _ => {}
            }
        }
    }
}

async fn write_down(
    shared: &Shared,
    id: &JobId,
    facts: Vec<Observation>,
    refusal: Option<String>,
    last: u64,
) -> Result<(), String> {
    if let Some(reason) = refusal {
        shared.journal.give_reason(id.as_str(), reason).await.map_err(|error| explain(&error))?;
    }
    shared.journal.observe(id.as_str(), facts, last).await.map_err(|error| explain(&error))
}
