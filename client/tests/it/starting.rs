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
fn a_socket_path_that_is_too_long_is_told_with_the_limit() {
    let Some(home) = Home::new() else { return };
    let mut command = home.command("jobs");
    let output = command.env("KILN_SOCKET", home.path(&"x".repeat(120)).join("kiln.sock")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hint: the path of a socket has 107 bytes at most: set KILN_SOCKET"), "{said}");
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
    assert_noted(&home, "is open to other users (mode 0755)", "hint: `chmod 700 ");
}

/// `kiln daemon status` tells why the last start failed, and what to do.
fn assert_noted(home: &Home, reason: &str, hint: &str) {
    let status = home.run("daemon status");
    assert_eq!(status.code, 1, "{status:?}");
    let last = status.stderr.find("\nits last start failed (").unwrap_or_else(|| panic!("{status:?}"));
    assert!(status.stderr[last..].contains(reason) && status.stderr[last..].contains(hint), "{status:?}");
    let note = home.path(".local/state/kiln").join(kiln_protocol::places::FAILED_START_NAME);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&note), mode(note.parent().unwrap())), (0o600, 0o700));
}

/// Each at another point of the start, the first before anything of the daemon's was made.
#[test]
fn a_failed_start_is_noted_wherever_it_fails_and_forgotten_by_the_next() {
    let Some(home) = Home::new() else { return };
    let output = home.command("jobs").env("KILN_MAX_JOBS", "many").env("KILN_SOCKT", "/x").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let misspelt = "warning: the variable KILN_SOCKT means nothing to Kiln: did you mean KILN_SOCKET?\n";
    assert!(stderr.starts_with(misspelt), "{stderr}");
    assert!(stderr.contains("KILN_MAX_JOBS is `many`, not a number from 1 to 1000"), "{stderr}");
    assert_noted(&home, "KILN_MAX_JOBS is `many`", "hint: unset it");

    let log = home.path(".local/state/kiln/kilnd.log");
    std::fs::create_dir(&log).unwrap();
    let run = home.run("jobs");
    assert!(run.code == 1 && run.stderr.contains("cannot write the log in "), "{run:?}");
    assert_noted(&home, "cannot write the log in ", "kilnd.log can be written");
    std::fs::remove_dir(&log).unwrap();

    assert_eq!(home.run("jobs").code, 0);
    // Who starts another one with other settings has not stopped this one.
    let another = Command::new(home.path("bin/kilnd"))
        .arg("--user")
        .env_clear()
        .envs(home.command("").get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("KILN_MAX_JOBS", "many")
        .output()
        .unwrap();
    assert!(!another.status.success());
    assert_eq!(home.run("daemon stop").code, 0);
    let status = home.run("daemon status");
    assert!(status.code == 1 && !status.stderr.contains("last start"), "{status:?}");
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone_with_a_way_on_that_status_tells_too() {
    let Some(home) = Home::new() else { return };
    let id = home.detach(&json!([{"say_variable": "GREETING"}]));
    assert_eq!(home.run(&format!("attach {id}")).code, 0);
    assert_eq!(home.run("daemon stop").code, 0);
    let state = home.path(".local/state/kiln");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(state.join(format!("kiln.db{suffix}")));
    }
    std::fs::write(state.join("kiln.db"), empty_database(99)).unwrap();

    let run = home.run("jobs");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("has version 99, this kilnd knows versions up to"), "{run:?}");
    let way = run.stderr.lines().find(|line| line.starts_with("hint: use the kilnd that wrote it; or `")).unwrap();
    let status = home.run("daemon status");
    assert_eq!(status.code, 1);
    assert!(status.stderr.starts_with("kilnd does not run (nobody answers at "), "{status:?}");
    assert!(
        status.stderr.contains("\nits last start failed (") && status.stderr.contains("has version 99"),
        "{status:?}"
    );
    assert!(status.stderr.contains(way), "{status:?}");

    let command = way.split('`').nth(1).unwrap();
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
    assert_eq!(std::fs::read(state.join("newer/kiln.db")).unwrap()[60..64], 99_u32.to_be_bytes());
    assert!(home.run("jobs").stdout.contains(&id));
    assert_eq!(home.run("daemon stop").code, 0);
    let run = home.run("daemon status");
    assert!(run.code == 1 && !run.stderr.contains("last start"), "{run:?}");
}

#[test]
fn another_users_daemon_gets_nothing() {
    if !rustix::process::geteuid().is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        return skip("root and setpriv");
    }
    let Some(home) = Home::new() else { return };
    home.script("t.json", &json!([]));
    assert_eq!(home.run("jobs").code, 0);
    let socket = home.path("run/other.sock");
    for (path, mode) in
        [("", 0o755), ("bin", 0o755), ("run", 0o777), ("run/kiln", 0o755), ("run/kiln/kiln.sock", 0o666)]
    {
        std::fs::set_permissions(home.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // A user that is neither this one nor root, who may serve everybody.
    let path = socket.clone();
    let listening = std::thread::spawn(move || {
        let user = rustix::process::Uid::from_raw(65533);
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        std::os::unix::net::UnixListener::bind(path).unwrap()
    });
    let listener = listening.join().unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    // Root's daemon may serve everybody where it is named or has its own place, but not where a link may lead to any socket of root's.
    for (variable, value, owner) in [("KILN_SOCKET", &socket, 65533), ("XDG_RUNTIME_DIR", &home.path("run"), 0)] {
        let output = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(home.path("bin/kiln"))
            .args(["jobs"])
            .current_dir("/")
            .env_clear()
            .env(variable, value)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = format!("belongs to user {owner}, and would see the environment of this shell");
        assert!(stderr.contains(&told), "{stderr}");
    }
    drop(listener);
}

/// Makes a database without tables: <https://www.sqlite.org/fileformat2.html>.
fn empty_database(user_version: u32) -> Vec<u8> {
    let mut page = b"SQLite format 3\0".to_vec();
    page.resize(512, 0);
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    // The page's size, versions and fractions; then its change counter and the number of pages.
    put(16, &[2, 0, 1, 1, 0, 64, 32, 32]);
    put(24, &[0, 0, 0, 1, 0, 0, 0, 1]);
    // Schema format, text encoding, user version.
    put(44, &[0, 0, 0, 4]);
    put(56, &[0, 0, 0, 1]);
    put(60, &user_version.to_be_bytes());
    put(92, &[0, 0, 0, 1]);
    // A table's leaf without cells, whose content begins at the end of the page.
    put(100, &[13, 0, 0, 0, 0, 2, 0, 0]);
    page
}
