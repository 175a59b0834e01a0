//! What a user tries by files, sockets and signals: what is another's and root's.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::attempts::Attempts;
use super::{ALICE, BOB, as_user};

#[test]
fn no_file_of_another_users_is_within_reach() {
    let Some(mut attempts) = Attempts::begin() else { return };
    let (system, done, running) = (&attempts.system, &attempts.done, &attempts.running);
    let pid = {
        let text = std::fs::read_to_string(system.job(running).join("worker.json")).unwrap();
        Pid::from_raw(serde_json::from_str::<Value>(&text).unwrap()["pid"].as_i64().unwrap() as i32).unwrap()
    };
    let runtime = system.path("var/lib/kiln/run/jobs").join(running);
    let files = [
        "request.json",
        "accepted.json",
        "events.ndjson",
        "worker.lock",
        "worker.json",
        "worker.log",
        "reserve",
        "steps.ndjson",
    ];
    let refused = |result: std::io::Result<()>| result.is_err();
    let mut tried: Vec<(String, bool)> = Vec::new();
    let mut note = |what: String, is_refused: bool| tried.push((what, is_refused));
    for file in files {
        let path = system.job(running).join(file);
        let (read, write, remove) = as_user(BOB, || {
            (
                std::fs::read(&path).map(drop),
                std::fs::OpenOptions::new().append(true).open(&path).map(drop),
                std::fs::remove_file(&path),
            )
        });
        for (what, result) in [("read", read), ("write", write), ("remove", remove)] {
            note(format!("{what} {}", path.display()), refused(result));
        }
    }
    let directories = [
        system.job(running),
        system.job(done),
        runtime.clone(),
        system.path("var/lib/kiln"),
        system.path("var/lib/kiln/jobs"),
        system.path("run/kiln"),
        system.path("var/lib/kiln/run"),
        system.path("var/lib/kiln/run/jobs"),
        system.path("var/cache/kiln"),
        system.path("var/cache/kiln").join(ALICE.to_string()),
    ];
    for path in &directories {
        let other = system.path("kiln-bob/stolen");
        let tried = as_user(BOB, || {
            [
                std::fs::read_dir(path).map(drop),
                std::fs::write(path.join("planted"), "x"),
                std::fs::rename(path, &other),
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)),
            ]
        });
        for (what, result) in ["list", "plant in", "rename", "open"].into_iter().zip(tried) {
            note(format!("{what} {}", path.display()), refused(result));
        }
    }
    for path in ["var/lib/kiln/kiln.db", "var/lib/kiln/kilnd.log", "var/lib/kiln/kilnd.lock", "run/kiln/kiln.lock"] {
        let path = system.path(path);
        note(format!("read {}", path.display()), refused(as_user(BOB, || std::fs::read(&path).map(drop))));
    }
    let socket = system.socket();
    note("remove the socket".to_owned(), refused(as_user(BOB, || std::fs::remove_file(&socket))));
    let control = runtime.join("control.sock");
    note("connect to her worker".to_owned(), refused(as_user(BOB, || UnixStream::connect(&control).map(drop))));
    note("kill her worker".to_owned(), as_user(BOB, || kill_process(pid, Signal::KILL)).is_err());
    let daemon = Pid::from_child(&system.daemon);
    note("kill the daemon".to_owned(), as_user(BOB, || kill_process(daemon, Signal::KILL)).is_err());
    for (what, is_refused) in tried {
        attempts.note(what, "done", is_refused);
    }
    println!("{}", attempts.end("by files"));
}
