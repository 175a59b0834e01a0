//! Forms, outputs and exit codes.

use std::process::Stdio;
use std::time::Instant;

use serde_json::{Value, json};

use crate::rig::Home;

fn script() -> Value {
    json!([
        {"emit": {"build": "null.a", "kind": "build_planned", "position": 0}},
        {"emit": {"build": "null.a", "kind": "say", "text": "one\ntwo"}},
        {"say_variable": "GREETING"},
        {"emit": {"build": "null.a", "kind": "artifact", "builder_id": "b", "id": "i", "text": "an artifact"}},
        {"emit": {"build": "null.a", "kind": "build_finished", "elapsed_us": 2_033_000}},
    ])
}

#[test]
fn a_build_prints_what_packer_prints() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &script());
    let run = home.run("build t.json");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let lines: Vec<_> = run.stdout.lines().filter(|line| !line.contains("Wait completed")).collect();
    let expected = [
        "==> null.a: one",
        "==> null.a: two",
        "GREETING=hello",
        "Build 'null.a' finished after 2 seconds 33 milliseconds.",
        "",
        "",
        "==> Builds finished. The artifacts of successful builds are:",
        "--> null.a: an artifact",
    ];
    assert_eq!(lines, expected);
    let records = home.run("build t.json -machine-readable").stdout;
    assert!(records.lines().all(|line| line.split(',').count() >= 4), "{records}");
    assert!(records.contains(",,ui,say,==> null.a: one\\n==> null.a: two\n"), "{records}");
    assert!(home.run("build -color=true t.json").stdout.starts_with("\x1b[1;32mnull.a: output will be in this color."));
    let events = home.run("build --json t.json").stdout;
    let kinds: Vec<_> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("job_started"));
    assert_eq!(kinds.last().map(String::as_str), Some("job_finished"));
}

#[test]
fn failures_have_exit_code_one_and_say_why_on_standard_error() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([{"stop": 1}]));
    let run = home.run("build t.json");
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (1, "", ""), "the events have said all");
    let run = home.run("build missing.json");
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.starts_with("error: job "), "{run:?}");
    assert!(run.stderr.contains("cannot read missing.json: No such file"), "{run:?}");
    assert!(run.stderr.contains("\nhint: `kiln logs "), "{run:?}");
}

#[test]
fn mistakes_on_the_command_line_are_not_sent_anywhere() {
    let Some(home) = Home::new() else { return };
    for (arguments, code) in [("", 127), ("bake t.json", 127), ("build", 1), ("build -forse t", 1), ("build a b", 1)] {
        assert_eq!(home.run(arguments).code, code, "{arguments}");
    }
    let list = home.run("").stdout;
    assert!(list.contains("Available commands are:\n  build "), "{list}");
    for (arguments, code, said) in [
        ("biuld t.json", 127, "error: there is no command `biuld`\n\nhint: did you mean \"build\"?\n"),
        ("build -forse t", 1, "error: `kiln build` has no flag `--forse`\n\nhint: did you mean \"--force\"?\n"),
        ("build --forse=true t", 1, "error: `kiln build` has no flag `--forse`\n\nhint: did you mean \"--force\"?\n"),
        ("build -xyzzy t", 1, "error: `kiln build` has no flag `--xyzzy`\n\nhint: `kiln help build` lists them\n"),
        ("image inof", 1, "error: there is no command `image inof`\n\nhint: did you mean \"info\"?\n"),
        ("image xyzzy", 1, "error: there is no command `image xyzzy`\n\nhint: `kiln help image` lists its commands\n"),
        (
            "image compare -jsno a b",
            2,
            "error: `kiln image compare` has no flag `--jsno`\n\nhint: did you mean \"--json\"?\n",
        ),
        ("help biuld", 127, "error: there is no command `biuld`\n\nhint: did you mean \"build\"?\n"),
    ] {
        let run = home.run(arguments);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (code, "", said), "{arguments}");
    }
    assert!(home.run("bake t.json").stdout.contains("Available commands are:"));
    for (arguments, usage) in [
        ("help", "Usage: kiln <command>"),
        ("help build", "Usage: kiln build "),
        ("help build t.json", "Usage: kiln build "),
        ("help image", "Usage: kiln image "),
        ("help image info", "Usage: kiln image info "),
        ("help image convert", "Usage: kiln convert "),
        ("help version", "Usage: kiln version"),
        ("help help", "Usage: kiln <command>"),
        ("--help", "Usage: kiln <command>"),
    ] {
        let run = home.run(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments}");
        assert!(run.stdout.contains(usage), "{arguments}: {run:?}");
    }
    let help = home.run("build -help");
    assert_eq!(help.code, 0);
    for flag in ["--parallel-builds", "--config-type", "-machine-readable"] {
        assert!(help.stdout.contains(flag), "{flag}: {help:?}");
    }
    assert!(home.run("build -var x t.json").stderr.contains("No '=' value in arg: x"));
    assert!(!home.socket().exists(), "no daemon was needed");
}

