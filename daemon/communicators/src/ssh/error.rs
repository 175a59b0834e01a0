//! Why a connection did not come about, and how far it got.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::connect_error::{ConnectError, ConnectStage};
use crate::rounded::rounded;
use crate::ssh::mismatch::Mismatch;

/// A connection by SSH that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address} after {attempts} attempts in {:.1} s: {stage}", elapsed.as_secs_f64())]
pub struct SshConnectError {
    /// The guest, as `host:port`.
    pub address: String,
    /// How far the last attempt got.
    pub stage: Stage,
    /// Attempts made, whatever they came to.
    pub attempts: u32,
    /// How long it was tried.
    pub elapsed: Duration,
    /// What happened to the last attempt.
    #[source]
    pub source: ConnectFailure,
}

impl SshConnectError {
    /// Returns what the user can look at.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        if let Stage::Bastion = &self.stage
            && let ConnectFailure::Bastion { stage: at @ (Stage::Algorithms(_) | Stage::HostKey), .. } = &self.source
        {
            return at.hint(&self.source);
        }
        self.stage.hint(&self.source)
    }
}

impl Stage {
    /// What the user can look at when `source` has ended an attempt here.
    pub(crate) fn hint(&self, source: &ConnectFailure) -> Option<Cow<'static, str>> {
        let fixed = match self {
            Self::Algorithms(mismatch) => return Some(Cow::Owned(mismatch.hint())),
            Self::Configuration => match source {
                ConnectFailure::PrivateKey { source: russh::keys::Error::KeyIsEncrypted, .. } => {
                    "take the passphrase off a copy of the key with `ssh-keygen -p`, or load it into an agent and set \
                     ssh_agent_auth"
                }
                _ => return None,
            },
            Self::Resolving => "check ssh_host",
            Self::Refused | Self::ClosedAtOnce => {
                "the guest is on the network but runs no SSH server on ssh_port yet: look at its screen, \
                 and see whether the installation enables one"
            }
            Self::NoAddress => {
                "the guest has no address: look at its screen for a stopped boot, a missing network driver or a failed DHCP"
            }
            Self::TurnedAway => {
                "the guest's SSH server refuses whoever comes too often: see MaxStartups and PerSourcePenalties in its sshd_config, \
                 and whether something else connects to it"
            }
            Self::Unreachable | Self::NoAnswer => {
                "the guest does not answer on the network: look at its screen for a stopped boot or a failed DHCP"
            }
            Self::NoBanner => {
                "the guest has no address yet (no DHCP), is still booting, or something else listens on ssh_port"
            }
            Self::NotSsh => "another service listens on ssh_port: check ssh_port and the guest's services",
            Self::KeyExchange => {
                "the guest went down, or something on the way breaks connections off: look at its screen and the log of its SSH server"
            }
            Self::HostKey => {
                "whoever answers cannot prove that the host key is its own: see whether something between builder and guest answers \
                 in its place (ssh_host, ssh_port), and make new host keys in the guest (`ssh-keygen -A`)"
            }
            Self::Authentication { offered, .. } if !offered.is_empty() && !offered.iter().any(|m| m == "password") => {
                "the guest takes no passwords: give a key (ssh_private_key_file), or set PasswordAuthentication yes there"
            }
            Self::Authentication { .. } => {
                "check ssh_username and ssh_password or the key against what the installation sets up; root often may \
                 not log in with a password"
            }
            Self::Bastion => "check the ssh_bastion_* options: the bastion must be up and let you in",
            Self::Proxy => "check the ssh_proxy_* options",
            Self::Session => "the guest let us in but refused what was asked for next: see the cause",
        };
        Some(Cow::Borrowed(fixed))
    }
}

impl From<SshConnectError> for ConnectError {
    fn from(error: SshConnectError) -> Self {
        Self {
            kind: error.stage.kind(),
            words: error.stage.to_string(),
            hint: error.hint(),
            address: error.address,
            attempts: error.attempts,
            elapsed: error.elapsed,
            source: Box::new(error.source),
        }
    }
}

