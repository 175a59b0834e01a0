//! Clients that are broken, slow, too many, or somebody else. The daemon refuses them and goes on.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use kiln_protocol::{Info, JobState};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{Daemon, PATIENCE, ending, skip};

async fn still_serves(daemon: &Daemon) {
    assert_eq!(daemon.get("/v1/info").await.json::<Info>().api, 1);
}

#[tokio::test]
async fn what_is_no_submission_is_refused() {
    let daemon = Daemon::start().await;
    for body in ["", "{", "[]", "null", "\u{0}\u{1}", "{\"kind\":\"build\"}", "\"x\""] {
        daemon.send("POST", "/v1/jobs", &[], body).await.problem(400, "invalid-request");
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    daemon.send("POST", "/v1/jobs", &[], deep).await.problem(400, "invalid-request");
    for (field, value) in [
        ("template", json!("")),
        ("working_directory", json!("relative")),
        ("environment", json!({"A=B": "x"})),
        ("environment", json!({"A": "x\u{0}"})),
        ("surprise", json!(1)),
    ] {
        let mut submission = daemon.submission(&json!([]));
        submission[field] = value;
        daemon.post("/v1/jobs", &submission).await.problem(400, "invalid-request");
    }
    assert_eq!(daemon.get("/v1/jobs").await.json::<Value>(), json!({"jobs": []}));
}

#[tokio::test]
async fn two_mebibytes_are_too_many_announced_or_not() {
    let daemon = Daemon::start().await;
    let body = vec![b' '; 2 << 20];
    let mut stream = daemon.connect().await;
    let header = format!("POST /v1/jobs HTTP/1.1\r\nhost: kiln\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(header.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "refused before the body is sent: {answer}");

    let mut stream = daemon.connect().await;
    stream
        .write_all(b"POST /v1/jobs HTTP/1.1\r\nhost: kiln\r\ntransfer-encoding: chunked\r\n\r\n200000\r\n")
        .await
        .unwrap();
    // The daemon may close before it has read all of it.
    let _ = stream.write_all(&body).await;
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("application/problem+json"));
    still_serves(&daemon).await;
}

async fn read_head(stream: &mut tokio::net::UnixStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn slow_senders_are_cut_off() {
    let daemon = Daemon::with(|config| {
        config.limits.header = Duration::from_millis(100);
        config.limits.body = Duration::from_millis(100);
    })
    .await;
    let mut silent = daemon.connect().await;
    silent.write_all(b"GET /v1/in").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.expect("closed").unwrap();

    let mut slow = daemon.connect().await;
    slow.write_all(b"POST /v1/jobs HTTP/1.1\r\nhost: kiln\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    let answer = read_head(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    still_serves(&daemon).await;
}

#[tokio::test]
async fn garbage_does_not_stop_the_daemon() {
    let daemon = Daemon::start().await;
    for garbage in
        [b"\x00\xff\xfe\r\n\r\n".as_slice(), b"GET", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = daemon.connect().await;
        // It may be closed at the first byte already.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
    }
    let mut stream = daemon.connect().await;
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let _ = stream.write_all(long.as_bytes()).await;
    still_serves(&daemon).await;
}

/// Connects and asks for the events of a job that runs on: a connection that is not idle.
async fn follow(daemon: &Daemon, id: &kiln_protocol::JobId) -> tokio::net::UnixStream {
    let mut stream = daemon.connect().await;
    let request = format!("GET /v1/jobs/{id}/events?follow=true HTTP/1.1\r\nhost: kiln\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream
}

#[tokio::test]
async fn one_busy_connection_too_many_is_told_to_come_again() {
    let daemon = Daemon::with(|config| {
        config.limits.connections = 2;
        config.limits.wait_for_place = Duration::from_millis(600);
    })
    .await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    daemon.wait_for_state(&id, JobState::Running).await;
    let first = follow(&daemon, &id).await;
    let mut second = follow(&daemon, &id).await;
    daemon.get("/v1/info").await.problem(503, "unavailable");
    drop(first);
    let served = async {
        while daemon.get("/v1/info").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, served).await.expect("places are given back");
    // Who follows was never taken for idle.
    std::fs::write(daemon.path("go"), "").unwrap();
    let mut rest = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while !rest.windows(12).any(|window| window == b"job_finished") {
            let count = second.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "the stream was cut off");
            rest.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the last event");
}

#[tokio::test]
async fn idle_connections_make_room() {
    let daemon = Daemon::with(|config| config.limits.connections = 16).await;
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    daemon.wait_for_state(&id, JobState::Running).await;
    let follower = follow(&daemon, &id).await;
    // Silent ones, ones that stopped in the middle of a header, and ones that keep their connection after an answer.
    let mut idle = Vec::new();
    for number in 0..100 {
        let mut stream = daemon.connect().await;
        // The daemon may have hung up already.
        let _ = match number % 3 {
            0 => Ok(()),
            1 => stream.write_all(b"GET /v1/in").await,
            _ => stream.write_all(b"GET /v1/jobs HTTP/1.1\r\nhost: kiln\r\n\r\n").await,
        };
        idle.push(stream);
    }
    let start = std::time::Instant::now();
    // The first attempt of who comes behind all of them is answered.
    let answer = daemon.get("/v1/info").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(!daemon.job(&id).await.state.is_over());
    drop((idle, follower));
}

#[tokio::test]
async fn a_follower_that_never_reads_holds_up_nobody() {
    let daemon = Daemon::start().await;
    // More than all buffers between worker and client can hold.
    let text = "x".repeat(200 << 10);
    let mut script: Vec<Value> = (0..100).map(|_| json!({"emit": {"kind": "say", "text": text}})).collect();
    script.insert(0, json!({"await_file": "go"}));
    let id = daemon.submit(&Value::Array(script)).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut stream = daemon.connect().await;
        let request = format!("GET /v1/jobs/{id}/events?follow=true HTTP/1.1\r\nhost: kiln\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    std::fs::write(daemon.path("go"), "").unwrap();
    let events = daemon.events(&id).await;
    assert_eq!(events.len(), 102);
    assert_eq!(ending(&events).0, JobState::Succeeded);
    still_serves(&daemon).await;
    drop(silent);
}

#[tokio::test]
async fn another_owners_daemon_refuses_us() {
    let daemon = Daemon::with(|config| config.owner += 1).await;
    for path in ["/v1/info", "/v1/jobs", "/v1/openapi.json", "/nothing"] {
        daemon.get(path).await.problem(403, "forbidden");
    }
    daemon.post("/v1/jobs", &daemon.submission(&json!([]))).await.problem(403, "forbidden");
    daemon.post("/v1/shutdown", &json!({})).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_requests_are_refused_by_the_kernels_word() {
    let available =
        |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !rustix::process::geteuid().is_root() || !available("setpriv") || !available("curl") {
        return skip("root, setpriv and curl");
    }
    let daemon = Daemon::start().await;
    // Open to everybody, so that nothing but the credentials stands in the way.
    for (path, mode) in [("", 0o755), ("run", 0o755), ("run/kiln.sock", 0o666)] {
        std::fs::set_permissions(daemon.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let id = daemon.submit(&json!([{"await_file": "go"}])).await;
    for request in [
        vec!["http://kiln/v1/info".to_owned()],
        vec![format!("http://kiln/v1/jobs/{id}/events")],
        vec!["-XPOST".to_owned(), format!("http://kiln/v1/jobs/{id}/cancel")],
    ] {
        let output = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "-sS",
                "--max-time",
                "10",
                "--unix-socket",
            ])
            .arg(&daemon.config.socket)
            .args(&request)
            .output()
            .unwrap();
        let problem: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!((problem["status"].as_u64(), problem["code"].as_str()), (Some(403), Some("forbidden")));
        assert!(problem["detail"].as_str().unwrap().contains("you are user 65534"));
    }
    assert!(!daemon.job(&id).await.state.is_over());
    still_serves(&daemon).await;
}
