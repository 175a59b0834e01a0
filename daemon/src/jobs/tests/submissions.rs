//! What is refused before it is a job, by whichever way it came.

use kiln_protocol::{JobKind, JobState};

use super::*;
use crate::journal::Wanted;

/// What is changed in a submission, and how its refusal begins.
type Case = (fn(&mut Submission), &'static str);

#[tokio::test]
async fn what_cannot_be_run_is_refused_and_leaves_nothing() {
    let rig = Rig::new(1).await;
    let with = |change: fn(&mut Submission)| {
        let mut submission = submission("a.pkr.hcl");
        change(&mut submission);
        submission
    };
    let cases: [Case; 12] = [
        (|submission| submission.request.template.clear(), "`template` is empty"),
        (|submission| submission.request.template.push('\0'), "a path holds a zero byte"),
        (
            |submission| submission.request.working_directory = "w".to_owned(),
            "`working_directory` is not an absolute path",
        ),
        (|submission| submission.request.working_directory.push('\0'), "a path holds a zero byte"),
        (
            |submission| submission.request.template = "t".repeat(4097),
            "`template` has 4097 bytes; a path has 4096 at most",
        ),
        (
            |submission| submission.request.working_directory = format!("/{}", "w".repeat(4096)),
            "`working_directory` has 4097 bytes; a path has 4096 at most",
        ),
        (|submission| submission.request.kind = JobKind::Convert, "`image` does not fit the `kind`"),
        (
            |submission| drop(submission.request.environment.insert("A=B".to_owned(), String::new())),
            "`environment` holds a name",
        ),
        (
            |submission| drop(submission.request.environment.insert("A".to_owned(), "\0".to_owned())),
            "`environment` holds a name",
        ),
        (|submission| submission.key = Some(String::new()), "the idempotency key is not 1 to 200 printable characters"),
        (
            |submission| submission.key = Some("k".repeat(201)),
            "the idempotency key is not 1 to 200 printable characters",
        ),
        (
            |submission| submission.key = Some("\u{fffd}".to_owned()),
            "the idempotency key is not 1 to 200 printable characters",
        ),
    ];
    for (change, expected) in cases {
        match rig.jobs.submit(&rig.owner, with(change)).await {
            Err(JobsError::Invalid(InvalidSubmission { detail, .. })) => {
                assert!(detail.starts_with(expected), "{detail}");
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
    let limit = with(|submission| {
        submission.request.environment.insert("KILN_MAX_LOG_MIB".to_owned(), "lots".to_owned());
    });
    let Err(JobsError::Invalid(error)) = rig.jobs.submit(&rig.owner, limit).await else { panic!("not refused") };
    assert_eq!(error.detail, "KILN_MAX_LOG_MIB is `lots`, not a number of MiB from 1 to 1048576");
    assert_eq!(error.hint.as_deref(), Some("unset KILN_MAX_LOG_MIB: a job's log is then kept to 64 MiB"));
    assert_eq!(rig.jobs.list(&rig.owner, Wanted::newest(9)).await.unwrap(), []);
    assert_eq!(rig.launcher.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_gives_the_same_job_and_no_other() {
    let rig = Rig::new(1).await;
    let keyed = |digest: &str| Submission { key: Some("k".to_owned()), digest: digest.to_owned(), ..submission("a") };
    let (first, new) = rig.jobs.submit(&rig.owner, keyed("d")).await.unwrap();
    assert!(new);
    let (again, new) = rig.jobs.submit(&rig.owner, keyed("d")).await.unwrap();
    assert!(again.id == first.id && !new);
    let reused = rig.jobs.submit(&rig.owner, keyed("e")).await;
    assert!(matches!(&reused, Err(JobsError::KeyReused(id)) if *id == first.id), "{reused:?}");
    rig.until(&first.id, |job| job.state == JobState::Running).await;
    assert_eq!(rig.launcher.calls(), ["worker a"]);
}
