//! What polkit decides: allowed, denied, a password that nobody can be asked for, a question that somebody dismissed, and no polkit at all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use serde_json::json;

use super::agent::Agent;
use super::{Polkitd, SystemBus};
use crate::users::{ALICE, BOB};

/// Bob may do what he likes with jobs of others, and not build.
const RULE: &str = r#"
polkit.addRule(function(action, subject) {
    if (subject.user != "kiln-bob") return polkit.Result.NOT_HANDLED;
    if (action.id == "org.kiln.Kiln1.manage-others") {
        return action.lookup("owner") == "0" ? polkit.Result.NO : polkit.Result.YES;
    }
    if (action.id == "org.kiln.Kiln1.build") return polkit.Result.NO;
    return polkit.Result.NOT_HANDLED;
});
"#;

/// Nobody sits at the machine: these clients come from no session, as those over ssh do not.
#[test]
fn by_default_only_builders_leave_their_guests_from_elsewhere() {
    let Some(bus) = SystemBus::start() else { return };
    let system = bus.kilnd();
    let Some(_polkitd) = Polkitd::start(&bus, &system, "") else { return };
    let told = || {
        let id = system.submit(ALICE, &json!([{"say_variable": "KILN_CONFINED"}]));
        system.until_state(ALICE, &id, "succeeded");
        system.events(ALICE, &id)
    };
    let events = told();
    assert!(events.contains("KILN_CONFINED=1\""), "{events}");
    // In place: polkitd has this very file.
    let mut groups = std::fs::OpenOptions::new().append(true).open(system.path("group")).unwrap();
    groups.write_all(b"kiln-builders:x:61900:kiln-alice\n").unwrap();
    // What polkit has said is remembered for a moment.
    system.until("a builder", || told().contains("KILN_CONFINED=\"").then_some(()));
}

const STOP: (&str, &str) = ("POST", "/v1/shutdown");

#[test]
fn polkit_decides_who_may_more_and_who_may_less() {
    let Some(bus) = SystemBus::start() else { return };
    let system = bus.kilnd();
    let Some(polkitd) = Polkitd::start(&bus, &system, RULE) else { return };
    let waits = json!([{"await_file": "/nonexistent/file"}]);

    // Allowed: what everybody may, and what a rule allows.
    let id = system.submit(ALICE, &waits);
    system.until_state(ALICE, &id, "running");
    assert_eq!(system.see(BOB, &id)["state"], "running");
    let (_, list) = system.answer(BOB, "GET", "/v1/jobs", "");
    assert!(list.contains(&id), "{list}");
    assert_eq!(system.answer(BOB, "POST", &format!("/v1/jobs/{id}/cancel"), "").0, 202);
    system.until_state(ALICE, &id, "cancelled");

    // Denied: by a rule, and by a rule that looks at whose job it is.
    let home = system.path("kiln-bob");
    let request =
        json!({"kind": "build", "template": "t.json", "working_directory": home, "environment": {}}).to_string();
    let (status, body) = system.answer(BOB, "POST", "/v1/jobs", &request);
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("user 61002 may not submit: polkit does not allow it (org.kiln.Kiln1.build)"), "{body}");
    let request =
        json!({"kind": "build", "template": "t.json", "working_directory": "/", "environment": {}}).to_string();
    let (status, body) = system.answer(0, "POST", "/v1/jobs", &request);
    assert_eq!(status, 201, "{body}");
    let roots = serde_json::from_str::<serde_json::Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(system.answer(BOB, "GET", &format!("/v1/jobs/{roots}"), "").0, 404);

    // A password is wanted, and there is nobody to ask.
    let (status, body) = system.answer(ALICE, STOP.0, STOP.1, "");
    assert_eq!(status, 403, "{body}");
    assert!(
        body.contains("nobody could be asked")
            && body.contains("pkcheck --action-id org.kiln.Kiln1.configure")
            && body.contains("\"code\":\"needs-authentication\""),
        "{body}"
    );
    assert_eq!(system.answer(ALICE, "GET", &format!("/v1/jobs/{roots}"), "").0, 404, "a job of another is not there");

    // Nobody is asked on behalf of who does not say so. Else somebody is, twice by the same process, and does not want to: what a person says is said once.
    let socket = system.path("run/kiln/kiln.sock");
    let mut client = Command::new("setpriv");
    client.args([format!("--reuid={ALICE}"), format!("--regid={ALICE}"), "--clear-groups".to_owned()]);
    client.args(["sh", "-c", "read go && exec curl --silent --max-time 100 --unix-socket \"$1\" --request POST http://kiln/v1/shutdown \
        --next --silent --max-time 100 --unix-socket \"$1\" --request POST --header 'kiln-allow-interaction: yes' http://kiln/v1/shutdown http://kiln/v1/shutdown", "sh"]);
    let mut client = client.arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let agent = Agent::of(&bus.address(), ALICE, client.id());
    client.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let answer = String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(answer.matches("nobody could be asked").count(), 1, "{answer}");
    assert_eq!(answer.matches("wanted a password for it and did not get one").count(), 2, "{answer}");
    let asked = agent.asked();
    assert!(
        asked.len() == 2 && asked[1].starts_with("org.kiln.Kiln1.configure: Authentication is required"),
        "{asked:?}"
    );

    // Without polkit each has just one's own jobs.
    drop(polkitd);
    let gone = || system.answer(ALICE, STOP.0, STOP.1, "").1.contains("only root may stop the daemon");
    system.until("polkit to be gone", || gone().then_some(()));
    let id = system.submit(BOB, &json!([{"stop": 0}]));
    system.until_state(BOB, &id, "succeeded");
    assert_eq!(system.answer(ALICE, "GET", &format!("/v1/jobs/{id}"), "").0, 404);
}

