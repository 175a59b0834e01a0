//! Ways to the guest and through it: bastion, proxy, tunnels.

use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_communicators::ssh::{
    ConnectFailure, PrivateKeySource, Proxy, ProxyKind, SshConfig, Stage, TransferMethod, Tunnel,
};
use kiln_communicators::{Communicator, ConnectConfig, ConnectEvent, ConnectStage, NoProgress, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::{Events, Server, connect, free_port, run, server_or_return, through, tool, user, write_private};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_reached_through_a_bastion() {
    let bastion = server_or_return!(Server::openssh(), "sshd");
    let guest = server_or_return!(Server::openssh(), "sshd");
    let config = through(&bastion, &guest);
    let connected = connect(&config).await;
    assert_eq!(run(&connected, "echo there").await.1, "there\n");
    let file = guest.path("big");
    let content = vec![7; 3_000_000];
    connected.upload_bytes(&content, file.to_str().unwrap(), 0o600).await.unwrap();
    assert!(std::fs::read(file).unwrap() == content);
}

/// What is shown to people who want to look at the guest themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_for_people_leads_through_the_bastion() {
    let bastion = server_or_return!(Server::openssh(), "sshd");
    let guest = server_or_return!(Server::openssh_with("Ciphers aes256-cbc\n"), "sshd");
    let client = server_or_return!(tool("ssh"), "ssh");
    let mut config = through(&bastion, &guest);
    let key_of = |server: &Server| {
        let file = server.directory.path().join("client's key");
        write_private(&file, server.key.private_openssh.expose());
        vec![PrivateKeySource::File(file)]
    };
    config.private_keys = key_of(&guest);
    config.bastion.as_mut().unwrap().private_keys = key_of(&bastion);
    config.ciphers = vec!["aes256-cbc".to_owned()];
    let command = ConnectConfig::Ssh(Box::new(config)).login_command(None).unwrap();
    let command = command.replacen("ssh ", &format!("{} -o BatchMode=yes ", client.display()), 1);
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", &format!("{command} echo there")]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_mins(1), shell.output()).await.expect("ssh ends").unwrap();
    assert_eq!(
        String::from_utf8_lossy(&ended.stdout),
        "there\n",
        "{command}\n{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_that_asks_is_answered_with_its_password() {
    let bastion = server_or_return!(Server::openssh_asking(true), "sshd, unshare and root");
    let guest = server_or_return!(Server::openssh(), "sshd");
    let mut config = through(&bastion, &guest);
    for (password, first) in [("correct", true), ("correct", false)] {
        let way = config.bastion.as_mut().unwrap();
        (way.password, way.keyboard_interactive_first) = (Some(Secret::new(password)), first);
        assert_eq!(run(&connect(&config).await, "echo there").await.1, "there\n");
    }
    assert!(bastion.log().contains("Accepted keyboard-interactive/pam"), "{}", bastion.log());
    config.bastion.as_mut().unwrap().password = Some(Secret::new("wrong"));
    let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
    let ConnectFailure::Bastion { stage: Stage::Authentication { tried, .. }, .. } = &error.source else {
        panic!("{error} {:?}", error.source)
    };
    assert_eq!(*tried, ["keyboard-interactive"]);
}

/// What `ssh_bastion_interactive` asks for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_is_answered_first_where_that_is_wanted() {
    let guest = server_or_return!(Server::openssh(), "sshd");
    for (first, accepted) in [(true, "Accepted keyboard-interactive/pam"), (false, "Accepted publickey")] {
        let bastion = server_or_return!(Server::openssh_asking(false), "sshd, unshare and root");
        let mut config = through(&bastion, &guest);
        let way = config.bastion.as_mut().unwrap();
        (way.password, way.keyboard_interactive_first) = (Some(Secret::new("correct")), first);
        assert_eq!(run(&connect(&config).await, "echo there").await.1, "there\n");
        let log = bastion.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("Accepted") || line.contains("Failed")).collect();
        assert!(lines.len() == 1 && lines[0].contains(accepted), "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_waits_for_the_guest_but_not_for_itself() {
    let bastion = server_or_return!(Server::openssh(), "sshd");
    let mut guest = server_or_return!(Server::openssh(), "sshd");
    guest.port = free_port();
    let mut config = through(&bastion, &guest);
    config.timeout = Some(Duration::from_secs(8));
    let events = Events::default();
    let error = kiln_communicators::ssh::connect(&config, Arc::new(events.clone())).await.unwrap_err();
    assert_eq!(error.stage, Stage::Refused, "{error} {:?}", error.source);
    // The bastion has been logged in to, which is nothing that the guest has shown.
    let of_the_guest = |event: &ConnectEvent| match event {
        ConnectEvent::Stage { stage, .. } => *stage == ConnectStage::Refused,
        ConnectEvent::Identity { .. } => true,
        _ => false,
    };
    assert!(events.all().iter().all(of_the_guest), "{:?}", events.all());

    config.bastion.as_mut().unwrap().private_keys = config.private_keys.clone();
    config.timeout = Some(Duration::from_secs(20));
    let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
    assert_eq!(error.stage, Stage::Bastion);
    assert!(matches!(&error.source, ConnectFailure::Bastion { stage: Stage::Authentication { .. }, .. }));
    assert!(error.elapsed < Duration::from_secs(10), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_reached_through_a_proxy() {
    let guest = server_or_return!(Server::openssh(), "sshd");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut hello = [0; 3];
                stream.read_exact(&mut hello).await.unwrap();
                stream.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 10];
                stream.read_exact(&mut request).await.unwrap();
                let port = u16::from_be_bytes([request[8], request[9]]);
                let mut target = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut target).await;
            });
        }
    });
    let mut config = guest.config();
    config.proxy = Some(Proxy { kind: ProxyKind::Socks5, host: "127.0.0.1".into(), port, credentials: None });
    assert_eq!(run(&connect(&config).await, "echo there").await.1, "there\n");
}

