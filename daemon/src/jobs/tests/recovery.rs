//! What a daemon finds at its start that the journal does not know.

use std::os::unix::fs::chown;

use super::*;
use crate::as_owner::is_missing_root;
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
