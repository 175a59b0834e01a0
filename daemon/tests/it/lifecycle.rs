//! Jobs through queue, cancellation, crashes and restarts.

use std::process::Command;
use std::time::Duration;

use kiln_protocol::{Event, EventBody, JobState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::process::Process;
use crate::rig::{Daemon, PATIENCE, ending, is_alive, skip, texts};

fn worker_pid(event: &Event) -> Option<i32> {
    match event.body {
        EventBody::JobStarted { pid, .. } => Some(pid as i32),
        _ => None,
    }
}

/// Returns the process that the script left, from what it said.
fn left_pid(event: &Event) -> Option<i32> {
    match &event.body {
        EventBody::Say { text, .. } => text.strip_prefix("left ")?.split(' ').next()?.parse().ok(),
        _ => None,
    }
}

/// Waits for a process to end that was killed; the kernel takes its time.
async fn wait_until_gone(pid: i32) {
    let gone = async {
        while is_alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("gone in time");
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn jobs_start_in_order_when_there_is_room() {
    let daemon = Daemon::with(|config| config.max_running_jobs = 1).await;
    let script = json!([{"await_file": "go"}]);
    let first = daemon.submit(&script).await;
    let second = daemon.submit(&script).await;
    let third = daemon.submit(&script).await;
    daemon.wait_for_state(&first, JobState::Running).await;
    let waiting = daemon.job(&third).await;
    assert_eq!((waiting.state, waiting.queue_position), (JobState::Queued, Some(1)));
    let cancelled = daemon.post(&format!("/v1/jobs/{second}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 202);
    let events = daemon.events(&second).await;
    assert_eq!(ending(&events), (JobState::Cancelled, 1, None));
    assert_eq!(daemon.job(&third).await.queue_position, Some(0));
    std::fs::write(daemon.path("go"), "").unwrap();
    assert_eq!(ending(&daemon.events(&first).await).0, JobState::Succeeded);
    assert_eq!(ending(&daemon.events(&third).await).0, JobState::Succeeded);
}

#[tokio::test]
async fn a_cancelled_job_is_over_when_it_is_cleaned_up() {
    let daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    // At once: the worker may not even have its socket yet.
    let reply = daemon.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(reply.json::<serde_json::Value>()["state"], "cancelling");
    let events = daemon.events(&id).await;
    assert!(events.iter().any(|event| event.body == EventBody::CancelRequested));
    assert_eq!(texts(&events), ["cleaned up"]);
    assert_eq!(ending(&events), (JobState::Cancelled, 1, None));
    let again = daemon.post(&format!("/v1/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(again.problem(409, "wrong-state"), format!("job {id} is over (cancelled)"));
}

#[tokio::test]
async fn a_worker_killed_on_request_is_swept_and_the_job_is_cancelled() {
    let daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"leave_process": "1000"}, {"await_file": "go"}])).await;
    let left = left_pid(&daemon.wait_for(&id, |event| left_pid(event).is_some()).await).unwrap();
    daemon.post(&format!("/v1/jobs/{id}/cancel"), &json!({"mode": "now"})).await;
    let events = daemon.events(&id).await;
    assert_eq!(ending(&events), (JobState::Cancelled, 1, Some("the worker was killed on request")));
    wait_until_gone(left).await;
}

#[tokio::test]
async fn a_killed_worker_is_noticed_and_what_it_left_is_removed() {
    let daemon = Daemon::start().await;
    let script = json!([
        {"emit": {"build": "null.a", "kind": "build_planned", "position": 0}},
        {"leave_process": "1000"},
        {"await_file": "go"},
    ]);
    let id = daemon.submit(&script).await;
    let left = left_pid(&daemon.wait_for(&id, |event| left_pid(event).is_some()).await).unwrap();
    let worker = worker_pid(&daemon.wait_for(&id, |event| worker_pid(event).is_some()).await).unwrap();
    assert!(is_alive(left));
    kill(worker);
    let events = daemon.events(&id).await;
    let (state, code, error) = ending(&events);
    assert_eq!((state, code), (JobState::Failed, 1));
    assert!(error.unwrap().contains("SIGKILL"), "{error:?}");
    assert!(texts(&events).contains(&format!("after the worker's end: killed process {left}").as_str()));
    wait_until_gone(left).await;
    let job = daemon.job(&id).await;
    assert_eq!(job.builds[0].state, kiln_protocol::BuildState::Failed);
    assert!(job.error.unwrap().contains("SIGKILL"));
    assert!(!daemon.path("run/jobs").join(id.as_str()).exists());
}

#[tokio::test]
async fn a_panic_in_the_worker_is_a_failure_that_names_its_log() {
    let daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"panic": "as the script says"}])).await;
    let events = daemon.events(&id).await;
    let (state, _, error) = ending(&events);
    assert_eq!(state, JobState::Failed);
    assert!(error.unwrap().contains("worker.log"), "{error:?}");
    let log = daemon.path("state/jobs").join(id.as_str()).join("worker.log");
    assert!(std::fs::read_to_string(log).unwrap().contains("as the script says"));
}

