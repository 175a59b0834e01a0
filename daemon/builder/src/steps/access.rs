//! What gets a build into its guest, whatever the guest is spoken to with. It is made before the guest is, for a boot command may
//! carry a key into it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_communicators::ConnectConfig;
use kiln_communicators::guest_agent::GuestAgentConfig;

use super::ssh_access::SshAccess;
use super::winrm_access;
use crate::build_data::Connection;
use crate::context::BuildContext;
use crate::error::{BuildError, StepError};
use crate::plan::{CommunicatorPlan, GuestAgentPlan, WinRmPlan};
use crate::records::Output;
use crate::step::Step;

/// The plan of a connection with what was made for it. A communicator is one variant here.
#[derive(Debug)]
pub(crate) enum Access {
    /// Nobody speaks to the guest.
    None,
    /// By SSH.
    Ssh(Box<SshAccess>),
    /// Through the guest's agent, at the socket by which it is found.
    GuestAgent(GuestAgentPlan, PathBuf),
    /// By WinRM.
    WinRm(Box<WinRmPlan>),
}

impl Access {
    /// Makes what the plan asks for, for a machine that is yet to be started.
    ///
    /// A key is kept in `directory`, so that a build that goes on in another process gets into its guest. `sockets` is the one that the machine
    /// is told of.
    pub(crate) async fn prepare(
        plan: &CommunicatorPlan,
        directory: &Path,
        sockets: &Path,
        context: &BuildContext,
    ) -> Result<Self, BuildError> {
        match plan {
            CommunicatorPlan::None => Ok(Self::None),
            CommunicatorPlan::GuestAgent(agent) => Ok(Self::GuestAgent(agent.clone(), agent_socket(sockets))),
            CommunicatorPlan::Ssh(ssh) => {
                let kept = |access: &SshAccess| access.key_file().map(|path| Output::Key { path: path.to_owned() });
                let step = Step::prepare("key");
                let access = context.run_step(step, kept, || SshAccess::prepare(ssh, directory, context)).await?;
                Ok(Self::Ssh(Box::new(access)))
            }
            CommunicatorPlan::WinRm(winrm) => Ok(Self::WinRm(winrm.clone())),
        }
    }

    /// The way to a host that is there already: nothing that is made now could get into it.
    pub(crate) fn to_named_host(plan: &CommunicatorPlan) -> Result<Self, BuildError> {
        match plan {
            CommunicatorPlan::None => Ok(Self::None),
            CommunicatorPlan::GuestAgent(_) => Err(no_agent()),
            CommunicatorPlan::Ssh(ssh) => Ok(Self::Ssh(Box::new(SshAccess::without_key(ssh)))),
            CommunicatorPlan::WinRm(winrm) => Ok(Self::WinRm(winrm.clone())),
        }
    }

    /// The public key that the guest has to be given, as a line of `authorized_keys`.
    pub(crate) fn public_key(&self) -> Option<&str> {
        match self {
            Self::None | Self::GuestAgent(..) | Self::WinRm(_) => None,
            Self::Ssh(ssh) => ssh.public_key(),
        }
    }

    /// The comment of the temporary key, where that is to be taken out of the guest when it is provisioned.
    pub(crate) fn key_to_clear(&self) -> Option<&str> {
        match self {
            Self::None | Self::GuestAgent(..) | Self::WinRm(_) => None,
            Self::Ssh(ssh) => ssh.key_to_clear(),
        }
    }

    /// Whether anybody speaks to the guest.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The guest's own port that is connected to, over its network.
    pub(crate) fn guest_port(&self) -> Option<u16> {
        match self {
            Self::None | Self::GuestAgent(..) => None,
            Self::Ssh(ssh) => Some(ssh.plan.port),
            Self::WinRm(winrm) => Some(winrm.port),
        }
    }

    /// Whether the template names a host to connect to, which need not be the machine that the build runs.
    pub(crate) fn leads_elsewhere(&self) -> bool {
        match self {
            Self::None | Self::GuestAgent(..) => false,
            Self::Ssh(ssh) => ssh.plan.host.is_some(),
            Self::WinRm(winrm) => winrm.host.is_some(),
        }
    }

    /// How long to wait after the first connection before the one that is used.
    pub(crate) fn pause(&self) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::GuestAgent(agent, _) => agent.pause_before_connecting,
            Self::Ssh(ssh) => ssh.plan.pause_before_connecting,
            Self::WinRm(winrm) => winrm.pause_before_connecting,
        }
    }

    /// The settings for a guest at `host`:`port`, unless the template says where it is.
    pub(crate) fn config(&self, host: &str, port: u16) -> Result<ConnectConfig, StepError> {
        match self {
            Self::None => Ok(ConnectConfig::None),
            Self::GuestAgent(agent, socket) => {
                let mut config = GuestAgentConfig::new(socket);
                config.timeout = Some(agent.timeout);
                Ok(ConnectConfig::GuestAgent(config))
            }
            Self::Ssh(ssh) => ssh.config(host, port),
            Self::WinRm(winrm) => winrm_access::config(winrm, host, port, |name| std::env::var(name).ok()),
        }
    }

    /// What provisioners are told of the connection that `config` makes; `ours`: to a machine that the build runs.
    pub(crate) fn connection(&self, config: &ConnectConfig, ours: bool) -> Option<Connection> {
        match (self, config.endpoint()) {
            (Self::GuestAgent(..), _) => Some(Connection::GuestAgent),
            (Self::Ssh(ssh), Some((host, port))) => Some(Connection::Ssh(ssh.connection(host, port))),
            (Self::WinRm(winrm), Some((host, port))) => {
                Some(Connection::WinRm(winrm_access::connection(winrm, host, port)))
            }
            _ => ours.then_some(Connection::None),
        }
    }
}

/// The socket in the directory for sockets that leads to the guest's agent.
pub(crate) fn agent_socket(sockets: &Path) -> PathBuf {
    sockets.join("agent")
}

/// The error of a build whose guest is no machine of ours.
fn no_agent() -> BuildError {
    let reason = "a guest agent is reached through the machine that the build runs, and this build runs none";
    BuildError::new("connect", StepError::new(reason))
}
