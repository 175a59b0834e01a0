//! The steps of builds, as their records say.

use rusqlite::{Row, params};

use super::database::Journal;
use super::error::JournalError;
use super::observations::signed;
use super::read::{count, word};
use super::rows::StepRow;
use super::values::{StepPhase, StepState};

impl Journal {
    /// Writes down how far the steps of a job have come, in the place of what was known. Steps of builds that no event has told of are
    /// left out.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn set_steps(&self, job: &str, steps: Vec<StepRow>) -> Result<(), JournalError> {
        self.write_steps(job, steps, true).await
    }

    /// Does as [`Journal::set_steps`], but leaves steps that are not among these as they were known.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn update_steps(&self, job: &str, steps: Vec<StepRow>) -> Result<(), JournalError> {
        self.write_steps(job, steps, false).await
    }

    async fn write_steps(&self, job: &str, steps: Vec<StepRow>, are_all: bool) -> Result<(), JournalError> {
        let job = job.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            if are_all {
                transaction.execute("DELETE FROM steps WHERE job = ?1", [&job])?;
            }
            let sql =
                "INSERT OR REPLACE INTO steps (job, build, number, phase, name, state, started_at, elapsed_ms, error)
                       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
                       WHERE EXISTS (SELECT 1 FROM builds WHERE job = ?1 AND name = ?2)";
            for step in &steps {
                let StepRow { build, number, phase, name, state, started_at, elapsed_ms, error } = step;
                let (phase, state, elapsed) = (phase.as_str(), state.as_str(), elapsed_ms.map(signed));
                transaction
                    .execute(sql, params![job, build, number, phase, name, state, started_at, elapsed, error])?;
            }
            transaction.commit()
        })
        .await
    }

    /// Returns the steps of a job's builds, by build and place.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn steps(&self, job: &str) -> Result<Vec<StepRow>, JournalError> {
        let job = job.to_owned();
        self.run(move |connection| {
            let sql =
                "SELECT build, number, phase, name, state, started_at, elapsed_ms, error FROM steps WHERE job = ?1
                       ORDER BY build, number";
            connection.prepare_cached(sql)?.query_map([job], read_step)?.collect()
        })
        .await
    }
}

fn read_step(row: &Row<'_>) -> rusqlite::Result<StepRow> {
    Ok(StepRow {
        build: row.get(0)?,
        number: row.get(1)?,
        phase: word(row, 2, StepPhase::parse)?,
        name: row.get(3)?,
        state: word(row, 4, StepState::parse)?,
        started_at: row.get(5)?,
        elapsed_ms: count(row, 6)?,
        error: row.get(7)?,
    })
}
