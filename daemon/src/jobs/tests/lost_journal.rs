//! Jobs that only their directories know: what was decided of them is not lost with the journal.

use super::*;
use crate::job_dir::{Acceptance, JobDir};

/// Queued jobs whose journal is lost; polkit had let the one named `free` do what leaves its guests.
fn leave_behind(config: &Config) {
    for (number, template, unconfined) in [(1, "free", true), (2, "bound", false)] {
        let directory =
            JobDir::of(&config.state_directory, &config.sockets_directory(), &JobId::from_random_bits(number));
        let created_at = format!("2026-01-02T03:04:0{number}.678Z");
        let acceptance = Acceptance { created_at, owner: 0, key: None, digest: "d".to_owned() };
        if unconfined {
            directory.note_unconfined().unwrap();
        }
        directory.create(&request(template), &acceptance, None).unwrap();
    }
}

#[tokio::test]
async fn a_job_is_as_confined_as_it_was_before_the_journal_was_lost() {
    let rig = Rig::with(2, |config| {
        config.mode = Mode::System;
        leave_behind(config);
    })
    .await;
    let caller = Caller::with_uid(rustix::process::geteuid().as_raw());
    for number in [1, 2] {
        rig.until_for(&caller, &JobId::from_random_bits(number), |job| job.state == kiln_protocol::JobState::Running)
            .await;
    }
    let mut calls = rig.launcher.calls();
    calls.sort();
    assert_eq!(calls, ["worker bound confined", "worker free"]);
}

#[tokio::test]
async fn the_decision_goes_with_the_job() {
    let rig = Rig::with(1, |config| config.mode = Mode::System).await;
    let id = rig.submit("a").await;
    let marks = rig._scratch.path().join("state/kiln/unconfined");
    assert_eq!(std::fs::read_dir(&marks).unwrap().next().unwrap().unwrap().file_name(), id.as_str());
    rig.until(&id, |job| job.state == kiln_protocol::JobState::Running).await;
    rig.launcher.end(0, 1);
    rig.until_over(&id).await;
    rig.jobs.remove(&rig.owner, &id).await.unwrap();
    assert_eq!(std::fs::read_dir(&marks).unwrap().count(), 0);
}
