//! What can go wrong while working in a guest.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::connect_error::ConnectError;
use crate::rounded::rounded;

/// A command or transfer that could not be carried out.
///
/// A command that ran and failed is not here: see [`crate::Exit`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommunicatorError {
    /// The build has `communicator = "none"`.
    #[error("cannot {operation}: this build has no communicator")]
    NoCommunicator {
        /// What was asked for.
        operation: &'static str,
    },
    /// The connection ended while the operation ran.
    #[error("the connection to {host} was lost during {operation}")]
    Disconnected {
        /// The guest, as `host:port`.
        host: String,
        /// What was under way.
        operation: String,
    },
    /// The communicator was closed before.
    #[error("the connection to {host} is closed")]
    Closed {
        /// The guest, as `host:port`.
        host: String,
    },
    /// The guest did not answer in time.
    #[error("{operation} on {host} got no answer within {}", rounded(*after))]
    TimedOut {
        /// The guest, as `host:port`.
        host: String,
        /// What was under way.
        operation: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection had been lost and could not be made again.
    #[error("the connection to {host} was lost and could not be made again")]
    Reconnect {
        /// The guest, as `host:port`.
        host: String,
        /// Why.
        #[source]
        source: Box<ConnectError>,
    },
    /// The guest refused to open a session or to start the command.
    #[error("{host} refused {operation}: {reason}")]
    Refused {
        /// The guest, as `host:port`.
        host: String,
        /// What was asked for.
        operation: String,
        /// What it said.
        reason: String,
    },
    /// A file of this machine could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Local {
        /// `read`, `create`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of this machine is of a kind that cannot be sent.
    #[error("cannot upload {}: {why}", path.display())]
    Unsendable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The guest reported a failure with a file of its own.
    #[error("the guest could not {action} {path}: {message}")]
    Remote {
        /// `receive`, `send`, …
        action: &'static str,
        /// The path in the guest.
        path: String,
        /// What the guest said, as it said it.
        message: String,
    },
    /// The guest lacks every program by which files could be moved.
    #[error("the guest offers no way to transfer files: {}", listed(tried))]
    NoTransferProgram {
        /// Each way, and what was wrong with it.
        tried: Vec<(&'static str, String)>,
        /// What the user can do about it.
        hint: &'static str,
    },
    /// A file name sent by the guest would have left the target directory.
    #[error("the guest sent the file name {name:?}, which {why}")]
    HostileName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The guest broke the rules of the protocol that it is spoken to with.
    #[error("{operation} on {host}: {what}")]
    Protocol {
        /// The guest, as `host:port`.
        host: String,
        /// What was under way.
        operation: String,
        /// What was wrong.
        what: String,
    },
    /// A destination that names no file.
    #[error("{destination:?} names no file in the guest")]
    InvalidDestination {
        /// The destination as given.
        destination: String,
    },
}

impl CommunicatorError {
    /// Returns true when the transport failed, so that the same call may succeed after a while.
    #[must_use]
    pub fn is_transport(&self) -> bool {
        self.is_loss() || matches!(self, Self::Refused { .. })
    }

    /// Returns true when the guest itself has gone, or may have.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Disconnected { .. } | Self::TimedOut { .. } | Self::Reconnect { .. })
    }

    /// Returns what the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::NoCommunicator { .. } => {
                Some("set `communicator = \"ssh\"` in the source block; the file builder has no guest at all")
            }
            Self::Disconnected { .. } => {
                Some("if the command reboots the guest, set `expect_disconnect = true` on the provisioner")
            }
            Self::NoTransferProgram { hint, .. } => Some(hint),
            Self::Reconnect { source, .. } => source.hint.as_deref(),
            Self::InvalidDestination { .. } => Some("name the file, not only its directory"),
            Self::Remote { message, .. } if message.contains("ermission denied") => Some(
                "upload to a directory that the guest's user may write, such as /tmp, and move it with sudo in a shell provisioner",
            ),
            Self::Remote { action: "receive" | "make the directory", message, .. }
                if message.contains("o such file") =>
            {
                Some("make the directory first: `mkdir -p` in a shell provisioner")
            }
            _ => None,
        }
    }
}

fn listed(tried: &[(&str, String)]) -> String {
    tried.iter().map(|(way, why)| format!("{way}: {why}")).collect::<Vec<_>>().join("; ")
}
