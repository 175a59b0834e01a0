//! Other people's programs on the bus: busctl, and the example in Python.

use super::*;

/// Runs a program to its end; returns how it went and what it said.
async fn run(mut command: tokio::process::Command) -> (bool, String) {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE * 3, command.output()).await.expect("the end in time").unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The commands of `docs/dbus.md`, each with what it is to say; a job's name there stands for any.
fn transcript() -> Vec<(String, String)> {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dbus.md")).unwrap();
    let console = document.split("## By hand").nth(1).unwrap().split("```console\n").nth(1).unwrap();
    let console = console.split("```").next().unwrap().replace("\\\n", " ");
    let parts = console.split("$ busctl ").skip(1).map(|part| part.split_once('\n').unwrap_or((part, "")));
    parts.map(|(command, said)| (format!("busctl {command}"), said.trim().to_owned())).collect()
}

#[tokio::test]
async fn the_commands_of_the_document_do_what_it_says() {
    if Command::new("busctl").arg("--version").output().is_err() {
        return skip("busctl");
    }
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let desktop = bus.desktop().await;
    std::fs::write(daemon.path("tiny.pkr.hcl"), waits_for(&daemon.path("never")).to_string()).unwrap();
    let named = "_abcdefghij";
    let (mut job, commands) = (String::new(), transcript());
    assert!(commands.len() >= 5, "{commands:?}");
    for (command, said) in commands {
        if command.contains(" monitor ") {
            continue; // It never ends.
        }
        if !job.is_empty() {
            desktop.wait_for(&job, JOB, "State", "running").await;
        }
        let name = job.rsplit('/').next().unwrap_or_default();
        let command = command.replace(named, if name.is_empty() { named } else { name });
        let mut shell = tokio::process::Command::new("bash");
        // `--user` is the session bus of whoever runs the test; here it is the test's.
        shell.args(["-c", &command.replace("--user", &format!("--address={}", bus.address()))]);
        shell.env("HOME", daemon.scratch.path()).current_dir(daemon.scratch.path());
        let (done, text) = run(shell).await;
        assert!(done, "{command}: {text}");
        if command.contains(" Submit ") {
            text.split('"').nth(1).unwrap().clone_into(&mut job);
            assert_eq!(said, format!("o \"{ROOT}/job/{named}\""));
            assert!(job.starts_with(&format!("{ROOT}/job/_")), "{text}");
        } else {
            assert_eq!(text.trim(), said, "{command}");
        }
    }
    desktop.wait_for(&job, JOB, "State", "cancelled").await;
}

#[tokio::test]
async fn the_example_submits_a_build_and_follows_it() {
    // Debian's own, whatever other Python comes first on the path.
    let python = "/usr/bin/python3";
    let has_jeepney =
        Command::new(python).args(["-c", "import jeepney"]).output().is_ok_and(|run| run.status.success());
    if !has_jeepney {
        return skip("python3-jeepney");
    }
    let Some(bus) = TestBus::start() else { return };
    let daemon = bus.kilnd().await;
    let script = json!([
        {"emit": {"build": "qemu.a", "kind": "build_planned", "position": 0}},
        {"emit": {"build": "qemu.a", "kind": "step_started", "step": "boot"}},
        {"emit": {"build": "qemu.a", "kind": "say", "text": "hello"}},
        {"say_variable": "KILN_EXAMPLE"},
        {"stop": 1},
    ]);
    let template = daemon.path("a.pkr.hcl");
    std::fs::write(&template, script.to_string()).unwrap();
    let example = |options: &[&str]| {
        let mut example = tokio::process::Command::new(python);
        example.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/desktop/build.py")).args(options).arg(&template);
        example.arg("size=10G").env_remove("DBUS_SESSION_BUS_ADDRESS").env("KILN_EXAMPLE", "seen");
        example
    };
    for (options, bus_of) in [(&[][..], "DBUS_SESSION_BUS_ADDRESS"), (&["--system"], "DBUS_SYSTEM_BUS_ADDRESS")] {
        let mut example = example(options);
        example.env(bus_of, bus.address());
        let (done, text) = run(example).await;
        assert!(!done, "the build failed, and so does the example: {text}");
        for words in ["job /org/kiln/Kiln1/job/_", "failed", "==> qemu.a: hello", "KILN_EXAMPLE=seen"] {
            assert!(text.contains(words), "{bus_of}: {words}: {text}");
        }
        assert!(!text.contains("Traceback"), "{text}");
    }
    let jobs = daemon.get("/v1/jobs").await.json::<Value>();
    let codes: Vec<_> = jobs["jobs"].as_array().unwrap().iter().map(|job| job["exit_code"].as_i64()).collect();
    assert_eq!(codes, [Some(1), Some(1)], "{jobs}");
    let (done, text) = run(example(&[])).await;
    assert!(!done && text.contains("no session bus here") && text.contains("--system"), "{text}");
}
