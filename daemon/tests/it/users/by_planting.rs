//! What a user tries by what it puts into directories of its own, where root will look: links, fifos, other files, under names that change.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use super::attempts::{Attempts, SECRET};
use super::{BOB, CALLS, as_user};

#[test]
fn what_is_planted_in_ones_own_directory_leads_root_nowhere() {
    let Some(mut attempts) = Attempts::begin() else { return };
    let (secret, done) = (&attempts.secret.clone(), &attempts.done.clone());
    let control = attempts.system.path("var/lib/kiln/run/jobs").join(&attempts.running).join("control.sock");
    let alices = attempts.system.job(done).join("events.ndjson");
    let before = std::fs::read(&alices).unwrap();
    let planted = [
        "request.json",
        "accepted.json",
        "events.ndjson",
        "steps.ndjson",
        "worker.json",
        "worker.lock",
        "left.json",
        "resources.ndjson",
        "reserve",
        "template.json",
    ];
    let kinds = [
        "link to root's",
        "link to hers",
        "fifo",
        "directory",
        "link to a device",
        "hard link to root's",
        "hard link to hers",
        "closed to himself",
    ];
    for kind in kinds {
        for file in planted {
            let id = attempts.system.submit(BOB, &json!([{"stop": 0}]));
            attempts.system.until_state(BOB, &id, "succeeded");
            let path = attempts.system.job(&id).join(file);
            // What the kernel lets users do where `fs.protected_hardlinks` is off; here root does it for him. Of all that is planted, these two and
            // the last kind alone show that it is the user's rights that protect: no look at a file's kind refuses them.
            if let Some(target) = kind.strip_prefix("hard link to ") {
                let target = if target == "hers" { &alices } else { secret };
                let _ = std::fs::remove_file(&path);
                std::fs::hard_link(target, &path).unwrap();
            }
            as_user(BOB, || {
                if !kind.starts_with("hard link") {
                    let _ = std::fs::remove_file(&path);
                }
                match kind {
                    "link to root's" => symlink(secret, &path).unwrap(),
                    "link to hers" => symlink(&alices, &path).unwrap(),
                    "fifo" => {
                        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
                    }
                    "directory" => std::fs::create_dir_all(path.join("deep/deeper")).unwrap(),
                    "closed to himself" => {
                        std::fs::write(&path, SECRET.replace("the secret of root", "private words")).unwrap();
                        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
                    }
                    "link to a device" => symlink("/dev/zero", &path).unwrap(),
                    _ => {}
                }
            });
            let mut said = String::new();
            for (method, call) in [("GET", ""), ("GET", "/events"), ("DELETE", "")] {
                said += &attempts.system.answer(BOB, method, &format!("/v1/jobs/{id}{call}"), "").1;
            }
            let leaks = said.contains("the secret of root") || said.contains("private words");
            attempts.note(format!("{file}: {kind}"), &said, !leaks);
        }
    }

    // What changes its name while root looks: his own events, a link to hers, and hers by another name.
    let races = attempts.system.submit(BOB, &json!([{"stop": 0}]));
    attempts.system.until_state(BOB, &races, "succeeded");
    let directory = attempts.system.job(&races);
    std::fs::hard_link(&alices, directory.join("hers")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut leaked = None;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_user(BOB, || {
                let at = |name: &str| directory.join(name);
                std::fs::rename(at("events.ndjson"), at("his")).unwrap();
                symlink(&alices, at("link")).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for name in ["his", "link", "hers"] {
                        std::fs::rename(at(name), at("events.ndjson")).unwrap();
                        std::fs::rename(at("events.ndjson"), at(name)).unwrap();
                    }
                }
                std::fs::rename(at("his"), at("events.ndjson")).unwrap();
            });
        });
        let read = || attempts.system.ask(BOB, "GET", &format!("/v1/jobs/{races}/events"), "").unwrap_or_default().1;
        leaked = (0..100).map(|_| read()).find(|said| said.contains("private words"));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    attempts.note("a hundred races", leaked.as_deref().unwrap_or_default(), leaked.is_none());
    let own = attempts.system.submit(BOB, &json!([{"await_answer": "q"}]));
    attempts.system.until_state(BOB, &own, "running");
    let forged = attempts.system.path("var/lib/kiln/run/jobs").join(&own).join("control.sock");
    as_user(BOB, || {
        std::fs::remove_file(&forged).unwrap();
        symlink(&control, &forged).unwrap();
    });
    for (method, call, body) in
        CALLS.into_iter().filter(|(_, call, _)| ["/answers", "/screen", "/cancel"].contains(call))
    {
        let (status, said) = attempts.system.answer(BOB, method, &format!("/v1/jobs/{own}{call}"), body);
        // A job of one's own may be cancelled; that hers is not is seen below.
        if call != "/cancel" {
            attempts.note(format!("{call} {body} through her socket"), &format!("{status} {said}"), status >= 400);
        }
    }
    assert_eq!(std::fs::read(&alices).unwrap(), before);
    println!("{}", attempts.end("by planting"));
}
