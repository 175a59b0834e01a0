//! Steps of builds: recorded by the worker, kept in the journal, shown to clients, also after crashes of either.

use kiln_protocol::{Job, JobList, JobState, StepPhase, StepState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::Process;
use crate::rig::{Daemon, until};

const BUILD: &str = "qemu.web";

fn emit(mut body: Value) -> Value {
    body["build"] = json!(BUILD);
    json!({ "emit": body })
}

fn header() -> [Value; 2] {
    let begun = json!({"record": {"version": 1, "build": BUILD, "plan": "aa"}});
    [emit(json!({"kind": "build_planned", "position": 0})), begun]
}

/// A step's line in the records, and the event that follows it.
fn step(number: u32, phase: &str, name: &str, state: &str) -> [Value; 2] {
    let (elapsed, error) = ((state != "intent").then_some(1500), (state == "failed").then_some("exit status 3"));
    let at = format!("2026-01-02T03:04:{:02}Z", number * 2 + u32::from(state != "intent"));
    let record = json!({
        "build": BUILD, "number": number, "phase": phase, "name": name, "state": state, "at": at, "elapsed_ms": elapsed,
        "error": error,
    });
    let event = match state {
        "intent" => json!({"kind": "step_started", "step": name}),
        _ => json!({"kind": "step_finished", "step": name, "elapsed_us": 1_500_000, "error": error}),
    };
    [json!({ "record": record }), emit(event)]
}

fn script(parts: impl IntoIterator<Item = Vec<Value>>) -> Value {
    Value::Array(header().into_iter().chain(parts.into_iter().flatten()).collect())
}

/// Number, name, state and length of each step.
fn steps(job: &Job) -> Vec<(u32, &str, StepState, Option<u64>)> {
    let steps = job.builds.iter().flat_map(|build| &build.steps);
    steps.map(|step| (step.number, step.name.as_str(), step.state, step.elapsed_us)).collect()
}

#[tokio::test]
async fn the_steps_of_a_job_are_told_with_their_times() {
    let daemon = Daemon::start().await;
    let id = daemon
        .submit(&script([
            step(1, "prepare", "fetch", "intent").into(),
            step(1, "prepare", "fetch", "done").into(),
            step(2, "provision", "provisioner 1 (shell)", "intent").into(),
            step(2, "provision", "provisioner 1 (shell)", "failed").into(),
            step(2, "provision", "provisioner 1 (shell)", "intent").into(),
            vec![json!({"await_file": "go"})],
            step(2, "provision", "provisioner 1 (shell)", "done").into(),
            step(3, "post_process", "post-processor 1 (checksum)", "intent").into(),
            step(3, "post_process", "post-processor 1 (checksum)", "failed").into(),
            vec![
                emit(json!({"kind": "build_finished", "elapsed_us": 7, "error": "exit status 3"})),
                json!({"stop": 1}),
            ],
        ]))
        .await;
    let running = daemon.wait_for_job(&id, |job| steps(job).get(1).is_some_and(|step| step.3.is_none())).await;
    let second = (2, "provisioner 1 (shell)", StepState::Running, None);
    assert_eq!(steps(&running), [(1, "fetch", StepState::Done, Some(1_500_000)), second]);
    let first = &running.builds[0].steps[0];
    assert_eq!((first.phase, first.started_at.as_str()), (StepPhase::Prepare, "2026-01-02T03:04:02Z"));
    std::fs::write(daemon.path("go"), "").unwrap();
    daemon.events(&id).await;
    let job = daemon.job(&id).await;
    assert_eq!(
        steps(&job)[1..],
        [
            (2, "provisioner 1 (shell)", StepState::Done, Some(1_500_000)),
            (3, "post-processor 1 (checksum)", StepState::Failed, Some(1_500_000)),
        ]
    );
    assert_eq!(job.builds[0].steps[2].error.as_deref(), Some("exit status 3"));
    let list: JobList = daemon.get("/v1/jobs").await.json();
    assert_eq!(steps(&list.jobs[0]), [], "lists stay short");
}

/// kilnd is killed while a step runs; the worker records on, and is killed in its turn. With and without the journal.
#[tokio::test]
async fn a_crash_of_the_daemon_costs_no_step_and_one_of_the_worker_none_that_was_recorded() {
    for lose_journal in [false, true] {
        let mut daemon = Daemon::start().await;
        daemon.stop_for_process().await;
        let process = Process::start(&daemon);
        let id = daemon
            .submit(&script([
                step(1, "prepare", "fetch", "intent").into(),
                vec![json!({"await_file": "go"})],
                step(1, "prepare", "fetch", "done").into(),
                step(2, "bring_up", "connect", "intent").into(),
                vec![json!({"say_variable": "GREETING"}), json!({"await_file": "never"})],
            ]))
            .await;
        daemon.wait_for(&id, |event| matches!(&event.body, kiln_protocol::EventBody::StepStarted { .. })).await;
        let started = daemon.wait_for(&id, |event| event.seq == 1).await;
        let kiln_protocol::EventBody::JobStarted { pid, .. } = started.body else { panic!("{started:?}") };
        drop(process);
        std::fs::write(daemon.path("go"), "").unwrap();
        let state = daemon.path("home/kiln");
        let records = state.join("jobs").join(id.as_str()).join("steps.ndjson");
        until("the record", async || std::fs::read_to_string(&records).unwrap().contains("connect").then_some(()))
            .await;
        if lose_journal {
            for name in ["kiln.db", "kiln.db-wal", "kiln.db-shm"] {
                let _ = std::fs::remove_file(state.join(name));
            }
        }
        let _process = Process::start(&daemon);
        let known = daemon.wait_for_job(&id, |job| steps(job).len() == 2).await;
        let fetched = (1, "fetch", StepState::Done, Some(1_500_000));
        assert_eq!(steps(&known), [fetched, (2, "connect", StepState::Running, None)], "{lose_journal}");
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let job = daemon.wait_for_state(&id, JobState::Failed).await;
        assert_eq!(steps(&job), [fetched, (2, "connect", StepState::Interrupted, None)], "{lose_journal}");
    }
}

#[tokio::test]
async fn records_that_cannot_be_read_cost_the_job_nothing_else() {
    let daemon = Daemon::start().await;
    let newer = "was written by a newer Kiln (format 999; this one reads up to 1); use the version of Kiln that has run the job, or";
    for (line, why) in [
        (json!({"version": 999, "build": BUILD}), newer),
        (json!({"surprise": 1}), "steps.ndjson is no record of a step: missing field"),
    ] {
        let mut script =
            script([step(1, "prepare", "fetch", "intent").into(), step(1, "prepare", "fetch", "done").into()]);
        script.as_array_mut().unwrap().insert(2, json!({ "record": line }));
        let id = daemon.submit(&script).await;
        daemon.events(&id).await;
        let job = daemon.job(&id).await;
        assert_eq!((job.state, steps(&job)), (JobState::Succeeded, Vec::new()), "{line}");
        assert_eq!(job.builds[0].step.as_deref(), Some("fetch"));
        assert!(job.notes.len() == 1 && job.notes[0].starts_with("its steps are known in part only: "), "{job:?}");
        assert!(job.notes[0].contains(why) && job.notes[0].ends_with("build again"), "{job:?}");
    }
}

#[tokio::test]
async fn a_step_whose_record_is_lost_is_interrupted_and_the_loss_is_told() {
    let daemon = Daemon::start().await;
    let fetched = (1, "fetch", StepState::Done, Some(1_500_000));
    let cut = "the last record of its steps was cut short; what it was to say is lost";
    for (damage, note) in
        [("", None), ("truncate -s -40", Some(cut)), ("rm", None), ("rm; mkfifo", Some("it is a fifo, "))]
    {
        let id = daemon
            .submit(&script([
                step(1, "prepare", "fetch", "intent").into(),
                step(1, "prepare", "fetch", "done").into(),
                step(2, "bring_up", "connect", "intent").into(),
                vec![json!({"await_file": "never"})],
            ]))
            .await;
        let running = daemon.wait_for_job(&id, |job| steps(job).len() == 2).await;
        assert_eq!(running.notes, [""; 0]);
        let started = daemon.wait_for(&id, |event| event.seq == 1).await;
        let kiln_protocol::EventBody::JobStarted { pid, .. } = started.body else { panic!("{started:?}") };
        let records = daemon.path("state/jobs").join(id.as_str()).join("steps.ndjson");
        for command in damage.split("; ").filter(|command| !command.is_empty()) {
            let mut words = command.split(' ');
            let status = std::process::Command::new(words.next().unwrap()).args(words).arg(&records).status();
            assert!(status.unwrap().success(), "{command}");
        }
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let job = daemon.wait_for_state(&id, JobState::Failed).await;
        assert_eq!(steps(&job), [fetched, (2, "connect", StepState::Interrupted, None)], "{damage}");
        assert_eq!(job.notes.len(), usize::from(note.is_some()), "{damage}: {:?}", job.notes);
        assert!(job.notes.iter().all(|told| told.contains(note.unwrap())), "{damage}: {:?}", job.notes);
    }
}
