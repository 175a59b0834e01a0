//! Everything an SSH connection can be told.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::lookout::Lookout;
use crate::secret::Secret;
use crate::ssh::host_keys::HostKeyMemory;

/// How to reach a guest and how to behave there. Start from [`SshConfig::new`] and set what differs.
#[derive(Debug, Clone)]
pub struct SshConfig {
    /// Host name or address; for a forwarded port, the address it is bound to.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User to log in as.
    pub username: String,
    /// Answers `password` and every prompt of `keyboard-interactive`.
    pub password: Option<Secret>,
    /// Whether `keyboard-interactive` is tried before everything else. A server may count each rejected login against us.
    pub keyboard_interactive_first: bool,
    /// Keys to offer, in order: the user's file first, then the generated one.
    pub private_keys: Vec<PrivateKeySource>,
    /// An OpenSSH certificate for the first private key.
    pub certificate: Option<PathBuf>,
    /// Socket of the SSH agent (`SSH_AUTH_SOCK`), used only as the next two fields say.
    pub agent_socket: Option<PathBuf>,
    /// Whether to offer the agent's keys, before all others.
    pub agent_auth: bool,
    /// Whether commands in the guest may use the agent. Packer's default is yes when there is an agent.
    pub agent_forwarding: bool,
    /// Whether commands get a terminal (xterm, 40 rows of 80 columns, no echo).
    pub pty: bool,
    /// Environment offered for every command; servers take only names their configuration allows.
    pub environment: Vec<(String, String)>,
    /// Sends a keep-alive after this much silence; `None` sends none, and a silently dead guest is not noticed.
    pub keep_alive_interval: Option<Duration>,
    /// Gives the connection up after so many keep-alives without any answer.
    pub keep_alive_count_max: u32,
    /// Gives the connection up when a single read or write takes longer; `None` is no limit.
    pub read_write_timeout: Option<Duration>,
    /// How long a command that has returned is listened to while what it left running goes on talking, which may be for ever.
    pub talking: Duration,
    /// Fails after so many rejected logins; `None` is no limit.
    pub handshake_attempts: Option<u32>,
    /// Fails when no connection came about in this time, the first or one that is made anew; `None` is no limit for the first.
    pub timeout: Option<Duration>,
    /// How files are moved; when the guest lacks the program, the other way is used.
    pub transfer: TransferMethod,
    /// Ciphers by name, most wanted first; empty takes the built-in list.
    pub ciphers: Vec<String>,
    /// Key exchange algorithms by name, most wanted first; empty takes the built-in list.
    pub key_exchange_algorithms: Vec<String>,
    /// Reaches the guest through another SSH server.
    pub bastion: Option<Bastion>,
    /// Reaches the guest through a proxy. Not together with `bastion`.
    pub proxy: Option<Proxy>,
    /// Ports of this machine's loopback that lead to places the guest can reach.
    pub local_tunnels: Vec<Tunnel>,
    /// Ports of the guest's loopback that lead to places this machine can reach.
    pub remote_tunnels: Vec<Tunnel>,
    /// Watches the guest's network, so that it is left alone until it has an address. Without it, or through a bastion or proxy, the
    /// guest is tried blindly.
    pub lookout: Option<Arc<dyn Lookout>>,
    /// The host keys seen by this build. Give the same memory to each connection of one build.
    pub host_keys: HostKeyMemory,
}

