//! Servers that have one algorithm of each kind, old or new, alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_communicators::ssh::{
    AlgorithmKind, Bastion, EcdsaBits, KeyKind, Mismatch, SshConfig, SshConnectError, Stage, TransferMethod,
    generate_key_pair,
};
use kiln_communicators::{Communicator, ConnectEvent, ConnectStage, NoProgress};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::{Events, Server, connect, run, server_or_return, tool, write_private};

/// Enough for many packets, and no whole number of them.
const SIZE: usize = 150_001;

/// Commands and files go through whatever was agreed on.
async fn works(config: &SshConfig, server: &Server, transfer: TransferMethod, what: &str) {
    let here = tempfile::tempdir().unwrap();
    let (source, back) = (here.path().join("source"), here.path().join("back"));
    let content: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    std::fs::write(&source, &content).unwrap();
    let guest = connect(&SshConfig { transfer, ..config.clone() }).await;
    assert_eq!(run(&guest, "echo there").await.1, "there\n", "{what}");
    let there = server.path("file").display().to_string();
    guest.upload_file(&source, &there, None, &NoProgress).await.unwrap();
    guest.download_file(&there, &back, &NoProgress).await.unwrap();
    assert!(std::fs::read(&back).unwrap() == content, "{what} {transfer:?}");
    guest.close().await;
}

/// What such a server has, and what the template has to name for it: nothing where it is among what is offered anyway.
struct Set {
    exchange: &'static str,
    cipher: &'static str,
    mac: &'static str,
    host_key: &'static str,
    named: bool,
}

const fn set(exchange: &'static str, cipher: &'static str, mac: &'static str, host_key: &'static str) -> Set {
    Set { exchange, cipher, mac, host_key, named: false }
}

/// One that Kiln speaks only where the template names it.
const fn old(exchange: &'static str, cipher: &'static str, mac: &'static str, host_key: &'static str) -> Set {
    Set { exchange, cipher, mac, host_key, named: true }
}

/// Each algorithm that Kiln has and Debian 12's OpenSSH too, at least once.
const SETS: [Set; 11] = [
    set("curve25519-sha256", "aes128-gcm@openssh.com", "hmac-sha2-256", "ssh-ed25519"),
    set("curve25519-sha256@libssh.org", "aes256-gcm@openssh.com", "hmac-sha2-256", "rsa-sha2-512"),
    set("ecdh-sha2-nistp256", "chacha20-poly1305@openssh.com", "hmac-sha2-256", "ecdsa-sha2-nistp256"),
    set("ecdh-sha2-nistp384", "aes128-ctr", "hmac-sha2-256-etm@openssh.com", "rsa-sha2-256"),
    set("ecdh-sha2-nistp521", "aes192-ctr", "hmac-sha2-512-etm@openssh.com", "ssh-ed25519"),
    set("diffie-hellman-group14-sha256", "aes256-ctr", "hmac-sha2-256", "ecdsa-sha2-nistp256"),
    set("diffie-hellman-group16-sha512", "aes256-ctr", "hmac-sha2-512", "rsa-sha2-512"),
    set("diffie-hellman-group-exchange-sha256", "aes128-ctr", "hmac-sha1-etm@openssh.com", "ssh-ed25519"),
    // CentOS 6 and its like.
    set("diffie-hellman-group14-sha1", "aes128-ctr", "hmac-sha1", "ssh-rsa"),
    old("diffie-hellman-group-exchange-sha1", "aes256-cbc", "hmac-sha1", "ssh-rsa"),
    old("diffie-hellman-group1-sha1", "aes128-cbc", "hmac-sha1", "ssh-rsa"),
];

/// Host keys of the kinds that the other servers of these tests do not have; they are read for each connection.
fn more_host_keys() -> tempfile::TempDir {
    let keys = tempfile::tempdir().unwrap();
    for (name, kind) in [("rsa", KeyKind::Rsa(2048)), ("ecdsa", KeyKind::Ecdsa(EcdsaBits::P256))] {
        let key = generate_key_pair(kind, name).unwrap();
        write_private(&keys.path().join(name), key.private_openssh.expose());
    }
    keys
}

fn openssh_with(set: &Set, keys: &Path) -> Option<Server> {
    let Set { exchange, cipher, mac, host_key, .. } = set;
    Server::openssh_with(&format!(
        "Subsystem sftp internal-sftp\nHostKey {keys}/rsa\nHostKey {keys}/ecdsa\nKexAlgorithms {exchange}\nCiphers {cipher}\n\
         MACs {mac}\nHostKeyAlgorithms {host_key}\n",
        keys = keys.display()
    ))
}

