//! What can go wrong with a VNC server.

use std::io;
use std::time::Duration;

/// Says what a VNC server did not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RfbError {
    /// It cannot be reached, or the connection broke.
    #[error("the connection to the VNC server failed: {0}")]
    Io(#[from] io::Error),
    /// It did not answer in time.
    #[error("the VNC server did not {what} within {} s", .limit.as_secs())]
    Timeout {
        /// `greet`, `send a picture`.
        what: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// It does not let us in.
    #[error("the VNC server refused: {0}")]
    Refused(String),
    /// It says what the protocol does not have.
    #[error("the VNC server does not keep to the protocol: {0}")]
    Protocol(String),
}
