//! Lists of jobs, their questions, and the daemon where it is not looked for.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::rig::{Home, kill, skip, wait_until};

#[test]
fn finished_jobs_are_removed_and_running_ones_are_not() {
    let Some(home) = Home::new() else { return };
    let done = home.detach(&json!([]));
    home.wait_for_state(&done, "succeeded");
    let failed = home.detach(&json!([
        {"emit": {"build": "null.a", "kind": "build_planned", "position": 0}},
        {"emit": {"build": "null.a", "kind": "build_finished", "elapsed_us": 7, "error": "Script exited with 3"}},
        {"stop": 1},
    ]));
    home.wait_for_state(&failed, "failed");
    let running = home.detach(&json!([{"await_file": "go"}]));
    home.wait_for_state(&running, "running");
    // What runs comes first, whatever the limit.
    let list = home.run("jobs --limit 1").stdout;
    assert!(list.contains(&running) && !list.contains(&failed), "{list}");
    let list = home.run("jobs -status=failed").stdout;
    assert!(list.contains(&failed) && list.contains("null.a: Script exited with 3") && !list.contains(&done), "{list}");
    assert_eq!(home.run("jobs --since 1h").stdout.lines().count(), 5);
    assert_eq!(home.run("jobs --since 2099-01-01").stderr, "no such jobs\n");
    for (arguments, said) in [("--status broken", "one of queued, "), ("--since yesterday", "neither a time ago")] {
        let run = home.run(&format!("jobs {arguments}"));
        assert!(run.code == 1 && run.stderr.contains(said), "{run:?}");
    }

    let run = home.run(&format!("jobs rm {running} {done} zzz"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains(&format!("error: job {running} is not over (running)\n")), "{run:?}");
    assert!(run.stderr.contains(&format!("hint: `kiln cancel --wait {running}` ends it first")), "{run:?}");
    assert!(run.stderr.contains(&format!("job {done} is removed\n")), "{run:?}");
    assert!(run.stderr.contains("error: there is no job `zzz`"), "{run:?}");
    assert_eq!(home.run(&format!("logs {done}")).code, 1);
    let jobs = home.path(".local/state/kiln/jobs");
    assert!(!jobs.join(&done).exists() && jobs.join(&running).exists());
    assert_eq!(home.run(&format!("jobs rm {}", &failed[..8])).code, 0);
    assert_eq!(home.run("jobs rm").code, 1);
    assert_eq!(home.state_of(&running), "running");
}

#[test]
fn the_only_question_is_answered_without_its_name() {
    let Some(home) = Home::new() else { return };
    let id = home.detach(&json!([{"await_answer": "7"}, {"await_answer": "8"}]));
    wait_until("the question is in the list", || home.run("jobs").stdout.contains("asks: What now?"));
    assert!(home.run("jobs").stdout.contains(&format!("answer: `kiln answer {id} ANSWER`")));
    let logs = home.run(&format!("logs {id}"));
    assert_eq!((logs.code, logs.stdout.as_str()), (0, "What now?\n"));
    assert_eq!(logs.stderr, format!("job {id} waits for an answer: `kiln answer {id} ANSWER`\n"));
    let mut attached = home.command(&format!("attach {id}"));
    // A session of its own has no terminal to be asked at.
    let mut attached = std::os::unix::process::CommandExt::process_group(&mut attached, 0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let run = home.run(&format!("answer {id} yes"));
    assert_eq!((run.code, run.stderr), (0, format!("job {id} goes on with `yes`\n")));
    wait_until("the next question is asked", || home.run("jobs --json").stdout.contains("\"prompt\": \"8\""));
    assert_eq!(home.run(&format!("answer {id} 8 no")).code, 0);
    home.wait_for_state(&id, "succeeded");
    assert!(attached.wait().unwrap().success());
    let logs = home.run(&format!("logs {id}"));
    assert_eq!(logs.stdout, "What now?\nAnswered: yes\nWhat now?\nAnswered: no\n");
    assert_eq!(logs.stderr, "");
    let run = home.run(&format!("answer {id} yes"));
    assert!(run.code == 1 && run.stderr.starts_with(&format!("error: job {id} is over (succeeded)\n")), "{run:?}");
}

#[test]
fn a_queued_job_says_whose_answer_it_waits_for() {
    let Some(home) = Home::new() else { return };
    // Starts the daemon.
    assert!(home.command("jobs").env("KILN_MAX_JOBS", "1").output().unwrap().status.success());
    let asking = home.detach(&json!([{"await_answer": "7"}]));
    wait_until("the question is in the list", || home.run("jobs").stdout.contains("asks: What now?"));
    let queued = home.detach(&json!([{"say_variable": "GREETING"}]));
    let list = home.run("jobs -status=queued").stdout;
    assert!(list.contains("detached.json (next)\n"), "{list}");
    assert!(list.contains(&format!("waits for: {asking} (asks something: `kiln answer {asking}`)\n")), "{list}");
    let mut attached = home.command(&format!("attach {queued}"));
    let mut attached = attached.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stderr, mut told) = (BufReader::new(attached.stderr.take().unwrap()), String::new());
    while told.lines().count() < 2 {
        assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "{told}");
    }
    let expected = format!(
        "job {queued} waits for other jobs to finish; `kiln jobs` lists them\njob {asking} waits for an answer: \
         `kiln answer {asking}`\n"
    );
    assert_eq!(told, expected);
    assert_eq!(home.run(&format!("answer {asking} yes")).code, 0);
    let output = attached.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"GREETING=hello\n".as_slice()));
}

