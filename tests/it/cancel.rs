//! Cancelling, killing and crashing, at various moments of a real build: nothing is left, and no event is lost.

use std::time::Duration;

use kiln_tests::{Home, installer, root};
use rustix::process::{Pid, Signal, kill_process};

use crate::guests::{PASSWORD, Template};

const WAIT: Duration = Duration::from_secs(120);

/// A home with a template whose provisioner takes for ever.
fn home_with_endless_build() -> Option<Home> {
    let iso = installer()?;
    let home = Home::new();
    let source = format!("ssh_password = {PASSWORD:?}\n  ssh_timeout = \"2m\"");
    let build = "provisioner \"shell\" {\n inline = [\"echo started\", \"sleep 1000\"]\n }";
    home.write("guest.pkr.hcl", &Template { iso: &iso, answers: &[], source: &source, build }.text());
    Some(home)
}

fn jobs(home: &Home) -> Vec<serde_json::Value> {
    let Some(jobs) = home.get("/v1/jobs") else { return Vec::new() };
    jobs.as_array().or_else(|| jobs["jobs"].as_array()).cloned().unwrap_or_default()
}

fn state(home: &Home) -> Option<String> {
    Some(jobs(home).first()?["state"].as_str()?.to_owned())
}

fn events(home: &Home) -> Vec<serde_json::Value> {
    let Some(id) = jobs(home).first().and_then(|job| job["id"].as_str().map(str::to_owned)) else { return Vec::new() };
    let output = home.curl(&[&format!("/v1/jobs/{id}/events")]);
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn wait_for_step(home: &Home, step: &str) {
    home.wait_for(step, WAIT, || {
        events(home).iter().any(|event| event["kind"] == "step_started" && event["step"] == step).then_some(())
    });
}

fn worker(home: &Home) -> Pid {
    let events = events(home);
    let started = events.iter().find(|event| event["kind"] == "job_started").expect("the job runs");
    pid(started["pid"].as_u64().expect("a pid"))
}

fn pid(number: u64) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid")).expect("a pid")
}

fn qemu(home: &Home) -> Pid {
    let leftovers = home.leftovers();
    let (number, _) = leftovers.processes.iter().find(|(_, line)| line.contains("qemu-system")).expect("QEMU runs");
    pid(u64::from(*number))
}

#[track_caller]
fn assert_clean(home: &Home) {
    home.wait_for("the end of all processes", Duration::from_secs(60), || {
        home.leftovers().processes.is_empty().then_some(())
    });
    let leftovers = home.leftovers();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    assert!(!home.work("out").exists());
}

