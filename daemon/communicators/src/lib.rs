//! Speaking to a guest: running commands and moving files, over SSH or not at all.
//!
//! Owns the [`Communicator`] trait and its backends. Knows nothing of machines, templates or builds: it is given an
//! address and credentials and gives back a connection.
//!
//! | module | what it is |
//! |---|---|
//! | [`ssh`] | SSH with keys, passwords, agents, bastions, tunnels; files by scp or sftp |
//! | [`none`] | a build without a communicator: every call is a typed error |
//! | [`fake`] | a scripted communicator for the tests of other crates |
//!
//! ```text
//! ssh::connect ──► probe (attempts when they are due, until a banner comes) ─► key exchange ──► authentication
//!      │                     ▲                                                                   │
//!      │                     └──────────── refused, silent, rejected: paced retry ◄──────────────┘
//!      ▼
//! SshCommunicator: execute, upload, download; reconnects when a new session finds the connection lost
//! ```
//!
//! Input and output is asynchronous (tokio). Every future may be dropped at any await: what it had open in the guest is
//! closed, and no task or socket stays behind. Errors are one enum per operation: [`CommunicatorError`] for work in
//! the guest, [`ssh::ConnectError`] for getting there.

pub mod fake;
pub mod none;
pub mod ssh;

mod communicator;
mod error;
mod key_pair;
mod lookout;
mod output;
mod secret;

pub use communicator::{BoxFuture, CommandOutput, Communicator, Exit, NoProgress, TransferProgress};
pub use error::CommunicatorError;
pub use key_pair::{EcdsaBits, GenerateKeyError, KeyKind, KeyPair, generate_key_pair};
pub use lookout::{GuestSight, Lookout};
pub use output::{CollectedOutput, DiscardedOutput};
pub use secret::Secret;
pub use ssh::quote_guest_path;
