//! Reads the `ssh_*` options.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_communicators::Secret;

use crate::plan::{BastionPlan, ProxyPlan, SshPlan};
use crate::plan_reader::PlanReader;

/// Packer's `ssh_timeout` when neither it nor the number of attempts is set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// Packer's `ssh_handshake_attempts` when neither it nor the timeout is set.
const DEFAULT_ATTEMPTS: u32 = 10;

/// Whether a builder makes a temporary key when the template names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TemporaryKey {
    /// qemu and vmware: always, unless a private key file is given.
    Made,
    /// null: never.
    NotMade,
}

/// Reads a whole SSH connection.
pub(crate) fn read(reader: &mut PlanReader<'_>, key: TemporaryKey) -> SshPlan {
    let username = reader.text_or("ssh_username", "");
    if username.is_empty() {
        reader.error(
            "ssh_username",
            "Missing ssh_username",
            "An ssh_username must be specified: the user that provisioning logs in as.",
        );
    }
    let private_key_file = existing_file(reader, "ssh_private_key_file");
    check_private_key(reader, private_key_file.as_deref());
    let certificate_file = existing_file(reader, "ssh_certificate_file");
    if certificate_file.is_some() && private_key_file.is_none() {
        reader.error(
            "ssh_certificate_file",
            "Missing ssh_private_key_file",
            "A certificate is of use only with its private key: set ssh_private_key_file too.",
        );
    }
    if key == TemporaryKey::Made {
        check_bits(reader);
    }
    let (timeout, handshake_attempts) = patience(reader);
    // The key reaches the guest only through the template's own words (packer.md 4.0.8); without them, making 4096 bits
    // of RSA would only cost seconds.
    let useful = reader.mentions_key || reader.text("ssh_password").is_none();
    let temporary_key = (key == TemporaryKey::Made && private_key_file.is_none() && useful).then(|| {
        let kind = reader.one_of("temporary_key_pair_type", "rsa", &["rsa", "ecdsa", "ed25519", "dsa"]);
        if kind == "dsa" {
            reader.error(
                "temporary_key_pair_type",
                "DSA keys are not supported",
                "OpenSSH and dropbear refuse DSA keys; use ed25519, ecdsa or rsa.",
            );
        }
        let bits = reader.options.integer("temporary_key_pair_bits").and_then(|bits| u32::try_from(bits).ok());
        (kind, bits.filter(|&bits| bits != 0))
    });
    let signed = |name: &str, default: Duration, reader: &PlanReader<'_>| {
        let negative = reader.options.signed_duration(name).is_some_and(|duration| duration.is_negative());
        if negative { None } else { Some(reader.duration_or(name, default)) }
    };
    SshPlan {
        host: reader.text("ssh_host"),
        port: reader.port("ssh_port", 22),
        username,
        password: reader.text("ssh_password").map(Secret::new),
        private_key_file,
        certificate_file,
        temporary_key,
        agent: reader.flag("ssh_agent_auth"),
        agent_forwarding: !reader.flag("ssh_disable_agent_forwarding") && reader.flag("ssh_agent_auth"),
        pty: reader.flag("ssh_pty"),
        timeout,
        handshake_attempts,
        sftp: reader.one_of("ssh_file_transfer_method", "scp", &["scp", "sftp"]) == "sftp",
        keep_alive: signed("ssh_keep_alive_interval", Duration::from_secs(5), reader),
        read_write_timeout: reader.options.duration("ssh_read_write_timeout").filter(|timeout| !timeout.is_zero()),
        ciphers: reader.texts("ssh_ciphers"),
        key_exchanges: reader.texts("ssh_key_exchange_algorithms"),
        pause_before_connecting: reader.duration_or("pause_before_connecting", Duration::ZERO),
        bastion: read_bastion(reader),
        proxy: read_proxy(reader),
        local_tunnels: tunnels(reader, "ssh_local_tunnels"),
        remote_tunnels: tunnels(reader, "ssh_remote_tunnels"),
    }
}

/// `ssh_timeout` and `ssh_handshake_attempts` have defaults only when neither is set (packer.md 4.0.8).
fn patience(reader: &PlanReader<'_>) -> (Option<Duration>, Option<u32>) {
    let positive = |name: &str| reader.options.duration(name).filter(|timeout| !timeout.is_zero());
    let timeout = positive("ssh_wait_timeout").or_else(|| positive("ssh_timeout"));
    let attempts = reader.options.integer("ssh_handshake_attempts");
    let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok()).filter(|&attempts| attempts != 0);
    match (timeout, attempts) {
        (None, None) => (Some(DEFAULT_TIMEOUT), Some(DEFAULT_ATTEMPTS)),
        given => given,
    }
}

