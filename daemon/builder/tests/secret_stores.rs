//! `vault` and `consul_key` over HTTP. The servers here are stand-ins: they know one request each and answer what the
//! documentation of Vault and Consul shows; neither program was asked.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kiln_builder::{CheckRequest, Event, Validation, Wanted, validate_with};

/// Answers one request for `path` that has `header`, and refuses every other one.
fn serve(path: &'static str, header: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let known = request.starts_with(&format!("GET {path} ")) && request.to_lowercase().contains(header);
            let (status, body) = if known { ("200 OK", body) } else { ("404 Not Found", "{\"errors\": []}") };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    address
}

fn check(name: &str, text: &str, environment: &[(&str, String)], evaluate_data: bool) -> Validation {
    check_telling(name, text, environment, evaluate_data).0
}

/// Checks; returns what was told meanwhile, too.
fn check_telling(
    name: &str,
    text: &str,
    environment: &[(&str, String)],
    evaluate_data: bool,
) -> (Validation, Vec<Event>) {
    let request = CheckRequest {
        template: PathBuf::from(name),
        text: Some(text.to_owned()),
        cwd: std::env::current_dir().unwrap(),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        warn_on_undeclared_var: true,
        evaluate_data,
        ..CheckRequest::default()
    };
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    let take = Arc::new(move |event| sink.lock().unwrap().push(event));
    let validation = validate_with(&request, Path::new("/nonexistent"), Wanted::Both, take);
    let events = std::mem::take(&mut *events.lock().unwrap());
    (validation, events)
}

/// A template that is valid only when an expression is true.
fn valid_if(condition: &str) -> String {
    format!(
        "source \"file\" \"a\" {{\n  target  = \"/nonexistent/x\"\n  content = {condition} ? \"right\" : \
         file(\"/nonexistent/wrong\")\n}}\nbuild {{\n  sources = [\"file.a\"]\n}}\n"
    )
}

#[test]
fn vault_is_read() {
    let body = r#"{"data": {"data": {"password": "hunter2hunter2"}, "metadata": {"version": 1}}}"#;
    let address = serve("/v1/secret/data/app", "x-vault-token: token", body);
    let environment = [("VAULT_ADDR", format!("http://{address}")), ("VAULT_TOKEN", "token".to_owned())];
    let text = valid_if("vault(\"secret/data/app\", \"password\") == \"hunter2hunter2\"");
    let answer = check("t.pkr.hcl", &text, &environment, true);
    assert!(answer.valid, "{:?}", answer.problems);
    let json = r#"{"variables": {"p": "{{vault `secret/data/app` `password`}}"}, "builders": [{"type": "file", "target": "/nonexistent/x", "content": "{{user `p`}}"}]}"#;
    let answer = check("t.json", json, &environment, true);
    assert!(answer.valid, "{:?}", answer.problems);
    // What comes out of it is a secret, also where a message would show it.
    let wrong = valid_if("{}[vault(\"secret/data/app\", \"password\")]");
    let answer = check("t.pkr.hcl", &wrong, &environment, true);
    assert!(!answer.valid && answer.problems.iter().all(|problem| !problem.text.contains("hunter2")), "{answer:?}");
    let missing = valid_if("vault(\"secret/data/other\", \"password\") == \"\"");
    let answer = check("t.pkr.hcl", &missing, &environment, true);
    assert!(answer.problems.iter().any(|problem| problem.text.contains("404")), "{:?}", answer.problems);
    // Without permission to ask, nothing is asked, and nothing is wrong.
    let answer = check("t.pkr.hcl", &missing, &[], false);
    assert!(answer.valid, "{:?}", answer.problems);
}

#[test]
fn consul_is_read() {
    let body = r#"[{"LockIndex": 0, "Key": "app/name", "Flags": 0, "Value": "d2Vi"}]"#;
    let address = serve("/v1/kv/app/name", "x-consul-token: token", body);
    let environment = [("CONSUL_HTTP_ADDR", address), ("CONSUL_HTTP_TOKEN", "token".to_owned())];
    let answer = check("t.pkr.hcl", &valid_if("consul_key(\"app/name\") == \"web\""), &environment, true);
    assert!(answer.valid, "{:?}", answer.problems);
    let answer = check("t.pkr.hcl", &valid_if("consul_key(\"app/nam\") == \"web\""), &environment, true);
    assert!(answer.problems.iter().any(|problem| problem.text.contains("404")), "{:?}", answer.problems);
}

#[test]
fn who_is_asked_is_told_without_secrets_before_any_build_is_known() {
    let address = serve("/page?token=hunter2hunter2", "host:", "right");
    let url = format!("http://{address}/page");
    let text = format!(
        "data \"http\" \"p\" {{\n  url = \"{url}?token=hunter2hunter2\"\n}}\n{}",
        valid_if("data.http.p.body == \"right\"")
    );
    let (answer, told) = check_telling("t.pkr.hcl", &text, &[], true);
    assert!(answer.valid, "{:?}", answer.problems);
    let what = format!("data.http.p: asking {url}?token=xxxxx");
    let waiting = Event::Waiting { build: None, what: what.clone(), limit: None };
    assert_eq!(told, [waiting, Event::WaitFinished { build: None, what }]);

    let address = serve("/v1/secret/data/app", "x-vault-token: token", "{\"data\": {\"p\": \"hunter2hunter2\"}}");
    let environment = [("VAULT_ADDR", format!("http://{address}")), ("VAULT_TOKEN", "token".to_owned())];
    let (answer, told) = check_telling(
        "t.pkr.hcl",
        &valid_if("vault(\"secret/data/app\", \"p\") == \"hunter2hunter2\""),
        &environment,
        true,
    );
    assert!(answer.valid, "{:?}", answer.problems);
    let what = format!("vault(): asking http://{address}");
    assert!(matches!(&told[..], [Event::Waiting { what: first, .. }, _] if *first == what), "{told:?}");
    // Nobody is asked, nobody is told of.
    assert_eq!(check_telling("t.pkr.hcl", &text, &[], false).1, []);

    // What is said of one that fails quotes neither the template nor the URL with it.
    let address = serve("/other", "host:", "");
    let text = text.replace(&url, &format!("http://{address}/page"));
    let (answer, _) = check_telling("t.pkr.hcl", &text, &[], true);
    let problems = format!("{:?}", answer.problems);
    assert!(!answer.valid && problems.contains("could not be fetched"), "{problems}");
    assert!(!problems.contains("hunter2hunter2"), "{problems}");
}
