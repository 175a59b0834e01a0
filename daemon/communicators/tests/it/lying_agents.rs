//! The guest agent's communicator on agents that lie, refuse, or say nothing.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kiln_communicators::guest_agent::{GuestAgentConfig, connect};
use kiln_communicators::{
    CommandStreams, Communicator, ConnectError, ConnectStage, DiscardedOutput, Exit, NoProgress, SilentObserver,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::sync::Notify;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent in this process: what it answers to a request is its own affair. Without an answer it says nothing.
async fn lying(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> (GuestAgentConfig, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let mut requests = BufReader::new(read);
            let mut line = Vec::new();
            while requests.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                if let Some(said) = answer(&text)
                    && write.write_all(&said).await.is_err()
                {
                    break;
                }
                line.clear();
            }
        }
    });
    (GuestAgentConfig { timeout: Some(PATIENCE), ..GuestAgentConfig::new(socket) }, directory)
}

async fn refused(config: &GuestAgentConfig) -> ConnectError {
    let connecting = connect(config, Arc::new(SilentObserver));
    match tokio::time::timeout(PATIENCE, connecting).await.expect("it ends") {
        Ok(_) => panic!("such an agent is of no use"),
        Err(error) => error,
    }
}

/// As a real one does.
fn agrees(request: &str) -> Option<Vec<u8>> {
    let id = request.split("\"id\":").nth(1)?.split('}').next()?.to_owned();
    Some(format!("\u{FFFD}{{\"return\": {id}}}\n").replace('\u{FFFD}', "").into_bytes())
}

