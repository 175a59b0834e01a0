//! Servers that have one algorithm of each kind, old or new, alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_communicators::ssh::{
    EcdsaBits, KeyKind, SshConfig, SshConnectError, Stage, TransferMethod, generate_key_pair,
};
use kiln_communicators::{Communicator, NoProgress};

use crate::servers::{Events, Server, connect, run, server_or_return, write_private};

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

/// Connects until it fails at a stage. It may be tried again until its time is up, and a busy machine needs more of that to come so far.
async fn fails_at(config: &SshConfig, stage: Stage) -> SshConnectError {
    for limit in [2, 10, 60] {
        let config = SshConfig { timeout: Some(Duration::from_secs(limit)), ..config.clone() };
        let connecting = kiln_communicators::ssh::connect(&config, Arc::new(Events::default()));
        let error = connecting.await.unwrap_err();
        if error.stage == stage {
            return error;
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
        if set.named {
            let error = fails_at(&config, Stage::KeyExchange).await;
            let cause = std::error::Error::source(&error.source).map(ToString::to_string);
            let told = format!("{error}: {}: {}", error.source, cause.unwrap_or_default());
            assert!(told.contains(set.exchange) || told.contains(set.cipher), "{what}: {told}");
            config.key_exchange_algorithms = vec![set.exchange.to_owned()];
            config.ciphers = vec![set.cipher.to_owned()];
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
