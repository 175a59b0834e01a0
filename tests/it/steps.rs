//! What `kiln jobs show` says of the steps of real workers, which the builders without a guest record as all others do.

use std::time::Duration;

use kiln_tests::Home;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const WAIT: Duration = Duration::from_secs(60);

const TEMPLATE: &str = r#"
source "file" "note" {
  content = "text"
  target  = "note.txt"
}

source "null" "nothing" {
  communicator = "none"
}

build {
  sources = ["file.note", "null.nothing"]

  provisioner "shell-local" {
    inline = ["true"]
  }

  provisioner "shell-local" {
    only   = ["null.nothing"]
    inline = ["test -e go-on || { : > waits; sleep 1000; }", "exit 3"]
  }

  post-processor "checksum" {
    output = "note.sums"
  }
}
"#;

/// Number, phase, name and state of each step of a build that is known by now.
fn steps(home: &Home, id: &str, build: &str) -> Vec<String> {
    let job: Value = serde_json::from_str(&home.kiln(["jobs", "show", "--json", id]).expect(0).stdout).unwrap();
    let build = job["builds"].as_array().unwrap().iter().find(|other| other["name"] == build);
    let steps = build.and_then(|build| build["steps"].as_array());
    let text = |step: &Value, key: &str| step[key].as_str().unwrap().to_owned();
    let said = |step: &Value| {
        let [phase, name, state] = ["phase", "name", "state"].map(|key| text(step, key));
        assert_eq!(step["elapsed_us"].is_u64(), ["done", "failed"].contains(&state.as_str()), "{step}");
        format!("{} {phase}: {name}: {state}", step["number"])
    };
    steps.into_iter().flatten().map(said).collect()
}

fn state(home: &Home, id: &str) -> String {
    let job: Value = serde_json::from_str(&home.kiln(["jobs", "show", "--json", id]).expect(0).stdout).unwrap();
    job["state"].as_str().unwrap().to_owned()
}

#[test]
fn every_provisioner_and_post_processor_of_a_real_build_is_a_step_with_its_time() {
    let home = Home::new();
    home.write("t.pkr.hcl", TEMPLATE);
    home.write("go-on", "");
    let id = home.kiln(["build", "--detach", "t.pkr.hcl"]).expect(0).stdout.trim().to_owned();
    home.kiln(["attach", &id]).expect(1);
    assert_eq!(
        steps(&home, &id, "file.note"),
        [
            "1 prepare: write: done",
            "2 provision: provisioner 1 (shell-local): done",
            "3 post_process: post-processor 1 (checksum): done",
        ]
    );
    let failed = ["1 provision: provisioner 1 (shell-local): done", "2 provision: provisioner 2 (shell-local): failed"];
    assert_eq!(steps(&home, &id, "null.nothing"), failed);
    let shown = home.kiln(["jobs", "show", &id]).expect(0).stdout;
    let row =
        |words: &[&str]| shown.lines().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()));
    assert!(row(&["2", "provision", "provisioner", "1", "(shell-local)", "done"]), "{shown}");
    assert!(row(&["2", "provision", "provisioner", "2", "(shell-local)", "failed"]), "{shown}");
    assert!(shown.contains("      error: ") && shown.contains("exit status"), "{shown}");
}

#[test]
fn a_step_that_a_killed_worker_was_at_is_shown_as_interrupted() {
    let home = Home::new();
    home.write("t.pkr.hcl", TEMPLATE);
    let id = home.kiln(["build", "--detach", "-only=null.nothing", "t.pkr.hcl"]).expect(0).stdout.trim().to_owned();
    home.wait_for("the second provisioner", WAIT, || home.work("waits").exists().then_some(()));
    let first = "1 provision: provisioner 1 (shell-local): done";
    home.wait_for("its record", WAIT, || {
        (steps(&home, &id, "null.nothing") == [first, "2 provision: provisioner 2 (shell-local): running"])
            .then_some(())
    });
    let worker = std::fs::read(home.path().join("state/kiln/jobs").join(&id).join("worker.json")).unwrap();
    let worker: Value = serde_json::from_slice(&worker).unwrap();
    let pid = i32::try_from(worker["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    home.wait_for("the job's end", WAIT, || (state(&home, &id) == "failed").then_some(()));
    assert_eq!(steps(&home, &id, "null.nothing"), [first, "2 provision: provisioner 2 (shell-local): interrupted"]);
}
