//! A running sftp session, and what its failures mean.

use std::io;
use std::time::Duration;

use russh_sftp::client::SftpSession;
use russh_sftp::client::error::Error as SftpError;

use crate::error::CommunicatorError;

/// How long one request may take. A guest's disk can take its time over a flush; russh-sftp's own limit is 10 s.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A running sftp session.
pub(super) struct Sftp {
    pub(super) session: SftpSession,
    pub(super) host: String,
}

impl Sftp {
    pub(super) fn error(&self, action: &'static str, path: &str, error: SftpError) -> CommunicatorError {
        let operation = || format!("the sftp transfer of {path}");
        match error {
            SftpError::Status(status) => CommunicatorError::Remote {
                action,
                path: path.to_owned(),
                message: if status.error_message.is_empty() {
                    status.status_code.to_string()
                } else {
                    status.error_message
                },
            },
            SftpError::Timeout => {
                CommunicatorError::TimedOut { host: self.host.clone(), operation: operation(), after: REQUEST_TIMEOUT }
            }
            other => {
                CommunicatorError::Protocol { host: self.host.clone(), operation: operation(), what: other.to_string() }
            }
        }
    }

    pub(super) fn io_error(&self, action: &'static str, path: &str, error: &io::Error) -> CommunicatorError {
        if error.kind() == io::ErrorKind::TimedOut {
            return self.error(action, path, SftpError::Timeout);
        }
        CommunicatorError::Remote { action, path: path.to_owned(), message: error.to_string() }
    }
}
