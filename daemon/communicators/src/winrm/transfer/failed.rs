//! What went wrong with the guest, in the words of all communicators.

use crate::error::CommunicatorError;
use crate::winrm::error::{Attempt, Failure, Stage};

/// Says what a failed question means to whoever waits for a file or a command.
pub(crate) fn failed(address: &str, operation: &str, attempt: Attempt) -> CommunicatorError {
    let (host, operation) = (address.to_owned(), operation.to_owned());
    match attempt {
        Attempt { failure: Failure::Fault(fault), .. } if fault.is_loss() => {
            CommunicatorError::Disconnected { host, operation }
        }
        Attempt { failure: Failure::Fault(fault), .. } => {
            CommunicatorError::Protocol { host, operation, what: fault.to_string() }
        }
        Attempt { stage: Stage::NotWsMan, failure, .. } => {
            CommunicatorError::Protocol { host, operation, what: failure.to_string() }
        }
        Attempt { failure: Failure::TimedOut { after, .. }, .. } => {
            CommunicatorError::TimedOut { host, operation, after }
        }
        Attempt { stage, failure, .. } => {
            tracing::debug!(%host, %stage, %failure, "a question went unanswered");
            CommunicatorError::Disconnected { host, operation }
        }
    }
}
