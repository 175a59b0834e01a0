//! Why a connection did not come about, and how far it got.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::connect_error::{ConnectError, ConnectStage};
use crate::rounded::rounded;
use crate::winrm::ntlm::NtlmError;
use crate::winrm::soap::answer::Fault;

/// How far an attempt got before it failed or was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A setting is wrong: nothing was tried.
    Configuration,
    /// The host name has no address.
    Resolving,
    /// The proxy could not be passed.
    Proxy,
    /// There is no way to the host.
    Unreachable,
    /// The guest is watched and has not been seen to have an address.
    NoAddress,
    /// The TCP connection got no answer.
    NoAnswer,
    /// The host refuses connections to the port.
    Refused,
    /// The port took the connection and closed it.
    ClosedAtOnce,
    /// The port is open but nothing is said.
    Silent,
    /// TLS was not agreed on.
    Tls,
    /// Something answers in HTTP, but as no WinRM does.
    Status(u16),
    /// Something else than HTTP, or than WS-Management over it.
    NotWsMan,
    /// The login is not accepted.
    Login {
        /// What was tried.
        tried: &'static str,
        /// What the guest offers.
        offered: Vec<String>,
    },
    /// Logged in; no command can be run.
    Session,
}

impl Stage {
    /// The same for those who speak to guests in other ways too.
    pub(crate) fn kind(&self) -> ConnectStage {
        match self {
            Self::Configuration => ConnectStage::Configuration,
            Self::Resolving => ConnectStage::Resolving,
            Self::Proxy => ConnectStage::Route,
            Self::Unreachable => ConnectStage::Unreachable,
            Self::NoAddress => ConnectStage::NoAddress,
            Self::NoAnswer => ConnectStage::NoAnswer,
            Self::Refused => ConnectStage::Refused,
            Self::ClosedAtOnce => ConnectStage::ClosedAtOnce,
            Self::Silent => ConnectStage::Silent,
            Self::Tls => ConnectStage::Handshake,
            Self::Status(503) => ConnectStage::TurnedAway,
            Self::Status(_) | Self::NotWsMan => ConnectStage::OtherService,
            Self::Login { .. } => ConnectStage::Login,
            Self::Session => ConnectStage::Session,
        }
    }

    /// What the user can look at.
    fn hint(&self, failure: &Failure) -> Option<&'static str> {
        Some(match (self, failure) {
            (Self::Configuration, _) => return None,
            (Self::Resolving, _) => "check winrm_host",
            (Self::Proxy, _) => {
                "check HTTP_PROXY and HTTPS_PROXY; winrm_no_proxy = true or an entry in NO_PROXY goes around the proxy"
            }
            (Self::Refused | Self::ClosedAtOnce, _) => {
                "the guest is on the network but no WinRM listens on winrm_port yet: look at its screen, and see whether the \
                 installation runs `winrm quickconfig` and opens the firewall"
            }
            (Self::NoAddress | Self::Unreachable | Self::NoAnswer, _) => {
                "the guest does not answer on the network: look at its screen for a stopped boot, a missing network driver or a \
                 failed DHCP; Windows' firewall also keeps WinRM closed on public networks"
            }
            (Self::Silent, _) => {
                "the guest has no address yet, is still booting, or the port speaks TLS (winrm_use_ssl)"
            }
            (Self::Tls, Failure::Certificate { .. }) => {
                "have the guest use a certificate that this machine trusts (SSL_CERT_FILE can name its authority), or set \
                 winrm_insecure = true"
            }
            (Self::Tls, _) => {
                "the port may speak HTTP (no winrm_use_ssl), or the guest knows no TLS 1.2, as before Windows 8 and Server 2012"
            }
            (Self::Status(503), _) => "the guest's WinRM is starting or has too much to do",
            (Self::Status(_) | Self::NotWsMan, _) => {
                "another service listens on winrm_port: check winrm_port and winrm_use_ssl"
            }
            (Self::Login { tried: "Basic", offered }, _) if !offered.iter().any(|name| name == "Basic") => {
                "the guest takes no Basic: set winrm_use_ntlm = true, or have the installation run `winrm set \
                 winrm/config/service/auth @{Basic=\"true\"}` and, without winrm_use_ssl, `winrm set winrm/config/service \
                 @{AllowUnencrypted=\"true\"}`"
            }
            (Self::Login { .. }, _) => {
                "check winrm_username and winrm_password against what the installation sets up; a user of the guest has to be an \
                 administrator of it"
            }
            (Self::Session, _) => "the guest let us in but runs no command: see the cause",
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration => f.write_str("the settings cannot be used"),
            Self::Resolving => f.write_str("the host name has no address"),
            Self::Proxy => f.write_str("the proxy cannot be passed"),
            Self::Unreachable => f.write_str("the host cannot be reached"),
            Self::NoAddress => f.write_str("the guest has no address yet"),
            Self::NoAnswer => f.write_str("the host does not answer"),
            Self::Refused => f.write_str("the port is closed"),
            Self::ClosedAtOnce => f.write_str("the port closes the connection"),
            Self::Silent => f.write_str("the port is open but nothing answers"),
            Self::Tls => f.write_str("TLS is not agreed on"),
            Self::Status(status) => write!(f, "the port answers with HTTP status {status}"),
            Self::NotWsMan => f.write_str("the port is open but speaks no WinRM"),
            Self::Login { tried, offered } => {
                write!(f, "the login is not accepted (tried: {tried}")?;
                if !offered.is_empty() {
                    write!(f, "; the guest offers: {}", offered.join(", "))?;
                }
                f.write_str(")")
            }
            Self::Session => f.write_str("no command can be run"),
        }
    }
}

