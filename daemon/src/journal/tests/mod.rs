//! The journal across restarts and damage.

mod migration;
mod steps_and_leases;

use rusqlite::Connection;

use super::*;
use crate::process_identity::ProcessIdentity;

const END: &str = "2026-01-02T03:06:00.000Z";

fn id(number: u64) -> String {
    format!("job{number}")
}

fn early(state: JobState, error: Option<String>) -> Ending {
    Ending::early(state, error, END.to_owned())
}

fn new_job(number: u64, key: Option<&str>) -> NewJob {
    NewJob {
        id: id(number),
        kind: JobKind::Build,
        template: "t.pkr.hcl".to_owned(),
        working_directory: "/w".to_owned(),
        created_at: format!("2026-01-02T03:04:{number:02}.000Z"),
        owner: 1000,
        key: key.map(str::to_owned),
        digest: "d".to_owned(),
        confined: number == 2,
    }
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kiln.db");
    let holder = ProcessIdentity { pid: 7, start_ticks: 99, boot_id: "boot".to_owned() };
    let lease = Lease { holder, ledger: "jobs/job1/resources.ndjson".to_owned() };
    {
        let journal = Journal::open(&path).unwrap();
        journal.insert(new_job(1, Some("key"))).await.unwrap();
        journal.insert(new_job(2, None)).await.unwrap();
        journal.insert(new_job(3, None)).await.unwrap();
        journal.set_state(&id(1), JobState::Starting).await.unwrap();
        journal.take_lease(&id(1), lease.clone(), "2026-01-02T03:04:59.000Z".to_owned()).await.unwrap();
        assert_eq!(journal.job(&id(1)).await.unwrap().unwrap().state, JobState::Starting);
        journal.set_running(&id(1), "2026-01-02T03:05:00.000Z".to_owned()).await.unwrap();
        let fact = |event, fact| Observation { event, build: "qemu.a".to_owned(), fact };
        let artifact = ArtifactRow {
            builder_id: "transcend.qemu".to_owned(),
            id: "VM".to_owned(),
            text: Some("VM files in directory: out".to_owned()),
            files: vec!["/w/out/a".to_owned()],
        };
        let facts = vec![
            fact(2, Fact::Planned { position: 0 }),
            fact(3, Fact::Step { step: "connect".to_owned() }),
            fact(4, Fact::Artifact(artifact)),
            fact(5, Fact::Finished { state: BuildState::Succeeded, error: None, elapsed_us: 1_000 }),
        ];
        journal.observe(&id(1), facts.clone(), 5).await.unwrap();
        journal.observe(&id(1), facts, 4).await.unwrap();
        let ending = early(JobState::Cancelled, None);
        journal.finish(&id(2), ending).await.unwrap();
    }
    let journal = Journal::open(&path).unwrap();
    let unfinished = journal.unfinished().await.unwrap();
    assert_eq!(unfinished.iter().map(|job| job.id.clone()).collect::<Vec<_>>(), [id(1), id(3)]);
    assert_eq!(unfinished[0].state, JobState::Running);
    assert_eq!((&unfinished[0].lease, &unfinished[1].lease), (&Some(lease), &None));
    let job = journal.job(&id(1)).await.unwrap().unwrap();
    assert_eq!(job.builds.len(), 1);
    assert_eq!(job.builds[0].state, BuildState::Succeeded);
    assert_eq!(job.builds[0].step.as_deref(), Some("connect"));
    assert_eq!(job.builds[0].artifacts.len(), 1, "observed twice, there once");
    assert_eq!(job.last_event, 5);
    for (number, confined) in [(1, false), (2, true), (99, true)] {
        assert_eq!(journal.is_confined(&id(number)).await.unwrap(), confined, "{number}");
    }
    assert!(job.started_at.is_some() && job.finished_at.is_none());
    assert_eq!(journal.job(&id(2)).await.unwrap().unwrap().finished_at.as_deref(), Some(END));
    assert_eq!(
        journal.jobs(Wanted::newest(2)).await.unwrap().iter().map(|job| job.id.clone()).collect::<Vec<_>>(),
        [id(3), id(2)]
    );
    assert_eq!(journal.find_key(1000, "key".to_owned()).await.unwrap().unwrap().0, id(1));
    assert_eq!(journal.find_key(1001, "key".to_owned()).await.unwrap(), None);
    assert!(journal.job(&id(9)).await.unwrap().is_none());
}