#[test]
fn ctrl_c_cancels_and_waits_for_the_clean_up() {
    let Some(home) = home_with_endless_build() else { return };
    let running = home.start(["build", "-color=false", "guest.pkr.hcl"]);
    wait_for_step(&home, "boot");
    running.signal(Signal::INT);
    let ran = running.wait().expect(1);
    assert!(ran.stdout.contains("Cancelling build after receiving interrupt"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Cleanly cancelled builds after being interrupted."), "{}", ran.stdout);
    assert_eq!(state(&home).as_deref(), Some("cancelled"));
    assert_clean(&home);
}

#[test]
fn a_detached_build_survives_its_daemon_and_is_cancelled_by_its_id() {
    let Some(home) = home_with_endless_build() else { return };
    let id = home.kiln(["build", "--detach", "guest.pkr.hcl"]).expect(0).stdout.trim().to_owned();
    wait_for_step(&home, "connect");
    let daemon = home.daemon_pid().expect("the daemon runs");
    kill_process(pid(u64::from(daemon)), Signal::KILL).unwrap();
    let before = worker_pid_of_file(&home, &id);
    // The next command starts a new daemon, which finds the worker.
    home.kiln(["jobs"]).expect(0);
    assert_ne!(home.daemon_pid(), Some(daemon));
    assert_eq!(state(&home).as_deref(), Some("running"));
    assert_eq!(worker_pid_of_file(&home, &id), before);
    home.kiln(["cancel", &id]).expect(0);
    home.wait_for("the cancellation", WAIT, || (state(&home)? == "cancelled").then_some(()));
    let events = events(&home);
    assert!((1..).zip(&events).all(|(number, event)| event["seq"] == number), "a gap in {events:?}");
    assert_clean(&home);
}

fn worker_pid_of_file(home: &Home, id: &str) -> String {
    let path = home.path().join("state/kiln/jobs").join(id).join("worker.json");
    std::fs::read_to_string(path).expect("the worker said who it is")
}

#[test]
fn a_killed_worker_leaves_nothing_and_the_job_fails_with_the_cause() {
    let Some(home) = home_with_endless_build() else { return };
    home.kiln(["build", "--detach", "guest.pkr.hcl"]).expect(0);
    wait_for_step(&home, "boot");
    kill_process(worker(&home), Signal::KILL).unwrap();
    home.wait_for("the job's end", WAIT, || (state(&home)? == "failed").then_some(()));
    assert_clean(&home);
    let events = events(&home);
    let last = events.last().unwrap();
    assert_eq!(last["kind"], "job_finished");
    assert!(last["error"].as_str().is_some_and(|error| error.contains("worker")), "{last}");
    assert!((1..).zip(&events).all(|(number, event)| event["seq"] == number));
}

#[test]
fn a_killed_qemu_ends_the_build_and_says_so() {
    let Some(home) = home_with_endless_build() else { return };
    let running = home.start(["build", "-color=false", "guest.pkr.hcl"]);
    wait_for_step(&home, "connect");
    kill_process(qemu(&home), Signal::KILL).unwrap();
    let ran = running.wait().expect(1);
    assert!(ran.stdout.contains("the machine stopped"), "{}", ran.stdout);
    assert!(ran.stdout.contains("SIGKILL") || ran.stdout.contains("signal"), "{}", ran.stdout);
    assert_clean(&home);
}

/// A disk that runs full while the guest is installed. Needs root, for a small file system.
#[test]
fn a_full_disk_ends_the_build_and_says_so() {
    let Some(iso) = installer() else { return };
    if !root() {
        return;
    }
    let home = Home::new();
    std::fs::create_dir(home.work("small")).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=20m", "tmpfs"])
        .arg(home.work("small"))
        .status()
        .unwrap();
    assert!(mounted.success());
    let source = format!("ssh_password = {PASSWORD:?}\n  ssh_timeout = \"2m\"");
    let text = Template { iso: &iso, answers: &[], source: &source, build: "" }.text();
    home.write("guest.pkr.hcl", &text.replace("= \"out\"", "= \"small/out\""));
    let ran = home.kiln(["build", "-color=false", "guest.pkr.hcl"]);
    let left = std::fs::read_dir(home.work("small")).unwrap().count();
    let unmounted = std::process::Command::new("umount").arg(home.work("small")).status().unwrap();
    let ran = ran.expect(1);
    assert!(ran.stdout.to_lowercase().contains("no space left"), "{}", ran.stdout);
    assert!(ran.stdout.contains("hint: "), "{}", ran.stdout);
    assert_eq!(left, 0);
    assert!(unmounted.success(), "something still uses the full file system");
    assert_clean(&home);
}

#[test]
fn a_script_on_this_machine_does_not_outlive_its_worker() {
    let text = "inline = [\"echo $$ > started\", \"sleep 1000\", \"echo a-secret\"]";
    for (name, template) in [
        (
            "t.pkr.hcl",
            format!(
                "source \"null\" \"n\" {{ communicator = \"none\" }}\nbuild {{\n sources = [\"null.n\"]\n \
                 provisioner \"shell-local\" {{\n {text}\n }}\n}}\n"
            ),
        ),
        (
            "pp.pkr.hcl",
            format!(
                "source \"file\" \"n\" {{ target = \"n.txt\" }}\nbuild {{\n sources = [\"file.n\"]\n \
                 post-processor \"shell-local\" {{\n {text}\n }}\n}}\n"
            ),
        ),
    ] {
        for now in [false, true] {
            let home = Home::new();
            home.write(name, &template);
            let id = home.kiln(["build", "--detach", name]).expect(0).stdout.trim().to_owned();
            let shell = home.wait_for("the script", WAIT, || {
                std::fs::read_to_string(home.work("started")).ok()?.trim().parse::<u64>().ok()
            });
            let script = std::fs::read_to_string(format!("/proc/{shell}/cmdline")).unwrap();
            let script = script.split('\0').find(|word| word.contains("/packer-shell")).unwrap().to_owned();
            assert!(std::path::Path::new(&script).exists());
            if now {
                home.kiln(["cancel", "--now", &id]).expect(0);
            } else {
                kill_process(worker(&home), Signal::KILL).unwrap();
            }
            home.wait_for("the job's end", WAIT, || {
                ["failed", "cancelled"].contains(&state(&home)?.as_str()).then_some(())
            });
            // Dead at once; whoever inherited it may be slow to bury it.
            let command = std::fs::read(format!("/proc/{shell}/cmdline")).unwrap_or_default();
            assert_eq!(String::from_utf8_lossy(&command), "", "{name}: the shell goes on");
            assert!(!std::path::Path::new(&script).exists(), "{name}: {script} stays");
            home.wait_for("the end of all processes", Duration::from_secs(60), || {
                home.leftovers().processes.is_empty().then_some(())
            });
        }
    }
}
