//! Files by the guest's `scp`, run over a session: the protocol of BSD rcp.
//!
//! ```text
//! header   C<mode> <size> <name>\n   a file; its bytes and a zero byte follow
//!          D<mode> 0 <name>\n        a directory begins;   E\n   it ends
//!          T<mtime> 0 <atime> 0\n    times of the next one
//! answer   0                         go on
//!          1 <message>\n             this one failed
//!          2 <message>\n             all failed
//! ```
//!
//! The sender waits for an answer to each header and after each file. `scp -t` (to) runs the guest as receiver,
//! `scp -f` (from) as sender. There is no other specification than OpenSSH's `scp.c`.

mod download;
mod session;
mod upload;

use crate::communicator::Transfer;
use crate::ssh::channel::SessionChannel;
use crate::ssh::config::SshConfig;
use crate::ssh::transfer::{Job, TransferFailure};

pub(crate) async fn perform(channel: SessionChannel, config: &SshConfig, job: Job<'_>) -> Result<(), TransferFailure> {
    match job.transfer {
        Transfer::UploadFile { source, destination, mode } => {
            upload::file(channel, config, source, destination, mode, job.progress).await
        }
        Transfer::UploadBytes { content, destination, mode } => {
            upload::bytes(channel, config, content, destination, mode, job.progress).await
        }
        Transfer::UploadDirectory { source, destination } => {
            upload::directory(channel, config, source, destination, job.progress).await
        }
        Transfer::DownloadFile { source, destination } => {
            download::file(channel, config, source, destination, job.progress).await
        }
        Transfer::DownloadDirectory { source, destination } => {
            download::directory(channel, config, source, destination, job.progress).await
        }
    }
}
