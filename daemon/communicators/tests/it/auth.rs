//! Logging in.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_communicators::ConnectEvent;
use kiln_communicators::ssh::{
    Bastion, ConnectFailure, EcdsaBits, KeyKind, PrivateKeySource, SshConfig, SshConnectError, Stage, generate_key_pair,
};

use crate::scripted_server::{Script, ScriptedServer};
use crate::servers::{Events, Server, connect, run, server_or_return, skip, through, tool, user, write_private};

fn config(port: u16, password: &str) -> SshConfig {
    let mut config = SshConfig::new("127.0.0.1", "someone");
    config.port = port;
    config.password = Some(password.into());
    config.timeout = Some(Duration::from_secs(20));
    config
}

async fn failure(config: &SshConfig) -> (SshConnectError, Vec<ConnectEvent>) {
    let events = Events::default();
    let error = kiln_communicators::ssh::connect(config, Arc::new(events.clone())).await.unwrap_err();
    (error, events.all())
}

#[tokio::test]
async fn passwords_are_taken() {
    let server = ScriptedServer::start(Script { password: Some("correct"), ..Script::default() }).await;
    connect(&config(server.port, "correct")).await;
}

#[tokio::test]
async fn keyboard_interactive_is_answered_with_the_password() {
    let script = Script { keyboard_interactive: Some("correct"), ..Script::default() };
    let server = ScriptedServer::start(script).await;
    connect(&config(server.port, "correct")).await;
}

#[tokio::test]
async fn wrong_passwords_are_tried_as_often_as_allowed_and_not_in_a_hurry() {
    let script = Script { password: Some("correct"), keyboard_interactive: Some("correct"), ..Script::default() };
    let server = ScriptedServer::start(script).await;
    let mut config = config(server.port, "wrong");
    config.handshake_attempts = Some(3);
    let started = Instant::now();
    let (error, events) = failure(&config).await;
    let Stage::Authentication { tried, offered } = &error.stage else { panic!("{error}") };
    assert_eq!(*tried, ["password", "keyboard-interactive"]);
    assert!(offered.iter().any(|method| method == "password"), "{offered:?}");
    let rejections = events.iter().filter(|event| matches!(event, ConnectEvent::Rejected { .. })).count();
    assert_eq!(rejections, 3);
    // Two pauses; the upper bound leaves room for a busy machine.
    assert!((1..10).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    assert!(!format!("{error} {:?}", error.source).contains("wrong"));
    // The observer is not told of every step of every try.
    let stages = events.iter().filter(|event| matches!(event, ConnectEvent::Stage { .. })).count();
    assert!(stages <= 4, "{events:?}");
}

#[tokio::test]
async fn a_guest_still_setting_up_its_users_is_waited_for() {
    let script = Script { password: Some("correct"), reject_first: 3, ..Script::default() };
    let server = ScriptedServer::start(script).await;
    let mut config = config(server.port, "correct");
    config.handshake_attempts = None;
    connect(&config).await;
}

#[tokio::test]
async fn dropbear_takes_its_password_and_refuses_others() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    let mut config = server.config();
    config.private_keys.clear();
    config.password = Some("correct".into());
    assert_eq!(run(&connect(&config).await, "echo in").await.1, "in\n");
    config.password = Some("wrong".into());
    config.handshake_attempts = Some(1);
    let (error, _) = failure(&config).await;
    let Stage::Authentication { tried, offered } = error.stage else { panic!("{error}") };
    assert_eq!(tried, ["password"]);
    assert_eq!(offered, ["publickey", "password"]);
}