fn info(commands: &str) -> Vec<u8> {
    format!("{{\"return\": {{\"version\": \"9.\\u001b[0m\", \"supported_commands\": [{commands}]}}}}\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_cannot_be_used_are_told() {
    // However much of that time is used, it ends with this.
    let short = Some(Duration::from_secs(2));
    let (silent, _kept) = lying(|_| None).await;
    let error = refused(&GuestAgentConfig { timeout: short, ..silent }).await;
    assert_eq!(error.kind, ConnectStage::Silent);
    assert!(error.hint.as_deref().unwrap().contains("qemu-guest-agent"), "{error}");

    let (disabled, _kept) = lying(|request| {
        if request.contains("guest-info") {
            return Some(info("{\"name\": \"guest-exec\", \"enabled\": false}"));
        }
        agrees(request).or_else(|| Some(b"{\"error\": {\"desc\": \"no\"}}\n".to_vec()))
    })
    .await;
    let error = refused(&disabled).await;
    assert_eq!((error.kind, error.attempts), (ConnectStage::Session, 1), "{error}");
    let told = error.source.to_string();
    assert!(told.contains("guest-exec, guest-exec-status") && told.contains("9. [0m"), "{told:?}");

    let missing = GuestAgentConfig { timeout: short, ..GuestAgentConfig::new("/nonexistent/x") };
    assert_eq!(refused(&missing).await.kind, ConnectStage::Refused);
}

/// The name of the command that is asked for.
fn asked(request: &str) -> &str {
    request.split("\"execute\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// Programs of the agent below: what finds a place for commands, a command, and a script that finds a file.
const FINDS_PLACE: &str = "1";
const COMMAND: &str = "2";
const FINDS_FILE: &str = "3";

/// The program that a request is about.
fn about(request: &str) -> &str {
    request.split("\"pid\":").nth(1).and_then(|rest| rest.split('}').next()).unwrap_or_default()
}

/// As an agent answers that does what it is asked: each program has ended well, and each file is empty.
fn honest(request: &str) -> Option<Vec<u8>> {
    let names = "exec exec-status file-open file-read file-write file-flush file-close".split(' ');
    let all: Vec<_> = names.map(|name| format!("{{\"name\": \"guest-{name}\", \"enabled\": true}}")).collect();
    let answer = match asked(request) {
        "guest-sync-delimited" => return agrees(request),
        "guest-info" => return Some(info(&all.join(", "))),
        "guest-file-open" => "7".to_owned(),
        "guest-file-read" => "{\"count\": 0, \"buf-b64\": \"\", \"eof\": true}".to_owned(),
        // All that is written here is one byte.
        "guest-file-write" => "{\"count\": 1}".to_owned(),
        "guest-file-seek" => "{\"position\": 0, \"eof\": false}".to_owned(),
        "guest-exec" if request.contains("kiln-agent-") => format!("{{\"pid\": {FINDS_PLACE}}}"),
        "guest-exec" if request.contains("mkfifo fo fe") => format!("{{\"pid\": {COMMAND}}}"),
        "guest-exec" => format!("{{\"pid\": {FINDS_FILE}}}"),
        "guest-exec-status" => {
            // `/tmp`, `0`, `/x.`
            let said = match about(request) {
                FINDS_PLACE => "L3RtcAo=",
                COMMAND => "MAo=",
                _ => "L3gu",
            };
            format!("{{\"exited\": true, \"exitcode\": 0, \"out-data\": \"{said}\"}}")
        }
        _ => "{}".to_owned(),
    };
    Some(format!("{{\"return\": {answer}}}\n").into_bytes())
}

fn exited(rest: &str) -> String {
    format!("{{\"return\": {{\"exited\": true, \"exitcode\": 0{rest}}}}}\n")
}

/// Runs a command and fetches a file from an agent that answers `lie` to requests called `name` once it was let in.
async fn believes(name: &'static str, lie: String) -> [Result<(), String>; 2] {
    let mut results = [Ok(()), Ok(())];
    for (fetches, result) in results.iter_mut().enumerate() {
        let (what, is_in) = (format!("{name}: {lie:.80}"), Arc::new(AtomicBool::new(false)));
        let (lie, lies) = (lie.clone(), is_in.clone());
        let (config, _kept) = lying(move |request| match asked(request) {
            command if command == name && lies.load(Ordering::SeqCst) => Some(lie.as_bytes().to_vec()),
            _ => honest(request),
        })
        .await;
        let connecting = connect(&config, Arc::new(SilentObserver));
        let guest = tokio::time::timeout(PATIENCE, connecting).await.expect(&what).expect("it is let in");
        is_in.store(true, Ordering::SeqCst);
        if fetches == 0 {
            let working = guest.execute("true", &DiscardedOutput);
            *result = match tokio::time::timeout(PATIENCE, working).await.expect(&what) {
                Ok(Exit::Code(0)) => Ok(()),
                other => Err(format!("{other:?}")),
            };
            continue;
        }
        let here = tempfile::tempdir().unwrap();
        let file = here.path().join("x");
        let working = guest.download_file("/x", &file, &NoProgress);
        let done = tokio::time::timeout(PATIENCE, working).await.expect(&what);
        let is_there = fs::read_dir(here.path()).unwrap().count() > 0;
        assert_eq!(is_there, done.is_ok(), "{what}: {done:?}");
        *result = done.map_err(|error| error.to_string());
    }
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_lie_end_the_call_and_not_the_build() {
    assert_eq!(believes("nothing", String::new()).await, [Ok(()), Ok(())], "what is no lie");
    let many = format!("{{\"return\": [0{}]}}\n", ",0".repeat(200_000));
    for (name, lie) in [
        ("guest-exec", "{\"return\": {\"pid\": \"one\"}}\n".to_owned()),
        ("guest-exec", "{\"return\": {\"pid\": 2}}\n{\"return\": {}}\n".to_owned()),
        ("guest-exec", "{\"return\": []}\n".to_owned()),
        ("guest-exec", many.clone()),
        ("guest-exec-status", "]]]\n".to_owned()),
        ("guest-exec-status", "{\"return\": {}}\n".to_owned()),
        ("guest-exec-status", exited(", \"out-data\": \"!!\"")),
        ("guest-exec-status", exited("")),
        ("guest-exec-status", many.clone()),
        ("guest-file-open", "{\"return\": \"seven\"}\n".to_owned()),
        ("guest-file-open", "{\"return\": null}\n".to_owned()),
        ("guest-file-read", "{\"return\": {\"count\": 1, \"buf-b64\": \"!\", \"eof\": true}}\n".to_owned()),
        ("guest-file-read", format!("{{\"return\": {{\"buf-b64\": \"{}\"}}}}\n", "AAAA".repeat(100_000))),
        ("guest-file-read", many),
        ("guest-file-close", "{\"return\"\n".to_owned()),
    ] {
        let [ran, fetched] = believes(name, lie.clone()).await;
        assert!(fetched.is_err(), "{name}: {lie:.80}");
        // A command is over when its status is known, whatever is said of a file that was open.
        assert!(ran.is_err() || name == "guest-file-close", "{name}: {lie:.80}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_that_cannot_be_kept_in_the_guest_ends_the_command() {
    let (config, _kept) = lying(|request| match asked(request) {
        "guest-file-write" => Some(b"{\"error\": {\"desc\": \"failed to write: No space left on device\"}}\n".to_vec()),
        // It waits for its input.
        "guest-exec-status" if about(request) == COMMAND => Some(b"{\"return\": {\"exited\": false}}\n".to_vec()),
        _ => honest(request),
    })
    .await;
    let guest = connect(&config, Arc::new(SilentObserver)).await.unwrap();
    let (output, errors) = (Box::pin(tokio::io::sink()), Box::pin(tokio::io::sink()));
    let streams = CommandStreams { input: Box::pin(&b"x"[..]), output, errors };
    let speaking = tokio::time::timeout(PATIENCE, guest.converse("cat", streams)).await.expect("it does not wait");
    let error = speaking.unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
    // What a file is told at its end counts, too.
    let (config, _kept) = lying(|request| match asked(request) {
        "guest-file-flush" => Some(b"{\"error\": {\"desc\": \"failed to flush: No space left on device\"}}\n".to_vec()),
        _ => honest(request),
    })
    .await;
    let guest = connect(&config, Arc::new(SilentObserver)).await.unwrap();
    let error = guest.upload_bytes(b"x", "/x", 0o600).await.unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_is_given_up_is_ended_in_the_guest() {
    let (looked, killed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (looks, kills) = (looked.clone(), killed.clone());
    let (config, _kept) = lying(move |request| {
        if asked(request) == "guest-exec-status" && about(request) == FINDS_FILE {
            looks.notify_one();
            return Some(b"{\"return\": {\"exited\": false}}\n".to_vec());
        }
        if asked(request) == "guest-exec" && request.contains("kill 3 ") {
            kills.notify_one();
        }
        honest(request)
    })
    .await;
    let guest = connect(&config, Arc::new(SilentObserver)).await.unwrap();
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("x");
    tokio::select! {
        done = guest.download_file("/x", &file, &NoProgress) => panic!("it does not end: {done:?}"),
        () = looked.notified() => {}
    }
    tokio::time::timeout(PATIENCE, killed.notified()).await.expect("it is ended");
}
