//! Connects to the user's daemon, and to nobody else's.

use std::io;

use tokio::net::UnixStream;

use super::start::start_daemon;
use super::{Client, ClientError};

/// What to do when no daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starting {
    /// Start one.
    OnDemand,
    /// Report it.
    Never,
}

impl Client {
    pub(super) async fn connect(&self) -> Result<UnixStream, ClientError> {
        match self.connect_once().await {
            Err(ClientError::Connect { source, .. }) if self.starting == Starting::OnDemand && is_absence(&source) => {
                start_daemon().await?;
                self.connect_once().await
            }
            other => other,
        }
    }

    async fn connect_once(&self) -> Result<UnixStream, ClientError> {
        let failed = |source| ClientError::Connect { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        let uid = stream.peer_cred().map_err(failed)?.uid();
        // Whoever made the socket gets this shell's environment, secrets included. /tmp is open to everybody.
        if uid == rustix::process::geteuid().as_raw() {
            Ok(stream)
        } else {
            Err(ClientError::ForeignDaemon { socket: self.socket.clone(), uid })
        }
    }
}

/// Whether nobody is there, as opposed to somebody who may not be spoken to.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}