#[test]
fn the_version_needs_neither_daemon_nor_home() {
    let Some(home) = Home::new() else { return };
    let output = home.command("-v").env_clear().env("KILN_SOCKET", "/nowhere/kiln.sock").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("Kiln v{}\n", env!("CARGO_PKG_VERSION")));
    // A debug build on a busy machine, at its best; the release build is measured by the benchmark.
    let timed = || {
        let start = Instant::now();
        home.command("-v").env_clear().output().unwrap();
        start.elapsed()
    };
    let best = (0..5).map(|_| timed()).min().unwrap();
    assert!(best.as_secs() < 5, "{best:?}");
    let records = home.run("-machine-readable version").stdout;
    assert!(records.contains(concat!(",,version,", env!("CARGO_PKG_VERSION"), "\n")), "{records}");
}

#[test]
fn jobs_are_found_by_the_beginning_of_their_ids() {
    let Some(home) = Home::new() else { return };
    let id = home.detach(&script());
    assert_eq!(id.len(), 10);
    let attached = home.run(&format!("attach {}", &id[..6]));
    assert_eq!(attached.code, 0, "{attached:?}");
    assert!(attached.stdout.contains("--> null.a: an artifact"));
    assert_eq!(home.run(&format!("logs {id}")).stdout, attached.stdout);
    let table = home.run("jobs").stdout;
    assert!(table.lines().nth(1).unwrap().starts_with(&format!("{id}  succeeded ")), "{table}");
    let run = home.run("logs 0");
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (1, "error: there is no job `0`\n\nhint: `kiln jobs` lists the jobs\n")
    );
}

#[test]
fn a_screen_is_saved_whole() {
    let Some(home) = Home::new() else { return };
    let id = home.detach(&json!([{"await_file": "go"}]));
    home.wait_for_state(&id, "running");
    let run = home.run(&format!("screen {id} -o picture.png"));
    assert_eq!((run.code, run.stdout.as_str()), (0, "picture.png\n"), "{run:?}");
    assert!(std::fs::read(home.path("work/picture.png")).unwrap().starts_with(b"\x89PNG"));
    let run = home.run(&format!("screen -build=none {id} -o other.png"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("error: no guest of none is running\n"), "{run:?}");
    assert!(!home.path("work/other.png").exists());
    let output = home.command(&format!("screen {id}")).output().unwrap();
    assert!(output.stdout.starts_with(b"\x89PNG"), "to a pipe, as it is");
}

#[test]
fn a_template_from_standard_input_is_built() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &script());
    let input = std::fs::File::open(home.path("work/t.json")).unwrap();
    let output = home.command("build -").stdin(Stdio::from(input)).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("GREETING=hello"));
}

#[test]
fn output_that_nobody_reads_ends_the_client_and_not_the_job() {
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([{"say_variable": "GREETING"}, {"await_file": "go"}, {"say_variable": "GREETING"}]));
    let mut child = home.command("build t.json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(1), ""));
    let list: Value = serde_json::from_str(&home.run("jobs --json").stdout).unwrap();
    assert_eq!(list["jobs"][0]["state"], "running");
}

/// clap quotes what it does not understand.
#[test]
fn mistakes_on_the_command_line_do_not_drive_the_terminal() {
    let Some(home) = Home::new() else { return };
    let hostile = "x\x1b]0;PWN\x07\u{9b}\x1b[31mred\r\nhint: lies\u{202e}";
    let flag = format!("--{hostile}");
    let lines: &[(&[&str], i32)] = &[
        (&[hostile], 127),
        (&["image", hostile], 1),
        (&["daemon", hostile], 1),
        (&["help", "image", hostile], 1),
        (&["completions", hostile], 1),
        (&["build", &flag, "t"], 1),
        (&["build", &format!("--force={hostile}"), "t"], 1),
        (&["build", &format!("--on-error={hostile}"), "t"], 1),
        (&["build", "-var", hostile, "t"], 1),
        (&["build", "-parallel-builds", hostile, "t"], 1),
        (&["build", "t", hostile], 1),
        (&["version", hostile], 1),
        (&["jobs", "--since", hostile], 1),
        (&["jobs", "--limit", hostile], 1),
        (&["jobs", "--status", hostile], 1),
        (&["image", "compare", "a", "b", hostile], 2),
    ];
    for (arguments, code) in lines {
        let output = home.command("").args(*arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(!said.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{arguments:?}: {said:?}");
        assert!(said.contains("x^[]0;PWN^G\\u{9b}^[[31mred^M^Jhint: lies\\u{202e}"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_working_directory_that_is_gone_is_what_validate_complains_of() {
    let place = tempfile::tempdir().unwrap();
    let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$0\" validate web.pkr.hcl";
    let mut shell = std::process::Command::new("sh");
    let ran = shell.args(["-c", script, env!("CARGO_BIN_EXE_kiln")]).current_dir(place.path()).output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: the working directory cannot be found: "), "{said}");
    assert!(said.contains("hint: it was removed"), "{said}");
}
