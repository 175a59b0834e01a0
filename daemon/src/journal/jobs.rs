//! What is written about jobs, and which of them are read again.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::database::Journal;
use super::error::JournalError;
use super::list_room::ListRoom;
use super::read::{read_finished, read_job, read_unfinished, with_builds};
use super::rows::{Ending, FinishedJob, FoundJob, FoundState, JobRow, NewJob, Unfinished, Wanted};
use super::values::JobState;

const COLUMNS: &str = "id, kind, template, working_directory, state, created_at, started_at, finished_at, exit_code, error, \
                       last_event, owner";

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
                if let Some(key) = &job.key
                    && find_key(&transaction, job.owner, key)?.is_some()
                {
                    job.key = None;
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
    pub async fn ids(&self) -> Result<HashSet<String>, JournalError> {
        self.run(|connection| {
            connection.prepare_cached("SELECT id FROM jobs")?.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Returns the finished jobs of whose events nothing was read, the newest first: they were taken in from their directories.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn unread(&self) -> Result<Vec<String>, JournalError> {
        self.run(|connection| {
            let sql = "SELECT id FROM jobs WHERE finished_at IS NOT NULL AND last_event = 0 ORDER BY submitted DESC";
            connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Forgets a job that is over; false when it is not, or is not known.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn forget(&self, id: &str) -> Result<bool, JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let sql = "DELETE FROM jobs WHERE id = ?1 AND finished_at IS NOT NULL";
            connection.execute(sql, [id]).map(|count| count > 0)
        })
        .await
    }

    /// Returns the job that was submitted under this key, and the digest of its request.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn find_key(&self, owner: u32, key: String) -> Result<Option<(String, String)>, JournalError> {
        self.run(move |connection| find_key(connection, owner, &key)).await
    }

    /// Sets the state of a job that is not over.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn set_state(&self, id: &str, state: JobState) -> Result<(), JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let sql = "UPDATE jobs SET state = ?2 WHERE id = ?1 AND finished_at IS NULL";
            connection.execute(sql, params![id, state.as_str()]).map(drop)
        })
        .await
    }

    /// Writes down that the worker of a starting job can be spoken to, since the given time. A job that is being cancelled stays so.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn set_running(&self, id: &str, since: String) -> Result<(), JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            let sql = "UPDATE jobs SET state = 'running' WHERE id = ?1 AND state IN ('queued', 'starting')";
            transaction.execute(sql, [&id])?;
            let sql = "UPDATE jobs SET started_at = ?2 WHERE id = ?1 AND started_at IS NULL";
            transaction.execute(sql, [&id, &since])?;
            transaction.commit()
        })
        .await
    }

    /// Writes down that a job is over, and that its worker holds nothing any more. The first ending counts.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn finish(&self, id: &str, ending: Ending) -> Result<(), JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            finish(&transaction, &id, &ending)?;
            transaction.commit()
        })
        .await
    }

    /// Writes down why a job failed that is over, unless that is known.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn give_reason(&self, id: &str, reason: String) -> Result<(), JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let sql = "UPDATE jobs SET error = ?2 WHERE id = ?1 AND state = 'failed' AND error IS NULL";
            connection.execute(sql, params![id, reason]).map(drop)
        })
        .await
    }

    /// Returns the job, if there is one. Its queue position is not filled in.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn job(&self, id: &str) -> Result<Option<JobRow>, JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
            let job = connection.query_row(&sql, [id], read_job).optional()?;
            job.map(|job| with_builds(connection, job)).transpose()
        })
        .await
    }

    /// Returns who submitted the job, if there is one.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn owner(&self, id: &str) -> Result<Option<u32>, JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let mut statement = connection.prepare_cached("SELECT owner FROM jobs WHERE id = ?1")?;
            statement.query_row([id], |row| row.get(0)).optional()
        })
        .await
    }

    /// Returns whether the job is confined to its guests; one that is not known is.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn is_confined(&self, id: &str) -> Result<bool, JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let mut statement = connection.prepare_cached("SELECT confined FROM jobs WHERE id = ?1")?;
            Ok(statement.query_row([id], |row| row.get(0)).optional()?.unwrap_or(true))
        })
        .await
    }

    /// Returns the newest jobs that are wanted, newest first. Where all that is known of them is too much, some are cut.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn jobs(&self, wanted: Wanted) -> Result<Vec<JobRow>, JournalError> {
        self.run(move |connection| {
            let states: Vec<_> = wanted.states.iter().map(|state| state.as_str()).collect();
            let states = serde_json::to_string(&states).unwrap_or_default();
            // Unfinished ones first are two questions: one that sorts by both reads and sorts every job there ever was.
            let parts: &[&str] =
                if wanted.unfinished_first { &["finished_at IS NULL", "finished_at IS NOT NULL"] } else { &["TRUE"] };
            let (mut jobs, mut room): (Vec<JobRow>, _) = (Vec::new(), ListRoom::new());
            for part in parts {
                let sql = format!(
                    "SELECT {COLUMNS} FROM jobs
                     WHERE {part} AND (?1 OR kind <> 'image' OR finished_at IS NULL)
                         AND (?2 = '[]' OR state IN (SELECT value FROM json_each(?2)))
                         AND (?3 IS NULL OR created_at >= ?3) AND (?5 IS NULL OR owner = ?5)
                     ORDER BY submitted DESC LIMIT ?4"
                );
                let limit = wanted.limit.saturating_sub(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
                let mut statement = connection.prepare_cached(&sql)?;
                let found =
                    statement.query_map(params![wanted.looks, states, wanted.since, limit, wanted.owner], read_job)?;
                for job in found {
                    // One after the other: what is cut is never held with the others.
                    jobs.push(room.take(with_builds(connection, job?)?));
                }
            }
            Ok(jobs)
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
            let sql = "SELECT id, kind, state, holder_pid, holder_ticks, holder_boot, ledger, owner FROM jobs
                       LEFT JOIN leases ON leases.job = jobs.id WHERE finished_at IS NULL ORDER BY submitted";
            connection.prepare_cached(sql)?.query_map([], read_unfinished)?.collect()
        })
        .await
    }

    /// Returns the jobs that are over, in the order of submission.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn finished(&self) -> Result<Vec<FinishedJob>, JournalError> {
        self.run(|connection| {
            let sql = "SELECT id, owner, finished_at FROM jobs WHERE finished_at IS NOT NULL ORDER BY submitted";
            connection.prepare_cached(sql)?.query_map([], read_finished)?.collect()
        })
        .await
    }

    /// Returns, for each user, all finished jobs but the newest `keep`, and all finished looks at images but the newest `keep_looks`: nobody
    /// makes another's forgotten.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn old(&self, keep: u32, keep_looks: u32) -> Result<Vec<FinishedJob>, JournalError> {
        self.run(move |connection| {
            let sql = "SELECT id, owner, finished_at FROM (SELECT id, owner, finished_at, submitted, row_number() OVER (PARTITION BY owner ORDER BY submitted DESC) AS place FROM jobs
                       WHERE finished_at IS NOT NULL AND (kind = 'image') = ?2) WHERE place > ?1 ORDER BY submitted";
            let mut statement = connection.prepare_cached(sql)?;
            let mut old = Vec::new();
            for (keep, looks) in [(keep, false), (keep_looks, true)] {
                for job in statement.query_map(params![keep, looks], read_finished)? {
                    old.push(job?);
                }
            }
            Ok(old)
        })
        .await
    }
}

