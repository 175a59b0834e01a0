//! What a user tries by the calls of the API: to see, read, cancel, answer, fetch, remove and name what is another's.

use serde_json::Value;

use super::attempts::Attempts;
use super::{ALICE, BOB, CALLS};

#[test]
fn no_call_gets_at_another_users_jobs() {
    let Some(mut attempts) = Attempts::begin() else { return };
    let (done, running) = (&attempts.done.clone(), &attempts.running.clone());
    let unknown = "aaaaaaaaaa";
    // By the API: the same words as for a job that is not there.
    for id in [done, running] {
        for (method, call, body) in CALLS {
            let theirs = attempts.system.answer(BOB, method, &format!("/v1/jobs/{id}{call}"), body);
            let nobodys = attempts.system.answer(BOB, method, &format!("/v1/jobs/{unknown}{call}"), body);
            let same = (theirs.0, theirs.1.replace(id.as_str(), unknown)) == nobodys && theirs.0 == 404;
            let state = if id == done { "over" } else { "running" };
            attempts.note(format!("{method} {call} {body} of one that is {state}"), &format!("{theirs:?}"), same);
        }
    }
    for query in [
        "",
        "?all=true&limit=1000",
        "?state=running",
        "?state=succeeded",
        "?unfinished_first=true",
        "?since=2000-01-01T00:00:00Z",
    ] {
        let (_, body) = attempts.system.answer(BOB, "GET", &format!("/v1/jobs{query}"), "");
        attempts.note(format!("list{query}"), &body, !body.contains(done.as_str()) && !body.contains(running.as_str()));
        let (_, body) = attempts.system.answer(ALICE, "GET", &format!("/v1/jobs{query}"), "");
        assert!(body.contains(done.as_str()) || body.contains(running.as_str()), "she sees hers: {body}");
    }
    let (_, body) = attempts.system.answer(BOB, "GET", "/v1/info", "");
    attempts.note("counts", &body, serde_json::from_str::<Value>(&body).unwrap()["running_jobs"] == 0);
    let (status, body) = attempts.system.answer(BOB, "POST", "/v1/shutdown", "");
    attempts.note("shutdown", &body, status == 403);
    for name in [
        "..",
        "../..",
        "%2e%2e",
        "..%2f..%2fsecret",
        "%00",
        "a%00",
        ".",
        "*",
        "aaaaaaaaa",
        "aaaaaaaaaaa",
        "AAAAAAAAAA",
        "aaaaaaaa1a",
        "aaaa%2faaaaa",
        "%20aaaaaaaaaa",
        "aaaaaaaaaa%20",
        "aaaaaaaaaa%0a",
        "-",
        "%ff%fe",
        "jobs",
        "' OR 1=1 --".replace(' ', "%20").as_str(),
        "%25s%25n",
        "0",
        "kiln.db",
        "%C3%A4aaaaaaaaa",
    ] {
        for call in ["", "/events"] {
            let (status, body) = attempts.system.answer(BOB, "GET", &format!("/v1/jobs/{name}{call}"), "");
            attempts.note(format!("id {name}{call}"), &format!("{status} {body}"), (400..500).contains(&status));
        }
    }
    println!("{}", attempts.end("by the API"));
}
