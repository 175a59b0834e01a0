//! What is written about jobs, and which of them are read again.

use std::collections::HashSet;

use jiff::Timestamp;
use kiln_protocol::{Artifact, BuildState, Job, JobId, JobKind, JobState};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::rows::{build_state_name, job_id, read_job, read_unfinished, with_builds};
use super::{Journal, JournalError};
use crate::job_dir::Acceptance;
use crate::process_identity::ProcessIdentity;

/// A job that was just submitted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its identifier.
    pub id: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// Template as typed.
    pub template: String,
    /// Where its worker will run.
    pub working_directory: String,
    /// When, from whom, and under which key it came.
    pub acceptance: Acceptance,
}

/// A job that only its directory knows: the journal was lost.
#[derive(Clone, Debug)]
pub struct FoundJob {
    /// What was submitted.
    pub job: NewJob,
    /// How far it came.
    pub state: FoundState,
}

/// How far a job came that only its directory knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// No worker was ever started.
    Queued,
    /// A worker was started, and there is no last event.
    Running,
    /// It is over.
    Over(Ending),
}

/// Something that an event says about a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Number of the event.
    pub event: u64,
    /// Name of the build.
    pub build: String,
    /// What is said.
    pub fact: Fact,
}

/// What an event says about a build.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// It will run.
    Planned {
        /// Place in the template.
        position: u32,
    },
    /// It began a step.
    Step {
        /// The step's name.
        step: String,
    },
    /// It left something.
    Artifact(Artifact),
    /// It is over.
    Finished {
        /// How.
        state: BuildState,
        /// Why it failed.
        error: Option<String>,
        /// How long it took, in microseconds.
        elapsed_us: u64,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its last state.
    pub state: JobState,
    /// Exit code for the client.
    pub exit_code: u8,
    /// Why it failed as a whole.
    pub error: Option<String>,
    /// When it was over, RFC 3339.
    pub finished_at: String,
}

impl Ending {
    /// Makes an ending that is no success, at the present time.
    #[must_use]
    pub fn now(state: JobState, error: Option<String>) -> Self {
        Self { state, exit_code: 1, error, finished_at: wall_clock() }
    }
}

/// A job that was not over when the last daemon ended.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Its identifier.
    pub id: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// Its state as last written.
    pub state: JobState,
    /// Its worker, when one was started.
    pub worker: Option<ProcessIdentity>,
}

/// Which jobs a list shall hold.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many at most.
    pub limit: u32,
    /// With looks at images that are over.
    pub looks: bool,
    /// In one of these states; in any when empty.
    pub states: Vec<JobState>,
    /// Submitted at this time or later: RFC 3339 in UTC, with milliseconds.
    pub since: Option<String>,
    /// Those that are not over come before all others.
    pub unfinished_first: bool,
}

impl Wanted {
    /// Wants the newest jobs of every kind and state.
    #[must_use]
    pub fn newest(limit: u32) -> Self {
        Self { limit, looks: true, states: Vec::new(), since: None, unfinished_first: false }
    }
}

const COLUMNS: &str = "id, kind, template, working_directory, state, created_at, started_at, finished_at, exit_code, error, \
                       last_event";

impl Journal {
    /// Writes a new job down, as queued.
    ///
    /// # Errors
    ///
    /// The journal failed; the identifier or the key may be taken.
    pub async fn insert(&self, job: NewJob) -> Result<(), JournalError> {
        self.run(move |connection| insert(connection, &job, JobState::Queued)).await
    }

