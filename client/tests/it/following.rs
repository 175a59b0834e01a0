//! Jobs that are watched, cancelled, left and found again.

use rustix::process::Signal;
use serde_json::json;

use crate::rig::{Home, kill, wait_until};

#[test]
fn ctrl_c_cancels_and_waits_for_the_clean_up() {
    let Some(home) = Home::new() else { return };
    home.script(
        "t.json",
        &json!([
            {"emit": {"build": "null.a", "kind": "build_planned", "position": 0}},
            {"emit": {"build": "null.a", "kind": "say", "text": "working"}},
            {"await_file": "go"},
        ]),
    );
    for (signal, name) in [(Signal::INT, "interrupt"), (Signal::TERM, "terminated")] {
        let mut build = home.start("build t.json");
        build.read_until("working");
        build.signal(signal);
        let run = build.finish();
        assert_eq!((run.code, run.stderr.as_str()), (1, ""));
        let lines: Vec<_> = run.stdout.lines().filter(|line| !line.contains("Wait completed")).collect();
        let first = format!("Cancelling build after receiving {name}");
        assert_eq!(lines, [&first, "cleaned up", "", "Cleanly cancelled builds after being interrupted."]);
    }
}

#[test]
fn a_second_ctrl_c_leaves_the_clean_up_to_the_daemon() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([{"clean_up_until": "clean"}, {"say_variable": "GREETING"}, {"await_file": "go"}]));
    let mut build = home.start("build t.json");
    build.read_until("GREETING");
    build.signal(Signal::INT);
    build.read_until("Cancelling build");
    build.signal(Signal::INT);
    let run = build.finish();
    assert_eq!(run.code, 1);
    let id =
        run.stderr.split_whitespace().find_map(|word| word.strip_suffix(';').filter(|word| word.len() == 10)).unwrap();
    assert!(run.stderr.starts_with("kilnd goes on cleaning up after job "), "{run:?}");
    assert_eq!(home.state_of(id), "cancelling");
    std::fs::write(home.path("work/clean"), "").unwrap();
    home.wait_for_state(id, "cancelled");
    assert!(home.run(&format!("logs {id}")).stdout.contains("cleaned up"));
}

#[test]
fn a_killed_daemon_costs_no_line_and_doubles_none() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([{"say_variable": "GREETING"}, {"await_file": "go"}, {"say_variable": "HOME"}]));
    let mut build = home.start("build t.json");
    build.read_until("GREETING");
    let daemon = home.daemon();
    kill(daemon);
    std::fs::write(home.path("work/go"), "").unwrap();
    // Nobody but the watching client starts the next daemon.
    let run = build.finish();
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{run:?}");
    assert_eq!(run.stdout, format!("HOME={}\n", home.scratch.path().display()));
    assert_ne!(home.daemon(), daemon);
}

#[test]
fn a_stopped_daemon_leaves_jobs_running_and_says_so() {
    let Some(home) = Home::new() else { return };
    let id = home.detach(&json!([{"await_file": "go"}, {"say_variable": "GREETING"}]));
    home.wait_for_state(&id, "running");
    let run = home.run("daemon stop");
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("1 running job goes on; the next kilnd takes it up"), "{run:?}");
    assert!(!home.socket().exists());
    assert_eq!(home.run("daemon status").code, 1);
    assert_eq!(home.run("daemon stop").code, 0, "nothing to stop is fine");
    std::fs::write(home.path("work/go"), "").unwrap();
    let attached = home.run(&format!("attach {id}"));
    assert_eq!((attached.code, attached.stdout.as_str()), (0, "GREETING=hello\n"), "{attached:?}");
}

#[test]
fn attaching_leaves_the_job_alone() {
    let Some(home) = Home::new() else { return };
    let id = home.detach(&json!([{"say_variable": "GREETING"}, {"await_file": "go"}]));
    let mut attached = home.start(&format!("attach {id}"));
    attached.read_until("GREETING");
    attached.signal(Signal::INT);
    let run = attached.finish();
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with(&format!("job {id} goes on;")), "{run:?}");
    // The job's state may follow its words, and an ended one would not be waited for.
    home.wait_for_state(&id, "running");
    let mut logs = home.start(&format!("logs -f {id}"));
    logs.read_until("GREETING");
    let cancelled = home.run(&format!("cancel --wait {id}"));
    assert_eq!((cancelled.code, cancelled.stderr.as_str()), (0, format!("job {id} is over\n").as_str()));
    assert_eq!(home.state_of(&id), "cancelled");
    let run = logs.finish();
    assert_eq!((run.code, run.stdout.as_str()), (0, "cleaned up\n"));
    assert_eq!(home.run(&format!("attach {id}")).code, 1, "the job's own exit code");
    assert_eq!(home.run(&format!("logs {id}")).code, 0);
}

#[test]
fn a_killed_worker_is_reported_with_its_cause() {
    let Some(home) = Home::new() else { return };
    home.script(
        "t.json",
        &json!([
            {"emit": {"build": "null.a", "kind": "build_planned", "position": 0}},
            {"emit": {"build": "null.a", "kind": "say", "text": "working"}},
            {"await_file": "go"},
        ]),
    );
    let mut build = home.start("build --json t.json");
    let first = build.read_until("job_started");
    let event: serde_json::Value = serde_json::from_str(&first).unwrap();
    build.read_until("working");
    kill(i32::try_from(event["pid"].as_i64().unwrap()).unwrap());
    let run = build.finish();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("failed: the worker was killed (SIGKILL"), "{run:?}");
}

#[test]
fn without_a_terminal_questions_take_their_default() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([{"await_answer": "7"}, {"say_variable": "GREETING"}]));
    let run = home.run("build -on-error=ask t.json");
    assert_eq!((run.code, run.stdout.as_str()), (0, "GREETING=hello\n"), "{run:?}");
    // But not silently, wherever output goes.
    for command in ["build", "build -machine-readable", "build --json"] {
        let run = home.run(&format!("{command} -on-error=ask t.json"));
        assert!(run.stderr.contains(": answered with `") && run.stderr.contains("kiln answer"), "{command}: {run:?}");
    }
    // Somebody who only watches answers nothing; somebody else may.
    let id = home.detach(&json!([{"await_answer": "7"}]));
    wait_until("the question is asked", || home.run(&format!("logs --json {id}")).stdout.contains("\"prompt\""));
    assert_eq!(home.run(&format!("answer {id} 8 yes")).code, 1);
    assert_eq!(home.run(&format!("answer {id} 7 yes")).code, 0);
    assert_eq!(home.run(&format!("attach {id}")).code, 0);
    assert!(home.run(&format!("logs --json {id}")).stdout.contains("\"answer\":\"yes\""));
}

#[test]
fn jobs_wait_for_each_other() {
    let Some(home) = Home::new() else { return };
    let script = json!([{"await_file": "go"}]);
    // The daemon's limit comes from the environment of the client that starts it.
    let output = home.command("jobs").env("KILN_MAX_JOBS", "1").output().unwrap();
    assert!(output.status.success());
    let first = home.detach(&script);
    home.wait_for_state(&first, "running");
    home.script("t.json", &script);
    let second = home.start("build t.json");
    wait_until("the second job is queued", || home.run("jobs").stdout.contains("queued "));
    std::fs::write(home.path("work/go"), "").unwrap();
    let run = second.finish();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains(" waits for other jobs to finish"), "{run:?}");
}
