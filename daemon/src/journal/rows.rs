//! How rows of the journal become what the rest of kilnd knows.

use kiln_protocol::{Artifact, BuildState, BuildSummary, Job, JobId, JobKind, JobState};
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::Unfinished;
use crate::process_identity::ProcessIdentity;

/// Adds a job's builds and their artifacts.
pub(super) fn with_builds(connection: &Connection, mut job: Job) -> rusqlite::Result<Job> {
    let sql = "SELECT name, state, step, error, elapsed_us FROM builds WHERE job = ?1 ORDER BY position, rowid";
    let read = |row: &Row<'_>| {
        let state: String = row.get(1)?;
        Ok(BuildSummary {
            name: row.get(0)?,
            state: match state.as_str() {
                "running" => BuildState::Running,
                "succeeded" => BuildState::Succeeded,
                "failed" => BuildState::Failed,
                "cancelled" => BuildState::Cancelled,
                _ => return Err(unexpected(1, &state)),
            },
            step: row.get(2)?,
            error: row.get(3)?,
            elapsed_us: row.get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
            artifacts: Vec::new(),
        })
    };
    job.builds = connection.prepare_cached(sql)?.query_map([job.id.as_str()], read)?.collect::<Result<_, _>>()?;
    let sql = "SELECT build, builder_id, id, text, files FROM artifacts WHERE job = ?1 ORDER BY event";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([job.id.as_str()])?;
    while let Some(row) = rows.next()? {
        let build: String = row.get(0)?;
        let files: String = row.get(4)?;
        let artifact = Artifact {
            builder_id: row.get(1)?,
            id: row.get(2)?,
            text: row.get(3)?,
            files: serde_json::from_str(&files).map_err(|_| unexpected(4, &files))?,
        };
        if let Some(summary) = job.builds.iter_mut().find(|summary| summary.name == build) {
            summary.artifacts.push(artifact);
        }
    }
    Ok(job)
}

pub(super) fn read_job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: job_id(row, 0)?,
        kind: kind(row, 1)?,
        template: row.get(2)?,
        working_directory: row.get(3)?,
        state: state(row, 4)?,
        queue_position: None,
        created_at: row.get(5)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
        exit_code: row.get(8)?,
        error: row.get(9)?,
        last_event: row.get::<_, i64>(10)?.unsigned_abs(),
        builds: Vec::new(),
        questions: Vec::new(),
    })
}

pub(super) fn read_unfinished(row: &Row<'_>) -> rusqlite::Result<Unfinished> {
    let worker = match (row.get(3)?, row.get::<_, Option<i64>>(4)?, row.get(5)?) {
        (Some(pid), Some(ticks), Some(boot_id)) => {
            Some(ProcessIdentity { pid, start_ticks: ticks.unsigned_abs(), boot_id })
        }
        _ => None,
    };
    Ok(Unfinished { id: job_id(row, 0)?, kind: kind(row, 1)?, state: state(row, 2)?, worker })
}

pub(super) fn job_id(row: &Row<'_>, column: usize) -> rusqlite::Result<JobId> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| unexpected(column, &text))
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<JobKind> {
    let text: String = row.get(column)?;
    JobKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| unexpected(column, &text))
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<JobState> {
    let text: String = row.get(column)?;
    JobState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| unexpected(column, &text))
}

fn unexpected(column: usize, text: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unexpected value {text:?}").into())
}

pub(super) fn build_state_name(state: BuildState) -> &'static str {
    match state {
        BuildState::Running => "running",
        BuildState::Succeeded => "succeeded",
        BuildState::Failed => "failed",
        BuildState::Cancelled => "cancelled",
    }
}