impl SshConfig {
    /// Packer's defaults for a user on a host: port 22, no credentials, five minutes, ten attempts at logging in.
    #[must_use]
    pub fn new(host: impl Into<String>, username: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 22,
            username: username.into(),
            password: None,
            keyboard_interactive_first: false,
            private_keys: Vec::new(),
            certificate: None,
            agent_socket: None,
            agent_auth: false,
            agent_forwarding: false,
            pty: false,
            environment: Vec::new(),
            keep_alive_interval: Some(Duration::from_secs(5)),
            // 35 s with the default interval: an emulated guest may well stand still for ten.
            keep_alive_count_max: 6,
            read_write_timeout: None,
            talking: Duration::from_mins(1),
            handshake_attempts: Some(10),
            timeout: Some(Duration::from_mins(5)),
            transfer: TransferMethod::Scp,
            ciphers: Vec::new(),
            key_exchange_algorithms: Vec::new(),
            bastion: None,
            proxy: None,
            local_tunnels: Vec::new(),
            remote_tunnels: Vec::new(),
            lookout: None,
            host_keys: HostKeyMemory::default(),
        }
    }

    /// Returns `host:port` as messages show it.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

pub(crate) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Where a private key is.
#[derive(Debug, Clone)]
pub enum PrivateKeySource {
    /// A file: OpenSSH, PKCS#1, PKCS#8 or PuTTY format, without a passphrase.
    File(PathBuf),
    /// The text of such a file.
    Pem(Secret),
}

/// A program pair that moves files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferMethod {
    /// The guest's `scp`, run over a session.
    Scp,
    /// The guest's sftp subsystem.
    Sftp,
}

impl TransferMethod {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Scp => Self::Sftp,
            Self::Sftp => Self::Scp,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scp => "scp",
            Self::Sftp => "sftp",
        }
    }
}

/// An SSH server on the way to the guest. It must be up already: a rejected login there is final.
#[derive(Debug, Clone)]
pub struct Bastion {
    /// Host name or address.
    pub host: String,
    /// TCP port, 22 by default.
    pub port: u16,
    /// User to log in as.
    pub username: String,
    /// Answers `password` and `keyboard-interactive`.
    pub password: Option<Secret>,
    /// Whether `keyboard-interactive` is tried before everything else.
    pub keyboard_interactive_first: bool,
    /// Keys to offer.
    pub private_keys: Vec<PrivateKeySource>,
    /// An OpenSSH certificate for the first key.
    pub certificate: Option<PathBuf>,
    /// Whether to offer the agent's keys (the socket is that of [`SshConfig::agent_socket`]).
    pub agent_auth: bool,
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS5 (RFC 1928).
    Socks5,
    /// HTTP's CONNECT.
    Http,
}

/// A proxy on the way to the guest.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: ProxyKind,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User and password, when the proxy wants them.
    pub credentials: Option<(String, Secret)>,
}

/// `PORT:host:port`: connections to a listening port go to a host and port seen from the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// The port listened on, at the loopback address.
    pub listen_port: u16,
    /// Where connections lead.
    pub target_host: String,
    /// The port there.
    pub target_port: u16,
}

/// A tunnel that is not `PORT:host:port`.
#[derive(Debug, thiserror::Error)]
#[error("tunnel {text:?} is not of the form PORT:host:port")]
pub struct TunnelParseError {
    text: String,
}

impl FromStr for Tunnel {
    type Err = TunnelParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (listen, target) = text.split_once(':')?;
            let (host, port) = target.rsplit_once(':')?;
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            if host.is_empty() {
                return None;
            }
            let (listen_port, target_port) = (listen.parse().ok()?, port.parse().ok().filter(|port| *port != 0)?);
            Some(Self { listen_port, target_host: host.to_owned(), target_port })
        };
        parse().ok_or_else(|| TunnelParseError { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_read() {
        let tunnel: Tunnel = "8080:[::1]:80".parse().unwrap();
        assert_eq!(tunnel, Tunnel { listen_port: 8080, target_host: "::1".into(), target_port: 80 });
        for bad in ["", "1:2", "x:h:1", "1::2", "1:h:0", "70000:h:1"] {
            assert!(bad.parse::<Tunnel>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut config = SshConfig::new("h", "u");
        config.password = Some("hunter2".into());
        config.private_keys.push(PrivateKeySource::Pem("-----BEGIN".into()));
        let text = format!("{config:?}");
        assert!(!text.contains("hunter2") && !text.contains("BEGIN"), "{text}");
    }
}
