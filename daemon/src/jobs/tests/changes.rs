//! What is told of jobs to who shows them: every change, and nothing that is none.

use kiln_protocol::{CancelMode, EventBody, JobState};

use super::*;

/// Waits until the watcher hears of the job and it is as wanted.
async fn told(rig: &Rig, watch: &mut ChangeWatch, id: &JobId, wanted: impl Fn(&Observed) -> bool) -> Observed {
    let found = async {
        loop {
            // Asked only when told: a change that nobody announces is not found.
            if watch.changed().await.contains(id)
                && let Some(job) = rig.jobs.observe(id).await.unwrap()
                && wanted(&job)
            {
                return job;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("told in time")
}

#[tokio::test]
async fn each_change_of_a_job_is_told() {
    let rig = Rig::new(1).await;
    let mut watch = rig.jobs.watch_changes();
    let id = rig.submit("a").await;
    let job = told(&rig, &mut watch, &id, |seen| seen.job.state == JobState::Running).await;
    assert_eq!((job.owner, job.job.builds.len()), (OWNER, 0));
    let say = |build: Option<&str>, body| rig.launcher.say(0, build, body);
    say(Some("qemu.a"), EventBody::BuildPlanned { position: 0 });
    say(Some("qemu.a"), EventBody::StepStarted { step: "fetch".to_owned() });
    told(&rig, &mut watch, &id, |seen| {
        seen.job.builds.first().is_some_and(|build| build.step.as_deref() == Some("fetch"))
    })
    .await;
    say(Some("qemu.a"), EventBody::Progress { what: "a.iso".to_owned(), done: 1, total: Some(4) });
    let seen = told(&rig, &mut watch, &id, |seen| !seen.transfers.is_empty()).await;
    assert_eq!(seen.transfers, [("qemu.a".to_owned(), 0.25)].into());
    say(Some("qemu.a"), EventBody::StepStarted { step: "boot".to_owned() });
    told(&rig, &mut watch, &id, |seen| seen.transfers.is_empty()).await;
    let text = "Go on?".to_owned();
    let asked = EventBody::Prompt { prompt: "1".to_owned(), text, choices: Vec::new(), default: None, guest: None };
    say(Some("qemu.a"), asked);
    told(&rig, &mut watch, &id, |seen| seen.job.questions.len() == 1).await;
    say(None, EventBody::PromptAnswered { prompt: "1".to_owned(), answer: "c".to_owned() });
    told(&rig, &mut watch, &id, |seen| seen.job.questions.is_empty()).await;

    let waiting = rig.submit("b").await;
    told(&rig, &mut watch, &waiting, |seen| seen.job.state == JobState::Queued).await;
    assert_eq!(rig.jobs.observe_newest(9).await.unwrap(), [waiting.clone(), id.clone()]);
    rig.jobs.cancel(&rig.owner, &waiting, CancelMode::Graceful).await.unwrap();
    told(&rig, &mut watch, &waiting, |seen| seen.job.state == JobState::Cancelled).await;
    rig.jobs.cancel(&rig.owner, &id, CancelMode::Graceful).await.unwrap();
    told(&rig, &mut watch, &id, |seen| seen.job.state == JobState::Cancelling).await;
    say(None, EventBody::JobFinished { state: JobState::Cancelled, exit_code: 1, elapsed_us: 1, error: None });
    rig.launcher.end(0, 1);
    told(&rig, &mut watch, &id, |seen| seen.job.state == JobState::Cancelled).await;
    // Its place is free a moment after it is over, and that is told, too.
    let free = async {
        while rig.jobs.observe_counts(None).await.unwrap().running > 0 {
            watch.changed().await;
        }
    };
    tokio::time::timeout(PATIENCE, free).await.expect("told in time");
    rig.jobs.remove(&rig.owner, &id).await.unwrap();
    while !watch.changed().await.contains(&id) {}
    assert_eq!(rig.jobs.observe(&id).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_job_says_is_no_change_of_it() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    let mut watch = rig.jobs.watch_changes();
    for number in 0..100 {
        rig.launcher.say(0, Some("qemu.a"), EventBody::Say { text: number.to_string(), target: None });
    }
    rig.launcher.say(0, Some("qemu.a"), EventBody::BuildPlanned { position: 0 });
    told(&rig, &mut watch, &id, |seen| seen.job.builds.len() == 1).await;
    let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
