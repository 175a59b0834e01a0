//! The guest agent's backend of [`Communicator`].

use std::sync::Arc;

use tokio::time::Instant;

use super::config::GuestAgentConfig;
use super::download::Download;
use super::execute;
use super::failure::Failure;
use super::link::Link;
use super::upload::Upload;
use crate::communicator::{BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, Transfer, TransferProgress};
use crate::connect_error::ConnectError;
use crate::error::CommunicatorError;
use crate::observer::ConnectObserver;

/// Waits for a guest's agent to answer, until it does, time is up or trying is pointless. Dropping the future leaves nothing behind.
///
/// # Errors
///
/// An agent that may not run commands, and one of Windows, fail at once; everything else when `timeout` is used up.
pub async fn connect(
    config: &GuestAgentConfig,
    observer: Arc<dyn ConnectObserver>,
) -> Result<GuestAgentCommunicator, ConnectError> {
    let link = Link::new(config.clone(), observer);
    link.connect().await?;
    Ok(GuestAgentCommunicator { link: Arc::new(link), until: None })
}

/// A guest reached through its agent. Dropping the last clone closes the channel.
#[derive(Clone)]
pub struct GuestAgentCommunicator {
    link: Arc<Link>,
    /// How long a lost agent is waited for, where it is not as the settings say.
    until: Option<Instant>,
}

impl std::fmt::Debug for GuestAgentCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestAgentCommunicator").field("address", &self.link.address()).finish_non_exhaustive()
    }
}

impl GuestAgentCommunicator {
    /// How a command that was begun has ended: one whose guest has gone has ended without a status.
    fn ended(&self, result: Result<Exit, Failure>) -> Result<Exit, CommunicatorError> {
        match result {
            Err(Failure::Lost(_) | Failure::Silent(_)) => Ok(Exit::Disconnected),
            other => other.map_err(|failure| {
                let host = self.link.address();
                match failure {
                    Failure::Refused(reason) => {
                        CommunicatorError::Refused { host, operation: "the command".to_owned(), reason }
                    }
                    other => other.during(&host, "a command", "run", "a command"),
                }
            }),
        }
    }
}

impl Communicator for GuestAgentCommunicator {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let session = self.link.session(self.until).await?;
            self.ended(execute::execute(&session, command, output).await)
        })
    }

    fn converse<'a>(
        &'a self,
        command: &'a str,
        streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let session = self.link.session(self.until).await?;
            self.ended(execute::converse(&session, command, streams).await)
        })
    }

    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            let (session, host) = (&self.link.session(self.until).await?, &self.link.address());
            let (upload, download) = (Upload { session, host, progress }, Download { session, host, progress });
            match transfer {
                Transfer::UploadFile { source, destination, mode } => upload.file(source, destination, mode).await,
                Transfer::UploadBytes { content, destination, mode } => upload.bytes(content, destination, mode).await,
                Transfer::UploadDirectory { source, destination } => upload.directory(source, destination).await,
                Transfer::DownloadFile { source, destination } => download.file(source, destination).await,
                Transfer::DownloadDirectory { source, destination } => download.directory(source, destination).await,
            }
        })
    }

    fn until(&self, deadline: std::time::Instant) -> Arc<dyn Communicator> {
        Arc::new(Self { until: Some(deadline.into()), ..self.clone() })
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        let present = self.link.present();
        Box::pin(async move {
            if let Some(session) = present {
                session.over().await;
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.link.close())
    }
}
