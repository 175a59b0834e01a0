//! Speaking to a guest: running commands and moving files, over SSH, over WinRM, through the guest's agent or not at all.
//!
//! Owns the [`Communicator`] trait, its backends, and how each is connected. Knows nothing of machines, templates or builds: a
//! [`Connector`] is given a [`ConnectConfig`] (address and credentials) and gives back a communicator.
//!
//! | module | what it is |
//! |---|---|
//! | [`ssh`] | SSH with keys, passwords, agents, bastions, tunnels; files by scp or sftp |
//! | [`guest_agent`] | QEMU's guest agent, for guests without a network |
//! | [`winrm`] | WinRM with Basic and NTLM, over HTTP and HTTPS; files through PowerShell |
//! | [`unverified`] | TLS with whoever is there |
//! | [`none`] | a build without a communicator: every call is a typed error |
//! | [`fake`] | a scripted communicator for the tests of other crates |
//! | [`conformance`] | the promises of a communicator, as tests for every backend |
//!
//! A backend is one folder, a variant of [`ConnectConfig`] and [`CommunicatorKind`] (`config.rs`), and a line in
//! [`GuestConnector`] (`connector.rs`). Nothing else here knows which backends there are.
//!
//! ```text
//! ConnectConfig ─► GuestConnector ─► ssh::connect: probe until the guest speaks ─► key exchange ─► login
//!                       │                   ▲                                                │
//!                       │                   └────── refused, silent, rejected: paced retry ◄─┤
//!                       ▼                                                                    │ tells: ConnectObserver
//!                  NoCommunicator           Arc<dyn Communicator> ◄──────────────────────────┘ fails: ConnectError
//! ```
//!
//! Input and output is asynchronous (tokio). Every future may be dropped at any await: what it had open in the guest is
//! closed, and no task or socket stays behind. Errors are one enum per operation: [`CommunicatorError`] for work in
//! the guest, [`ConnectError`] for getting there.

pub mod conformance;
pub mod fake;
pub mod guest_agent;
pub mod none;
pub mod ssh;
pub mod unverified;
pub mod winrm;

mod communicator;
mod config;
mod connect_error;
mod connector;
mod error;
mod http_connect;
mod local_files;
mod lookout;
mod observer;
mod output;
mod quoting;
mod rounded;
mod secret;

pub use communicator::{
    BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, NoProgress, Transfer, TransferProgress,
};
pub use config::{CommunicatorKind, ConnectConfig};
pub use connect_error::{ConnectError, ConnectStage};
pub use connector::{Connector, GuestConnector};
pub use error::CommunicatorError;
pub use lookout::{GuestSight, Lookout};
pub use observer::{ConnectEvent, ConnectObserver, SilentObserver};
pub use output::{CollectedOutput, DiscardedOutput};
pub use quoting::quote_guest_path;
pub use secret::Secret;
