//! Guests that break off, stand still or lie.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_communicators::ssh::{SshConfig, TransferMethod};
use kiln_communicators::{Communicator, CommunicatorError, NoProgress, TransferProgress};

use crate::scripted_server::{Script, ScriptedServer};
use crate::servers::{Events, Server, descendants, server_or_return};

/// A server that runs `script` whenever `scp` is asked for.
fn with_fake_scp(script: &str) -> Option<(Server, tempfile::TempDir)> {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("scp");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let extra = format!("SetEnv PATH={}:/usr/bin:/bin\n", directory.path().display());
    Some((Server::openssh_with(&extra)?, directory))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_dies_ends_the_upload() {
    // Without care the writer waits for ever for window.
    let dies = "printf '\\000\\000'; head -c 100000 > /dev/null; echo 'disk on fire' >&2; exit 3";
    let (server, _fake) = server_or_return!(with_fake_scp(dies), "sshd");
    let guest = server.connect().await;
    let started = Instant::now();
    let error = guest.upload_bytes(&vec![1; 20_000_000], "/tmp/x", 0o644).await.unwrap_err();
    assert!(error.to_string().contains("disk on fire"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    // The connection lives on.
    assert!(guest.execute("true", &kiln_communicators::DiscardedOutput).await.unwrap().is_success());
}

#[tokio::test]
async fn a_shell_that_talks_is_told() {
    let (server, _fake) = server_or_return!(with_fake_scp("echo Welcome to this machine; sleep 1"), "sshd");
    let error = server.connect().await.upload_bytes(b"x", "/tmp/x", 0o644).await.unwrap_err();
    assert!(matches!(&error, CommunicatorError::Protocol { .. }) && error.to_string().contains("Welcome"), "{error}");
}

/// Stops the server once something has moved.
struct StopWhenMoving(u32);

impl TransferProgress for StopWhenMoving {
    fn advanced(&self, _bytes: u64) {
        for pid in descendants(self.0) {
            std::process::Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_stands_still_ends_an_upload() {
    let here = tempfile::tempdir().unwrap();
    let source = here.path().join("big");
    fs::write(&source, vec![1; 50_000_000]).unwrap();
    for transfer in [TransferMethod::Scp, TransferMethod::Sftp] {
        let server = server_or_return!(Server::openssh(), "sshd");
        let mut config = server.config();
        config.keep_alive_interval = Some(Duration::from_secs(1));
        config.keep_alive_count_max = 3;
        config.transfer = transfer;
        let guest = crate::servers::connect(&config).await;
        let there = server.path("big").display().to_string();
        let started = Instant::now();
        let error = guest.upload_file(&source, &there, None, &StopWhenMoving(server.pid())).await.unwrap_err();
        assert!(error.is_transport(), "{transfer:?} {error}");
        // The keep-alives that are the default would take 30 s.
        assert!(started.elapsed() < Duration::from_secs(20), "{transfer:?} {:?}", started.elapsed());
    }
}

async fn lying_guest(answer: &[u8]) -> (Result<(), CommunicatorError>, Result<(), CommunicatorError>, Vec<String>) {
    let script = Script { password: Some("x"), answer: Some((answer.to_vec(), 0)), ..Script::default() };
    let server = ScriptedServer::start(script).await;
    let mut config = SshConfig::new("127.0.0.1", "someone");
    config.port = server.port;
    config.password = Some("x".into());
    let guest = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap();
    let here = tempfile::tempdir().unwrap();
    let inside = here.path().join("inside");
    let tree = guest.download_directory("/x", &inside, &NoProgress).await;
    let file = guest.download_file("/x", &here.path().join("file"), &NoProgress).await;
    let outside = fs::read_dir(here.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    (tree, file, outside.filter(|name| name != "inside" && name != "file").collect())
}

#[tokio::test]
async fn hostile_names_do_not_leave_the_target() {
    for name in ["../evil", "..", "/tmp/evil", "a/b", "", "."] {
        for answer in [format!("C0644 1 {name}\nx\0"), format!("D0755 0 d\nD0755 0 {name}\nC0644 1 x\nx\0E\nE\n")] {
            let (tree, _, outside) = lying_guest(answer.as_bytes()).await;
            let error = tree.unwrap_err();
            assert!(matches!(&error, CommunicatorError::HostileName { .. }), "{name:?}: {error}");
            assert!(outside.is_empty(), "{outside:?}");
        }
    }
}

#[tokio::test]
async fn broken_protocol_is_an_error_and_leaves_no_file() {
    for answer in [
        &b"C0644 99999999999 x\nshort"[..],
        b"C0644 5 x\nab",
        b"C9999 5 x\nabcde\0",
        b"Csomething\n",
        b"E\n",
        b"D0755 0 d\n",
        b"\x01scp: no\n",
        b"\x02",
        b"",
        b"C0644 1 x\nx\x01late trouble\n",
    ] {
        let (tree, file, outside) = lying_guest(answer).await;
        assert!(tree.is_err() && file.is_err(), "{answer:?}");
        assert!(outside.is_empty(), "{outside:?}");
    }
}

#[tokio::test]
async fn a_set_uid_bit_from_the_guest_is_dropped() {
    let script = Script { password: Some("x"), answer: Some((b"C4755 1 x\nx\0".to_vec(), 0)), ..Script::default() };
    let server = ScriptedServer::start(script).await;
    let mut config = SshConfig::new("127.0.0.1", "someone");
    config.port = server.port;
    config.password = Some("x".into());
    let guest = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap();
    let here = tempfile::tempdir().unwrap();
    guest.download_directory("/x", here.path(), &NoProgress).await.unwrap();
    assert_eq!(fs::metadata(here.path().join("x")).unwrap().permissions().mode() & 0o7777, 0o755);
}