fn insert(connection: &Connection, job: &NewJob, state: JobState) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO jobs (id, submitted, kind, template, working_directory, owner, state, created_at, key, digest, confined)
               VALUES (?1, (SELECT coalesce(max(submitted), 0) + 1 FROM jobs), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let NewJob { id, kind, template, working_directory, owner, created_at, key, digest, confined } = job;
    let (kind, state) = (kind.as_str(), state.as_str());
    let row = params![id, kind, template, working_directory, owner, state, created_at, key, digest, confined];
    connection.execute(sql, row).map(drop)
}

fn find_key(connection: &Connection, owner: u32, key: &str) -> rusqlite::Result<Option<(String, String)>> {
    let sql = "SELECT id, digest FROM jobs WHERE owner = ?1 AND key = ?2";
    connection.query_row(sql, params![owner, key], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

fn finish(transaction: &Transaction<'_>, id: &str, ending: &Ending) -> rusqlite::Result<()> {
    let build_state = if ending.state == JobState::Cancelled { "cancelled" } else { "failed" };
    let sql = "UPDATE builds SET state = ?2 WHERE job = ?1 AND state = 'running'";
    transaction.execute(sql, params![id, build_state])?;
    transaction.execute("DELETE FROM leases WHERE job = ?1", [id])?;
    let sql = "UPDATE jobs SET state = ?2, exit_code = ?3, error = ?4, finished_at = ?5
               WHERE id = ?1 AND finished_at IS NULL";
    let Ending { state, exit_code, error, finished_at } = ending;
    transaction.execute(sql, params![id, state.as_str(), exit_code, error, finished_at]).map(drop)
}
