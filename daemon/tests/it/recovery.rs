//! What a daemon makes of what its predecessor left: after each of its commits, after a kill at any moment, without its journal.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_protocol::{BuildState, EventBody, Info, Job, JobId, JobList, JobState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::process::Process;
use crate::rig::{Daemon, PATIENCE, ending, is_alive, until};

fn planned(build: &str) -> Value {
    json!({"emit": {"build": build, "kind": "build_planned", "position": 0}})
}

/// A script with a build that leaves an artifact.
fn building() -> Value {
    json!([
        planned("qemu.web"),
        {"emit": {"build": "qemu.web", "kind": "step_started", "step": "boot"}},
        {"emit": {"build": "qemu.web", "kind": "artifact", "builder_id": "b", "id": "i", "text": "files", "files": ["/f"]}},
        {"emit": {"build": "qemu.web", "kind": "build_finished", "elapsed_us": 7}},
    ])
}

fn pid_of_worker(body: &EventBody) -> Option<i32> {
    match body {
        EventBody::JobStarted { pid, .. } => Some(*pid as i32),
        _ => None,
    }
}

async fn worker(daemon: &Daemon, id: &JobId) -> i32 {
    let event = daemon.wait_for(id, |event| pid_of_worker(&event.body).is_some()).await;
    pid_of_worker(&event.body).unwrap()
}

async fn kill_and_wait(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("gone in time");
}

/// Waits until a job is over and its builds are known.
async fn settled(daemon: &Daemon, id: &JobId, builds: usize) -> Job {
    let over = async {
        loop {
            let job = daemon.job(id).await;
            if job.state.is_over() && job.builds.len() >= builds {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, over).await.expect("over in time")
}

/// Returns the lengths at which SQLite's write-ahead log ends with a commit: <https://www.sqlite.org/fileformat2.html#walformat>.
fn commits(log: &[u8]) -> Vec<usize> {
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = 24 + number(8) as usize;
    let frames = (0..(log.len() - 32) / frame).map(|index| 32 + index * frame);
    // The database's size in pages stands in the header of the last frame of a commit, zero in the others.
    frames.filter(|start| number(start + 4) > 0).map(|start| start + frame).collect()
}

#[tokio::test]
async fn a_daemon_killed_after_any_of_its_commits_costs_no_ending() {
    let mut daemon = Daemon::start().await;
    daemon.stop_for_process().await;
    let process = Process::start(&daemon);
    let succeeded = daemon.submit(&building()).await;
    daemon.events(&succeeded).await;
    let failed = daemon.submit(&json!([planned("null.a"), {"stop": 1}])).await;
    daemon.events(&failed).await;
    let cancelled = daemon.submit(&json!([planned("null.a"), {"await_file": "never"}])).await;
    daemon.wait_for_state(&cancelled, JobState::Running).await;
    daemon.post(&format!("/v1/jobs/{cancelled}/cancel"), &json!({})).await;
    daemon.events(&cancelled).await;
    drop(process);

    let left = daemon.path(STATE);
    let log = std::fs::read(left.join("kiln.db-wal")).unwrap();
    let commits = commits(&log);
    assert!(commits.len() > 12, "{commits:?}");
    for length in std::iter::once(0).chain(commits) {
        let mut next = Daemon::with(|config| {
            std::fs::remove_dir(&config.state_directory).unwrap();
            let copied = Command::new("cp").arg("-a").arg(&left).arg(&config.state_directory).status();
            assert!(copied.unwrap().success());
            std::fs::write(config.state_directory.join("kiln.db-wal"), &log[..length]).unwrap();
            let _ = std::fs::remove_file(config.state_directory.join("kiln.db-shm"));
        })
        .await;
        for (id, state) in
            [(&succeeded, JobState::Succeeded), (&failed, JobState::Failed), (&cancelled, JobState::Cancelled)]
        {
            let job = settled(&next, id, 1).await;
            assert_eq!((job.state, &job.error), (state, &None), "{id} after {length} bytes of the journal");
            assert_eq!(ending(&next.events(id).await), (state, u8::from(state != JobState::Succeeded), None));
        }
        let job = settled(&next, &succeeded, 1).await;
        assert_eq!((job.builds[0].state, job.builds[0].artifacts.len()), (BuildState::Succeeded, 1), "{length}");
        let order: Vec<_> = next.get("/v1/jobs").await.json::<JobList>().jobs.into_iter().map(|job| job.id).collect();
        assert_eq!(order, [cancelled.clone(), failed.clone(), succeeded.clone()], "{length}");
        next.stop().await;
    }
}

#[tokio::test]
async fn a_daemon_killed_at_any_moment_costs_no_ending() {
    let mut daemon = Daemon::start().await;
    daemon.stop_for_process().await;
    let mut process = Process::start(&daemon);
    for round in 0..40 {
        let id = daemon.submit(&building()).await;
        // Spread over the whole life of the job, which takes some 30 ms.
        tokio::time::sleep(Duration::from_millis(2 * (round % 20))).await;
        drop(process);
        process = Process::start(&daemon);
        let job = settled(&daemon, &id, 1).await;
        assert_eq!((job.state, job.error, job.builds[0].artifacts.len()), (JobState::Succeeded, None, 1), "{round}");
        let directory = daemon.path(STATE).join("jobs").join(id.as_str());
        let names =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.starts_with(".new-")).count(), 0, "{round}");
    }
}

