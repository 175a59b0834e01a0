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
        Attempt { failure: Failure::TimedOut { after, .. }, .. } => {
            CommunicatorError::TimedOut { host, operation, after }
        }
        attempt if attempt.is_interruption() => {
            let Attempt { stage, failure, .. } = attempt;
            tracing::debug!(%host, %stage, %failure, "a question went unanswered");
            CommunicatorError::Disconnected { host, operation }
        }
        Attempt { stage: Stage::Login { .. }, failure, .. } => {
            CommunicatorError::Refused { host, operation, reason: failure.to_string() }
        }
        Attempt { stage: stage @ (Stage::Status(_) | Stage::Tls), failure, .. } => {
            CommunicatorError::Protocol { host, operation, what: format!("{stage}: {failure}") }
        }
        Attempt { failure, .. } => CommunicatorError::Protocol { host, operation, what: failure.to_string() },
    }
}
