//! A daemon whose program is upgraded or removed while it runs, as packages are.

use std::path::PathBuf;
use std::process::Command;

use kiln_protocol::{Event, EventBody, JobState};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::process::Process;
use crate::rig::{Daemon, ending, is_alive, scripted_kilnd, texts, until};

/// A daemon whose program is a copy of its own.
struct Installed {
    daemon: Daemon,
    program: PathBuf,
    _process: Process,
}

impl Installed {
    async fn start() -> Self {
        let mut daemon = Daemon::start().await;
        daemon.stop_for_process().await;
        let program = daemon.path("kilnd");
        // By another process: a file that this one has written could be open in what other tests fork, and is not executed then.
        assert!(Command::new("cp").arg(scripted_kilnd()).arg(&program).status().unwrap().success());
        let process = Process::start_program(&daemon, &program);
        Self { daemon, program, _process: process }
    }

    async fn said(&self) -> Vec<Event> {
        let id = self.daemon.submit(&json!([{"say_variable": "GREETING"}])).await;
        self.daemon.events(&id).await
    }
}

fn worker(event: &Event) -> Option<u32> {
    match event.body {
        EventBody::JobStarted { pid, .. } => Some(pid),
        _ => None,
    }
}

fn left(event: &Event) -> Option<i32> {
    match &event.body {
        EventBody::Say { text, .. } => text.strip_prefix("left ")?.split(' ').next()?.parse().ok(),
        _ => None,
    }
}

#[tokio::test]
async fn a_daemon_whose_program_was_removed_runs_what_is_queued() {
    let installed = Installed::start().await;
    std::fs::remove_file(&installed.program).unwrap();
    let events = installed.said().await;
    assert_eq!(ending(&events), (JobState::Succeeded, 0, None));
    assert_eq!(texts(&events), ["GREETING=hello"]);
}

#[tokio::test]
async fn a_daemon_whose_program_was_replaced_starts_workers_of_its_own_version() {
    let installed = Installed::start().await;
    let new = installed.daemon.path("kilnd.new");
    std::os::unix::fs::symlink("/bin/false", &new).unwrap();
    std::fs::rename(&new, &installed.program).unwrap();
    let events = installed.said().await;
    assert_eq!(ending(&events), (JobState::Succeeded, 0, None));
}

#[tokio::test]
async fn a_dead_worker_is_swept_after_the_removal() {
    let installed = Installed::start().await;
    std::fs::remove_file(&installed.program).unwrap();
    let daemon = &installed.daemon;
    let id = daemon.submit(&json!([{"leave_process": "1000"}, {"await_file": "never"}])).await;
    let pid = worker(&daemon.wait_for(&id, |event| worker(event).is_some()).await).unwrap();
    let left = left(&daemon.wait_for(&id, |event| left(event).is_some()).await).unwrap();
    // What people see of it is the program that they had installed.
    let of_process = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    assert_eq!(of_process("comm"), "kilnd\n");
    assert_eq!(of_process("cmdline").split('\0').next(), installed.program.to_str());
    kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    let (state, ..) = ending(&daemon.events(&id).await);
    assert_eq!(state, JobState::Failed);
    until("the end of what the worker left", async || (!is_alive(left)).then_some(())).await;
}