#[tokio::test]
async fn a_worker_that_cannot_start_is_a_failure_that_says_why() {
    let daemon = Daemon::start().await;
    let mut submission = daemon.submission(&json!([]));
    submission["working_directory"] = json!("/nowhere/at/all");
    let id = daemon.post("/v1/jobs", &submission).await.json::<kiln_protocol::Job>().id;
    let events = daemon.events(&id).await;
    let (state, code, error) = ending(&events);
    assert_eq!((state, code), (JobState::Failed, 1));
    assert!(error.unwrap().starts_with("cannot enter the working directory /nowhere/at/all: "), "{error:?}");
}

#[tokio::test]
async fn a_restarted_daemon_finds_running_workers_and_carries_on() {
    let mut daemon = Daemon::start().await;
    let id =
        daemon.submit(&json!([{"say_variable": "GREETING"}, {"await_file": "go"}, {"say_variable": "GREETING"}])).await;
    let worker = worker_pid(&daemon.wait_for(&id, |event| worker_pid(event).is_some()).await).unwrap();
    daemon.stop().await;
    assert!(is_alive(worker));
    daemon.restart().await;
    assert_eq!(daemon.job(&id).await.state, JobState::Running);
    // It still reaches the worker, too.
    assert_eq!(daemon.get(&format!("/v1/jobs/{id}/screen")).await.status, 200);
    std::fs::write(daemon.path("go"), "").unwrap();
    let events = daemon.events(&id).await;
    assert_eq!(texts(&events), ["GREETING=hello", "GREETING=hello"]);
    assert_eq!(ending(&events), (JobState::Succeeded, 0, None));
    assert_eq!(daemon.job(&id).await.state, JobState::Succeeded);
}

#[tokio::test]
async fn what_happened_while_no_daemon_ran_is_found_out() {
    let mut daemon = Daemon::with(|config| config.max_running_jobs = 2).await;
    let done = daemon.submit(&json!([{"await_file": "first"}])).await;
    let killed = daemon.submit(&json!([{"leave_process": "1000"}, {"await_file": "go"}])).await;
    let queued = daemon.submit(&json!([])).await;
    let worker = worker_pid(&daemon.wait_for(&killed, |event| worker_pid(event).is_some()).await).unwrap();
    let left = left_pid(&daemon.wait_for(&killed, |event| left_pid(event).is_some()).await).unwrap();
    let finished = worker_pid(&daemon.wait_for(&done, |event| worker_pid(event).is_some()).await).unwrap();
    daemon.stop().await;
    kill(worker);
    std::fs::write(daemon.path("first"), "").unwrap();
    wait_until_gone(worker).await;
    wait_until_gone(finished).await;
    // A crash between directory and journal leaves this.
    let orphan = daemon.path("state/jobs/aaaaaaaaaa");
    std::fs::create_dir(&orphan).unwrap();
    daemon.restart().await;
    assert_eq!(ending(&daemon.events(&done).await), (JobState::Succeeded, 0, None));
    let events = daemon.events(&killed).await;
    assert_eq!(ending(&events).0, JobState::Failed);
    wait_until_gone(left).await;
    assert_eq!(ending(&daemon.events(&queued).await).0, JobState::Succeeded, "queued jobs are queued again");
    assert!(!orphan.exists());
}

/// The daemon before was killed before it knew of its worker, and the next one's was faster.
#[tokio::test]
async fn a_worker_that_comes_when_the_job_is_over_writes_nothing() {
    let daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"say_variable": "GREETING"}])).await;
    daemon.events(&id).await;
    daemon.wait_for_state(&id, JobState::Succeeded).await;
    let directory = daemon.path("state/jobs").join(id.as_str());
    let files = || {
        let entries = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files();
    let mut late = Command::new(crate::rig::scripted_kilnd());
    late.arg("worker").arg("--job-dir").arg(&directory).arg("--runtime-dir").arg(daemon.path("late"));
    assert_eq!(late.status().unwrap().code(), Some(1));
    assert_eq!(files(), before);
}