/// Connects until it fails for want of a common algorithm. A busy machine needs more time to come so far.
async fn mismatch(config: &SshConfig) -> (Mismatch, SshConnectError, Vec<ConnectEvent>) {
    for limit in [2, 10, 60] {
        let config = SshConfig { timeout: Some(Duration::from_secs(limit)), ..config.clone() };
        let events = Events::default();
        let connecting = kiln_communicators::ssh::connect(&config, Arc::new(events.clone()));
        let error = connecting.await.unwrap_err();
        if let Stage::Algorithms(mismatch) = &error.stage {
            return (mismatch.clone(), error, events.all());
        }
        assert!(limit < 60, "{error}");
    }
    unreachable!("the last limit has ended it")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_algorithms_of_openssh_are_spoken() {
    let keys = more_host_keys();
    for (set, method) in SETS.iter().zip([TransferMethod::Scp, TransferMethod::Sftp].into_iter().cycle()) {
        let server = server_or_return!(openssh_with(set, keys.path()), "sshd");
        let mut config = server.config();
        let what = format!("{} {} {} {}", set.exchange, set.cipher, set.mac, set.host_key);
        for kind in [AlgorithmKind::KeyExchange, AlgorithmKind::Cipher].into_iter().filter(|_| set.named) {
            let (told, error, events) = mismatch(&config).await;
            let (name, option) = match kind {
                AlgorithmKind::KeyExchange => (set.exchange, "ssh_key_exchange_algorithms"),
                _ => (set.cipher, "ssh_ciphers"),
            };
            assert_eq!((told.kind, &told.theirs[..]), (kind, &[name.to_owned()][..]), "{what}: {error}");
            let hint = error.hint().unwrap();
            assert!(hint.starts_with(&format!("set {option} = [{name:?}]")), "{what}: {hint}");
            let note = |event: &&ConnectEvent| matches!(event, ConnectEvent::Note(text) if text.contains(&*hint));
            assert_eq!(events.iter().filter(note).count(), 1, "it is told at once, and once: {events:?}");
            // What it says is what helps.
            match kind {
                AlgorithmKind::KeyExchange => config.key_exchange_algorithms = vec![name.to_owned()],
                _ => config.ciphers = vec![name.to_owned()],
            }
        }
        works(&config, &server, method, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_algorithms_of_dropbear_are_spoken() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    for (exchange, cipher) in [
        ("curve25519-sha256", "chacha20-poly1305@openssh.com"),
        ("curve25519-sha256@libssh.org", "aes256-ctr"),
        ("ecdh-sha2-nistp521", "aes128-ctr"),
        ("ecdh-sha2-nistp384", "aes256-ctr"),
        ("ecdh-sha2-nistp256", "aes128-ctr"),
        ("diffie-hellman-group14-sha256", "aes256-ctr"),
        ("diffie-hellman-group14-sha1", "aes128-ctr"),
    ] {
        let mut config = server.config();
        config.key_exchange_algorithms = vec![exchange.to_owned()];
        config.ciphers = vec![cipher.to_owned()];
        works(&config, &server, TransferMethod::Scp, &format!("{exchange} {cipher}")).await;
    }
}

/// A cipher, a MAC, and a kind of host key that no template can name: what each side has is told, and where to change it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_guest_and_builder_have_nothing_of_in_common_is_told() {
    let keygen = server_or_return!(tool("ssh-keygen"), "ssh-keygen");
    let keys = tempfile::tempdir().unwrap();
    let host = generate_key_pair(KeyKind::Ed25519, "certified").unwrap();
    write_private(&keys.path().join("host"), host.private_openssh.expose());
    std::fs::write(keys.path().join("host.pub"), &host.public_authorized_keys).unwrap();
    let ca = generate_key_pair(KeyKind::Ed25519, "ca").unwrap();
    write_private(&keys.path().join("ca"), ca.private_openssh.expose());
    let certified = std::process::Command::new(keygen)
        .args(["-q", "-h", "-I", "guest", "-s"])
        .args([keys.path().join("ca"), keys.path().join("host.pub")])
        .output()
        .unwrap();
    assert!(certified.status.success(), "{certified:?}");
    let certificate = format!(
        "HostKey {at}/host\nHostCertificate {at}/host-cert.pub\nHostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com\n",
        at = keys.path().display()
    );
    for (extra, kind, theirs, directive) in [
        ("MACs umac-64@openssh.com\nCiphers aes128-ctr\n", AlgorithmKind::Mac, "umac-64@openssh.com", "MACs"),
        (&certificate, AlgorithmKind::HostKey, "ssh-ed25519-cert-v01@openssh.com", "HostKeyAlgorithms"),
    ] {
        let server = server_or_return!(Server::openssh_with(extra), "sshd");
        let (told, error, events) = mismatch(&server.config()).await;
        assert_eq!((told.kind, &told.theirs[..]), (kind, &[theirs.to_owned()][..]), "{error}");
        assert!(!told.ours.is_empty() && told.on_request.is_empty(), "{told:?}");
        assert!(error.to_string().contains(&format!("the guest offers: {theirs}")), "{error}");
        assert!(error.hint().unwrap().contains(directive), "{:?}", error.hint());
        let stage = |event: &ConnectEvent| matches!(event, ConnectEvent::Stage { stage: ConnectStage::Algorithms, .. });
        assert_eq!(events.iter().filter(|event| stage(event)).count(), 1, "{events:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dropbear_lacks_is_told() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    let mut config = server.config();
    config.ciphers = vec!["aes128-cbc".to_owned()];
    let (told, error, _) = mismatch(&config).await;
    assert_eq!((told.kind, &told.ours[..]), (AlgorithmKind::Cipher, &["aes128-cbc".to_owned()][..]), "{error}");
    assert!(told.on_request.iter().any(|name| name == "aes256-ctr"), "{told:?}");
}

/// A bastion must be up already: what it lacks ends the attempt at once, with the same words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bastion_without_a_common_algorithm_is_not_waited_for() {
    let bastion = server_or_return!(Server::openssh_with("Ciphers aes256-cbc\n"), "sshd");
    let mut config = SshConfig::new("127.0.0.1", "nobody");
    let way = bastion.config();
    config.timeout = Some(Duration::from_mins(10));
    config.bastion = Some(Bastion {
        host: way.host,
        port: way.port,
        username: way.username,
        password: None,
        keyboard_interactive_first: false,
        private_keys: way.private_keys,
        certificate: None,
        agent_auth: false,
    });
    let error = kiln_communicators::ssh::connect(&config, Arc::new(Events::default())).await.unwrap_err();
    assert_eq!(error.stage, Stage::Bastion);
    assert!(error.source.to_string().contains("the guest offers: aes256-cbc"), "{}", error.source);
    assert!(error.hint().unwrap().starts_with("set ssh_ciphers = [\"aes256-cbc\"]"), "{:?}", error.hint());
}

/// Passes everything on but one bit of the signature by which a server proves its host key.
async fn forger(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let guest = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let ((mut from_client, mut to_client), (from_guest, mut to_guest)) =
                    (client.into_split(), guest.into_split());
                let mut from_guest = BufReader::new(from_guest);
                let answers = async move {
                    let mut banner = Vec::new();
                    from_guest.read_until(b'\n', &mut banner).await?;
                    to_client.write_all(&banner).await?;
                    loop {
                        let length = from_guest.read_u32().await?;
                        let mut packet = vec![0; length as usize];
                        from_guest.read_exact(&mut packet).await?;
                        let (padding, kind) = (usize::from(packet[0]), packet[1]);
                        // SSH_MSG_KEX_ECDH_REPLY, which ends with the signature.
                        if kind == 31 {
                            let last = packet.len() - padding - 1;
                            packet[last] ^= 1;
                        }
                        to_client.write_u32(length).await?;
                        to_client.write_all(&packet).await?;
                    }
                };
                let _: (std::io::Result<()>, _) = tokio::join!(answers, copy(&mut from_client, &mut to_guest));
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_prove_its_host_key_is_named() {
    let server = server_or_return!(Server::openssh_with("HostKeyAlgorithms ssh-ed25519\n"), "sshd");
    let mut config = server.config();
    config.port = forger(server.port).await;
    for limit in [2, 10, 60] {
        config.timeout = Some(Duration::from_secs(limit));
        let events = Events::default();
        let error = kiln_communicators::ssh::connect(&config, Arc::new(events.clone())).await.unwrap_err();
        if error.stage == Stage::HostKey {
            assert!(error.hint().unwrap().contains("in its place"), "{:?}", error.hint());
            let stage =
                |event: &ConnectEvent| matches!(event, ConnectEvent::Stage { stage: ConnectStage::Identity, .. });
            assert!(events.all().iter().any(stage), "{:?}", events.all());
            return;
        }
        assert!(limit < 60, "{error} {:?}", error.source);
    }
}
