//! The API as curl sees it: self-description, hostile requests, other users.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_tests::{Home, root, tool};

fn status(home: &Home, arguments: &[&str]) -> String {
    let mut all = arguments.to_vec();
    all.extend(["-o", "/dev/null", "-w", "%{http_code}"]);
    String::from_utf8_lossy(&home.curl(&all).stdout).into_owned()
}

#[test]
fn the_daemon_describes_itself_and_survives_hostile_requests() {
    if !tool("curl") {
        return;
    }
    let home = Home::new();
    home.kiln(["jobs"]).expect(0);
    // Looking for hypervisors takes some seconds the first time after a boot; the daemon answers meanwhile.
    home.wait_for("the list of hypervisors", Duration::from_secs(60), || {
        let info = home.get("/v1/info").expect("info is JSON");
        let list = info["hypervisors"].as_array()?;
        list.iter().any(|one| one["name"] == "qemu" && one["reason"].is_string()).then_some(())
    });
    let document = home.get("/v1/openapi.json").expect("the document is JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for path in [
        "/v1/info",
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/events",
        "/v1/jobs/{id}/cancel",
        "/v1/jobs/{id}/screen",
    ] {
        assert!(document["paths"].get(path).is_some(), "{path} is not in the document");
    }
    let json = ["-H", "Content-Type: application/json"];
    assert_eq!(status(&home, &["/v1/jobs", json[0], json[1], "-d", "{not json"]), "400");
    home.write("big", &"x".repeat(2 << 20));
    let big = format!("@{}", home.work("big").display());
    assert_eq!(status(&home, &["/v1/jobs", json[0], json[1], "--data-binary", &big]), "413");
    assert_eq!(status(&home, &["/v1/jobs/none-such"]), "404");
    assert_eq!(status(&home, &["/v1/nowhere"]), "404");
    let problem = home.curl(&["/v1/jobs/none-such", "-i"]);
    assert!(String::from_utf8_lossy(&problem.stdout).contains("application/problem+json"));
    assert_eq!(status(&home, &["/v1/info"]), "200", "the daemon goes on");
}

/// What a VirtualBox lacks is told by the list of hypervisors, with what to do.
#[test]
fn virtualbox_says_what_it_lacks() {
    if !tool("curl") {
        return;
    }
    let version = "echo 7.2.4r170995";
    // Where there is a driver, it is what counts.
    let without_driver = !Path::new("/dev/vboxdrv").exists();
    for (script, available, words) in [
        (None, false, ["VBoxManage is not in PATH", "install VirtualBox"]),
        (Some("echo 6.1.50r161033"), false, ["7.0 or newer is needed; this is 6.1.50", "install VirtualBox 7.0"]),
        (Some("echo no"), false, ["does not tell its version", ""]),
        (
            Some("echo 'WARNING: The character device /dev/vboxdrv does not exist.'; echo 7.2.4r170995"),
            true,
            ["no guest can be started", "modprobe vboxdrv"],
        ),
        (Some(version), true, ["", ""]),
    ] {
        if script.is_some_and(|script| script.contains("vboxdrv")) && !without_driver {
            continue;
        }
        let home = Home::new();
        let programs = home.work("bin");
        std::fs::create_dir_all(&programs).unwrap();
        if let Some(script) = script {
            home.write("bin/VBoxManage", &format!("#!/bin/sh\n{script}\n"));
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(programs.join("VBoxManage"), mode).unwrap();
        }
        let mut command = home.command("kiln");
        command.arg("jobs").env("PATH", &programs);
        home.start_command(command).wait().expect(0);
        let seen = home.wait_for("the list of hypervisors", Duration::from_secs(60), || {
            let info = home.get("/v1/info").expect("info is JSON");
            info["hypervisors"].as_array()?.iter().find(|one| one["name"] == "virtualbox").cloned()
        });
        let reason = seen["reason"].as_str().unwrap_or_default();
        assert_eq!(seen["available"], available, "{script:?}: {seen}");
        assert!(words.iter().all(|words| reason.contains(words)), "{script:?}: {seen}");
        assert!(script != Some(version) || reason.is_empty(), "{seen}");
    }
}

/// Needs root, to become somebody else.
#[test]
fn another_user_is_refused() {
    if !tool("curl") || !root() {
        return;
    }
    let home = Home::new();
    home.kiln(["jobs"]).expect(0);
    // The socket's own mode would stop them already: this is about what the daemon does when it does not.
    for path in ["", "run", "run/kiln", "run/kiln/kiln.sock"] {
        let path = home.path().join(path);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let output = Command::new("curl")
        .args(["-sS", "-i", "--max-time", "10", "--unix-socket"])
        .arg(home.socket())
        .arg("http://kiln/v1/jobs")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("HTTP/1.1 403"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(status(&home, &["/v1/info"]), "200", "the daemon goes on");
}

#[test]
fn version_needs_no_daemon() {
    let home = Home::new();
    let fastest = (0..5).map(|_| home.kiln(["version"]).expect(0).elapsed).min().unwrap();
    assert!(!home.socket().exists(), "no daemon was started");
    // 10 ms is the promise of a release build on a quiet machine (`./x bench`); this one may be neither.
    println!("kiln version: {fastest:?}");
}
