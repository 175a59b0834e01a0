//! What events say about builds.

use rusqlite::{Transaction, params};

use super::database::Journal;
use super::error::JournalError;
use super::rows::{Fact, Observation};

/// Place of a build that was never announced: it still counts, and comes last.
const LAST: u32 = u32::MAX;

impl Journal {
    /// Writes down what events up to number `last_event` say, in one transaction; repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// The journal failed.
    pub async fn observe(&self, id: &str, facts: Vec<Observation>, last_event: u64) -> Result<(), JournalError> {
        let id = id.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            for observation in &facts {
                write_fact(&transaction, &id, observation)?;
            }
            let sql = "UPDATE jobs SET last_event = max(last_event, ?2) WHERE id = ?1";
            transaction.execute(sql, params![id, signed(last_event)])?;
            transaction.commit()
        })
        .await
    }
}

/// Makes sure that a build is known, and its place.
fn note_build(transaction: &Transaction<'_>, job: &str, build: &str, position: u32) -> rusqlite::Result<()> {
    let sql = "INSERT INTO builds (job, position, name, state) VALUES (?1, ?2, ?3, 'running')
               ON CONFLICT (job, name) DO UPDATE SET position = min(position, excluded.position)";
    transaction.execute(sql, params![job, position, build]).map(drop)
}

fn write_fact(transaction: &Transaction<'_>, job: &str, observation: &Observation) -> rusqlite::Result<()> {
    let build = observation.build.as_str();
    if !matches!(observation.fact, Fact::Planned { .. }) {
        note_build(transaction, job, build, LAST)?;
    }
    match &observation.fact {
        Fact::Planned { position } => note_build(transaction, job, build, *position),
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
            transaction.execute(sql, params![job, build, state.as_str(), error, signed(*elapsed_us)]).map(drop)
        }
    }
}

/// SQLite's integers are signed; event numbers and microseconds never come near the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