    /// Writes down jobs that only their directories know, in this order, all or none. A key that was used twice stays with the first.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn take_in(&self, found: Vec<FoundJob>) -> Result<(), JournalError> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for FoundJob { mut job, state } in found {
                let Acceptance { owner, key, .. } = &job.acceptance;
                if let Some(key) = key
                    && find_key(&transaction, *owner, key)?.is_some()
                {
                    job.acceptance.key = None;
                }
                match state {
                    FoundState::Queued => insert(&transaction, &job, JobState::Queued)?,
                    FoundState::Running => insert(&transaction, &job, JobState::Running)?,
                    FoundState::Over(ending) => {
                        insert(&transaction, &job, JobState::Running)?;
                        finish(&transaction, &job.id, &ending)?;
                    }
                }
            }
            transaction.commit()
        })
        .await
    }

    /// Returns all jobs that are known.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn ids(&self) -> Result<HashSet<JobId>, JournalError> {
        self.run(|connection| {
            connection.prepare_cached("SELECT id FROM jobs")?.query_map([], |row| job_id(row, 0))?.collect()
        })
        .await
    }

    /// Returns the finished jobs of whose events nothing was read, the newest first: they were taken in from their directories.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn unread(&self) -> Result<Vec<JobId>, JournalError> {
        self.run(|connection| {
            let sql = "SELECT id FROM jobs WHERE finished_at IS NOT NULL AND last_event = 0 ORDER BY submitted DESC";
            connection.prepare_cached(sql)?.query_map([], |row| job_id(row, 0))?.collect()
        })
        .await
    }

    /// Forgets a job that is over; false when it is not, or is not known.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn forget(&self, id: JobId) -> Result<bool, JournalError> {
        self.run(move |connection| {
            let sql = "DELETE FROM jobs WHERE id = ?1 AND finished_at IS NOT NULL";
            connection.execute(sql, [id.as_str()]).map(|count| count > 0)
        })
        .await
    }

    /// Returns the job that was submitted under this key, and the digest of its request.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn find_key(&self, owner: u32, key: String) -> Result<Option<(JobId, String)>, JournalError> {
        self.run(move |connection| find_key(connection, owner, &key)).await
    }

    /// Sets the state of a job that is not over.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn set_state(&self, id: JobId, state: JobState) -> Result<(), JournalError> {
        self.run(move |connection| {
            let sql = "UPDATE jobs SET state = ?2 WHERE id = ?1 AND finished_at IS NULL";
            connection.execute(sql, params![id.as_str(), state.as_str()]).map(drop)
        })
        .await
    }

    /// Writes down which process works on a job.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn set_worker(&self, id: JobId, worker: ProcessIdentity) -> Result<(), JournalError> {
        self.run(move |connection| {
            let sql = "UPDATE jobs SET worker_pid = ?2, worker_ticks = ?3, worker_boot = ?4, started_at = coalesce(started_at, ?5)
                       WHERE id = ?1 AND finished_at IS NULL";
            let ticks = i64::try_from(worker.start_ticks).unwrap_or(i64::MAX);
            connection.execute(sql, params![id.as_str(), worker.pid, ticks, worker.boot_id, wall_clock()]).map(drop)
        })
        .await
    }

    /// Writes down that the worker of a starting job can be spoken to, since the given time. A job that is being cancelled stays so.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn set_running(&self, id: JobId, since: String) -> Result<(), JournalError> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let sql = "UPDATE jobs SET state = 'running' WHERE id = ?1 AND state IN ('queued', 'starting')";
            transaction.execute(sql, [id.as_str()])?;
            let sql = "UPDATE jobs SET started_at = ?2 WHERE id = ?1 AND started_at IS NULL";
            transaction.execute(sql, [id.as_str(), &since])?;
            transaction.commit()
        })
        .await
    }

    /// Writes down what events up to number `last_event` say, in one transaction; repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn observe(&self, id: JobId, facts: Vec<Observation>, last_event: u64) -> Result<(), JournalError> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for observation in &facts {
                write_fact(&transaction, &id, observation)?;
            }
            let sql = "UPDATE jobs SET last_event = max(last_event, ?2) WHERE id = ?1";
            transaction.execute(sql, params![id.as_str(), signed(last_event)])?;
            transaction.commit()
        })
        .await
    }

    /// Writes down that a job is over. The first ending counts.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn finish(&self, id: JobId, ending: Ending) -> Result<(), JournalError> {
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            finish(&transaction, &id, &ending)?;
            transaction.commit()
        })
        .await
    }

    /// Returns the job, if there is one. Its queue position is not filled in.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, JournalError> {
        self.run(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
            let job = connection.query_row(&sql, [id.as_str()], read_job).optional()?;
            job.map(|job| with_builds(connection, job)).transpose()
        })
        .await
    }

    /// Returns the newest jobs that are wanted, newest first.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn jobs(&self, wanted: Wanted) -> Result<Vec<Job>, JournalError> {
        self.run(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM jobs
                 WHERE (?1 OR kind <> 'image' OR finished_at IS NULL) AND (?2 = '[]' OR state IN (SELECT value FROM json_each(?2)))
                     AND (?3 IS NULL OR created_at >= ?3)
                 ORDER BY ?4 AND finished_at IS NOT NULL, submitted DESC LIMIT ?5"
            );
            let states = serde_json::to_string(&wanted.states).unwrap_or_default();
            let row = params![wanted.looks, states, wanted.since, wanted.unfinished_first, wanted.limit];
            let mut statement = connection.prepare_cached(&sql)?;
            let jobs = statement.query_map(row, read_job)?.collect::<rusqlite::Result<Vec<_>>>()?;
            jobs.into_iter().map(|job| with_builds(connection, job)).collect()
        })
        .await
    }

    /// Returns the jobs that are not over, in the order of submission.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, JournalError> {
        self.run(|connection| {
            let sql = "SELECT id, kind, state, worker_pid, worker_ticks, worker_boot FROM jobs
                       WHERE finished_at IS NULL ORDER BY submitted";
            connection.prepare_cached(sql)?.query_map([], read_unfinished)?.collect()
        })
        .await
    }

    /// Forgets all finished jobs but the newest `keep`, and all finished looks at images but the newest `keep_looks`; returns them.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn forget_old(&self, keep: u32, keep_looks: u32) -> Result<Vec<JobId>, JournalError> {
        self.run(move |connection| {
            let sql = "DELETE FROM jobs WHERE finished_at IS NOT NULL AND (kind = 'image') = ?2 AND id NOT IN
                       (SELECT id FROM jobs WHERE finished_at IS NOT NULL AND (kind = 'image') = ?2
                        ORDER BY submitted DESC LIMIT ?1) RETURNING id";
            let mut statement = connection.prepare_cached(sql)?;
            let mut forgotten = Vec::new();
            for (keep, looks) in [(keep, false), (keep_looks, true)] {
                for id in statement.query_map(params![keep, looks], |row| job_id(row, 0))? {
                    forgotten.push(id?);
                }
            }
            Ok(forgotten)
        })
        .await
    }
}

