//! How a guest is reached, as a plain value.

use std::path::PathBuf;
use std::time::Duration;

use kiln_communicators::Secret;
use serde::Serialize;

use super::secret;

/// How the guest is reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommunicatorPlan {
    /// Not at all.
    None,
    /// By SSH.
    Ssh(Box<SshPlan>),
    /// Through the guest's agent.
    GuestAgent(GuestAgentPlan),
    /// By WinRM.
    WinRm(Box<WinRmPlan>),
}

/// WinRM settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WinRmPlan {
    /// Address, when the template says one.
    pub host: Option<String>,
    /// The guest's port.
    pub port: u16,
    /// User.
    pub username: String,
    /// Password.
    #[serde(serialize_with = "secret::serialize")]
    pub password: Option<Secret>,
    /// How long to wait for it; `None`: for ever.
    pub timeout: Option<Duration>,
    /// HTTPS.
    pub tls: bool,
    /// Take any certificate.
    pub insecure: bool,
    /// Log in by NTLM.
    pub ntlm: bool,
    /// Go around the proxies of the environment.
    pub no_proxy: bool,
    /// Connect, wait this long, connect again.
    pub pause_before_connecting: Duration,
}

/// Settings of the guest's agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GuestAgentPlan {
    /// How long to wait for it.
    pub timeout: Duration,
    /// Connect, wait this long, connect again.
    pub pause_before_connecting: Duration,
}

/// SSH settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SshPlan {
    /// Address, when the template says one.
    pub host: Option<String>,
    /// The guest's port.
    pub port: u16,
    /// User.
    pub username: String,
    /// Password.
    #[serde(serialize_with = "secret::serialize")]
    pub password: Option<Secret>,
    /// Private key file.
    pub private_key_file: Option<PathBuf>,
    /// Certificate file.
    pub certificate_file: Option<PathBuf>,
    /// The temporary key; `None` where nothing could put it into the guest.
    pub temporary_key: Option<TemporaryKeyPlan>,
    /// Use the agent.
    pub agent: bool,
    /// Offer the agent to the guest.
    pub agent_forwarding: bool,
    /// Run commands in a terminal.
    pub pty: bool,
    /// How long to wait for it; `None`: for ever.
    pub timeout: Option<Duration>,
    /// Refused log-ins that end the build.
    pub handshake_attempts: Option<u32>,
    /// Use sftp in place of scp.
    pub sftp: bool,
    /// Sign of life; `None`: never.
    pub keep_alive: Option<Duration>,
    /// Limit for one read or write.
    pub read_write_timeout: Option<Duration>,
    /// Ciphers to offer.
    pub ciphers: Vec<String>,
    /// Key exchanges to offer.
    pub key_exchanges: Vec<String>,
    /// Connect, wait this long, connect again.
    pub pause_before_connecting: Duration,
    /// Host to go through.
    pub bastion: Option<BastionPlan>,
    /// SOCKS5 proxy to go through.
    pub proxy: Option<ProxyPlan>,
    /// `PORT:HOST:PORT` listening here.
    pub local_tunnels: Vec<String>,
    /// `PORT:HOST:PORT` listening in the guest.
    pub remote_tunnels: Vec<String>,
}

/// A key that is made for the build.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct TemporaryKeyPlan {
    /// `rsa`, `ecdsa` or `ed25519`.
    pub kind: String,
    /// Its size; `None`: the kind's own.
    pub bits: Option<u32>,
    /// Its comment, by which it is found among other keys; `None`: one of the job's own.
    pub name: Option<String>,
    /// It is taken out of the guest when that is provisioned.
    pub cleared: bool,
}

/// A host to go through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BastionPlan {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub username: String,
    /// Password.
    #[serde(serialize_with = "secret::serialize")]
    pub password: Option<Secret>,
    /// Log in by `keyboard-interactive` first.
    pub interactive: bool,
    /// Private key file.
    pub private_key_file: Option<PathBuf>,
    /// Certificate file.
    pub certificate_file: Option<PathBuf>,
    /// Use the agent.
    pub agent: bool,
}

/// A SOCKS5 proxy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ProxyPlan {
    /// It is an HTTP proxy, not a SOCKS5 one.
    pub http: bool,
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub username: Option<String>,
    /// Password.
    #[serde(serialize_with = "secret::serialize")]
    pub password: Option<Secret>,
}

impl CommunicatorPlan {
    /// The guest's own port that is connected to.
    pub(crate) fn guest_port(&self) -> Option<u16> {
        match self {
            Self::None | Self::GuestAgent(_) => None,
            Self::Ssh(ssh) => Some(ssh.port),
            Self::WinRm(winrm) => Some(winrm.port),
        }
    }

    /// Who logs in.
    pub(crate) fn username(&self) -> Option<&str> {
        match self {
            Self::None | Self::GuestAgent(_) => None,
            Self::Ssh(ssh) => Some(&ssh.username),
            Self::WinRm(winrm) => Some(&winrm.username),
        }
    }

    /// Its passwords.
    pub(crate) fn secrets(&self) -> Vec<&Secret> {
        let ssh = match self {
            Self::None | Self::GuestAgent(_) => return Vec::new(),
            Self::WinRm(winrm) => return winrm.password.iter().collect(),
            Self::Ssh(ssh) => ssh,
        };
        let bastion = ssh.bastion.as_ref().and_then(|bastion| bastion.password.as_ref());
        let proxy = ssh.proxy.as_ref().and_then(|proxy| proxy.password.as_ref());
        ssh.password.iter().chain(bastion).chain(proxy).collect()
    }
}
