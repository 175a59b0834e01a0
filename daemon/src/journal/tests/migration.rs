//! Journals of older kilnds are opened, and nothing in them is lost.

use super::*;

/// What version 2 wrote (`PRAGMA user_version`), with a running, a queued and a finished job.
const VERSION_2: &str = "
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, submitted INTEGER NOT NULL UNIQUE, kind TEXT NOT NULL, template TEXT NOT NULL,
    working_directory TEXT NOT NULL, owner INTEGER NOT NULL, state TEXT NOT NULL, created_at TEXT NOT NULL, started_at TEXT,
    finished_at TEXT, exit_code INTEGER, error TEXT, key TEXT, digest TEXT NOT NULL, last_event INTEGER NOT NULL DEFAULT 0,
    worker_pid INTEGER, worker_ticks INTEGER, worker_boot TEXT
) STRICT;
CREATE UNIQUE INDEX jobs_key ON jobs (owner, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_unfinished ON jobs (submitted) WHERE finished_at IS NULL;
CREATE TABLE builds (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, position INTEGER NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    step TEXT, error TEXT, elapsed_us INTEGER, PRIMARY KEY (job, name)
) STRICT;
CREATE TABLE artifacts (
    job TEXT NOT NULL, build TEXT NOT NULL, event INTEGER NOT NULL, builder_id TEXT NOT NULL, id TEXT NOT NULL, text TEXT,
    files TEXT NOT NULL, PRIMARY KEY (job, event), FOREIGN KEY (job, build) REFERENCES builds (job, name) ON DELETE CASCADE
) STRICT;
INSERT INTO jobs VALUES
    ('job1', 1, 'build', 'a.pkr.hcl', '/w', 1000, 'running', '2026-01-02T03:04:01.000Z', '2026-01-02T03:04:02.000Z', NULL, NULL,
     NULL, 'key', 'd', 4, 7, 99, 'boot'),
    ('job2', 2, 'convert', 'b.qcow2', '/w', 1000, 'queued', '2026-01-02T03:04:02.000Z', NULL, NULL, NULL, NULL, NULL, 'd', 0, NULL,
     NULL, NULL),
    ('job3', 3, 'build', 'c.pkr.hcl', '/w', 1000, 'failed', '2026-01-02T03:04:03.000Z', '2026-01-02T03:04:04.000Z',
     '2026-01-02T03:06:00.000Z', 1, 'no', NULL, 'd', 9, 8, 98, 'boot');
INSERT INTO builds VALUES ('job1', 0, 'qemu.a', 'running', 'boot', NULL, NULL), ('job3', 0, 'qemu.c', 'failed', 'boot', 'no', 7);
INSERT INTO artifacts VALUES ('job3', 'qemu.c', 5, 'b', 'i', 'text', '[\"/f\"]');
PRAGMA user_version = 2;
";

#[tokio::test]
async fn a_journal_of_version_2_is_taken_up() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kiln.db");
    Connection::open(&path).unwrap().execute_batch(VERSION_2).unwrap();
    for opened in ["by the new kilnd", "by the new kilnd again"] {
        let journal = Journal::open(&path).unwrap();
        assert!(journal.damaged().is_none() && !journal.is_new(), "{opened}");
        let unfinished = journal.unfinished().await.unwrap();
        assert_eq!(unfinished.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job1", "job2"], "{opened}");
        let holder = ProcessIdentity { pid: 7, start_ticks: 99, boot_id: "boot".to_owned() };
        let lease = Lease { holder, ledger: "jobs/job1/resources.ndjson".to_owned() };
        assert_eq!(unfinished[0].lease, Some(lease), "the worker is found again, {opened}");
        assert_eq!((unfinished[1].kind, &unfinished[1].lease), (JobKind::Convert, &None), "{opened}");
        let job = journal.job("job3").await.unwrap().unwrap();
        assert_eq!((job.state, job.error.as_deref(), job.last_event), (JobState::Failed, Some("no"), 9), "{opened}");
        assert_eq!(job.builds[0].artifacts[0].files, ["/f"], "{opened}");
        assert_eq!(journal.find_key(1000, "key".to_owned()).await.unwrap().unwrap().0, "job1", "{opened}");
        assert_eq!(journal.steps("job1").await.unwrap(), [], "{opened}");
    }
    let connection = Connection::open(&path).unwrap();
    let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 4);
    assert!(!Journal::open(&path).unwrap().is_confined("job2").await.unwrap(), "nobody had asked");
    for (table, rows) in [("leases", 1), ("steps", 0), ("checkpoints", 0)] {
        let count: u32 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, rows, "{table}");
    }
}

#[tokio::test]
async fn an_old_journal_without_a_table_of_its_version_is_damaged() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kiln.db");
    Connection::open(&path).unwrap().execute_batch(&format!("{VERSION_2} DROP TABLE artifacts;")).unwrap();
    let journal = Journal::open(&path).unwrap();
    assert!(journal.damaged().is_some() && journal.unfinished().await.unwrap().is_empty());
}