/// An HTTP proxy that lets in `me` with `secret`, and says what the other end says first together with its own answer.
async fn http_proxy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                let request = String::from_utf8(request).unwrap();
                // me:secret
                if !request.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
                    let refused = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 1000\r\n\r\n<h1>";
                    stream.write_all(refused).await.unwrap();
                    // A page that never ends.
                    std::future::pending::<()>().await;
                }
                let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
                let Ok(mut guest) = TcpStream::connect(target).await else {
                    stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await.unwrap();
                    return;
                };
                let mut answer = b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec();
                guest.read_buf(&mut answer).await.unwrap();
                stream.write_all(&answer).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut guest).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_reached_through_an_http_proxy_with_a_password() {
    let guest = server_or_return!(Server::openssh(), "sshd");
    let port = http_proxy().await;
    let proxy = |password: &str| {
        let credentials = Some(("me".to_owned(), Secret::new(password)));
        Some(Proxy { kind: ProxyKind::Http, host: "127.0.0.1".into(), port, credentials })
    };
    let mut config = guest.config();
    config.proxy = proxy("secret");
    assert_eq!(run(&connect(&config).await, "echo there").await.1, "there\n");

    // A proxy that says no goes on doing so.
    for wrong in [proxy("wrong"), Some(Proxy { credentials: None, ..proxy("").unwrap() })] {
        config.proxy = wrong;
        config.timeout = Some(Duration::from_mins(10));
        let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
        assert_eq!(error.stage, Stage::Proxy);
        assert!(error.source.to_string().contains("407 Proxy Authentication Required"), "{}", error.source);
    }

    // A guest that does not run yet is waited for.
    config.proxy = proxy("secret");
    config.port = free_port();
    // A busy machine needs more time to hear of it.
    for limit in [2, 10, 60] {
        config.timeout = Some(Duration::from_secs(limit));
        let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
        assert!(error.elapsed > Duration::from_secs(limit - 1), "{error}");
        if error.stage == Stage::Unreachable {
            assert!(error.source.to_string().contains("503"), "{}", error.source);
            return;
        }
        assert!(limit < 60, "{error} {:?}", error.source);
    }
}

/// OpenSSH's own client as a SOCKS5 proxy, with another server behind it.
struct OpensshProxy {
    child: Child,
    port: u16,
}

