//! How a guest is to be reached: one value for every kind of communicator.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::guest_agent::GuestAgentConfig;
use crate::lookout::Lookout;
use crate::secret::Secret;
use crate::ssh::SshConfig;
use crate::winrm::WinRmConfig;

/// The kinds of communicators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommunicatorKind {
    /// Nobody speaks to the guest.
    None,
    /// SSH.
    Ssh,
    /// The guest's agent.
    GuestAgent,
    /// WinRM.
    WinRm,
}

impl CommunicatorKind {
    /// The name in templates, with which its options begin too: `ssh` in `ssh_timeout`, `guest-agent` in `guest_agent_timeout`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ssh => "ssh",
            Self::GuestAgent => "guest-agent",
            Self::WinRm => "winrm",
        }
    }

    /// The name in sentences.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::Ssh => "SSH",
            Self::GuestAgent => "guest agent",
            Self::WinRm => "WinRM",
        }
    }
}

/// Everything needed to connect to one guest.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectConfig {
    /// Not at all.
    None,
    /// By SSH.
    Ssh(Box<SshConfig>),
    /// Through the guest's agent.
    GuestAgent(GuestAgentConfig),
    /// By WinRM.
    WinRm(Box<WinRmConfig>),
}

impl ConnectConfig {
    /// Which kind of communicator this makes.
    #[must_use]
    pub const fn kind(&self) -> CommunicatorKind {
        match self {
            Self::None => CommunicatorKind::None,
            Self::Ssh(_) => CommunicatorKind::Ssh,
            Self::GuestAgent(_) => CommunicatorKind::GuestAgent,
            Self::WinRm(_) => CommunicatorKind::WinRm,
        }
    }

    /// Host and port that are connected to, when there are any.
    #[must_use]
    pub fn endpoint(&self) -> Option<(&str, u16)> {
        match self {
            Self::None | Self::GuestAgent(_) => None,
            Self::Ssh(ssh) => Some((&ssh.host, ssh.port)),
            Self::WinRm(winrm) => Some((&winrm.host, winrm.port)),
        }
    }

    /// How long connecting may take; `None` is no limit.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Ssh(ssh) => ssh.timeout,
            Self::GuestAgent(agent) => agent.timeout,
            Self::WinRm(winrm) => winrm.timeout,
        }
    }

    /// Has the guest left alone until `lookout` sees its address.
    pub fn watch_by(&mut self, lookout: Arc<dyn Lookout>) {
        match self {
            Self::None | Self::GuestAgent(_) => {}
            Self::Ssh(ssh) => ssh.lookout = Some(lookout),
            Self::WinRm(winrm) => winrm.lookout = Some(lookout),
        }
    }

    /// The key that a person needs in a file to get into the guest and that is in none yet.
    #[must_use]
    pub fn key_without_file(&self) -> Option<&Secret> {
        match self {
            Self::None | Self::GuestAgent(_) | Self::WinRm(_) => None,
            Self::Ssh(ssh) => ssh.key_without_file(),
        }
    }

    /// The command by which a person at this machine gets into the guest, to be pasted into a shell. `key_file` holds
    /// [`Self::key_without_file`]. No secret is in it.
    #[must_use]
    pub fn login_command(&self, key_file: Option<&Path>) -> Option<String> {
        match self {
            // No program of this machine leads a person into a guest by WinRM.
            Self::None | Self::GuestAgent(_) | Self::WinRm(_) => None,
            Self::Ssh(ssh) => Some(ssh.login_command(key_file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_communicator_there_is_nothing_to_connect_to() {
        let none = ConnectConfig::None;
        assert_eq!((none.kind().name(), none.endpoint(), none.timeout()), ("none", None, None));
        assert!(none.key_without_file().is_none() && none.login_command(None).is_none());
    }

    #[test]
    fn ssh_answers_from_its_settings() {
        let mut ssh = SshConfig::new("guest", "root");
        ssh.port = 2222;
        ssh.timeout = Some(Duration::from_secs(7));
        let config = ConnectConfig::Ssh(Box::new(ssh));
        assert_eq!((config.kind().name(), config.kind().title()), ("ssh", "SSH"));
        assert_eq!((config.endpoint(), config.timeout()), (Some(("guest", 2222)), Some(Duration::from_secs(7))));
        assert!(config.login_command(None).unwrap().contains("root@guest"));
    }

    #[test]
    fn an_agent_is_at_no_address() {
        let config = ConnectConfig::GuestAgent(GuestAgentConfig::new("/run/agent.sock"));
        assert_eq!((config.kind().name(), config.kind().title()), ("guest-agent", "guest agent"));
        assert_eq!((config.endpoint(), config.timeout()), (None, Some(Duration::from_mins(5))));
        assert!(config.key_without_file().is_none() && config.login_command(None).is_none());
    }

    #[test]
    fn winrm_answers_from_its_settings() {
        let config = ConnectConfig::WinRm(Box::new(WinRmConfig::new("guest", "packer", "hunter2".into())));
        assert_eq!((config.kind().name(), config.kind().title()), ("winrm", "WinRM"));
        assert_eq!((config.endpoint(), config.timeout()), (Some(("guest", 5985)), Some(Duration::from_mins(30))));
        assert!(config.login_command(None).is_none() && !format!("{config:?}").contains("hunter2"));
    }
}