#[tokio::test]
async fn a_job_that_was_being_cancelled_is_cancelled_by_the_next_daemon() {
    let mut daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    let worker = worker_pid(&daemon.wait_for(&id, |event| worker_pid(event).is_some()).await).unwrap();
    daemon.stop().await;
    let journal = kiln_daemon::journal::Journal::open(&daemon.path("state/kiln.db")).unwrap();
    journal.set_state(id.as_str(), kiln_daemon::journal::JobState::Cancelling).await.unwrap();
    drop(journal);
    assert!(is_alive(worker));
    daemon.restart().await;
    assert_eq!(ending(&daemon.events(&id).await), (JobState::Cancelled, 1, None));
}

#[tokio::test]
async fn a_killed_daemon_loses_nothing() {
    let mut daemon = Daemon::start().await;
    daemon.stop_for_process().await;
    let first = Process::start(&daemon);
    let id = daemon.submit(&json!([{"say_variable": "GREETING"}, {"await_file": "go"}])).await;
    daemon.wait_for(&id, |event| worker_pid(event).is_some()).await;
    drop(first);
    assert!(daemon.config.socket.exists(), "killed, so it left its socket");
    let second = Process::start(&daemon);
    std::fs::write(daemon.path("go"), "").unwrap();
    let events = daemon.events(&id).await;
    assert_eq!(texts(&events), ["GREETING=hello"]);
    assert_eq!(ending(&events), (JobState::Succeeded, 0, None));
    // A second daemon beside it reports that there is one, and ends.
    let mut third = Process::start(&daemon);
    assert!(third.child.wait().unwrap().success());
    drop(second);
}

#[tokio::test]
async fn sigterm_stops_the_daemon_and_takes_its_socket_along() {
    let mut daemon = Daemon::start().await;
    daemon.stop_for_process().await;
    let mut process = Process::start(&daemon);
    kill_process(Pid::from_raw(process.child.id() as i32).unwrap(), Signal::TERM).unwrap();
    assert!(process.child.wait().unwrap().success());
    assert!(!daemon.config.socket.exists());
}

#[tokio::test]
async fn old_jobs_are_forgotten_with_their_files() {
    let daemon = Daemon::with(|config| config.limits.finished_jobs = 2).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = daemon.submit(&json!([])).await;
        assert_eq!(ending(&daemon.events(&id).await).0, JobState::Succeeded);
        ids.push(id);
    }
    let forgotten = async {
        while daemon.get(&format!("/v1/jobs/{}", ids[1])).await.status == 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.unwrap();
    daemon.get(&format!("/v1/jobs/{}/events", ids[0])).await.problem(404, "no-such-job");
    assert!(!daemon.path("state/jobs").join(ids[0].as_str()).exists());
    assert_eq!(daemon.job(&ids[3]).await.state, JobState::Succeeded);
}

#[tokio::test]
async fn a_detached_daemon_keeps_nothing_open_that_it_inherited() {
    let mut daemon = Daemon::start().await;
    daemon.stop_for_process().await;
    // A pipe whose other end sees when the last holder is gone, as a shell's `$(...)` does.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
    let process = Process::start(&daemon);
    drop(writer);
    // Other tests' children may have it for a moment, too.
    let gone = async {
        while rustix::io::read(&reader, &mut [0; 1]) != Ok(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("end of file: the daemon does not have it open");
    drop(process);
}

/// A small file system of its own; gone with its owner.
struct SmallDisk(std::path::PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon of the test still has its journal open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_the_job_still_ends_and_says_what_is_missing() {
    let mut disk = None;
    let daemon = Daemon::with(|config| {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=400k", "none"]).arg(&config.state_directory);
        if mount.output().is_ok_and(|output| output.status.success()) {
            disk = Some(SmallDisk(config.state_directory.clone()));
        }
    })
    .await;
    if disk.is_none() {
        return skip("the right to mount a file system");
    }
    let mut script = vec![json!({"emit": {"kind": "say", "text": "x".repeat(20_000)}}); 40];
    script.push(json!({"say_variable": "GREETING"}));
    let id = daemon.submit(&serde_json::Value::Array(script)).await;
    let events = daemon.events(&id).await;
    assert_eq!(ending(&events), (JobState::Succeeded, 0, None));
    let texts = texts(&events);
    let (last, others) = texts.split_last().unwrap();
    assert_eq!(*last, "GREETING=hello");
    // The journal may give some room back in the middle, so there may be several gaps; together with what is there they are all.
    let gap = |text: &&str| text.strip_suffix(" events are missing here: they could not be written")?.parse().ok();
    let missing: Vec<usize> = others.iter().filter_map(gap).collect();
    let whole = others.iter().filter(|text| text.len() == 20_000).count();
    assert_eq!((whole + missing.len(), whole + missing.iter().sum::<usize>()), (others.len(), 40), "{missing:?}");
    assert!(!missing.is_empty());
    drop(disk);
}