#[test]
fn the_steps_of_a_job_are_shown_with_their_times() {
    let Some(home) = Home::new() else { return };
    let record = |state: &str, elapsed: Value| {
        json!({"record": {"build": "qemu.web", "number": 1, "phase": "provision", "name": "provisioner 1 (shell)", "state": state,
                          "at": "2026-01-02T03:04:05Z", "elapsed_ms": elapsed}})
    };
    let id = home.detach(&json!([
        {"emit": {"build": "qemu.web", "kind": "build_planned", "position": 0}},
        {"record": {"version": 1, "build": "qemu.web", "plan": "aa"}},
        record("intent", Value::Null),
        {"emit": {"build": "qemu.web", "kind": "step_started", "step": "provisioner 1 (shell)"}},
        record("done", json!(1500)),
        {"emit": {"build": "qemu.web", "kind": "step_finished", "step": "provisioner 1 (shell)", "elapsed_us": 1_500_000}},
        {"emit": {"build": "qemu.web", "kind": "build_finished", "elapsed_us": 7}},
    ]));
    home.wait_for_state(&id, "succeeded");
    let output = home.command(&format!("jobs show {}", &id[..8])).env("TZ", "UTC").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.lines().nth(1).unwrap().starts_with(&id), "{text}");
    let steps = "
qemu.web
  NO  PHASE         STEP                   STATE        BEGAN       TOOK
   1  provision     provisioner 1 (shell)  done         03:04:05    1.5s
";
    assert!(text.ends_with(steps), "{text}");
    let job: Value = serde_json::from_str(&home.run(&format!("jobs show --json {id}")).stdout).unwrap();
    assert_eq!(job["builds"][0]["steps"][0]["elapsed_us"], 1_500_000);
    let run = home.run("jobs show zzz");
    assert!(run.code == 1 && run.stderr.contains("error: there is no job `zzz`"), "{run:?}");
    assert_eq!(home.run("jobs show").code, 1);
}

#[test]
fn events_tell_what_failed_without_the_systems_numbers() {
    let Some(home) = Home::new() else { return };
    let run = home.run("build --json nowhere.json");
    assert!(run.code == 1 && run.stdout.contains("cannot read nowhere.json: No such file or directory"), "{run:?}");
    assert!(!run.stdout.contains("os error"), "{run:?}");
    let run = home.run("hcl2_upgrade nowhere.json");
    assert!(
        run.code == 1 && run.stderr.contains("No such file or directory") && !run.stderr.contains("os error"),
        "{run:?}"
    );
}

