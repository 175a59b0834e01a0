//! What becomes of jobs as their workers start, end and die.

use kiln_protocol::{CancelMode, EventBody, JobState, PlaceHolder};

use super::*;

fn finished(state: JobState) -> EventBody {
    EventBody::JobFinished { state, exit_code: u8::from(state != JobState::Succeeded), elapsed_us: 1, error: None }
}

#[tokio::test]
async fn a_worker_that_does_not_start_fails_its_job_and_frees_its_place() {
    let rig = Rig::new(1).await;
    rig.launcher.refuse("no memory");
    let (first, second) = (rig.submit("first").await, rig.submit("second").await);
    let job = rig.until_over(&first).await;
    assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some("cannot start the worker fake: no memory")));
    rig.until(&second, |job| job.state == JobState::Running).await;
    let calls = rig.launcher.calls();
    assert_eq!(calls, ["worker first", "sweeper failed: cannot start the worker fake: no memory", "worker second"]);
}

#[tokio::test]
async fn a_job_waits_for_a_service_manager_that_is_away_and_can_be_cancelled_meanwhile() {
    let rig = Rig::new(2).await;
    rig.launcher.lacks_manager(1);
    let id = rig.submit("a").await;
    let job = rig.until(&id, |job| !job.notes.is_empty()).await;
    assert_eq!(job.state, JobState::Starting);
    let [note] = &job.notes[..] else { panic!("{:?}", job.notes) };
    let begins = "its worker cannot be started just now, and is tried again: the service manager cannot be reached at unix:path=/fake";
    assert!(note.starts_with(begins) && note.ends_with(": I/O error: No such file or directory"), "{note}");
    let job = rig.until(&id, |job| job.state == JobState::Running).await;
    assert!(job.notes.is_empty(), "{:?}", job.notes);
    assert_eq!(rig.launcher.calls(), ["worker a", "worker a"]);

    rig.launcher.lacks_manager(u32::MAX);
    let id = rig.submit("b").await;
    rig.until(&id, |job| !job.notes.is_empty()).await;
    rig.jobs.cancel(&rig.owner, &id, CancelMode::Graceful).await.unwrap();
    assert_eq!(rig.until_over(&id).await.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_worker_of_whose_start_nobody_was_told_is_found_also_when_nobody_wants_it_any_more() {
    let rig = Rig::new(2).await;
    rig.launcher.loses_next();
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    rig.launcher.say(0, None, finished(JobState::Succeeded));
    rig.launcher.end(0, 0);
    assert_eq!(rig.until_over(&id).await.state, JobState::Succeeded);
    assert_eq!(rig.launcher.calls(), ["worker a"], "it is the only one");

    rig.launcher.loses_next();
    let id = rig.submit("b").await;
    // In the pause before it is tried again, or after it.
    rig.until(&id, |job| !job.notes.is_empty() || job.state == JobState::Running).await;
    rig.jobs.cancel(&rig.owner, &id, CancelMode::Now).await.unwrap();
    assert_eq!(rig.until_over(&id).await.state, JobState::Cancelled);
    let calls = rig.launcher.calls();
    assert_eq!(calls[1..3], ["worker b", "kill 2"], "{calls:?}");
}

/// Its start was lost and the job is cancelled, but the service manager comes back and starts it all the same, before the sweeper.
#[tokio::test]
async fn a_worker_that_is_started_when_its_job_is_given_up_is_ended_with_it() {
    let killed = "the worker was killed on request";
    let left = format!("{killed}; its process 1 has not ended 10 s later and is left over");
    let died = "the worker ended with exit code 7 before the job was over".to_owned();
    for (mode, outlives, calls, error) in [
        (CancelMode::Now, false, ["kill 1"].as_slice(), killed.to_owned()),
        // A kill is not waited for without end.
        (CancelMode::Now, true, &["kill 1"], left),
        (CancelMode::Graceful, false, &[], died),
    ] {
        let rig = Rig::new(1).await;
        rig.launcher.comes_late();
        if outlives {
            rig.launcher.let_workers_outlive_kills();
        }
        let id = rig.submit("a").await;
        rig.until(&id, |job| !job.notes.is_empty()).await;
        rig.jobs.cancel(&rig.owner, &id, mode).await.unwrap();
        if mode == CancelMode::Graceful {
            // It is asked, and watched to its end.
            rig.until(&id, |_| rig.launcher.found() == [1]).await;
            rig.launcher.end(0, 7);
        }
        let job = rig.until_over(&id).await;
        assert_eq!((job.state, job.error.as_deref()), (JobState::Cancelled, Some(error.as_str())));
        let done: Vec<_> = rig.launcher.calls().into_iter().filter(|call| call != "worker a").collect();
        let [first, between @ .., last] = &done[..] else { panic!("{done:?}") };
        assert!(first.starts_with("sweeper cancelled: cancelled before its worker was started"), "{done:?}");
        assert_eq!(*between, *calls, "{done:?}");
        assert_eq!(*last, format!("sweeper cancelled: {error}"));
    }
}

#[tokio::test]
async fn a_worker_that_says_how_the_job_ended_is_believed_whatever_its_exit_code() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    rig.launcher.say(0, None, finished(JobState::Succeeded));
    rig.launcher.end(0, 3);
    let job = rig.until_over(&id).await;
    assert_eq!((job.state, job.exit_code, job.error), (JobState::Succeeded, Some(0), None));
    assert_eq!(rig.launcher.calls(), ["worker a"], "nothing is swept");
}

#[tokio::test]
async fn a_job_whose_template_is_wrong_says_so_and_where() {
    let error = |summary: &str| serde_json::json!({"severity": "error", "summary": summary, "detail": "No."});
    let warning = serde_json::json!({"severity": "warning", "summary": "Old"});
    let mut placed = error("Unsupported argument");
    placed["range"] = serde_json::json!({"file": "a.pkr.hcl", "start": {"line": 3}});
    let diagnostics = |diagnostics| {
        let severity = kiln_protocol::Severity::Error;
        EventBody::Diagnostics { severity, text: "Error: all of it".to_owned(), diagnostics }
    };
    let own = |text: &str| EventBody::Error { text: text.to_owned(), target: None, output: false };
    let many = "Unsupported argument (a.pkr.hcl line 3), and 2 errors more";
    let cases = [
        (vec![diagnostics(vec![warning, placed, error("B"), error("C")])], many),
        (vec![diagnostics(vec![error("No builds"), error("B")])], "No builds: No., and 1 error more"),
        (vec![diagnostics(Vec::new())], "Error: all of it"),
        (vec![own("cannot open the ledger"), own("hint: make room")], "cannot open the ledger"),
    ];
    let rig = Rig::new(1).await;
    for (index, (events, expected)) in cases.into_iter().enumerate() {
        let id = rig.submit("a").await;
        rig.until(&id, |job| job.state == JobState::Running).await;
        for event in events {
            rig.launcher.say(index, None, event);
        }
        rig.launcher.say(index, None, finished(JobState::Failed));
        rig.launcher.end(index, 1);
        assert_eq!(rig.until_over(&id).await.error.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_worker_that_dies_is_swept_after() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    rig.launcher.say(0, Some("qemu.a"), EventBody::BuildPlanned { position: 0 });
    rig.launcher.end(0, 7);
    let job = rig.until_over(&id).await;
    let cause = "the worker ended with exit code 7 before the job was over";
    assert_eq!((job.state, job.error.as_deref()), (JobState::Failed, Some(cause)));
    assert_eq!(job.builds[0].state, kiln_protocol::BuildState::Failed);
    assert_eq!(rig.launcher.calls(), ["worker a".to_owned(), format!("sweeper failed: {cause}")]);
}

#[tokio::test]
async fn a_cancellation_at_once_kills_the_worker() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    let job = rig.jobs.cancel(&rig.owner, &id, CancelMode::Now).await.unwrap();
    assert_eq!(job.state, JobState::Cancelling);
    let job = rig.until_over(&id).await;
    assert_eq!((job.state, job.error.as_deref()), (JobState::Cancelled, Some("the worker was killed on request")));
    let calls = ["worker a", "kill 1", "sweeper cancelled: the worker was killed on request"];
    assert_eq!(rig.launcher.calls(), calls);
    let over = rig.jobs.cancel(&rig.owner, &id, CancelMode::Now).await;
    assert!(matches!(over, Err(JobsError::Over { state: JobState::Cancelled, .. })), "{over:?}");
}

#[tokio::test]
async fn a_queued_job_says_which_jobs_it_waits_for_and_which_of_them_ask() {
    let rig = Rig::new(2).await;
    let (first, second) = (rig.submit("first").await, rig.submit("second").await);
    let (third, fourth) = (rig.submit("third").await, rig.submit("fourth").await);
    let holders =
        |asks: bool| vec![PlaceHolder { job: first.clone(), asks: false }, PlaceHolder { job: second.clone(), asks }];
    for (id, position) in [(&third, 0), (&fourth, 1)] {
        let job = rig.job(id).await;
        assert_eq!((job.state, job.queue_position), (JobState::Queued, Some(position)));
        assert_eq!(job.waits_for, holders(false));
    }
    rig.until(&second, |job| job.state == JobState::Running).await;
    let index = usize::from(rig.launcher.calls()[0] == "worker first");
    let prompt = EventBody::Prompt {
        prompt: "1".to_owned(),
        text: "[c] or [a]?".to_owned(),
        choices: Vec::new(),
        default: None,
        guest: None,
    };
    rig.launcher.say(index, None, prompt);
    for id in [&third, &fourth] {
        rig.until(id, |job| job.waits_for == holders(true)).await;
    }
    let answered = EventBody::PromptAnswered { prompt: "1".to_owned(), answer: "c".to_owned() };
    rig.launcher.say(index, None, answered);
    rig.until(&third, |job| job.waits_for == holders(false)).await;
    rig.launcher.say(index, None, finished(JobState::Succeeded));
    rig.launcher.end(index, 0);
    let job = rig.until(&third, |job| job.state == JobState::Running).await;
    assert_eq!((job.queue_position, job.waits_for), (None, Vec::new()));
    let waits_for = rig.job(&fourth).await.waits_for;
    assert_eq!(waits_for.iter().map(|holder| &holder.job).collect::<Vec<_>>(), [&first, &third]);
}

#[tokio::test]
async fn who_may_not_see_a_job_before_a_password_answers_by_what_asks() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    let ask = |prompt: &str, build: &str| {
        let (text, choices) = ("[c] or [a]?".to_owned(), Vec::new());
        let asked = EventBody::Prompt { prompt: prompt.to_owned(), text, choices, default: None, guest: None };
        rig.launcher.say(0, Some(build), asked);
    };
    let meant = |name: &str| rig.jobs.question_meant(&id, name.to_owned());
    let which = async |name: &str| {
        let (name, answer) = (name.to_owned(), "c".to_owned());
        rig.jobs.answer(&rig.owner, &id, name, answer).await.unwrap_err().to_string()
    };
    assert_eq!(which("").await, format!("job {id} asks nothing"));
    ask("7", "qemu.a");
    rig.until(&id, |job| job.questions.len() == 1).await;
    assert_eq!((meant(""), meant("qemu.a"), meant("7")), ("7".to_owned(), "7".to_owned(), "7".to_owned()));
    ask("8", "qemu.b");
    rig.until(&id, |job| job.questions.len() == 2).await;
    assert_eq!(meant("qemu.b"), "8");
    // The worker refuses these.
    assert_eq!((meant(""), meant("qemu.c")), (String::new(), "qemu.c".to_owned()));
    let said = which("").await;
    assert_eq!(said, format!("job {id} asks 2 questions, and the answer names none of them: 7 (qemu.a), 8 (qemu.b)"));
}

/// A person has two minutes for a password. What was asked when the answer was given is what it is for.
#[tokio::test]
async fn an_answer_is_for_what_was_asked_before_the_password() {
    let rig = Rig::new(1).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    for name in ["", "qemu.a"] {
        let ask = |prompt: &str| EventBody::Prompt {
            prompt: prompt.to_owned(),
            text: "[c] or [a]?".to_owned(),
            choices: Vec::new(),
            default: None,
            guest: None,
        };
        rig.launcher.say(0, Some("qemu.a"), ask("7"));
        rig.until(&id, |job| job.questions.iter().any(|question| question.prompt == "7")).await;
        let password = async {
            let answered =
                |prompt: &str| EventBody::PromptAnswered { prompt: prompt.to_owned(), answer: "r".to_owned() };
            rig.launcher.say(0, Some("qemu.a"), answered("7"));
            rig.launcher.say(0, Some("qemu.a"), ask("8"));
            rig.until(&id, |job| job.questions.len() == 1 && job.questions[0].prompt == "8").await;
            rig.launcher.say(0, Some("qemu.a"), answered("8"));
            rig.until(&id, |job| job.questions.is_empty()).await;
            rig.launcher.say(0, Some("qemu.a"), ask("9"));
            rig.until(&id, |job| job.questions.len() == 1 && job.questions[0].prompt == "9").await;
            Ok(())
        };
        assert_eq!(rig.jobs.question_for(&id, name.to_owned(), password).await.unwrap(), "7", "{name}");
        let answered = EventBody::PromptAnswered { prompt: "9".to_owned(), answer: "r".to_owned() };
        rig.launcher.say(0, Some("qemu.a"), answered);
        rig.until(&id, |job| job.questions.is_empty()).await;
    }
}
