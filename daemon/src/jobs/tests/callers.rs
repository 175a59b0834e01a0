//! Who may do what. Asked of the jobs themselves: it counts for every way to them.

use std::collections::BTreeSet;

use kiln_protocol::{CancelMode, EventBody, JobState};

use super::*;
use crate::journal::Wanted;
use crate::quotas::Quota;

/// The methods of [`Jobs`] that take a caller, with how another user fares with them.
async fn tried_by(rig: &Rig, caller: &Caller, id: &JobId) -> Vec<(&'static str, Result<(), JobsError>)> {
    let jobs = &rig.jobs;
    let mut tried = vec![
        ("admit", jobs.admit(caller).await),
        ("submit", jobs.submit(caller, submission("theirs")).await.map(drop)),
        ("list", jobs.list(caller, Wanted::newest(9)).await.map(drop)),
        ("turn_for_list", jobs.turn_for_list(caller).await.map(drop)),
        ("counts", jobs.counts(caller).await.map(drop)),
        ("hypervisors", jobs.hypervisors(caller).await.map(drop)),
        ("sees_jobs_of", jobs.sees_jobs_of(caller, OWNER).await.map(drop)),
        ("sees_everything", jobs.sees_everything(caller).await.map(drop)),
        ("before_stop", jobs.before_stop(caller).await.map(drop)),
    ];
    tried.extend(tried_on_job(rig, caller, id).await);
    tried
}

/// Those that name a job.
async fn tried_on_job(rig: &Rig, caller: &Caller, id: &JobId) -> Vec<(&'static str, Result<(), JobsError>)> {
    let jobs = &rig.jobs;
    vec![
        ("cancel", jobs.cancel(caller, id, CancelMode::Now).await.map(drop)),
        ("job", jobs.job(caller, id).await.map(drop)),
        ("job_in_turn", jobs.job_in_turn(caller, id).await.map(drop)),
        ("remove", jobs.remove(caller, id).await),
        ("answer", jobs.answer(caller, id, "1".to_owned(), "c".to_owned()).await),
        ("screen", jobs.screen(caller, id, None).await.map(drop)),
        ("events", jobs.events(caller, id).await.map(drop)),
        ("may_see", jobs.may_see(caller, id).await),
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
                let refused = matches!(&result, Err(JobsError::Forbidden(Forbidden::Stranger { owner: OWNER, uid: by })) if *by == uid);
                assert!(refused, "{method} by {uid}: {result:?}");
            }
        }
        // Who may not ask does not hear what would be wrong with the request.
        let invalid = rig.jobs.submit(&stranger, submission("")).await;
        assert!(matches!(invalid, Err(JobsError::Forbidden(_))), "{invalid:?}");
    }
    let after = rig.jobs.list(&rig.owner, Wanted::newest(9)).await.unwrap();
    assert_eq!((after, rig.launcher.calls()), (before, calls));
    rig.jobs.admit(&rig.owner).await.unwrap();
    rig.jobs.remove(&rig.owner, &done).await.unwrap();
}

/// What the methods that name a job say to somebody who asks for it.
async fn said_to(rig: &Rig, caller: &Caller, id: &JobId) -> Vec<(&'static str, String)> {
    // Without the name, which the caller has brought along.
    let tried = tried_on_job(rig, caller, id).await.into_iter();
    tried.map(|(method, result)| (method, format!("{result:?}").replace(id.as_str(), "ID"))).collect()
}