#[test]
fn times_are_those_of_the_zone() {
    let Some(home) = Home::new() else { return };
    if !std::path::Path::new("/usr/share/zoneinfo/Asia/Kolkata").exists() {
        return skip("the system's zone files (tzdata)");
    }
    let id = home.detach(&json!([]));
    home.wait_for_state(&id, "succeeded");
    let submitted = |zone: &str| {
        let output = home.command("jobs").env("TZ", zone).output().unwrap();
        let table = String::from_utf8(output.stdout).unwrap();
        let minute: u32 = table.lines().nth(1).unwrap()[38..40].parse().unwrap();
        (minute, String::from_utf8(output.stderr).unwrap())
    };
    let (utc, _) = submitted("UTC");
    assert_eq!(submitted("Asia/Kolkata"), ((utc + 30) % 60, String::new()));
    let (minute, warning) = submitted("No/Where");
    assert_eq!(minute, utc);
    assert!(warning.starts_with("warning: the time zone TZ=No/Where is not known"), "{warning}");
}

#[test]
fn a_daemon_at_another_socket_is_found_by_its_lock() {
    let Some(home) = Home::new() else { return };
    assert_eq!(home.run("jobs").code, 0);
    let pid = home.daemon();
    std::fs::create_dir(home.path("other")).unwrap();
    std::fs::set_permissions(home.path("other"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let elsewhere = |arguments: &str, variable: &str, value: &str| {
        let output = home.command(arguments).env(variable, home.path(value)).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, stdout, stderr) = elsewhere("daemon status", "XDG_RUNTIME_DIR", "other");
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains(&format!("socket: {}\n", home.socket().display())), "{stdout}");
    let (code, stdout, _) = elsewhere("daemon status --json", "XDG_RUNTIME_DIR", "other");
    let info: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, info["pid"].as_i64()), (Some(0), Some(i64::from(pid))));
    // Who names a socket means that one, and is told of the other.
    let (code, _, stderr) = elsewhere("daemon status", "KILN_SOCKET", "other/k.sock");
    assert!(code == Some(1) && stderr.contains(&format!("(process {pid}): unset KILN_SOCKET")), "{stderr}");
    let (code, _, stderr) = elsewhere("jobs", "KILN_SOCKET", "other/k.sock");
    assert!(code == Some(1) && stderr.contains(&format!("another kilnd (process {pid}, at ")), "{stderr}");
    // A dead one's lock misleads nobody.
    kill(pid);
    wait_until("the next daemon", || elsewhere("jobs", "XDG_RUNTIME_DIR", "other").0 == Some(0));
    let (_, stdout, _) = elsewhere("daemon status", "XDG_RUNTIME_DIR", "other");
    assert!(stdout.contains(&format!("socket: {}/kiln/kiln.sock\n", home.path("other").display())), "{stdout}");
}

#[test]
fn a_socket_that_is_closed_to_us_is_not_called_absent() {
    let available = Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    if !rustix::process::geteuid().is_root() || !available {
        return skip("root and setpriv");
    }
    let Some(home) = Home::new() else { return };
    assert_eq!(home.run("jobs").code, 0);
    std::fs::set_permissions(&home.scratch, std::fs::Permissions::from_mode(0o755)).unwrap();
    for arguments in [&["jobs"][..], &["daemon", "status"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(home.path("bin/kiln")).args(arguments);
        command.env("XDG_RUNTIME_DIR", home.path("run")).env_remove("KILN_SOCKET").current_dir("/");
        std::fs::set_permissions(home.path("bin"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("Permission denied") && !stderr.contains("kilnd --user"), "{stderr}");
        assert!(stderr.contains("hint: ") && stderr.contains("belongs to another user"), "{stderr}");
    }
}

#[test]
fn a_follower_finds_the_daemon_again_and_again() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([{"say_variable": "GREETING"}, {"await_file": "go"}, {"say_variable": "GREETING"}]));
    let mut build = home.start("build t.json");
    build.read_until("GREETING");
    for _ in 0..2 {
        let daemon = home.daemon();
        kill(daemon);
        // The watching client starts the next one; status never does.
        wait_until("the next daemon", || home.run("daemon status").code == 0);
        assert_ne!(home.daemon(), daemon);
    }
    std::fs::write(home.path("work/go"), "").unwrap();
    let run = build.finish();
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "GREETING=hello\n", ""));
}
