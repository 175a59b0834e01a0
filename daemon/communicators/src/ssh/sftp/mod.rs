//! Files by the guest's sftp subsystem, spoken through russh-sftp.
//!
//! russh-sftp runs tasks of its own over a stream; it is given one end of a pipe, and the other end is relayed to the
//! channel by the very future that does the work. So the tasks end with it, and a closed channel cannot hang a write.

mod download;
mod guest_files;
mod pattern;
mod session;
mod upload;

use std::time::Duration;

use russh_sftp::client::{Config, SftpSession};
use tokio::time::timeout;

use crate::communicator::Transfer;
use crate::error::CommunicatorError;
use crate::ssh::channel::SessionChannel;
use crate::ssh::execute::wait_accepted;
use crate::ssh::sftp::session::{REQUEST_TIMEOUT, Sftp};
use crate::ssh::transfer::{Job, TransferFailure};

/// How long the subsystem may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests under way at the same time: 2 MiB of writes, the window OpenSSH gives.
const PIPELINE: usize = 64;

/// Bytes between the relay and russh-sftp, each way.
const PIPE: usize = 256 * 1024;

pub(crate) async fn perform(mut channel: SessionChannel, job: Job<'_>) -> Result<(), TransferFailure> {
    let host = channel.connection().address().to_owned();
    if channel.requests().request_subsystem(true, "sftp").await.is_err() {
        return Err(CommunicatorError::Disconnected { host, operation: "the start of sftp".into() }.into());
    }
    match wait_accepted(&mut channel, "the sftp subsystem").await {
        Ok(()) => {}
        Err(CommunicatorError::Refused { .. }) => {
            return Err(TransferFailure::Missing("the guest refuses the sftp subsystem".into()));
        }
        Err(error) => return Err(error.into()),
    }
    let (near, far) = tokio::io::duplex(PIPE);
    let work = async {
        let config = Config {
            max_concurrent_reads: PIPELINE / 4,
            max_concurrent_writes: PIPELINE,
            request_timeout_secs: REQUEST_TIMEOUT.as_secs(),
            ..Config::default()
        };
        let session = match timeout(START_TIMEOUT, SftpSession::new_with_config(near, config)).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(TransferFailure::Missing(format!("the sftp server does not start: {error}"))),
            Err(_) => {
                let (host, operation) = (host.clone(), "the start of sftp".to_owned());
                return Err(CommunicatorError::TimedOut { host, operation, after: START_TIMEOUT }.into());
            }
        };
        let sftp = Sftp { session, host: host.clone() };
        Ok(sftp.perform(job).await?)
    };
    tokio::select! {
        biased;
        result = work => return result,
        () = channel.relay(far) => {}
    }
    // The relay ends first only when the guest closes the channel.
    if channel.connection().is_closed() {
        return Err(CommunicatorError::Disconnected { host, operation: "an sftp transfer".into() }.into());
    }
    Err(TransferFailure::Missing("the sftp server ends at once, or in the middle of its work".into()))
}

impl Sftp {
    async fn perform(&self, job: Job<'_>) -> Result<(), CommunicatorError> {
        match job.transfer {
            Transfer::UploadFile { source, destination, mode } => {
                self.upload_file(source, destination, mode, job.progress).await
            }
            Transfer::UploadBytes { content, destination, mode } => {
                self.upload_bytes(content, destination, mode, job.progress).await
            }
            Transfer::UploadDirectory { source, destination } => {
                self.upload_directory(source, destination, job.progress).await
            }
            Transfer::DownloadFile { source, destination } => {
                self.download_file(source, destination, job.progress).await
            }
            Transfer::DownloadDirectory { source, destination } => {
                self.download_directory(source, destination, job.progress).await
            }
        }
    }
}
