//! The unit files, as systemd itself reads them.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests, too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Highest exposure of the daemon for all users, in tenths: `systemd-analyze security`.
const EXPOSURE: &str = "20";

/// Whether systemd's tools are there; said aloud when not.
fn can_analyze() -> bool {
    let there = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !there {
        assert!(std::env::var_os("KILN_TEST_REQUIRE").is_none_or(|what| what != "all"), "systemd-analyze is missing");
        eprintln!("ignored: systemd-analyze is missing");
    }
    there
}

/// Copies the units of a folder, with a program that is there in place of the installed one.
fn units(folder: &str, scratch: &Path) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("units").join(folder);
    let copied = std::fs::read_dir(folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let copy = scratch.join(entry.file_name());
        std::fs::write(&copy, text.replace("/usr/bin/kilnd", "/bin/true").replace("/usr/bin/kiln ", "/bin/true "))
            .unwrap();
        copy
    });
    copied.collect()
}

fn analyze(arguments: &[&str], files: &[PathBuf], scratch: &Path) -> (Output, String) {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).args(files).env("XDG_RUNTIME_DIR", scratch).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output, text)
}

/// Of other units of this machine it may say what it likes.
fn is_silent(output: &Output, said: &str) -> bool {
    output.status.success() && !said.contains("kiln")
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_of_a_user() {
    if !can_analyze() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let names = units("user", scratch.path());
    assert_eq!(names.len(), 3, "kilnd.socket, kilnd.service and kiln-agent.service");
    let verify = ["verify", "--user", "--man=no"];
    let (output, said) = analyze(&verify, &names, scratch.path());
    assert!(is_silent(&output, &said), "{said}");

    // What it would say of a fault, so that the silence above means something.
    let broken = scratch.path().join("kilnd-broken.service");
    std::fs::write(&broken, "[Service]\nType=notfy\nExecStart=/bin/true\nWatchDog=3\n").unwrap();
    let (_, said) = analyze(&verify, &[broken], scratch.path());
    assert!(said.contains("kilnd-broken") && said.contains("WatchDog"), "{said}");
}

/// `preset-all` of both managers, in a tree that holds the units and, if so wished, the presets; returns what is switched on then.
fn switched_on(with_presets: bool) -> usize {
    let scratch = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = scratch.path().join("usr/lib/systemd");
    for (whose, presets) in [("user", "60-kilnd-user.preset"), ("system", "60-kilnd.preset")] {
        let (folder, preset) = (base.join(whose), base.join(format!("{whose}-preset")));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::create_dir_all(&preset).unwrap();
        for unit in std::fs::read_dir(here.join("units").join(whose)).unwrap().map(|entry| entry.unwrap()) {
            std::fs::copy(unit.path(), folder.join(unit.file_name())).unwrap();
        }
        if with_presets {
            std::fs::copy(here.join("presets").join(presets), preset.join("60-kilnd.preset")).unwrap();
        }
    }
    for whose in ["--global", "--system"] {
        let mut command = Command::new("systemctl");
        let output = command.arg("--root").arg(scratch.path()).args([whose, "preset-all"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let wants = ["user/sockets", "user/graphical-session", "system/sockets"];
    let wants = wants.map(|target| scratch.path().join(format!("etc/systemd/{target}.target.wants")));
    wants.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).map(Iterator::count).sum()
}

#[test]
fn the_presets_switch_nothing_on() {
    if !can_analyze() {
        return;
    }
    assert_eq!(switched_on(false), 3, "the two sockets and the agent: what systemd does when nothing is said");
    assert_eq!(switched_on(true), 0);
}

/// With it kilnd's own children are no more confined than its users' shells.
#[test]
fn the_drop_in_for_workers_of_kilnds_own_takes_the_whole_sandbox_off() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documentation = std::fs::read_to_string(root.join("../docs/shared-hosts.md")).unwrap();
    let drop_in = documentation.split_once("```ini\n").unwrap().1.split_once("```").unwrap().0;
    let unit = std::fs::read_to_string(root.join("units/system/kilnd.service")).unwrap();
    let sandbox = unit.split_once("# Root, to act as the user").unwrap().1.split_once("[Install]").unwrap().0;
    let keys = sandbox.lines().filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.split_once('=')?.0));
    for key in keys.filter(|key| *key != "SystemCallErrorNumber") {
        assert!(drop_in.lines().any(|line| line.starts_with(&format!("{key}="))), "{key} stays");
    }
    assert!(drop_in.contains("KillMode=process\n"), "they outlive the daemon");
    if !can_analyze() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let names = units("system", scratch.path());
    let folder = scratch.path().join("kilnd.service.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("workers.conf"), drop_in).unwrap();
    let (output, said) = analyze(&["verify", "--man=no"], &names, scratch.path());
    assert!(is_silent(&output, &said), "{said}");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units_of_the_system_and_little_that_the_daemon_could_do() {
    if !can_analyze() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let names = units("system", scratch.path());
    assert_eq!(names.len(), 3, "kilnd.socket, kilnd.service and kiln-jobs.slice");
    let (output, said) = analyze(&["verify", "--man=no"], &names, scratch.path());
    assert!(is_silent(&output, &said), "{said}");

    let service = scratch.path().join("kilnd.service");
    let threshold = format!("--threshold={EXPOSURE}");
    let security = ["security", "--offline=true", "--no-pager", &threshold];
    let (output, said) = analyze(&security, std::slice::from_ref(&service), scratch.path());
    let verdict = said.lines().last().unwrap_or_default();
    assert!(output.status.success() && verdict.contains("exposure"), "{said}");
    println!("{verdict}");
    // One that may do everything is over the threshold.
    std::fs::write(&service, "[Service]\nExecStart=/bin/true\n").unwrap();
    let (output, said) = analyze(&security, &[service], scratch.path());
    assert!(!output.status.success(), "{said}");
}
