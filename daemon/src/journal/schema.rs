//! The journal's tables, and how older ones become today's.

use rusqlite::Connection;

/// Each entry takes the database from the version of its index to the next (`PRAGMA user_version`). Never change one that was
/// released; add another.
const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE jobs (
    id                TEXT PRIMARY KEY,
    submitted         INTEGER NOT NULL UNIQUE,  -- order of submission
    kind              TEXT NOT NULL,
    template          TEXT NOT NULL,
    working_directory TEXT NOT NULL,
    owner             INTEGER NOT NULL,         -- user id
    state             TEXT NOT NULL,
    created_at        TEXT NOT NULL,
    started_at        TEXT,
    finished_at       TEXT,
    exit_code         INTEGER,
    error             TEXT,
    key               TEXT,                     -- idempotency key
    digest            TEXT NOT NULL,            -- of the request body, to tell a repetition from a mistake
    last_event        INTEGER NOT NULL DEFAULT 0,
    worker_pid        INTEGER,
    worker_ticks      INTEGER,                  -- its start time, clock ticks since boot
    worker_boot       TEXT                      -- boot id
) STRICT;
CREATE UNIQUE INDEX jobs_key ON jobs (owner, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_unfinished ON jobs (submitted) WHERE finished_at IS NULL;
CREATE TABLE builds (
    job        TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,
    name       TEXT NOT NULL,
    state      TEXT NOT NULL,
    step       TEXT,
    error      TEXT,
    elapsed_us INTEGER,
    PRIMARY KEY (job, name)
) STRICT;
CREATE TABLE artifacts (
    job        TEXT NOT NULL,
    build      TEXT NOT NULL,
    event      INTEGER NOT NULL,                -- number of the event that reported it
    builder_id TEXT NOT NULL,
    id         TEXT NOT NULL,
    text       TEXT,
    files      TEXT NOT NULL,                   -- JSON array of paths
    PRIMARY KEY (job, event),
    FOREIGN KEY (job, build) REFERENCES builds (job, name) ON DELETE CASCADE
) STRICT;
",
    "
-- Templates are validated without a job.
DELETE FROM jobs WHERE kind = 'validate';
",
];

/// The version that this program writes.
pub(super) fn current() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// Returns the version of the database.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Whether the tables are there that a database of this version has; one of a newer version has whatever it likes.
pub(super) fn is_complete(connection: &Connection) -> rusqlite::Result<bool> {
    if !(1..=current()).contains(&version(connection)?) {
        return Ok(true);
    }
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('jobs', 'builds', 'artifacts')";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|count| count == 3)
}

/// Brings the database to the current version, all or nothing.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let from = version(connection)? as usize;
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(from) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", current())?;
    transaction.commit()
}
