//! The API: what each route does, and that the document tells the truth.

use std::collections::BTreeSet;

use kiln_protocol::{EventBody, Info, Job, JobId, JobList, JobState};
use serde_json::{Value, json};

use crate::rig::{Daemon, ending, texts};

#[tokio::test]
async fn info_describes_the_daemon_and_why_a_hypervisor_is_missing() {
    let daemon = Daemon::start().await;
    let info: Info = daemon.get("/v1/info").await.json();
    assert_eq!((info.api, info.mode.as_str(), info.max_running_jobs), (1, "user", 2));
    assert_eq!(info.pid, std::process::id());
    assert_eq!(info.hypervisors[0].reason.as_deref(), Some("not installed"));
}

#[tokio::test]
async fn a_job_runs_in_the_callers_directory_with_the_callers_environment() {
    let daemon = Daemon::start().await;
    let id = daemon
        .submit(&json!([
            {"emit": {"build": "null.a", "kind": "build_planned", "position": 0}},
            {"emit": {"build": "null.a", "kind": "step_started", "step": "connect"}},
            {"say_variable": "GREETING"},
            {"say_variable": "HOME"},
            {"emit": {"build": "null.a", "kind": "artifact", "builder_id": "b", "id": "i", "text": "t", "files": ["/f"]}},
            {"emit": {"build": "null.a", "kind": "build_finished", "elapsed_us": 7}},
        ]))
        .await;
    let events = daemon.events(&id).await;
    assert!(matches!(events[0].body, EventBody::JobStarted { .. }));
    assert_eq!(events[0].seq, 1);
    assert_eq!(texts(&events), ["GREETING=hello", "HOME="], "its environment and nothing of the daemon's");
    assert_eq!(ending(&events), (JobState::Succeeded, 0, None));
    // Whoever has read the last event finds the job over.
    let job = daemon.job(&id).await;
    assert_eq!((job.state, job.exit_code), (JobState::Succeeded, Some(0)));
    assert_eq!(job.last_event, events.last().unwrap().seq);
    assert_eq!(job.builds[0].step.as_deref(), Some("connect"));
    assert_eq!(job.builds[0].elapsed_us, Some(7));
    assert_eq!(job.builds[0].artifacts[0].files, ["/f"]);
    let request = daemon.path("state/jobs").join(id.as_str()).join("request.json");
    assert!(!std::fs::read_to_string(request).unwrap().contains("hello"), "the environment is gone");
    assert!(!daemon.path("run/jobs").join(id.as_str()).exists());
    let list: JobList = daemon.get("/v1/jobs?limit=5").await.json();
    assert_eq!(list.jobs, [job]);
}

#[tokio::test]
async fn events_come_from_any_number_on_in_either_form() {
    let daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"say_variable": "A"}, {"say_variable": "B"}])).await;
    assert_eq!(daemon.events(&id).await.len(), 4);
    let path = format!("/v1/jobs/{id}/events");
    let rest = daemon.get(&format!("{path}?after=2")).await;
    assert_eq!(rest.header("content-type"), "application/x-ndjson");
    assert_eq!(rest.events().iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4]);
    let headers = [("accept", "text/event-stream"), ("last-event-id", "3")];
    let stream = daemon.send("GET", &format!("{path}?after=1&follow=true"), &headers, "").await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let text = stream.text();
    assert!(text.starts_with("id: 4\nevent: job_finished\ndata: {\"seq\":4,"), "{text}");
    assert!(text.ends_with("}\n\n"), "{text}");
    assert_eq!(daemon.get(&format!("{path}?after=99&follow=true")).await.text(), "", "an old job's stream ends");
}

#[tokio::test]
async fn silence_is_broken_by_heartbeats() {
    let daemon = Daemon::with(|config| config.limits.heartbeat = std::time::Duration::from_millis(30)).await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    daemon.wait_for_state(&id, JobState::Running).await;
    let go = daemon.path("go");
    let release = async {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        std::fs::write(go, "").unwrap();
    };
    let path = format!("/v1/jobs/{id}/events?follow=true&after=1");
    let (reply, ()) = tokio::join!(daemon.get(&path), release);
    assert!(reply.text().starts_with("\n\n"), "{}", reply.text());
    assert_eq!(reply.events().len(), 1);
}