fn read_bastion(reader: &mut PlanReader<'_>) -> Option<BastionPlan> {
    let host = reader.text("ssh_bastion_host")?;
    let bastion = BastionPlan {
        host,
        port: reader.port("ssh_bastion_port", 22),
        username: reader.text_or("ssh_bastion_username", ""),
        password: reader.text("ssh_bastion_password").map(Secret::new),
        private_key_file: existing_file(reader, "ssh_bastion_private_key_file")
            .or_else(|| reader.text("ssh_private_key_file").map(PathBuf::from)),
        certificate_file: existing_file(reader, "ssh_bastion_certificate_file"),
        agent: reader.flag("ssh_bastion_agent_auth"),
    };
    if bastion.password.is_none() && bastion.private_key_file.is_none() && !bastion.agent {
        reader.error(
            "ssh_bastion_host",
            "No way to log in to the bastion",
            "Set ssh_bastion_password, ssh_bastion_private_key_file or ssh_bastion_agent_auth.",
        );
    }
    if reader.text("ssh_proxy_host").is_some() {
        reader.error("ssh_proxy_host", "Bastion and proxy", "ssh_bastion_host and ssh_proxy_host exclude each other.");
    }
    Some(bastion)
}

fn read_proxy(reader: &mut PlanReader<'_>) -> Option<ProxyPlan> {
    Some(ProxyPlan {
        host: reader.text("ssh_proxy_host")?,
        port: reader.port("ssh_proxy_port", 1080),
        username: reader.text("ssh_proxy_username"),
        password: reader.text("ssh_proxy_password").map(Secret::new),
    })
}

fn tunnels(reader: &mut PlanReader<'_>, name: &str) -> Vec<String> {
    let tunnels = reader.texts(name);
    for tunnel in &tunnels {
        let parts: Vec<_> = tunnel.split(':').collect();
        let port = |text: &str| text.parse::<u16>().is_ok();
        if parts.len() != 3 || !port(parts[0]) || parts[1].is_empty() || !port(parts[2]) {
            reader.error(name, "Invalid tunnel", format!("{tunnel:?} must have the form PORT:HOST:PORT."));
        }
    }
    tunnels
}

/// A key that can be read must be one, and need no passphrase, for which nobody could be asked.
fn check_private_key(reader: &mut PlanReader<'_>, path: Option<&Path>) {
    let Some(text) = path.and_then(|path| std::fs::read_to_string(path).ok()) else { return };
    let detail = match russh::keys::decode_secret_key(&text, None) {
        Ok(_) => return,
        Err(russh::keys::Error::KeyIsEncrypted) => "has a passphrase: log in with ssh_agent_auth instead.".to_owned(),
        Err(error) => format!("is not a private key: {error}."),
    };
    let detail = format!("The file of ssh_private_key_file {detail}");
    reader.error("ssh_private_key_file", "Unusable private key", detail);
}

/// The sizes that Packer's kinds of keys can have (packer.md 4.0.8).
fn check_bits(reader: &mut PlanReader<'_>) {
    let Some(bits) = reader.options.integer("temporary_key_pair_bits").filter(|&bits| bits != 0) else { return };
    let kind = reader.text_or("temporary_key_pair_type", "rsa");
    let (fits, wanted) = match kind.as_str() {
        "rsa" => ((1024..=16384).contains(&bits), "between 1024 and 16384"),
        "ecdsa" => ([256, 384, 521].contains(&bits), "256, 384 or 521"),
        _ => return,
    };
    if !fits {
        let detail =
            format!("temporary_key_pair_bits is {bits}, but the bits of a key of type {kind} must be {wanted}.");
        reader.error("temporary_key_pair_bits", "Value out of range", detail);
    }
}

fn existing_file(reader: &mut PlanReader<'_>, name: &str) -> Option<PathBuf> {
    let path = expand_home(&reader.text(name)?);
    if !path.is_file() {
        reader.error(name, "No such file", format!("{name} is {}, which is not a file.", path.display()));
    }
    Some(path)
}

/// Replaces a leading `~` by the user's home directory.
fn expand_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text),
    }
}