/// Allows what is done with jobs of others once, and never again.
fn once(mark: &std::path::Path) -> String {
    format!(
        r#"polkit.addRule(function(action, subject) {{
            if (action.id != "org.kiln.Kiln1.manage-others") return polkit.Result.NOT_HANDLED;
            try {{ polkit.spawn(["/bin/mkdir", "{}"]); }} catch (error) {{ return polkit.Result.NO; }}
            return polkit.Result.YES;
        }});"#,
        mark.display()
    )
}

#[test]
fn who_may_follow_a_job_of_another_is_asked_about_once() {
    let Some(bus) = SystemBus::start() else { return };
    let system = bus.kilnd();
    let marks = system.path("marks");
    std::fs::create_dir(&marks).unwrap();
    // polkitd is another user.
    std::fs::set_permissions(&marks, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let Some(_polkitd) = Polkitd::start(&bus, &system, &once(&marks.join("once"))) else { return };
    let id = system.submit(ALICE, &json!([{"await_file": "/nonexistent/file"}]));
    system.until_state(ALICE, &id, "running");

    // What is said on behalf of whom a person may be asked is never remembered: each question comes to the rule.
    let mut follower = Command::new("setpriv");
    follower.args([format!("--reuid={BOB}"), format!("--regid={BOB}"), "--clear-groups".to_owned()]);
    follower.args(["curl", "--silent", "--no-buffer", "--max-time", "100", "--header", "kiln-allow-interaction: yes"]);
    follower.arg("--unix-socket").arg(system.path("run/kiln/kiln.sock"));
    let mut follower =
        follower.arg(format!("http://kiln/v1/jobs/{id}/events?follow=true")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("job_started")), "what there was is shown");
    assert_eq!(system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/cancel"), "").0, 202);
    assert!(lines.any(|line| line.contains("job_finished")), "and what came then");
    follower.wait().unwrap();
    assert_eq!(system.answer(BOB, "GET", &format!("/v1/jobs/{id}/events"), "").0, 404, "no more is allowed");
}
