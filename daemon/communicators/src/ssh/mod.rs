//! The SSH communicator.
//!
//! [`connect()`] returns as soon as the guest lets us in; `probe.rs` shows how a starting guest is found quickly. Host keys
//! are not verified, for a freshly installed guest has one nobody has seen; they are remembered and reported, so that
//! an installer's SSH server is told from the installed system's.

mod algorithms;
mod auth;
mod channel;
mod communicator;
mod config;
mod connect;
mod connection;
mod converse;
mod dial;
mod error;
mod execute;
mod handler;
mod host_keys;
mod key_pair;
mod link;
mod login_command;
mod mismatch;
mod pace;
mod probe;
mod progress;
mod relay;
mod scp;
mod sftp;
mod socks5;
mod stream;
mod tcp;
pub(crate) mod transfer;
mod tunnels;

pub use algorithms::{check_cipher, check_key_exchange, is_obsolete_cipher};
pub use communicator::{SshCommunicator, connect};
pub use config::{Bastion, PrivateKeySource, Proxy, ProxyKind, SshConfig, TransferMethod, Tunnel, TunnelParseError};
pub use error::{ConnectFailure, SshConnectError, Stage};
pub use host_keys::HostKeyMemory;
pub use key_pair::{EcdsaBits, GenerateKeyError, KeyKind, KeyPair, generate_key_pair};
pub use mismatch::{AlgorithmKind, Mismatch};
