//! What a daemon finds at its start that the journal does not know.

use std::os::unix::fs::chown;

use super::*;
use crate::as_owner::{Owner, is_missing_root};
use crate::job_dir::{Acceptance, JobDir};
use crate::jobs::wire;
use crate::journal::{JobState, Journal};
use crate::turns;

/// An id that no other test has.
const MALLORY: u32 = 61_066;

#[tokio::test]
async fn a_start_waits_for_nobodys_files_to_be_removed() {
    if is_missing_root() {
        return;
    }
    // All turns at the files of this user are taken: as if there were files without end.
    let taken = [turns::at_files_of(MALLORY).await, turns::at_files_of(MALLORY).await];
    let mut left = std::path::PathBuf::new();
    let started = Rig::with(1, |config| {
        (config.mode, config.owner) = (Mode::System, 0);
        left = config.state_directory.join("jobs/abcdefghij");
        std::fs::create_dir_all(&left).unwrap();
        let above = config.state_directory.parent().unwrap();
        std::fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        std::fs::write(left.join("file"), "x").unwrap();
        chown(&left, Some(MALLORY), Some(MALLORY)).unwrap();
    });
    let rig = tokio::time::timeout(PATIENCE, started).await.expect("the start waits for nothing");
    let (alice, unknown) = (Caller::with_uid(1001), "abcdefghij".parse().unwrap());
    assert!(matches!(rig.jobs.job(&alice, &unknown).await, Err(JobsError::NoSuchJob(_))));
    rig.jobs.submit(&alice, submission("a")).await.unwrap();
    assert!(left.join("file").exists());
    drop(taken);
    let gone = async {
        while left.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is removed in its turn");
}

/// Another such id.
const TRUDY: u32 = 61_067;

/// Jobs whose start an earlier daemon had noted, and no more. The first one's files are of a user at whose files nobody has a turn.
fn leave_starting(config: &Config) {
    let stuck = Owner { uid: TRUDY, gid: TRUDY };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Journal::open(&config.state_directory.join("kiln.db")).unwrap();
        for (number, template, owner) in [(1, "stuck", Some(stuck)), (2, "free", None)] {
            let id = JobId::from_random_bits(number);
            let created_at = format!("2026-01-02T03:04:0{number}.678Z");
            let acceptance = Acceptance { created_at, owner: 0, key: None, digest: "d".to_owned() };
            let directory = JobDir::of(&config.state_directory, &config.sockets_directory(), &id);
            directory.create(&request(template), &acceptance, owner).unwrap();
            let kind = kiln_protocol::JobKind::Build;
            journal.insert(wire::new_job(&id, kind, template.to_owned(), "/".to_owned(), acceptance)).await.unwrap();
            journal.set_state(id.as_str(), JobState::Starting).await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_job_whose_files_do_not_answer_waits_and_is_not_taken_for_one_without_a_worker() {
    if is_missing_root() {
        return;
    }
    let taken = [turns::at_files_of(TRUDY).await, turns::at_files_of(TRUDY).await];
    let started = Rig::with(2, |config| {
        (config.mode, config.owner) = (Mode::System, 0);
        for above in ["jobs", "run/jobs"] {
            std::fs::create_dir_all(config.state_directory.join(above)).unwrap();
        }
        let above = config.state_directory.parent().unwrap();
        std::fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        // Not within this runtime.
        std::thread::scope(|scope| scope.spawn(|| leave_starting(config)).join().unwrap());
    });
    let rig = tokio::time::timeout(PATIENCE, started).await.expect("the start waits for it no longer than it may");
    let started = async |count| {
        while rig.launcher.calls().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, started(1)).await.expect("the other is started");
    assert_eq!(rig.launcher.calls(), ["worker free"]);
    drop(taken);
    tokio::time::timeout(PATIENCE, started(2)).await.expect("it is started once its files answer");
    assert_eq!(rig.launcher.calls(), ["worker free", "worker stuck"]);
}
