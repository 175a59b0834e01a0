//! What a user tries by what it submits: another's files, places and name, and what root would do with them.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::attempts::Attempts;
use super::{ALICE, BOB, as_user};

#[test]
fn what_is_submitted_is_done_with_ones_own_rights_only() {
    let Some(mut attempts) = Attempts::begin() else { return };
    let (alice, bob) = (attempts.system.path("kiln-alice"), attempts.system.path("kiln-bob"));
    let root = attempts.system.path("");
    // As a script, so that a worker that can read it tells its words.
    let private = json!([{"emit": {"kind": "say", "text": "private words"}}]).to_string();
    as_user(ALICE, || {
        std::fs::write(alice.join("private.json"), &private).unwrap();
        std::fs::set_permissions(alice.join("private.json"), PermissionsExt::from_mode(0o600)).unwrap();
    });
    std::fs::write(root.join("roots.json"), private.replace("private words", "the secret of root")).unwrap();
    std::fs::set_permissions(root.join("roots.json"), PermissionsExt::from_mode(0o600)).unwrap();
    as_user(BOB, || {
        std::fs::write(bob.join("own.json"), json!([{"stop": 0}]).to_string()).unwrap();
        for (name, target) in [("link.json", alice.join("private.json")), ("roots-link.json", root.join("roots.json"))]
        {
            std::os::unix::fs::symlink(target, bob.join(name)).unwrap();
        }
    });
    let done = attempts.system.job(&attempts.done);
    let of = |template: String, directory: &std::path::Path| json!({"kind": "build", "template": template, "working_directory": directory, "environment": {}});
    let path = |path: std::path::PathBuf| path.display().to_string();
    let mut submissions = vec![
        ("her file", of(path(alice.join("private.json")), &bob)),
        ("her file, from her directory", of("private.json".to_owned(), &alice)),
        ("her file, by a link", of("link.json".to_owned(), &bob)),
        ("her file, by the way up", of("../kiln-alice/private.json".to_owned(), &bob)),
        ("her file, by a process of root's", of(format!("/proc/1/root{}", path(alice.join("private.json"))), &bob)),
        ("root's file", of(path(root.join("roots.json")), &bob)),
        ("root's file, by a link", of("roots-link.json".to_owned(), &bob)),
        ("her request", of(path(done.join("request.json")), &bob)),
        ("her events", of(path(done.join("events.ndjson")), &done)),
        ("the journal", of("kiln.db".to_owned(), &root.join("var/lib/kiln"))),
    ];
    // In an environment that leads elsewhere, and as somebody else.
    let own = || of("own.json".to_owned(), &bob);
    for (what, name, value) in [
        ("her cache", "PACKER_CACHE_DIR", path(root.join("var/cache/kiln").join(ALICE.to_string()))),
        ("root's cache", "PACKER_CACHE_DIR", path(root.join("var/lib/kiln"))),
        ("her home", "HOME", path(alice.clone())),
        ("her name", "USER", "kiln-alice".to_owned()),
        ("root's bus", "DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent".to_owned()),
        ("the manager's socket", "NOTIFY_SOCKET", path(bob.join("notify"))),
        ("not to be confined", "KILN_CONFINED", "0".to_owned()),
        ("a library of his", "LD_PRELOAD", path(bob.join("evil.so"))),
    ] {
        let mut submission = own();
        submission["environment"] = json!({name: value});
        submissions.push((what, submission));
    }
    for (what, field, value) in [
        ("an owner", "owner", json!(ALICE)),
        ("root as owner", "uid", json!(0)),
        ("an id", "id", json!(attempts.done)),
        ("no confinement", "confined", json!(false)),
    ] {
        let mut submission = own();
        submission[field] = value;
        submissions.push((what, submission));
    }
    for (what, submission) in submissions {
        let (status, body) = attempts.system.answer(BOB, "POST", "/v1/jobs", &submission.to_string());
        if status != 201 {
            attempts.note(what, &body, (400..500).contains(&status));
            continue;
        }
        let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
        let job = attempts.system.until("its end", || {
            let job = attempts.system.see(BOB, &id);
            (!job["exit_code"].is_null() || job["state"] == "failed").then_some(job)
        });
        let said = format!("{job} {}", attempts.system.events(BOB, &id));
        let leaks = said.contains("private words") || said.contains("the secret of root");
        attempts.note(what, &said, !leaks && job["owner"] == BOB);
    }
    // What is said in the head of a request is nobody's name.
    for header in
        ["x-forwarded-user: root", "authorization: Basic cm9vdDo=", "kiln-user: 61001", "x-remote-user: kiln-alice"]
    {
        let path = format!("/v1/jobs/{} HTTP/1.1\r\n{header}\r\nx-rest: ", attempts.running);
        let (status, body) = attempts.system.answer(BOB, "GET", &path, "");
        attempts.note(header, &body, status == 404);
    }
    // Nothing was left in what is hers.
    let hers: Vec<_> = std::fs::read_dir(&alice).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(hers.len(), 2, "{hers:?}");
    println!("{}", attempts.end("by submitting"));
}
