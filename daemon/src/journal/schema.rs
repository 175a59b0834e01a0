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
    "
CREATE TABLE steps (                            -- from the records that the worker writes (steps.ndjson)
    job        TEXT NOT NULL,
    build      TEXT NOT NULL,
    number     INTEGER NOT NULL,                -- place in the build, from 1; a step that is tried again keeps it
    phase      TEXT NOT NULL,
    name       TEXT NOT NULL,
    state      TEXT NOT NULL,
    started_at TEXT NOT NULL,
    elapsed_ms INTEGER,
    error      TEXT,
    PRIMARY KEY (job, build, number),
    FOREIGN KEY (job, build) REFERENCES builds (job, name) ON DELETE CASCADE
) STRICT;
CREATE TABLE leases (                           -- who holds what a running job holds; gone when it is proven to be given back
    job          TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    holder_pid   INTEGER NOT NULL,              -- the worker
    holder_ticks INTEGER NOT NULL,              -- its start time, clock ticks since boot
    holder_boot  TEXT NOT NULL,                 -- boot id
    ledger       TEXT NOT NULL                  -- file that names its resources, below the state directory
) STRICT;
INSERT INTO leases (job, holder_pid, holder_ticks, holder_boot, ledger)
    SELECT id, worker_pid, worker_ticks, worker_boot, 'jobs/' || id || '/resources.ndjson' FROM jobs
    WHERE finished_at IS NULL AND worker_pid IS NOT NULL AND worker_ticks IS NOT NULL AND worker_boot IS NOT NULL;
ALTER TABLE jobs DROP COLUMN worker_pid;
ALTER TABLE jobs DROP COLUMN worker_ticks;
ALTER TABLE jobs DROP COLUMN worker_boot;
CREATE TABLE checkpoints (                      -- saved states of machines, of no job; nothing writes this table yet
    key        TEXT PRIMARY KEY,                -- digest of everything that led there
    parent     TEXT REFERENCES checkpoints (key),
    path       TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    used_at    TEXT NOT NULL
) STRICT;
",
    "
-- Whether it may do nothing but what its guests can: decided when it was submitted, by polkit.
ALTER TABLE jobs ADD COLUMN confined INTEGER NOT NULL DEFAULT 0;
",
];

/// Tables, with the version from which on they are there.
const TABLES: &[(u32, &str)] =
    &[(1, "jobs"), (1, "builds"), (1, "artifacts"), (3, "steps"), (3, "leases"), (3, "checkpoints")];

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
    let version = version(connection)?;
    if !(1..=current()).contains(&version) {
        return Ok(true);
    }
    for (_, table) in TABLES.iter().filter(|(since, _)| *since <= version) {
        if !connection.table_exists(None, *table)? {
            return Ok(false);
        }
    }
    Ok(true)
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
