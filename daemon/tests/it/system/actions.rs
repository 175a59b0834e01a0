//! Each action that the package ships is asked for, and each answer of polkit is heard: yes, no, a password that nobody can be asked for, and a
//! question that somebody dismissed. A real polkitd; its rule reads from a file what it is to say.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::agent::Agent;
use super::{Polkitd, SystemBus, shipped};
use crate::users::{ALICE, BOB, System};

/// What is done, by whom, and what it says when it may not be.
struct Deed {
    action: &'static str,
    uid: u32,
    method: &'static str,
    path: String,
    body: String,
    /// Status where it is allowed, and where it is not.
    statuses: (u16, u16),
}

/// Says of each action what the file says: lines of `ACTION RESULT`.
fn rule(answers: &Path) -> String {
    format!(
        r#"polkit.addRule(function(action, subject) {{
            if (action.id.indexOf("org.kiln.Kiln1.") != 0) return polkit.Result.NOT_HANDLED;
            var lines = polkit.spawn(["/bin/cat", "{}"]).split("\n");
            for (var i = 0; i < lines.length; i++) {{
                var words = lines[i].split(" ");
                if (words[0] == action.id) return words[1];
            }}
            return polkit.Result.YES;
        }});"#,
        answers.display()
    )
}

/// Does it by a client of its own, so that no earlier answer is remembered; returns the status and the body. With somebody who dismisses
/// questions when `agent` is asked for, and then what that one was asked.
fn attempt(bus: &SystemBus, system: &System, deed: &Deed, with_agent: bool) -> (u16, String, Vec<String>) {
    let mut client = Command::new("setpriv");
    client.args([format!("--reuid={}", deed.uid), format!("--regid={}", deed.uid), "--clear-groups".to_owned()]);
    let script = "read go && exec curl --silent --max-time 100 --unix-socket \"$1\" --request \"$2\" --header \"kiln-allow-interaction: $3\" \
                  --data-binary \"$4\" --output - --write-out '\\n%{http_code}' \"http://kiln$5\"";
    client.args(["sh", "-c", script, "sh"]).arg(system.path("run/kiln/kiln.sock")).arg(deed.method);
    client.args([if with_agent { "yes" } else { "no" }, &deed.body, &deed.path]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let agent = with_agent.then(|| Agent::of(&bus.address(), deed.uid, client.id()));
    client.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned(), agent.map_or_else(Vec::new, |agent| agent.asked()))
}

#[test]
fn each_action_is_asked_for_and_each_answer_is_heard() {
    let Some(bus) = SystemBus::start() else { return };
    let system = bus.kilnd();
    let answers = system.path("answers");
    std::fs::write(&answers, "").unwrap();
    let Some(_polkitd) = Polkitd::start(&bus, &system, &rule(&answers)) else { return };
    let policy = std::fs::read_to_string(shipped("polkit/org.kiln.Kiln1.policy")).unwrap();

    let runs = system.submit(ALICE, &json!([{"await_answer": "q"}]));
    system.until_state(ALICE, &runs, "running");
    let home = system.path("kiln-alice");
    let tells = home.join("tells.json");
    std::fs::write(&tells, json!([{"say_variable": "KILN_CONFINED"}]).to_string()).unwrap();
    let submission =
        json!({"kind": "build", "template": "tells.json", "working_directory": home, "environment": {}}).to_string();
    let job = format!("/v1/jobs/{runs}");
    let deed = |action, uid, method, path: &str, body: &str, statuses| Deed {
        action,
        uid,
        method,
        path: path.to_owned(),
        body: body.to_owned(),
        statuses,
    };
    let deeds = [
        deed("org.kiln.Kiln1.build", ALICE, "POST", "/v1/jobs", &submission, (201, 403)),
        deed("org.kiln.Kiln1.console", ALICE, "GET", &format!("{job}/screen"), "", (200, 403)),
        // For who may not, a job of another is not there.
        deed("org.kiln.Kiln1.manage-others", BOB, "GET", &format!("{job}/events"), "", (200, 404)),
        // Who may not builds all the same, but confined.
        deed("org.kiln.Kiln1.build-unconfined", ALICE, "POST", "/v1/jobs", &submission, (201, 201)),
        // The last one: it ends the daemon.
        deed("org.kiln.Kiln1.configure", ALICE, "POST", "/v1/shutdown", "", (202, 403)),
    ];
    assert_eq!(policy.matches("<action id=").count(), deeds.len());
    // Nobody is asked for a list, and somebody for the one job of another that was asked for.
    std::fs::write(&answers, "org.kiln.Kiln1.manage-others auth_admin\n").unwrap();
    for (path, status, questions) in [("/v1/jobs", 200, 0), (&*job, 404, 1)] {
        let look = deed("org.kiln.Kiln1.manage-others", BOB, "GET", path, "", (200, 404));
        let (answered, body, asked) = attempt(&bus, &system, &look, true);
        assert_eq!((answered, asked.len(), body.contains("\"state\"")), (status, questions, false), "{path}: {body}");
    }
    for deed in &deeds {
        assert!(policy.contains(&format!("<action id=\"{}\">", deed.action)), "{}", deed.action);
        let by_policy = deed.statuses.1 == 403;
        if deed.path == "/v1/shutdown" {
            // Workers outlive their daemon, and the test is not to leave one behind.
            assert_eq!(system.answer(0, "POST", &format!("{job}/cancel"), r#"{"mode":"now"}"#).0, 202);
            system.until_state(ALICE, &runs, "cancelled");
        }
        for (result, with_agent, words) in [
            ("no", false, "polkit does not allow it"),
            ("auth_admin", false, "nobody could be asked"),
            ("auth_admin", true, "wanted a password for it and did not get one"),
            ("yes", false, ""),
        ] {
            let what = format!("{} {result} {with_agent}", deed.action);
            let new = system.path("answers.new");
            std::fs::write(&new, format!("{} {result}\n", deed.action)).unwrap();
            std::fs::rename(&new, &answers).unwrap();
            let (status, body, asked) = attempt(&bus, &system, deed, with_agent);
            let may = result == "yes";
            assert_eq!(status, if may { deed.statuses.0 } else { deed.statuses.1 }, "{what}: {body}");
            if by_policy && !may {
                assert!(body.contains(words) && body.contains(deed.action), "{what}: {body}");
            }
            let wanted = usize::from(with_agent);
            assert_eq!(asked.len(), wanted, "{what}: {asked:?}");
            assert!(
                asked.iter().all(|text| text.starts_with(&format!("{}: Authentication is", deed.action))),
                "{asked:?}"
            );
            if deed.action.ends_with("build-unconfined") {
                let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
                system.until_state(ALICE, &id, "succeeded");
                let said = if may { "KILN_CONFINED=\"" } else { "KILN_CONFINED=1\"" };
                let events = system.events(ALICE, &id);
                assert!(events.contains(said), "{what}: {events}");
            }
        }
    }
}