#[tokio::test]
async fn on_a_daemon_for_all_jobs_of_others_are_not_there() {
    let rig = Rig::with(2, |config| (config.mode, config.owner) = (Mode::System, 0)).await;
    let (alice, bob, root) = (Caller::with_uid(1001), Caller::with_uid(1002), Caller::with_uid(0));
    let submit = async |caller, template| rig.jobs.submit(caller, submission(template)).await.unwrap().0.id;
    let (first, second) = (submit(&alice, "first").await, submit(&bob, "second").await);
    rig.until_for(&alice, &first, |job| job.state == JobState::Running).await;
    rig.until_for(&bob, &second, |job| job.state == JobState::Running).await;
    let (third, fourth) = (submit(&alice, "third").await, submit(&bob, "fourth").await);
    let calls = rig.launcher.calls();

    // The same words whether a job is another's or nobody's, and nothing has happened.
    let unknown = said_to(&rig, &bob, &JobId::from_random_bits(1)).await;
    for (method, said) in &unknown {
        assert!(said.starts_with("Err(NoSuchJob("), "{method}: {said}");
    }
    for id in [&first, &third] {
        assert_eq!(said_to(&rig, &bob, id).await, unknown);
    }
    assert_eq!(rig.launcher.calls(), calls);

    // Each sees, counts and waits for what is its own; root sees everything.
    let seen = async |caller: &Caller| {
        let jobs = rig.jobs.list(caller, Wanted::newest(9)).await.unwrap();
        let counts = rig.jobs.counts(caller).await.unwrap();
        (jobs.into_iter().map(|job| (job.id, job.owner)).collect::<Vec<_>>(), counts.running, counts.queued)
    };
    let (a, b) = (Some(1001), Some(1002));
    assert_eq!(seen(&alice).await, (vec![(third.clone(), a), (first.clone(), a)], 1, 1));
    assert_eq!(seen(&bob).await, (vec![(fourth.clone(), b), (second.clone(), b)], 1, 1));
    let all = vec![(fourth.clone(), b), (third.clone(), a), (second.clone(), b), (first.clone(), a)];
    // Whoever asked is not overruled by whose jobs are asked for.
    let asked = Wanted { owner: a, ..Wanted::newest(9) };
    assert!(rig.jobs.list(&bob, asked).await.unwrap().iter().all(|job| job.owner == b));
    assert_eq!(seen(&root).await, (all, 2, 2));
    let waits_for = async |caller: &Caller, id: &JobId| {
        let job = rig.jobs.job(caller, id).await.unwrap();
        (job.queue_position, job.waits_for.into_iter().map(|holder| holder.job).collect::<Vec<_>>())
    };
    assert_eq!(waits_for(&bob, &fourth).await, (Some(1), vec![second.clone()]));
    assert_eq!(waits_for(&root, &fourth).await, (Some(1), vec![first.clone(), second.clone()]));

    // A key is its user's.
    let keyed = Submission { key: Some("k".to_owned()), ..submission("keyed") };
    let of_alice = rig.jobs.submit(&alice, keyed.clone()).await.unwrap();
    let of_bob = rig.jobs.submit(&bob, keyed.clone()).await.unwrap();
    assert!(of_alice.1 && of_bob.1 && of_alice.0.id != of_bob.0.id);
    assert_eq!(rig.jobs.submit(&alice, keyed).await.unwrap().0.id, of_alice.0.id);

    // The daemon is root's to stop, and root may do what the owner may.
    let refused = rig.jobs.before_stop(&alice).await.unwrap_err();
    assert!(matches!(refused, JobsError::Forbidden(Forbidden::OnlyRoot { uid: 1001, .. })), "{refused:?}");
    rig.jobs.before_stop(&root).await.unwrap();
    rig.jobs.cancel(&root, &third, CancelMode::Now).await.unwrap();
    assert_eq!(rig.jobs.job(&alice, &third).await.unwrap().state, JobState::Cancelled);
    rig.jobs.remove(&alice, &third).await.unwrap();
}

#[tokio::test]
async fn a_user_has_a_share_and_no_more() {
    let rig = Rig::with(4, |config| {
        (config.mode, config.owner) = (Mode::System, 0);
        config.quotas = Quotas { running: 1, queued: 2, submissions: 5, ..Quotas::usual(4) };
    })
    .await;
    let (alice, bob) = (Caller::with_uid(1001), Caller::with_uid(1002));
    for _ in 0..3 {
        rig.jobs.submit(&alice, submission("one")).await.unwrap();
    }
    let counts = rig.jobs.counts(&alice).await.unwrap();
    assert_eq!(
        (counts.running, counts.queued, counts.limit),
        (1, 2, 4),
        "there is room, but not for one user's second"
    );
    let refused = async |caller| rig.jobs.submit(caller, submission("more")).await.unwrap_err();
    let error = refused(&alice).await;
    assert!(matches!(&error, JobsError::Quota(quota) if quota.quota == Quota::Queued), "{error:?}");
    assert_eq!(error.to_string(), "you have 2 jobs waiting, as many as each user of this daemon may have");
    refused(&alice).await;
    let error = refused(&alice).await;
    assert!(matches!(&error, JobsError::Quota(quota) if quota.quota == Quota::Submissions), "{error:?}");
    rig.jobs.submit(&bob, submission("one")).await.unwrap();
    assert_eq!(rig.jobs.counts(&bob).await.unwrap().running, 1);
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