#[tokio::test]
async fn the_same_key_gives_the_same_job() {
    let daemon = Daemon::start().await;
    let submission = daemon.submission(&json!([])).to_string();
    let key = [("idempotency-key", "k1")];
    let first = daemon.send("POST", "/v1/jobs", &key, submission.clone()).await;
    let id = first.json::<Job>().id;
    assert_eq!((first.status, first.header("location")), (201, format!("/v1/jobs/{id}").as_str()));
    let again = daemon.send("POST", "/v1/jobs", &key, submission.clone()).await;
    assert_eq!((again.status, again.json::<Job>().id), (200, id));
    let other = submission.replace("hello", "bye");
    daemon.send("POST", "/v1/jobs", &key, other).await.problem(422, "key-reused");
    let headers = [("idempotency-key", "")];
    daemon.send("POST", "/v1/jobs", &headers, submission).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn screens_and_answers_go_through_the_worker() {
    let daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"await_answer": "p1"}])).await;
    daemon.wait_for(&id, |event| matches!(event.body, EventBody::Prompt { .. })).await;
    let screen = daemon.get(&format!("/v1/jobs/{id}/screen?build=null.a")).await;
    assert_eq!((screen.status, screen.header("content-type")), (200, "image/png"));
    assert!(screen.body.starts_with(b"\x89PNG"));
    let none = daemon.get(&format!("/v1/jobs/{id}/screen?build=none")).await;
    assert_eq!(none.problem(404, "no-screen"), "no guest of none is running");
    let answers = format!("/v1/jobs/{id}/answers");
    daemon.post(&answers, &json!({"prompt": "p9", "answer": "x"})).await.problem(409, "wrong-state");
    assert_eq!(daemon.post(&answers, &json!({"prompt": "p1", "answer": "yes"})).await.status, 204);
    let events = daemon.events(&id).await;
    let answered = |body: &EventBody| matches!(body, EventBody::PromptAnswered { answer, .. } if answer == "yes");
    assert!(events.iter().any(|event| answered(&event.body)));
    daemon.get(&format!("/v1/jobs/{id}/screen")).await.problem(409, "wrong-state");
}

#[tokio::test]
async fn a_template_from_standard_input_is_a_file_for_the_worker() {
    let daemon = Daemon::start().await;
    let mut submission = daemon.submission(&json!([]));
    submission["template"] = json!("-");
    submission["template_text"] = json!(r#"[{"say_variable": "GREETING"}]"#);
    let id = daemon.post("/v1/jobs", &submission).await.json::<Job>().id;
    assert_eq!(texts(&daemon.events(&id).await), ["GREETING=hello"]);
    assert_eq!(daemon.job(&id).await.template, "-");
    assert!(!daemon.path("state/jobs").join(id.as_str()).join("template.json").exists());
}

#[tokio::test]
async fn shutdown_ends_followers_and_the_daemon() {
    let mut daemon = Daemon::start().await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    daemon.wait_for_state(&id, JobState::Running).await;
    let path = format!("/v1/jobs/{id}/events?follow=true");
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        daemon.post("/v1/shutdown", &json!({})).await
    };
    let (stream, report) = tokio::join!(daemon.get(&path), stop);
    assert_eq!(report.status, 202);
    assert_eq!(report.json::<Value>()["running_jobs"], 1);
    assert_eq!(stream.events().len(), 1);
    daemon.stopped().await;
    std::fs::write(daemon.path("go"), "").unwrap();
}

#[tokio::test]
async fn the_document_names_every_route_and_every_type() {
    let daemon = Daemon::start().await;
    let document: Value = daemon.get("/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut routes = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            routes.insert(format!("{method} {path}"));
            assert!(operation["responses"].as_object().unwrap().len() > 1, "{method} {path}");
            if path == "/v1/shutdown" {
                continue;
            }
            // It is really served: whatever is wrong with this request, it is not the route.
            let path = path.replace("{id}", "aaaaaaaaaa");
            let reply = daemon.send(&method.to_uppercase(), &path, &[], "").await;
            if reply.status >= 400 {
                let code = reply.json::<Value>()["code"].as_str().unwrap().to_owned();
                assert!(!["not-found", "method-not-allowed"].contains(&code.as_str()), "{method} {path}: {code}");
            }
        }
    }
    let expected = [
        "delete /v1/jobs/{id}",
        "get /v1/info",
        "get /v1/jobs",
        "get /v1/jobs/{id}",
        "get /v1/jobs/{id}/events",
        "get /v1/jobs/{id}/screen",
        "get /v1/openapi.json",
        "post /v1/jobs",
        "post /v1/jobs/{id}/answers",
        "post /v1/jobs/{id}/cancel",
        "post /v1/shutdown",
    ];
    assert_eq!(routes.iter().map(String::as_str).collect::<Vec<_>>(), expected);

    let schemas = document["components"]["schemas"].as_object().unwrap();
    let missing: Vec<_> = wire_types().into_iter().filter(|name| !schemas.contains_key(name)).collect();
    assert_eq!(missing, Vec::<String>::new(), "of {:?}", schemas.keys().collect::<Vec<_>>());
    assert!(
        schemas["JobSubmission"]["properties"]["environment"]["description"].as_str().unwrap().contains("environment")
    );
    check_references(&document, &document);
}

