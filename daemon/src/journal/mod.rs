//! The journal: what kilnd knows about jobs, on disk before it is acted upon.
//!
//! ```text
//! jobs ─► jobs.rs, observations.rs, steps.rs, leases.rs (what is asked of it) ─► database.rs (one thread, one connection) ─► kiln.db
//!             └► rows.rs, values.rs (what its rows hold: types of its own, no words of the wire)
//! ```
//!
//! One SQLite database (WAL, `synchronous=FULL`: a commit survives a power cut), one thread that owns the connection; everybody
//! else sends it work and waits. A damaged database is moved aside and an empty one begun: refusing to start would help nobody. What it
//! knew of jobs is read again from their directories (`jobs/recovery.rs`).

mod database;
mod error;
mod jobs;
mod leases;
mod list_room;
mod observations;
mod read;
mod rows;
mod schema;
mod steps;
mod values;

pub use database::Journal;
pub use error::JournalError;
pub use rows::{
    ArtifactRow, BuildRow, Ending, Fact, FinishedJob, FoundJob, FoundState, JobRow, Lease, NewJob, Observation,
    StepRow, Unfinished, Wanted,
};
pub use values::{BuildState, JobKind, JobState, StepPhase, StepState};

#[cfg(test)]
mod tests;
