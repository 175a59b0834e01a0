//! Why the server cannot start.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::StepError;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpServerError {
    /// The listening address is not an IP address.
    #[error("`{bind}` is not an IP address to listen on")]
    Address {
        /// The text.
        bind: String,
    },
    /// The lowest port is above the highest.
    #[error("http_port_min {min} is above http_port_max {max}")]
    PortRange {
        /// Lowest port.
        min: u16,
        /// Highest port.
        max: u16,
    },
    /// No port of the range can be had.
    #[error("no free port from {min} to {max} on {address}")]
    NoPort {
        /// Listening address.
        address: IpAddr,
        /// Lowest port.
        min: u16,
        /// Highest port.
        max: u16,
        /// What the last port gave.
        source: io::Error,
    },
    /// The address itself cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Listening address.
        address: IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The directory does not exist or cannot be entered.
    #[error("cannot serve http_directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl HttpServerError {
    /// Returns what the user can do about it, where there is something.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPort { .. } => {
                Some("widen http_port_min and http_port_max, or end the programs that use these ports")
            }
            Self::Listen { .. } => Some("http_bind_address must be an address of this machine"),
            Self::Directory { .. } => Some("relative paths start from the directory in which the build was started"),
            Self::Address { .. } | Self::PortRange { .. } => None,
        }
    }
}

impl From<HttpServerError> for StepError {
    fn from(error: HttpServerError) -> Self {
        let hint = error.hint();
        Self::wrap(error).with_hint_maybe(hint)
    }
}