/// What happened to one attempt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("time was up while waiting")]
    TimeUp,
    #[error("the transport failed")]
    Transport(#[source] io::Error),
    #[error("cannot resolve {host}")]
    Resolve {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("the proxy refused: {reason}")]
    Proxy { reason: String },
    #[error("{what} took longer than {}", rounded(*after))]
    TimedOut { what: &'static str, after: Duration },
    #[error("the guest's certificate is not trusted")]
    Certificate {
        #[source]
        source: io::Error,
    },
    #[error("TLS failed")]
    Tls(#[source] io::Error),
    #[error("the certificates that this machine trusts cannot be read")]
    Trust(#[source] io::Error),
    #[error("cannot use the certificates in {}", path.display())]
    Authorities {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("HTTP failed")]
    Http(#[source] hyper::Error),
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the guest says {said:?}")]
    Status { said: String },
    #[error("the answer cannot be read: {what}")]
    NotWsMan { what: &'static str },
    #[error("the user or the password is wrong, or the user may not come in this way")]
    Rejected,
    #[error("the guest does not offer {wanted}")]
    NotOffered { wanted: &'static str },
    #[error("NTLM failed")]
    Ntlm(#[source] NtlmError),
    #[error(transparent)]
    Fault(Fault),
    #[error("PowerShell does not answer: it ended with {exit} and said {said:?}")]
    Check { exit: i32, said: String },
    #[error("{name} cannot stand in a request")]
    Unsayable { name: &'static str },
}

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) stage: Stage,
    pub(crate) failure: Failure,
    /// Whether trying again cannot help.
    pub(crate) is_final: bool,
    /// Whether the guest cannot have taken in what was sent.
    pub(crate) is_unsent: bool,
}

impl Attempt {
    pub(crate) fn new(stage: Stage, failure: Failure) -> Self {
        Self { stage, failure, is_final: false, is_unsent: false }
    }

    pub(crate) fn final_at(stage: Stage, failure: Failure) -> Self {
        Self { is_final: true, ..Self::new(stage, failure) }
    }

    /// A failure before anything was asked.
    pub(crate) fn unsent(self) -> Self {
        Self { is_unsent: true, ..self }
    }

    /// Whether it is what a guest that is away for a while, or for good, looks like from here. A service that stops, or is not there yet,
    /// leaves its port to Windows' own HTTP, which knows nothing of it (404) or has nobody to ask (503).
    pub(crate) fn is_interruption(&self) -> bool {
        match &self.stage {
            Stage::Resolving
            | Stage::Proxy
            | Stage::Unreachable
            | Stage::NoAddress
            | Stage::NoAnswer
            | Stage::Refused
            | Stage::ClosedAtOnce
            | Stage::Silent
            | Stage::Status(404 | 503) => true,
            Stage::Tls => !self.is_final,
            Stage::Configuration | Stage::Status(_) | Stage::NotWsMan | Stage::Login { .. } | Stage::Session => false,
        }
    }

    pub(crate) fn fault(&self) -> Option<&Fault> {
        if let Failure::Fault(fault) = &self.failure { Some(fault) } else { None }
    }

    /// Makes the error for giving up after this one.
    pub(crate) fn into_error(self, address: String, attempts: u32, elapsed: Duration) -> ConnectError {
        ConnectError {
            kind: self.stage.kind(),
            words: self.stage.to_string(),
            hint: self.stage.hint(&self.failure).map(Into::into),
            address,
            attempts,
            elapsed,
            source: Box::new(self.failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_is_told() {
        let error = |stage, failure| {
            Attempt::new(stage, failure).into_error("guest:5985".to_owned(), 3, Duration::from_millis(2500))
        };
        let login = Stage::Login { tried: "Basic", offered: vec!["Negotiate".to_owned()] };
        let basic = error(login, Failure::NotOffered { wanted: "Basic" });
        assert_eq!(
            basic.to_string(),
            "cannot connect to guest:5985 after 3 attempts in 2.5 s: the login is not accepted (tried: Basic; the guest offers: \
             Negotiate)"
        );
        assert!(basic.hint.unwrap().contains("winrm_use_ntlm"));
        let login = Stage::Login { tried: "NTLM", offered: Vec::new() };
        assert!(error(login, Failure::Rejected).hint.unwrap().contains("winrm_password"));
        let source = io::Error::other("UnknownIssuer");
        assert!(error(Stage::Tls, Failure::Certificate { source }).hint.unwrap().contains("winrm_insecure"));
        assert_eq!(error(Stage::Status(503), Failure::Rejected).kind, ConnectStage::TurnedAway);
        assert_eq!(error(Stage::Status(404), Failure::Rejected).kind, ConnectStage::OtherService);
    }

    #[test]
    fn a_guest_that_answers_wrongly_is_not_away() {
        let is_away = |stage| Attempt::new(stage, Failure::TimeUp).is_interruption();
        assert!(
            is_away(Stage::Refused) && is_away(Stage::Silent) && is_away(Stage::Status(503)) && is_away(Stage::Tls)
        );
        let login = Stage::Login { tried: "NTLM", offered: Vec::new() };
        assert!(!is_away(login) && !is_away(Stage::NotWsMan) && !is_away(Stage::Status(500)));
        assert!(!Attempt::final_at(Stage::Tls, Failure::TimeUp).is_interruption(), "a certificate of somebody else");
    }
}
