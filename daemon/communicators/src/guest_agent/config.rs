//! What is needed to reach a guest's agent.

use std::path::PathBuf;
use std::time::Duration;

/// How to reach the agent of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestAgentConfig {
    /// The socket on this machine that leads to the guest's serial port `org.qemu.guest_agent.0`.
    pub socket: PathBuf,
    /// Fails when the agent has not answered in this time, the first time or after it was lost; `None` is no limit for the first.
    pub timeout: Option<Duration>,
}

impl GuestAgentConfig {
    /// The agent behind `socket`, for which five minutes are waited, as Packer waits for SSH.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), timeout: Some(Duration::from_mins(5)) }
    }

    /// The guest as errors name it: there is one guest to a socket, and no address.
    pub(crate) fn address(&self) -> String {
        self.socket.display().to_string()
    }
}