/// State directory of a daemon in a process of its own.
const STATE: &str = "home/kiln";

/// Starts a daemon that can be killed: one in this process would leave its supervisors behind.
async fn started() -> (Daemon, Process) {
    let mut daemon = Daemon::start().await;
    daemon.stop_for_process().await;
    let process = Process::start(&daemon);
    (daemon, process)
}

/// Makes the journal unreadable, or removes it.
fn lose_journal(state: &Path, damage: bool) {
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(state.join(format!("kiln.db{suffix}")));
    }
    if damage {
        std::fs::write(state.join("kiln.db"), vec![b'x'; 40_000]).unwrap();
    } else {
        std::fs::remove_file(state.join("kiln.db")).unwrap();
    }
}

#[tokio::test]
async fn a_lost_journal_costs_no_job() {
    for damage in [true, false] {
        let (daemon, process) = started().await;
        let done = daemon.submit(&building()).await;
        daemon.events(&done).await;
        let refused = json!({"kind": "diagnostics", "severity": "error", "text": "Error: No",
            "diagnostics": [{"severity": "error", "summary": "No", "range": {"file": "t", "start": {"line": 2}}}]});
        let failed = daemon.submit(&json!([{ "emit": refused }, {"stop": 1}])).await;
        daemon.events(&failed).await;
        let running = daemon.submit(&json!([planned("qemu.web"), {"await_file": "go"}])).await;
        let worker_of_running = worker(&daemon, &running).await;
        let dead = daemon.submit(&json!([{"leave_process": "1000"}, {"await_file": "go"}])).await;
        let left = daemon.wait_for(&dead, |event| matches!(&event.body, EventBody::Say { .. })).await;
        let left = match &left.body {
            EventBody::Say { text, .. } => text.split(' ').nth(1).unwrap().parse::<i32>().unwrap(),
            other => panic!("{other:?}"),
        };
        let submission = daemon.submission(&json!([{"say_variable": "GREETING"}]));
        let key = [("idempotency-key", "only-once")];
        let queued = daemon.send("POST", "/v1/jobs", &key, submission.to_string()).await.json::<Job>();
        assert_eq!(queued.state, JobState::Queued);
        let before = daemon.get("/v1/jobs").await.json::<JobList>().jobs;
        let worker_of_dead = worker(&daemon, &dead).await;
        drop(process);
        kill_and_wait(worker_of_dead).await;
        lose_journal(&daemon.path(STATE), damage);
        std::fs::create_dir(daemon.path(STATE).join("jobs/aaaaaaaaaa")).unwrap();

        let _process = Process::start(&daemon);
        assert!(is_alive(worker_of_running));
        // The queued one runs as soon as the dead one is swept; it is the same job for who asks again.
        let again = daemon.send("POST", "/v1/jobs", &key, submission.to_string()).await;
        assert_eq!((again.status, again.json::<Job>().id), (200, queued.id.clone()));
        assert_eq!(crate::rig::texts(&daemon.events(&queued.id).await), ["GREETING=hello"]);
        assert_eq!(settled(&daemon, &dead, 0).await.state, JobState::Failed);
        // It has been sent its signal by then; it need not have ended of it.
        tokio::time::timeout(Duration::from_secs(30), async {
            while is_alive(left) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("what the dead worker held is given back");
        assert_eq!(daemon.job(&running).await.state, JobState::Running);
        assert_eq!(daemon.get(&format!("/v1/jobs/{running}/screen")).await.status, 200, "the worker is reached");
        std::fs::write(daemon.path("go"), "").unwrap();
        assert_eq!(ending(&daemon.events(&running).await).0, JobState::Succeeded);
        settled(&daemon, &done, 1).await;
        let explained = async {
            while daemon.job(&failed).await.error.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, explained).await.expect("why it failed, in time");
        let after = daemon.get("/v1/jobs").await.json::<JobList>().jobs;
        let facts = |job: &Job| (job.id.clone(), job.template.clone(), job.created_at.clone(), job.kind);
        assert_eq!(before.iter().map(facts).collect::<Vec<_>>(), after.iter().map(facts).collect::<Vec<_>>());
        for id in [&done, &failed] {
            let find = |jobs: &[Job]| jobs.iter().find(|job| job.id == *id).cloned().unwrap();
            let (before, after) = (find(&before), find(&after));
            assert_eq!((before.state, before.exit_code, before.builds), (after.state, after.exit_code, after.builds));
            assert_eq!((before.finished_at, before.error), (after.finished_at, after.error));
        }
        assert_eq!(daemon.job(&failed).await.error.as_deref(), Some("No (t line 2)"));
        assert!(!daemon.path(STATE).join("jobs/aaaaaaaaaa").exists(), "never a job");
        let notices = daemon.get("/v1/info").await.json::<Info>().notices;
        assert_eq!(notices.len(), usize::from(damage), "{notices:?}");
        assert!(!damage || notices[0].contains("5 jobs were taken in again"), "{notices:?}");
    }
}

#[tokio::test]
async fn what_a_job_of_an_earlier_daemon_still_holds_is_given_back_at_the_start() {
    let mut daemon = Daemon::start().await;
    let (good, bad) = (daemon.submit(&json!([])).await, daemon.submit(&json!([])).await);
    for id in [&good, &bad] {
        daemon.events(id).await;
        daemon.wait_for_state(id, JobState::Succeeded).await;
    }
    daemon.stop().await;
    let jobs = daemon.path("state/jobs");
    let directory = |id: &JobId| jobs.join(id.as_str());
    let left = directory(&good).join("left");
    std::fs::write(&left, "").unwrap();
    // Made after the job was over, it would be another's: the end is moved.
    let later = std::time::SystemTime::now() + Duration::from_secs(1);
    let events = std::fs::File::options().append(true).open(directory(&good).join("events.ndjson")).unwrap();
    events.set_modified(later).unwrap();
    let ledger = |id: &JobId| directory(id).join("resources.ndjson");
    std::fs::write(ledger(&good), format!("{}\n", json!({"held": true, "kind": "file", "path": left}))).unwrap();
    let machine = json!({"held": true, "kind": "registered", "hypervisor": "parallels", "id": "web"});
    std::fs::write(ledger(&bad), format!("{machine}\n")).unwrap();

    daemon.restart().await;
    until("given back", async || (!left.exists()).then_some(())).await;
    let path = format!("/v1/jobs/{bad}");
    let detail = daemon.send("DELETE", &path, &[], "").await.problem(409, "wrong-state");
    assert!(detail.contains("still holds the machine web of parallels"), "{detail}");
    assert!(detail.contains("which this version of Kiln does not know"), "{detail}");
    assert!(directory(&bad).exists());
    // As the hint says.
    std::fs::remove_file(ledger(&bad)).unwrap();
    assert_eq!(daemon.send("DELETE", &path, &[], "").await.status, 204);
    assert_eq!(daemon.send("DELETE", &format!("/v1/jobs/{good}"), &[], "").await.status, 204);
}

#[tokio::test]
async fn a_question_is_told_by_the_first_answer_of_the_next_daemon() {
    let mut daemon = Daemon::start().await;
    let text = "x".repeat(100_000);
    let mut script = vec![planned("qemu.web")];
    // Much to read before the question; an answered one among it is not told again.
    script.push(json!({"emit": {"build": "qemu.web", "kind": "prompt", "prompt": "1", "text": "Before?"}}));
    script.push(json!({"emit": {"build": "qemu.web", "kind": "prompt_answered", "prompt": "1", "answer": "yes"}}));
    script.extend((0..30).map(|_| json!({"emit": {"build": "qemu.web", "kind": "message", "text": text}})));
    script.push(json!({"emit": {"build": "qemu.web", "kind": "prompt", "prompt": "2", "text": "And now?"}}));
    script.push(json!({"await_file": "go"}));
    let id = daemon.submit(&Value::Array(script)).await;
    daemon.wait_for(&id, |event| matches!(&event.body, EventBody::Prompt { prompt, .. } if prompt == "2")).await;
    for round in 0..3 {
        daemon.restart().await;
        let job = daemon.job(&id).await;
        let asked: Vec<_> = job.questions.iter().map(|question| question.text.as_str()).collect();
        assert_eq!((job.state, asked), (JobState::Running, vec!["And now?"]), "{round}");
    }
    std::fs::write(daemon.path("go"), "").unwrap();
    assert_eq!(ending(&daemon.events(&id).await).0, JobState::Succeeded);
}

#[tokio::test]
async fn directories_without_their_own_facts_are_taken_in_as_far_as_they_go() {
    let (daemon, process) = started().await;
    let id = daemon.submit(&building()).await;
    daemon.events(&id).await;
    drop(process);
    lose_journal(&daemon.path(STATE), true);
    let directory = daemon.path(STATE).join("jobs").join(id.as_str());
    // As an older kilnd left it, and then damaged.
    std::fs::remove_file(directory.join("accepted.json")).unwrap();
    std::fs::write(directory.join("request.json"), "{").unwrap();
    let _process = Process::start(&daemon);
    let job = settled(&daemon, &id, 1).await;
    assert_eq!((job.state, job.template.as_str()), (JobState::Succeeded, "(unknown)"));
    assert_eq!(job.builds[0].artifacts.len(), 1);
}

#[tokio::test]
async fn a_fifo_in_the_place_of_events_holds_up_nobody() {
    let (daemon, process) = started().await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    let other = daemon.submit(&json!([{"say_variable": "GREETING"}])).await;
    daemon.events(&other).await;
    let pid = worker(&daemon, &id).await;
    drop(process);
    kill_and_wait(pid).await;
    for id in [&id, &other] {
        for name in ["events.ndjson", "worker.json", "worker.lock", "request.json"] {
            let path = daemon.path(STATE).join("jobs").join(id.as_str()).join(name);
            std::fs::remove_file(&path).unwrap();
            assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        }
    }
    let _process = Process::start(&daemon);
    let job = settled(&daemon, &id, 0).await;
    assert_eq!(job.state, JobState::Failed);
    for id in [&id, &other] {
        for query in ["", "?follow=true"] {
            let detail = daemon.get(&format!("/v1/jobs/{id}/events{query}")).await.problem(500, "internal");
            assert!(detail.contains("events.ndjson") && detail.contains("it is a fifo"), "{detail}");
        }
    }
    let next = daemon.submit(&json!([])).await;
    assert_eq!(ending(&daemon.events(&next).await).0, JobState::Succeeded);
}

#[tokio::test]
async fn a_job_that_says_too_much_is_kept_to_its_limit() {
    let daemon = Daemon::start().await;
    let mut script = vec![planned("qemu.web")];
    script.extend((0..40).map(|number| {
        json!({"emit": {"build": "qemu.web", "kind": "message", "text": format!("{number} {}", "x".repeat(100_000))}})
    }));
    script.insert(1, json!({"await_file": "go"}));
    script.push(json!({"emit": {"build": "qemu.web", "kind": "build_finished", "elapsed_us": 7}}));
    let mut submission = daemon.submission(&Value::Array(script));
    submission["environment"]["KILN_MAX_LOG_MIB"] = json!("1");
    let id = daemon.post("/v1/jobs", &submission).await.json::<Job>().id;
    daemon.wait_for_state(&id, JobState::Running).await;
    std::fs::write(daemon.path("go"), "").unwrap();
    let live = daemon.get(&format!("/v1/jobs/{id}/events?follow=true")).await.events_with_gaps();
    assert_eq!(ending(&live).0, JobState::Succeeded);
    let file = daemon.path("state/jobs").join(id.as_str()).join("events.ndjson");
    assert!(file.metadata().unwrap().len() < 1_300_000);
    for accept in ["application/x-ndjson", "text/event-stream"] {
        let reply = daemon.send("GET", &format!("/v1/jobs/{id}/events"), &[("accept", accept)], "").await;
        let text = reply.text();
        for said in
            ["\"0 xxx", "\"39 xxx", "build_finished", "job_finished", "missing before this line: the job has said"]
        {
            assert!(text.contains(said), "{said}");
        }
        assert!(!text.contains("\"15 xxx"));
    }
    assert_eq!(daemon.job(&id).await.builds[0].state, BuildState::Succeeded);

    submission["environment"]["KILN_MAX_LOG_MIB"] = json!("lots");
    let detail = daemon.post("/v1/jobs", &submission).await.problem(400, "invalid-request");
    assert_eq!(detail, "KILN_MAX_LOG_MIB is `lots`, not a number of MiB from 1 to 1048576");
}
