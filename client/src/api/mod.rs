//! The typed client of kilnd's API. Knows nothing of terminals; tests use it too.
//!
//! ```text
//! Client (one method per call) ─► connection (the user's own daemon, started when it is not there) ─► EventStream
//!                            └─► asking (for a password, where a daemon for everybody wants one)
//! ```

mod asking;
mod client;
mod connection;
mod error;
mod events;
mod start;

pub use asking::{Asking, Terminal};
pub use client::Client;
pub use connection::Starting;
pub(crate) use connection::{read_holder, read_note};
pub use error::ClientError;
pub use events::{EventStream, Received};
pub(crate) use start::find_program as find_daemon;