#[tokio::test]
async fn the_first_ending_counts_and_ends_the_builds() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    journal.insert(new_job(1, None)).await.unwrap();
    let planned = Observation { event: 1, build: "null.a".to_owned(), fact: Fact::Planned { position: 0 } };
    journal.observe(&id(1), vec![planned], 1).await.unwrap();
    let error = Some("the worker was killed".to_owned());
    let ending = Ending { state: JobState::Failed, exit_code: 1, error: error.clone(), finished_at: END.to_owned() };
    journal.finish(&id(1), ending).await.unwrap();
    let other = Ending { state: JobState::Succeeded, exit_code: 0, error: None, finished_at: END.to_owned() };
    journal.finish(&id(1), other).await.unwrap();
    journal.set_state(&id(1), JobState::Running).await.unwrap();
    journal.set_running(&id(1), "2026-01-02T03:05:00.000Z".to_owned()).await.unwrap();
    let job = journal.job(&id(1)).await.unwrap().unwrap();
    assert_eq!((job.state, job.exit_code, job.error), (JobState::Failed, Some(1), error));
    assert_eq!(job.builds[0].state, BuildState::Failed);
}

#[tokio::test]
async fn a_key_names_one_job_of_its_owner() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    journal.insert(new_job(1, Some("key"))).await.unwrap();
    assert!(matches!(journal.insert(new_job(2, Some("key"))).await, Err(JournalError::Sql { .. })));
}

#[tokio::test]
async fn old_jobs_are_forgotten_with_what_belongs_to_them() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    for number in 1..=4 {
        journal.insert(new_job(number, None)).await.unwrap();
        let fact = Fact::Step { step: "x".to_owned() };
        journal.observe(&id(number), vec![Observation { event: 1, build: "b".to_owned(), fact }], 1).await.unwrap();
        if number != 2 {
            let ending = Ending { state: JobState::Succeeded, exit_code: 0, error: None, finished_at: END.to_owned() };
            journal.finish(&id(number), ending).await.unwrap();
        }
    }
    let old: Vec<_> = journal.old(1, 0).await.unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(old, [id(1), id(3)]);
    for number in [1, 3] {
        assert!(journal.forget(&id(number)).await.unwrap());
    }
    assert_eq!(
        journal.jobs(Wanted::newest(10)).await.unwrap().iter().map(|job| job.id.clone()).collect::<Vec<_>>(),
        [id(4), id(2)]
    );
}

#[tokio::test]
async fn a_damaged_journal_is_moved_aside() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kiln.db");
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let journal = Journal::open(&path).unwrap();
    assert!(journal.is_new() && journal.damaged().unwrap().exists());
    journal.insert(new_job(1, None)).await.unwrap();
    let names =
        std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with("kiln.db.damaged-")).count();
    assert_eq!(aside, 1);
}

#[test]
fn a_journal_without_its_tables_is_damaged_too() {
    for table in ["artifacts", "steps", "leases", "checkpoints"] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("kiln.db");
        assert!(Journal::open(&path).unwrap().damaged().is_none());
        let journal = Journal::open(&path).unwrap();
        assert!(!journal.is_new());
        drop(journal);
        Connection::open(&path).unwrap().execute_batch(&format!("DROP TABLE {table}")).unwrap();
        assert!(Journal::open(&path).unwrap().damaged().is_some(), "{table}");
    }
}

#[tokio::test]
async fn jobs_are_taken_in_once_and_keep_what_is_known_of_them() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    let ending = Ending { state: JobState::Succeeded, exit_code: 0, error: None, finished_at: END.to_owned() };
    let found = [(1, FoundState::Over(ending)), (2, FoundState::Running), (3, FoundState::Queued)];
    let found = found.map(|(number, state)| FoundJob { job: new_job(number, Some("key")), state }).into();
    journal.take_in(found).await.unwrap();
    assert_eq!(journal.ids().await.unwrap(), [1, 2, 3].map(id).into());
    assert_eq!(journal.unread().await.unwrap(), [id(1)]);
    let job = journal.job(&id(1)).await.unwrap().unwrap();
    assert_eq!((job.state, job.exit_code, job.finished_at.as_deref()), (JobState::Succeeded, Some(0), Some(END)));
    assert_eq!(job.created_at, "2026-01-02T03:04:01.000Z");
    assert_eq!(journal.find_key(1000, "key".to_owned()).await.unwrap().unwrap().0, id(1), "the first keeps the key");
    let unfinished: Vec<_> = journal.unfinished().await.unwrap().into_iter().map(|job| (job.id, job.state)).collect();
    assert_eq!(unfinished, [(id(2), JobState::Running), (id(3), JobState::Queued)]);
    assert!(!journal.forget(&id(2)).await.unwrap(), "it is not over");
    assert!(journal.forget(&id(1)).await.unwrap());
    assert!(journal.job(&id(1)).await.unwrap().is_none());
}

