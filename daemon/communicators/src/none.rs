//! The communicator of builds that have none.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::communicator::{BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, TransferProgress};
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

    fn upload_file<'a>(
        &'a self,
        _source: &'a Path,
        _destination: &'a str,
        _mode: Option<u32>,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        refuse("upload a file")
    }

    fn upload_bytes<'a>(
        &'a self,
        _content: &'a [u8],
        _destination: &'a str,
        _mode: u32,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        refuse("upload a file")
    }

    fn upload_directory<'a>(
        &'a self,
        _source: &'a Path,
        _destination: &'a str,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        refuse("upload a directory")
    }

    fn download_file<'a>(
        &'a self,
        _source: &'a str,
        _destination: &'a Path,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        refuse("download a file")
    }

    fn download_directory<'a>(
        &'a self,
        _source: &'a str,
        _destination: &'a Path,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        refuse("download a directory")
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