#[tokio::test]
async fn keys_of_all_kinds_are_taken_by_both_servers() {
    let kinds =
        [KeyKind::Rsa(2048), KeyKind::Ecdsa(EcdsaBits::P256), KeyKind::Ecdsa(EcdsaBits::P521), KeyKind::Ed25519];
    for server in [Server::openssh(), Server::dropbear()] {
        let server = server_or_return!(server, "sshd, dropbear, dropbearconvert and cc");
        for kind in kinds {
            let pair = tokio::task::spawn_blocking(move || generate_key_pair(kind, "test")).await.unwrap().unwrap();
            let file = server.directory.path().join("key");
            write_private(&file, pair.private_openssh.expose());
            let line = format!("{}\n", pair.public_authorized_keys);
            std::fs::write(server.directory.path().join(".ssh/authorized_keys"), line).unwrap();
            let mut config = server.config();
            config.private_keys = vec![PrivateKeySource::File(file)];
            assert_eq!(run(&connect(&config).await, "echo in").await.1, "in\n", "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_with_what_the_server_offers() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let mut config = server.config();
    let other = generate_key_pair(KeyKind::Ed25519, "other").unwrap();
    config.private_keys = vec![PrivateKeySource::Pem(other.private_openssh)];
    config.handshake_attempts = Some(2);
    let (error, _) = failure(&config).await;
    let expected = Stage::Authentication { tried: vec!["publickey".into()], offered: vec!["publickey".into()] };
    assert_eq!(error.stage, expected);
    assert!(error.hint().unwrap().contains("no passwords"));
}

#[tokio::test]
async fn a_missing_key_file_fails_before_anything_is_tried() {
    let mut config = config(1, "x");
    config.private_keys = vec![PrivateKeySource::File("/nonexistent/key".into())];
    let (error, events) = failure(&config).await;
    assert_eq!(error.stage, Stage::Configuration);
    assert!(error.source.to_string().contains("/nonexistent/key"));
    assert!(events.is_empty());
}

fn keygen(directory: &std::path::Path, arguments: &[&str]) {
    let mut command = Command::new("ssh-keygen");
    let made = command.current_dir(directory).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(made.status().unwrap().success(), "{arguments:?}");
}

#[tokio::test]
async fn key_files_of_all_formats_are_read() {
    if tool("ssh-keygen").is_none() {
        return skip("ssh-keygen");
    }
    let server = server_or_return!(Server::openssh(), "sshd");
    let at = server.directory.path();
    for kind in [["rsa", "2048"], ["ecdsa", "256"], ["ecdsa", "521"]] {
        for format in ["RFC4716", "PKCS8", "PEM"] {
            let name = format!("{}-{}-{format}", kind[0], kind[1]);
            keygen(at, &["-q", "-t", kind[0], "-b", kind[1], "-m", format, "-N", "", "-f", &name]);
            std::fs::copy(at.join(format!("{name}.pub")), at.join(".ssh/authorized_keys")).unwrap();
            let mut config = server.config();
            config.private_keys = vec![PrivateKeySource::File(at.join(&name))];
            assert_eq!(run(&connect(&config).await, "echo in").await.1, "in\n", "{name}");
        }
    }
    keygen(at, &["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"]);
    let mut config = server.config();
    config.private_keys = vec![PrivateKeySource::File(at.join("locked"))];
    let (error, _) = failure(&config).await;
    assert_eq!(error.stage, Stage::Configuration);
    assert!(error.hint().unwrap().contains("passphrase"), "{:?}", error.source);
}

#[tokio::test]
async fn a_certificate_is_taken() {
    if tool("ssh-keygen").is_none() {
        return skip("ssh-keygen");
    }
    let authority = tempfile::tempdir().unwrap();
    let at = authority.path();
    keygen(at, &["-q", "-t", "ed25519", "-N", "", "-f", "ca"]);
    keygen(at, &["-q", "-t", "ed25519", "-N", "", "-f", "user"]);
    keygen(at, &["-q", "-s", "ca", "-I", "id", "-n", &user(), "user.pub"]);
    let extra = format!("TrustedUserCAKeys {}\n", at.join("ca.pub").display());
    let server = server_or_return!(Server::openssh_with(&extra), "sshd");
    let mut config = server.config();
    config.private_keys = vec![PrivateKeySource::File(at.join("user"))];
    config.certificate = Some(at.join("user-cert.pub"));
    assert_eq!(run(&connect(&config).await, "echo in").await.1, "in\n");

    // The same for a bastion, which knows the key by its certificate alone.
    let guest = server_or_return!(Server::openssh(), "sshd");
    let mut behind = guest.config();
    let bastion = |certificate| Bastion {
        host: config.host.clone(),
        port: config.port,
        username: config.username.clone(),
        password: None,
        keyboard_interactive_first: false,
        private_keys: config.private_keys.clone(),
        certificate,
        agent_auth: false,
    };
    behind.bastion = Some(bastion(config.certificate.clone()));
    assert_eq!(run(&connect(&behind).await, "echo through").await.1, "through\n");
    behind.bastion = Some(bastion(None));
    assert_eq!(failure(&behind).await.0.stage, Stage::Bastion);
}

/// An agent with the server's key.
struct Agent(std::process::Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent that has the key of `server`, and its socket.
async fn agent_with_key_of(server: &Server) -> Option<(Agent, PathBuf)> {
    let (agent, add) = (tool("ssh-agent")?, tool("ssh-add")?);
    let socket = server.directory.path().join("agent");
    let agent = Agent(Command::new(agent).arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap());
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let key = server.directory.path().join("key");
    write_private(&key, server.key.private_openssh.expose());
    let added = Command::new(add).arg(&key).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status();
    assert!(added.unwrap().success());
    Some((agent, socket))
}

/// `ssh_bastion_agent_auth`: the agent has the bastion's key alone, and logs in there alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_logs_in_to_a_bastion_where_that_is_asked_for() {
    let bastion = server_or_return!(Server::openssh(), "sshd");
    let guest = server_or_return!(Server::openssh(), "sshd");
    let Some((_agent, socket)) = agent_with_key_of(&bastion).await else { return skip("ssh-agent and ssh-add") };
    let mut config = through(&bastion, &guest);
    config.agent_socket = Some(socket);
    let by_agent = config.bastion.as_mut().unwrap();
    by_agent.private_keys.clear();
    by_agent.agent_auth = true;
    assert_eq!(run(&connect(&config).await, "echo there; echo ${SSH_AUTH_SOCK-none}").await.1, "there\nnone\n");
    assert!(bastion.log().contains("Accepted publickey"), "{}", bastion.log());
    // Not because there is an agent.
    config.bastion.as_mut().unwrap().agent_auth = false;
    let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
    let ConnectFailure::Bastion { stage: Stage::Authentication { .. }, .. } = &error.source else {
        panic!("{error} {:?}", error.source)
    };
}

#[tokio::test]
async fn the_agent_logs_in_and_is_forwarded_only_when_allowed() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let Some((_agent, socket)) = agent_with_key_of(&server).await else { return skip("ssh-agent and ssh-add") };
    let mut config = server.config();
    config.private_keys.clear();
    config.agent_socket = Some(socket);
    config.agent_auth = true;
    let guest = connect(&config).await;
    assert_eq!(run(&guest, "echo ${SSH_AUTH_SOCK-none}").await.1, "none\n");
    config.agent_forwarding = true;
    let guest = connect(&config).await;
    let (exit, keys, errors) = run(&guest, "ssh-add -l").await;
    assert!(exit.is_success() && keys.contains("ED25519"), "{keys}{errors}");
}
