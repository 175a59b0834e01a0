//! Who may do what. Asked of the jobs themselves: it counts for every way to them.

use std::collections::BTreeSet;

use kiln_protocol::{CancelMode, EventBody, JobState};

use super::*;
use crate::journal::Wanted;

/// The methods of [`Jobs`] that take a caller, with how another user fares with them.
async fn tried_by(rig: &Rig, caller: &Caller, id: &JobId) -> Vec<(&'static str, Result<(), JobsError>)> {
    let jobs = &rig.jobs;
    vec![
        ("admit", jobs.admit(caller)),
        ("submit", jobs.submit(caller, submission("theirs")).await.map(drop)),
        ("cancel", jobs.cancel(caller, id, CancelMode::Now).await.map(drop)),
        ("job", jobs.job(caller, id).await.map(drop)),
        ("list", jobs.list(caller, Wanted::newest(9)).await.map(drop)),
        ("remove", jobs.remove(caller, id).await),
        ("answer", jobs.answer(caller, id, "1".to_owned(), "c".to_owned()).await),
        ("screen", jobs.screen(caller, id, None).await.map(drop)),
        ("events", jobs.events(caller, id).await.map(drop)),
        ("is_over", jobs.is_over(caller, id).await.map(drop)),
        ("counts", jobs.counts(caller).await.map(drop)),
        ("before_stop", jobs.before_stop(caller).await.map(drop)),
    ]
}

#[tokio::test]
async fn another_user_is_refused_by_every_operation_and_changes_nothing() {
    let rig = Rig::new(2).await;
    let done = rig.submit("done").await;
    rig.until(&done, |job| job.state == JobState::Running).await;
    let finished = EventBody::JobFinished { state: JobState::Succeeded, exit_code: 0, elapsed_us: 1, error: None };
    rig.launcher.say(0, None, finished);
    rig.launcher.end(0, 0);
    rig.until_over(&done).await;
    let running = rig.submit("running").await;
    rig.until(&running, |job| job.state == JobState::Running).await;
    let (before, calls) = (rig.jobs.list(&rig.owner, Wanted::newest(9)).await.unwrap(), rig.launcher.calls());

    // Root is another user like all others here.
    for uid in [0, OWNER - 1, OWNER + 1, u32::MAX] {
        let stranger = Caller::with_uid(uid);
        let unknown = JobId::from_random_bits(1);
        for id in [&running, &done, &unknown] {
            for (method, result) in tried_by(&rig, &stranger, id).await {
                let refused =
                    matches!(&result, Err(JobsError::Forbidden(Forbidden { owner: OWNER, uid: by })) if *by == uid);
                assert!(refused, "{method} by {uid}: {result:?}");
            }
        }
        // Who may not ask does not hear what would be wrong with the request.
        let invalid = rig.jobs.submit(&stranger, submission("")).await;
        assert!(matches!(invalid, Err(JobsError::Forbidden(_))), "{invalid:?}");
    }
    let after = rig.jobs.list(&rig.owner, Wanted::newest(9)).await.unwrap();
    assert_eq!((after, rig.launcher.calls()), (before, calls));
    rig.jobs.admit(&rig.owner).unwrap();
    rig.jobs.remove(&rig.owner, &done).await.unwrap();
}

/// A method that is added, and not tried above, is noticed.
#[tokio::test]
async fn every_method_that_reads_or_changes_a_job_takes_the_caller() {
    let source = include_str!("../handle.rs");
    // A second face of the daemon lies in this crate, too.
    let methods = source.split("\n    pub").skip(1).filter_map(|method| {
        let method = method.strip_prefix("(crate)").unwrap_or(method).trim_start();
        let (name, rest) = method.strip_prefix("async ").unwrap_or(method).strip_prefix("fn ")?.split_once('(')?;
        Some((name, rest.split_once(')')?.0))
    });
    // What makes the jobs, and what is of the daemon and of no job.
    let others = ["start", "start_with", "notices", "limits", "config", "watcher", "endings", "reconfigure", "is_busy"];
    let (mut with_caller, mut without) = (BTreeSet::new(), BTreeSet::new());
    for (name, parameters) in methods {
        let takes_caller = parameters.contains("caller: &Caller");
        if takes_caller {
            with_caller.insert(name)
        } else {
            without.insert(name)
        };
    }
    assert_eq!(without, BTreeSet::from(others));
    let rig = Rig::new(1).await;
    let tried = tried_by(&rig, &Caller::with_uid(1), &JobId::from_random_bits(1)).await;
    assert_eq!(with_caller, tried.into_iter().map(|(method, _)| method).collect());
}