fn insert(connection: &Connection, job: &NewJob, state: JobState) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO jobs (id, submitted, kind, template, working_directory, owner, state, created_at, key, digest)
               VALUES (?1, (SELECT coalesce(max(submitted), 0) + 1 FROM jobs), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let (id, kind, state) = (job.id.as_str(), job.kind.as_str(), state.as_str());
    let Acceptance { created_at, owner, key, digest } = &job.acceptance;
    let row = params![id, kind, job.template, job.working_directory, owner, state, created_at, key, digest];
    connection.execute(sql, row).map(drop)
}

fn find_key(connection: &Connection, owner: u32, key: &str) -> rusqlite::Result<Option<(JobId, String)>> {
    let sql = "SELECT id, digest FROM jobs WHERE owner = ?1 AND key = ?2";
    connection.query_row(sql, params![owner, key], |row| Ok((job_id(row, 0)?, row.get(1)?))).optional()
}

fn finish(transaction: &Transaction<'_>, id: &JobId, ending: &Ending) -> rusqlite::Result<()> {
    let build_state = if ending.state == JobState::Cancelled { "cancelled" } else { "failed" };
    let sql = "UPDATE builds SET state = ?2 WHERE job = ?1 AND state = 'running'";
    transaction.execute(sql, params![id.as_str(), build_state])?;
    let sql = "UPDATE jobs SET state = ?2, exit_code = ?3, error = ?4, finished_at = ?5
               WHERE id = ?1 AND finished_at IS NULL";
    let Ending { state, exit_code, error, finished_at } = ending;
    transaction.execute(sql, params![id.as_str(), state.as_str(), exit_code, error, finished_at]).map(drop)
}

fn write_fact(transaction: &Transaction<'_>, id: &JobId, observation: &Observation) -> rusqlite::Result<()> {
    let (job, build) = (id.as_str(), observation.build.as_str());
    let planned = |position: u32| {
        let sql =
            "INSERT INTO builds (job, position, name, state) VALUES (?1, ?2, ?3, 'running') ON CONFLICT DO NOTHING";
        transaction.execute(sql, params![job, position, build]).map(drop)
    };
    if !matches!(observation.fact, Fact::Planned { .. }) {
        // A build that was never announced still counts; it comes last.
        planned(u32::MAX)?;
    }
    match &observation.fact {
        Fact::Planned { position } => planned(*position),
        Fact::Step { step } => {
            let sql = "UPDATE builds SET step = ?3 WHERE job = ?1 AND name = ?2";
            transaction.execute(sql, params![job, build, step]).map(drop)
        }
        Fact::Artifact(artifact) => {
            let sql = "INSERT INTO artifacts (job, build, event, builder_id, id, text, files) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                       ON CONFLICT DO NOTHING";
            let files = serde_json::to_string(&artifact.files).unwrap_or_default();
            let event = signed(observation.event);
            let row = params![job, build, event, artifact.builder_id, artifact.id, artifact.text, files];
            transaction.execute(sql, row).map(drop)
        }
        Fact::Finished { state, error, elapsed_us } => {
            let sql = "UPDATE builds SET state = ?3, error = ?4, elapsed_us = ?5 WHERE job = ?1 AND name = ?2";
            transaction
                .execute(sql, params![job, build, build_state_name(*state), error, signed(*elapsed_us)])
                .map(drop)
        }
    }
}

/// SQLite's integers are signed; event numbers and microseconds never come near the limit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the present time as it stands in the journal, in events and on the wire: RFC 3339 in UTC, with milliseconds.
pub(crate) fn wall_clock() -> String {
    format!("{:.3}", Timestamp::now())
}