/// How far an attempt got before it failed or was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// A setting is wrong: nothing was tried.
    Configuration,
    /// The host name has no address.
    Resolving,
    /// The host refuses connections to the port.
    Refused,
    /// There is no way to the host.
    Unreachable,
    /// The guest is watched and has not been seen to have an address.
    NoAddress,
    /// The TCP connection got no answer.
    NoAnswer,
    /// The forwarded port took the connection and closed it: the guest is up, its port is closed.
    ClosedAtOnce,
    /// The port is open but nothing is said: behind a forwarded port, a guest without an address.
    NoBanner,
    /// The port is open and something else than SSH answers.
    NotSsh,
    /// The SSH server is there and turns us away before its banner.
    TurnedAway,
    /// SSH answered; keys are being agreed on.
    KeyExchange,
    /// SSH answered; there is nothing in common to speak safely with.
    Algorithms(Mismatch),
    /// Keys are agreed on; the guest's proof of its host key is none.
    HostKey,
    /// Keys are agreed on; logging in.
    Authentication {
        /// Methods tried, in order.
        tried: Vec<String>,
        /// Methods the server offers.
        offered: Vec<String>,
    },
    /// The bastion could not be passed.
    Bastion,
    /// The proxy could not be passed.
    Proxy,
    /// Logged in; a tunnel or session was refused.
    Session,
}

impl Stage {
    /// The same for those who speak to guests in other ways too.
    #[must_use]
    pub fn kind(&self) -> ConnectStage {
        match self {
            Self::Configuration => ConnectStage::Configuration,
            Self::Resolving => ConnectStage::Resolving,
            Self::Refused => ConnectStage::Refused,
            Self::Unreachable => ConnectStage::Unreachable,
            Self::NoAddress => ConnectStage::NoAddress,
            Self::NoAnswer => ConnectStage::NoAnswer,
            Self::ClosedAtOnce => ConnectStage::ClosedAtOnce,
            Self::NoBanner => ConnectStage::Silent,
            Self::NotSsh => ConnectStage::OtherService,
            Self::TurnedAway => ConnectStage::TurnedAway,
            Self::KeyExchange => ConnectStage::Handshake,
            Self::Algorithms(_) => ConnectStage::Algorithms,
            Self::HostKey => ConnectStage::Identity,
            Self::Authentication { .. } => ConnectStage::Login,
            Self::Bastion | Self::Proxy => ConnectStage::Route,
            Self::Session => ConnectStage::Session,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("the settings cannot be used"),
            Self::Resolving => f.write_str("the host name has no address"),
            Self::Refused => f.write_str("the port is closed"),
            Self::Unreachable => f.write_str("the host cannot be reached"),
            Self::NoAddress => f.write_str("the guest has no address yet"),
            Self::NoAnswer => f.write_str("the host does not answer"),
            Self::ClosedAtOnce => f.write_str("the port closes every connection at once"),
            Self::NoBanner => f.write_str("the port is open but nothing answers"),
            Self::NotSsh => f.write_str("the port is open but speaks no SSH"),
            Self::TurnedAway => f.write_str("the SSH server turns connections away"),
            Self::KeyExchange => f.write_str("the key exchange does not complete"),
            Self::Algorithms(mismatch) => mismatch.fmt(f),
            Self::HostKey => f.write_str("the host key cannot be trusted"),
            Self::Authentication { tried, offered } => {
                f.write_str("the login is not accepted")?;
                if !tried.is_empty() {
                    write!(f, " (tried: {}", tried.join(", "))?;
                    if !offered.is_empty() {
                        write!(f, "; the guest offers: {}", offered.join(", "))?;
                    }
                    f.write_str(")")?;
                }
                Ok(())
            }
            Self::Bastion => f.write_str("the bastion cannot be passed"),
            Self::Proxy => f.write_str("the proxy cannot be passed"),
            Self::Session => f.write_str("no session can be opened"),
        }
    }
}

