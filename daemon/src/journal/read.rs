//! How rows of the database become values.

use std::collections::HashMap;

use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::rows::{ArtifactRow, BuildRow, FinishedJob, JobRow, Lease, Unfinished};
use super::values::{BuildState, JobKind, JobState};
use crate::process_identity::ProcessIdentity;

/// Adds a job's builds and their artifacts.
pub(super) fn with_builds(connection: &Connection, mut job: JobRow) -> rusqlite::Result<JobRow> {
    let sql = "SELECT name, state, step, error, elapsed_us FROM builds WHERE job = ?1 ORDER BY position, rowid";
    let read = |row: &Row<'_>| {
        Ok(BuildRow {
            name: row.get(0)?,
            state: word(row, 1, BuildState::parse)?,
            step: row.get(2)?,
            error: row.get(3)?,
            elapsed_us: count(row, 4)?,
            artifacts: Vec::new(),
        })
    };
    job.builds = connection.prepare_cached(sql)?.query_map([&job.id], read)?.collect::<Result<_, _>>()?;
    let places: HashMap<String, usize> =
        job.builds.iter().enumerate().map(|(place, build)| (build.name.clone(), place)).collect();
    let sql = "SELECT build, builder_id, id, text, files FROM artifacts WHERE job = ?1 ORDER BY event";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([&job.id])?;
    while let Some(row) = rows.next()? {
        let build: String = row.get(0)?;
        let files: String = row.get(4)?;
        let artifact = ArtifactRow {
            builder_id: row.get(1)?,
            id: row.get(2)?,
            text: row.get(3)?,
            files: serde_json::from_str(&files).map_err(|_| unexpected(4, &files))?,
        };
        if let Some(known) = places.get(&build).and_then(|place| job.builds.get_mut(*place)) {
            known.artifacts.push(artifact);
        }
    }
    Ok(job)
}

pub(super) fn read_job(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    Ok(JobRow {
        id: row.get(0)?,
        kind: word(row, 1, JobKind::parse)?,
        template: row.get(2)?,
        working_directory: row.get(3)?,
        state: word(row, 4, JobState::parse)?,
        created_at: row.get(5)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
        exit_code: row.get(8)?,
        error: row.get(9)?,
        last_event: row.get::<_, i64>(10)?.unsigned_abs(),
        owner: row.get(11)?,
        builds: Vec::new(),
        is_cut: false,
    })
}

pub(super) fn read_unfinished(row: &Row<'_>) -> rusqlite::Result<Unfinished> {
    let lease = match (row.get(3)?, count(row, 4)?, row.get(5)?, row.get(6)?) {
        (Some(pid), Some(start_ticks), Some(boot_id), Some(ledger)) => {
            Some(Lease { holder: ProcessIdentity { pid, start_ticks, boot_id }, ledger })
        }
        _ => None,
    };
    let (kind, state) = (word(row, 1, JobKind::parse)?, word(row, 2, JobState::parse)?);
    Ok(Unfinished { id: row.get(0)?, kind, state, lease, owner: row.get(7)? })
}

pub(super) fn read_finished(row: &Row<'_>) -> rusqlite::Result<FinishedJob> {
    Ok(FinishedJob { id: row.get(0)?, owner: row.get(1)?, finished_at: row.get(2)? })
}

/// Reads a number that is never negative.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs))
}

/// Reads one of the words that may stand in a column.
pub(super) fn word<T>(row: &Row<'_>, column: usize, parse: fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).ok_or_else(|| unexpected(column, &text))
}

fn unexpected(column: usize, text: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("unexpected value {text:?}").into())
}