#[test]
fn a_newer_journal_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kiln.db");
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    drop(connection);
    assert!(matches!(Journal::open(&path), Err(JournalError::TooNew { found: 999, .. })));
}

#[tokio::test]
async fn lists_hold_what_is_wanted() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    for number in 1..=5 {
        journal.insert(new_job(number, None)).await.unwrap();
    }
    journal.insert(NewJob { kind: JobKind::Image, ..new_job(6, None) }).await.unwrap();
    for (number, state) in
        [(2, JobState::Failed), (4, JobState::Succeeded), (5, JobState::Failed), (6, JobState::Succeeded)]
    {
        journal.finish(&id(number), early(state, None)).await.unwrap();
    }
    for (change, expected) in [
        (Wanted::newest(9), vec![6, 5, 4, 3, 2, 1]),
        (Wanted { looks: false, ..Wanted::newest(2) }, vec![5, 4]),
        (Wanted { unfinished_first: true, looks: false, ..Wanted::newest(3) }, vec![3, 1, 5]),
        (Wanted { states: vec![JobState::Failed], ..Wanted::newest(9) }, vec![5, 2]),
        (Wanted { states: vec![JobState::Failed, JobState::Queued], ..Wanted::newest(3) }, vec![5, 3, 2]),
        (Wanted { since: Some("2026-01-02T03:04:04.000Z".to_owned()), ..Wanted::newest(9) }, vec![6, 5, 4]),
    ] {
        let found: Vec<_> = journal.jobs(change.clone()).await.unwrap().into_iter().map(|job| job.id).collect();
        assert_eq!(found, expected.into_iter().map(id).collect::<Vec<_>>(), "{change:?}");
    }
}

#[tokio::test]
async fn a_list_has_room_for_long_paths_no_more_than_for_errors() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    for number in 0..40 {
        let (template, working_directory) = ("t".repeat(1 << 19), format!("/{}", "w".repeat(1 << 19)));
        journal.insert(NewJob { template, working_directory, ..new_job(number, None) }).await.unwrap();
    }
    let jobs = journal.jobs(Wanted::newest(1000)).await.unwrap();
    assert_eq!(jobs.len(), 40, "none is left out");
    let held: usize = jobs.iter().map(|job| job.template.len() + job.working_directory.len()).sum();
    assert!(held <= list_room::ROOM + 40 * (2 << 10), "{held}");
    assert!(jobs.iter().any(|job| job.is_cut) && jobs.iter().any(|job| !job.is_cut));
}

#[tokio::test]
async fn a_list_has_all_jobs_and_of_each_what_there_is_room_for() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    // Eighty jobs, each with as much as a worker may have had written.
    let large = "x".repeat(16 << 10);
    for number in 0..80 {
        journal.insert(new_job(number, None)).await.unwrap();
        let facts = (0..30).map(|build| Observation {
            event: build + 1,
            build: format!("qemu.{build}"),
            fact: Fact::Finished { state: BuildState::Failed, error: Some(large.clone()), elapsed_us: 1 },
        });
        journal.observe(&id(number), facts.collect(), 30).await.unwrap();
        journal.finish(&id(number), early(JobState::Failed, Some(format!("é{large}")))).await.unwrap();
    }
    let jobs = journal.jobs(Wanted::newest(1000)).await.unwrap();
    assert_eq!(jobs.len(), 80, "none is left out");
    let (cut, whole): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_cut);
    assert!(!whole.is_empty() && whole.iter().all(|job| job.builds.len() == 30), "{} whole ones", whole.len());
    assert!(cut.len() > 50 && cut.iter().all(|job| job.builds.is_empty()));
    let bytes: usize = whole.iter().flat_map(|job| &job.builds).map(|build| build.error.as_ref().unwrap().len()).sum();
    assert!(bytes <= list_room::ROOM, "{bytes}");
    assert!(cut.iter().all(|job| job.error.as_ref().is_some_and(|error| error.len() <= 1 << 10)));
    // Asked for by itself it is whole.
    assert_eq!(journal.job(&cut[0].id).await.unwrap().unwrap().builds.len(), 30);
}
