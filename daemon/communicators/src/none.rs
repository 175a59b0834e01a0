//! The communicator of builds that have none.

use std::sync::Arc;
use std::time::Instant;

use crate::communicator::{BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, Transfer, TransferProgress};
use crate::error::CommunicatorError;

/// Answers every request with [`CommunicatorError::NoCommunicator`].
#[derive(Debug, Clone, Copy)]
pub struct NoCommunicator;

fn refuse<'a, T: Send + 'a>(operation: &'static str) -> BoxFuture<'a, Result<T, CommunicatorError>> {
    Box::pin(async move { Err(CommunicatorError::NoCommunicator { operation }) })
}

impl Communicator for NoCommunicator {
    fn execute<'a>(
        &'a self,
        _command: &'a str,
        _output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        refuse("run a command")
    }

    fn converse<'a>(
        &'a self,
        _command: &'a str,
        _streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        refuse("run a command")
    }

    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        refuse(match transfer {
            Transfer::UploadFile { .. } | Transfer::UploadBytes { .. } => "upload a file",
            Transfer::UploadDirectory { .. } => "upload a directory",
            Transfer::DownloadFile { .. } => "download a file",
            Transfer::DownloadDirectory { .. } => "download a directory",
        })
    }

    fn until(&self, _deadline: Instant) -> Arc<dyn Communicator> {
        Arc::new(*self)
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::ConnectConfig;
    use crate::conformance;
    use crate::connector::GuestConnector;

    #[tokio::test]
    async fn everything_is_refused_as_promised() {
        let local = tempfile::tempdir().unwrap();
        conformance::check_absent(&GuestConnector, &ConnectConfig::None, local.path()).await;
    }
}
