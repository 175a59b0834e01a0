//! Why the daemon did not do what was asked, and what to do about it.

use std::path::PathBuf;

use kiln_protocol::{MAX_REQUEST_BYTES, Problem};

use super::start::StartError;
use crate::error::Hinted;

/// Reports that the daemon did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot reach kilnd at {socket}")]
    Connect {
        /// Its socket.
        socket: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Somebody else listens.
    #[error("the daemon at {socket} belongs to user {uid}, and would see the environment of this shell")]
    ForeignDaemon {
        /// Its socket.
        socket: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// It could not be started.
    #[error("cannot start kilnd")]
    Start(#[from] StartError),
    /// The connection broke.
    #[error("the connection to kilnd broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not answer.
    #[error("kilnd does not answer")]
    Timeout,
    /// It answered something that is not of this API.
    #[error("kilnd's answer is not understood")]
    Nonsense(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request is too large to be sent.
    #[error("the request has {0} bytes, more than the {MAX_REQUEST_BYTES} that kilnd takes")]
    TooLarge(usize),
    /// It refused.
    #[error("{}", .0.detail)]
    Problem(Problem),
}

impl ClientError {
    /// Whether asking again may help: the daemon is gone or going.
    #[must_use]
    pub fn is_lost_connection(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken(_) | Self::Timeout => true,
            Self::Problem(problem) => problem.code == kiln_protocol::ProblemCode::Unavailable,
            _ => false,
        }
    }
}

impl Hinted for ClientError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { socket, source } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                let directory = socket.parent().unwrap_or(socket);
                Some(format!(
                    "{} belongs to another user, as it does after `su` and `sudo`: unset KILN_SOCKET and XDG_RUNTIME_DIR, or set them to \
                     places of your own",
                    directory.display()
                ))
            }
            Self::Connect { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput => {
                Some("the path of a socket has 107 bytes at most: set KILN_SOCKET to a shorter one".to_owned())
            }
            Self::Connect { .. } => Some("`kilnd --user` starts it by hand, and shows what goes wrong".to_owned()),
            Self::ForeignDaemon { .. } => Some("set KILN_SOCKET to a path of your own".to_owned()),
            Self::Start(error) => error.hint(),
            Self::Timeout | Self::Broken(_) => Some("`kiln daemon status` shows whether kilnd runs".to_owned()),
            Self::Nonsense(_) => {
                Some("client and daemon may be of different versions: `kiln daemon stop` and try again".to_owned())
            }
            Self::TooLarge(_) => {
                Some("most of it is the environment of this shell; `env -i` runs with less".to_owned())
            }
            Self::Problem(problem) => problem.hint.clone(),
        }
    }
}