impl OpensshProxy {
    async fn start(through: &Server) -> Option<Self> {
        let program = tool("ssh")?;
        let key = through.directory.path().join("client_key");
        write_private(&key, through.key.private_openssh.expose());
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["-N", "-D", &format!("127.0.0.1:{port}"), "-p", &through.port.to_string(), "-i"]).arg(&key);
        for option in
            ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ExitOnForwardFailure=yes", "LogLevel=ERROR"]
        {
            command.args(["-o", option]);
        }
        let child = command.arg(format!("{}@127.0.0.1", user())).stdin(Stdio::null()).spawn().unwrap();
        let started = Self { child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "ssh -D does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(started)
    }
}

impl Drop for OpensshProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_both_ways_through_bastion_and_proxy() {
    let between = server_or_return!(Server::openssh(), "sshd");
    let guest = server_or_return!(Server::openssh(), "sshd");
    let proxy = server_or_return!(OpensshProxy::start(&between).await, "ssh");
    let mut by_proxy = guest.config();
    by_proxy.proxy =
        Some(Proxy { kind: ProxyKind::Socks5, host: "127.0.0.1".into(), port: proxy.port, credentials: None });
    let by_http = SshConfig {
        proxy: Some(Proxy {
            kind: ProxyKind::Http,
            host: "127.0.0.1".into(),
            port: http_proxy().await,
            credentials: Some(("me".to_owned(), Secret::new("secret"))),
        }),
        ..guest.config()
    };
    let here = tempfile::tempdir().unwrap();
    let (source, back) = (here.path().join("source"), here.path().join("back"));
    // More than any window on the way.
    let content: Vec<u8> = (0..6_000_001_u32).map(|at| (at % 251) as u8).collect();
    std::fs::write(&source, &content).unwrap();
    for (name, config) in [("bastion", through(&between, &guest)), ("socks", by_proxy), ("http", by_http)] {
        for transfer in [TransferMethod::Scp, TransferMethod::Sftp] {
            let connected = connect(&SshConfig { transfer, ..config.clone() }).await;
            let there = guest.path(&format!("{name}-{transfer:?}")).display().to_string();
            connected.upload_file(&source, &there, None, &NoProgress).await.unwrap();
            assert!(std::fs::read(&there).unwrap() == content, "{name} {transfer:?}");
            connected.download_file(&there, &back, &NoProgress).await.unwrap();
            assert!(std::fs::read(&back).unwrap() == content, "{name} {transfer:?}");
        }
    }
}

/// Echoes in capitals.
async fn shouter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut text = Vec::new();
                stream.read_to_end(&mut text).await.unwrap();
                text.make_ascii_uppercase();
                stream.write_all(&text).await.unwrap();
            });
        }
    });
    port
}

async fn ask(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Waits until nobody listens at a port.
async fn closed(port: u16, whose: &str) {
    let started = Instant::now();
    while !TcpStream::connect(("127.0.0.1", port))
        .await
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    {
        assert!(started.elapsed() < Duration::from_secs(10), "the {whose} port is still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_lead_both_ways_and_end_with_the_connection() {
    let guest = server_or_return!(Server::openssh(), "sshd");
    let target = shouter().await;
    let (local, remote) = (free_port(), free_port());
    let mut config = guest.config();
    let tunnel = |port| Tunnel { listen_port: port, target_host: "127.0.0.1".into(), target_port: target };
    config.local_tunnels = vec![tunnel(local)];
    config.remote_tunnels = vec![tunnel(remote)];
    let connected = connect(&config).await;
    assert_eq!(ask(local).await, "HELLO");
    assert_eq!(ask(remote).await, "HELLO");
    connected.close().await;
    drop(connected);
    // The remote one ends with sshd's session, a process of its own.
    closed(local, "local").await;
    closed(remote, "remote").await;
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let guest = server_or_return!(Server::openssh(), "sshd");
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut config = guest.config();
    config.local_tunnels = vec![Tunnel { listen_port: port, target_host: "127.0.0.1".into(), target_port: 1 }];
    let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
    assert_eq!(error.stage, Stage::Session);
    assert!(matches!(error.source, ConnectFailure::Tunnel { port: told, .. } if told == port));
}