/// What happened to one attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectFailure {
    /// Nothing had failed when time was up.
    #[error("time was up while waiting")]
    TimeUp,
    /// TCP or the transport below failed.
    #[error("the transport failed")]
    Transport(#[source] io::Error),
    /// The host name does not resolve.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Closed before a banner came.
    #[error("the connection was closed before a banner came")]
    ClosedBeforeBanner,
    /// Nothing came.
    #[error("no banner came within {}", rounded(*after))]
    Silent {
        /// How long was waited.
        after: Duration,
    },
    /// Something else than SSH came.
    #[error("the server says {said:?}")]
    NotSsh {
        /// Its first bytes, made printable.
        said: String,
    },
    /// SSH itself failed.
    #[error("SSH failed")]
    Ssh(#[source] russh::Error),
    /// A stage took too long.
    #[error("{what} took longer than {}", rounded(*after))]
    TimedOut {
        /// The stage.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// All credentials were rejected.
    #[error("every credential was rejected")]
    Rejected,
    /// No credential at all.
    #[error("there is no password, key or agent to log in with")]
    NoCredentials,
    /// The agent failed.
    #[error("the SSH agent at {} failed: {message}", socket.display())]
    Agent {
        /// Its socket.
        socket: PathBuf,
        /// What it said.
        message: String,
    },
    /// A private key cannot be used.
    #[error("cannot use the private key {name}")]
    PrivateKey {
        /// Its file, or `(generated)`.
        name: String,
        /// Why.
        #[source]
        source: russh::keys::Error,
    },
    /// A certificate cannot be used.
    #[error("cannot use the certificate {}", path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: russh::keys::ssh_key::Error,
    },
    /// An algorithm nobody knows.
    #[error("{name:?} is not a known {kind}; known are: {known}")]
    UnknownAlgorithm {
        /// `cipher` or `key exchange algorithm`.
        kind: &'static str,
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },
    /// Two settings exclude each other.
    #[error("a bastion and a proxy cannot be used together")]
    BastionAndProxy,
    /// The proxy refused.
    #[error("the proxy refused: {reason}")]
    Proxy {
        /// Why.
        reason: String,
    },
    /// The bastion's own connection failed.
    #[error("the bastion {address} failed: {stage}")]
    Bastion {
        /// `host:port`.
        address: String,
        /// How far it got.
        stage: Stage,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// A tunnel could not be set up.
    #[error("cannot set up the tunnel from port {port}: {reason}")]
    Tunnel {
        /// The port to listen on.
        port: u16,
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::ssh::mismatch::AlgorithmKind;

    fn all_stages() -> [Stage; 17] {
        let names = ["aes128-cbc".to_owned()];
        let mismatch = Mismatch::new(AlgorithmKind::Cipher, &[], &names, |_| true);
        let tried = vec!["password".to_owned()];
        [
            Stage::Configuration,
            Stage::Resolving,
            Stage::Refused,
            Stage::Unreachable,
            Stage::NoAddress,
            Stage::NoAnswer,
            Stage::ClosedAtOnce,
            Stage::NoBanner,
            Stage::NotSsh,
            Stage::TurnedAway,
            Stage::KeyExchange,
            Stage::Algorithms(mismatch),
            Stage::HostKey,
            Stage::Authentication { tried: tried.clone(), offered: vec!["publickey".to_owned()] },
            Stage::Bastion,
            Stage::Proxy,
            Stage::Session,
        ]
    }

    #[test]
    fn nothing_is_lost_on_the_way_to_the_neutral_error() {
        for stage in all_stages() {
            let ssh = SshConnectError {
                address: "guest:22".to_owned(),
                stage: stage.clone(),
                attempts: 3,
                elapsed: Duration::from_millis(2_500),
                source: ConnectFailure::Proxy { reason: "no".to_owned() },
            };
            let (said, hint) = (ssh.to_string(), ssh.hint());
            let error = ConnectError::from(ssh);
            assert_eq!((error.to_string(), error.hint.clone()), (said, hint), "{stage:?}");
            assert_eq!((error.kind, error.attempts), (stage.kind(), 3));
            assert_eq!(error.source().unwrap().to_string(), "the proxy refused: no");
            assert!(error.source().unwrap().downcast_ref::<ConnectFailure>().is_some(), "the cause can be looked at");
        }
    }

    #[test]
    fn what_was_tried_and_offered_is_told() {
        let stage = &all_stages()[13];
        assert_eq!(stage.to_string(), "the login is not accepted (tried: password; the guest offers: publickey)");
    }
}
