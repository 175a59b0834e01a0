//! Jobs whose users write into their files what no worker of ours does. The others' go on, and so do kilnd's memory and its journal.

use std::io::Write as _;

use kiln_protocol::{CancelMode, EventBody, JobState};

use super::*;
use crate::quotas::Quota;

/// Where somebody else's machine is slow; far more than it takes.
const LONG_PATIENCE: Duration = Duration::from_secs(60);

fn events_of(rig: &Rig, id: &JobId) -> std::fs::File {
    let path = rig._scratch.path().join("state/kiln/jobs").join(id.as_str()).join("events.ndjson");
    std::fs::OpenOptions::new().append(true).open(path).unwrap()
}

async fn until_over(rig: &Rig, id: &JobId) -> Job {
    let over = async {
        loop {
            let job = rig.job(id).await;
            if job.state.is_over() {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG_PATIENCE, over).await.expect("over in time")
}

#[tokio::test]
async fn a_job_that_asks_without_end_is_ended_and_says_why() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    for number in 0..100 {
        let prompt = EventBody::Prompt {
            prompt: number.to_string(),
            text: "x".repeat(1000),
            choices: Vec::new(),
            default: None,
            guest: None,
        };
        rig.launcher.say(0, None, prompt);
    }
    let job = until_over(&rig, &id).await;
    let error = "the job was ended: it has told of more than 64 questions that wait for an answer, which is more than kilnd keeps of a job";
    assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some(error)));
    assert!(job.questions.is_empty());
    assert_eq!(rig.launcher.calls(), ["worker a".to_owned(), "kill 1".to_owned(), format!("sweeper failed: {error}")]);
}

#[tokio::test]
async fn a_worker_that_does_not_die_is_left_over_and_its_place_is_free() {
    let rig = Rig::new(1).await;
    rig.launcher.let_workers_outlive_kills();
    let (id, next) = (rig.submit("a").await, rig.submit("b").await);
    rig.until(&id, |job| job.state == JobState::Running).await;
    rig.jobs.cancel(&rig.owner, &id, CancelMode::Now).await.unwrap();
    let job = until_over(&rig, &id).await;
    let error = "the worker was killed on request; its process 1 has not ended 10 s later and is left over";
    assert_eq!((job.state, job.error.as_deref()), (JobState::Cancelled, Some(error)));
    rig.until(&next, |job| job.state == JobState::Running).await;
}

/// The writer keeps just ahead of the reader, whatever the speed of either.
#[tokio::test]
async fn who_writes_without_end_is_stopped_all_the_same() {
    let rig = Rig::new(1).await;
    let _watch = rig.jobs.watch_changes();
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    let (jobs, job, mut events) = (rig.jobs.clone(), id.clone(), events_of(&rig, &id));
    let writer = tokio::spawn(async move {
        let (total, mut seq) = (1_000_000_000_u64, 1_u64);
        loop {
            let mut lines = String::new();
            for _ in 0..20_000 {
                seq += 1;
                lines += &format!(
                    "{{\"seq\":{seq},\"time\":\"2026-01-02T03:04:05Z\",\"build\":\"a\",\"kind\":\"progress\",\"what\":\"x\",\"done\":{seq},\"total\":{total}}}\n"
                );
            }
            events.write_all(lines.as_bytes()).unwrap();
            // The next ones when half of these are read.
            loop {
                let Ok(Some(observed)) = jobs.observe(&job).await else { return };
                if observed.job.state.is_over() {
                    return;
                }
                let read = observed.transfers.get("a").map_or(0.0, |done| done * total as f64);
                if read > (seq - 10_000) as f64 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    rig.until(&id, |_| rig.jobs.shared().changes.transfers(&id).contains_key("a")).await;
    rig.jobs.cancel(&rig.owner, &id, CancelMode::Now).await.unwrap();
    let killed = async {
        while !rig.launcher.calls().iter().any(|call| call == "kill 1") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG_PATIENCE, killed).await.expect("killed while it writes");
    assert!(!writer.is_finished(), "it wrote until then");
    writer.abort();
    let job = until_over(&rig, &id).await;
    assert_eq!((job.state, job.error.as_deref()), (JobState::Cancelled, Some("the worker was killed on request")));
}

#[tokio::test]
async fn who_submits_too_fast_is_not_even_looked_up() {
    let rig = Rig::with(1, |config| {
        config.owner = 1000;
        config.quotas.submissions = 2;
    })
    .await;
    for _ in 0..2 {
        rig.submit("a").await;
    }
    assert_eq!(rig.launcher.looked_up(), [1000, 1000]);
    for _ in 0..5 {
        let error = rig.jobs.submit(&rig.owner, submission("a")).await.unwrap_err();
        assert!(matches!(&error, JobsError::Quota(exceeded) if exceeded.quota == Quota::Submissions), "{error:?}");
    }
    assert_eq!(rig.launcher.looked_up(), [1000, 1000]);
}

#[tokio::test]
async fn pictures_that_are_not_taken_are_few_and_hold_up_their_own_user_alone() {
    let rig = Rig::with(2, |config| (config.mode, config.owner) = (Mode::System, 0)).await;
    let (alice, bob) = (Caller::with_uid(1001), Caller::with_uid(1002));
    let id = rig.jobs.submit(&alice, submission("a")).await.unwrap().0.id;
    rig.until_for(&alice, &id, |job| job.state == JobState::Running).await;
    let of_bob = rig.jobs.submit(&bob, submission("b")).await.unwrap().0.id;
    rig.until_for(&bob, &of_bob, |job| job.state == JobState::Running).await;
    for id in [&id, &of_bob] {
        let directory = rig.jobs.shared().directory(id);
        let listener = tokio::net::UnixListener::bind(directory.control_socket()).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = [b"{\"refused\":null,\"bytes\":1000000}\n".as_slice(), &[7; 1_000_000]].concat();
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &answer).await;
            }
        });
    }
    let screen = async |caller, id| rig.jobs.screen(caller, id, None).await;
    let held = [screen(&alice, &id).await.unwrap(), screen(&alice, &id).await.unwrap()];
    let error = screen(&alice, &id).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 pictures of guests are on their way to you, as many as each user may have at once"
    );
    assert_eq!(screen(&bob, &of_bob).await.unwrap().as_ref(), [7; 1_000_000]);
    drop(held);
    screen(&alice, &id).await.unwrap();
}
