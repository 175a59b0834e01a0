//! Starting the daemon, and not talking to somebody else's.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use crate::rig::{Home, skip};

#[test]
fn many_clients_at_once_start_one_daemon() {
    let Some(home) = Home::new() else { return };
    let pids: HashSet<i32> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let run = home.run("jobs");
                    assert_eq!(run.code, 0, "{run:?}");
                    home.daemon()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(pids.len(), 1, "{pids:?}");
    let mode = home.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_missing_daemon_program_is_named() {
    let Some(home) = Home::new() else { return };
    std::fs::remove_file(home.path("bin/kilnd")).unwrap();
    let run = home.run("jobs");
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("error: cannot start kilnd\n  caused by: cannot run kilnd\n"), "{run:?}");
    assert!(run.stderr.contains("\nhint: kilnd belongs beside kiln"), "{run:?}");
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let Some(home) = Home::new() else { return };
    std::fs::create_dir(home.path("run/kiln")).unwrap();
    std::fs::set_permissions(home.path("run/kiln"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = home.run("jobs");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("is open to other users (mode 0755)"), "{run:?}");
    assert!(run.stderr.contains("hint: `chmod 700 "), "{run:?}");
}

#[test]
fn another_users_daemon_gets_nothing() {
    if !rustix::process::geteuid().is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return skip("root and setpriv");
    }
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([]));
    assert_eq!(home.run("jobs").code, 0);
    for (path, mode) in
        [("", 0o755), ("bin", 0o755), ("run", 0o755), ("run/kiln", 0o755), ("run/kiln/kiln.sock", 0o666)]
    {
        std::fs::set_permissions(home.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(home.path("bin/kiln"))
        .args(["jobs"])
        .current_dir("/")
        .env_clear()
        .env("KILN_SOCKET", home.socket())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("belongs to user 0, and would see the environment of this shell"), "{stderr}");
}
