//! The SSH communicator.
//!
//! Host keys are not verified, for a freshly installed guest has one nobody has seen; they are remembered and reported,
//! so that an installer's SSH server is told from the installed system's.

mod config;
mod error;
mod host_keys;
mod observer;

pub use config::{Bastion, PrivateKeySource, Socks5Proxy, SshConfig, TransferMethod, Tunnel, TunnelParseError};
pub use error::{ConnectError, ConnectFailure, Stage};
pub use host_keys::HostKeyMemory;
pub use observer::{ConnectEvent, ConnectObserver, SilentObserver};