/// Returns the names of all types in the protocol's sources that have a schema.
fn wire_types() -> Vec<String> {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/src");
    let mut names = vec!["JobId".to_owned()];
    let mut paths = vec![std::path::PathBuf::from(sources)];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut has_schema = false;
        for line in text.lines() {
            has_schema |= line.starts_with("#[derive") && line.contains("JsonSchema");
            let item = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
            if let Some(rest) = item.filter(|_| std::mem::take(&mut has_schema)) {
                names.push(rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().to_owned());
            }
        }
    }
    // Flattened into Event and ImageTask, whose schemas hold all of their variants.
    let flattened = [
        "EventBody",
        "ConvertRequest",
        "InfoRequest",
        "MapRequest",
        "CheckRequest",
        "CompareRequest",
        "VerifyRequest",
        "VerifyAttestationRequest",
    ];
    names.retain(|name| !flattened.contains(&name.as_str()));
    assert!(names.len() > 15, "{names:?}");
    names
}

fn check_references(value: &Value, document: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("a local reference");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            map.values().for_each(|value| check_references(value, document));
        }
        Value::Array(values) => values.iter().for_each(|value| check_references(value, document)),
        _ => {}
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let daemon = Daemon::start().await;
    daemon.get("/").await.problem(404, "not-found");
    daemon.get("/v2/info").await.problem(404, "not-found");
    daemon.send("DELETE", "/v1/info", &[], "").await.problem(405, "method-not-allowed");
    let unknown = JobId::from_random_bits(1);
    daemon.get(&format!("/v1/jobs/{unknown}")).await.problem(404, "no-such-job");
    daemon.get("/v1/jobs/..%2f..%2fetc").await.problem(404, "no-such-job");
    daemon.post(&format!("/v1/jobs/{unknown}/cancel"), &json!({})).await.problem(404, "no-such-job");
    daemon.get("/v1/jobs?limit=many").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn lists_are_filtered_and_finished_jobs_can_be_removed() {
    let daemon = Daemon::start().await;
    let running = daemon.submit(&json!([{"await_answer": "7"}, {"await_file": "go"}])).await;
    let failed = daemon.submit(&json!([{"stop": 1}])).await;
    daemon.events(&failed).await;
    let done = daemon.submit(&json!([])).await;
    daemon.events(&done).await;
    let ids = async |query: &str| {
        let list = daemon.get(&format!("/v1/jobs?{query}")).await.json::<JobList>().jobs;
        list.into_iter().map(|job| job.id).collect::<Vec<_>>()
    };
    assert_eq!(ids("").await, [done.clone(), failed.clone(), running.clone()]);
    assert_eq!(ids("unfinished_first=true&limit=2").await, [running.clone(), done.clone()]);
    assert_eq!(ids("state=failed,queued").await, std::slice::from_ref(&failed));
    let submitted = daemon.job(&done).await.created_at;
    assert_eq!(ids(&format!("since={submitted}")).await, std::slice::from_ref(&done));
    let detail = daemon.get("/v1/jobs?state=broken").await.problem(400, "invalid-request");
    assert!(detail.starts_with("`state` is `broken`, not one of queued, starting, "), "{detail}");
    daemon.get("/v1/jobs?since=yesterday").await.problem(400, "invalid-request");

    // A question is part of the job until it is answered, also after a restart.
    let questions = daemon.wait_for_questions(&running, 1).await;
    assert_eq!((questions[0].prompt.as_str(), questions[0].text.as_str()), ("7", "What now?"));

    let path = |id: &JobId| format!("/v1/jobs/{id}");
    let refused = daemon.send("DELETE", &path(&running), &[], "").await.problem(409, "wrong-state");
    assert_eq!(refused, format!("job {running} is not over (running)"));
    assert_eq!(daemon.send("DELETE", &path(&done), &[], "").await.status, 204);
    daemon.send("DELETE", &path(&done), &[], "").await.problem(404, "no-such-job");
    assert!(!daemon.path("state/jobs").join(done.as_str()).exists());
    assert_eq!(ids("").await, [failed.clone(), running.clone()]);

    let mut daemon = daemon;
    daemon.restart().await;
    assert_eq!(daemon.wait_for_questions(&running, 1).await, questions);
    daemon.post(&format!("/v1/jobs/{running}/answers"), &json!({"prompt": "7", "answer": "yes"})).await;
    daemon.wait_for_questions(&running, 0).await;
    std::fs::write(daemon.path("go"), "").unwrap();
    assert_eq!(ending(&daemon.events(&running).await).0, JobState::Succeeded);
}
