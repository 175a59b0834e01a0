//! Why a request to the agent came to nothing, and what that means for whoever asked.

use std::time::Duration;

use crate::error::CommunicatorError;
use crate::rounded::rounded;

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The session has ended.
    #[error("the guest agent has gone: {0}")]
    Lost(String),
    /// No answer.
    #[error("the guest agent gives no answer within {}", rounded(*.0))]
    Silent(Duration),
    /// The agent refused, in its own words.
    #[error("{0}")]
    Refused(String),
    /// An answer that makes no sense.
    #[error("the guest agent breaks its protocol: {0}")]
    Nonsense(String),
}

/// The longest message of an agent that is passed on.
const MAX_MESSAGE: usize = 500;

impl Failure {
    /// The agent's words, without what a terminal could be confused with.
    pub(super) fn refused(words: &str) -> Self {
        Self::Refused(plain(words))
    }

    /// Whether the session that it happened in is of no more use.
    pub(super) fn ends_session(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// As an error of work that the guest was to do: `action` names what with a file of its own.
    pub(super) fn during(self, host: &str, operation: &str, action: &'static str, path: &str) -> CommunicatorError {
        let (host, operation) = (host.to_owned(), operation.to_owned());
        match self {
            Self::Lost(_) => CommunicatorError::Disconnected { host, operation },
            Self::Silent(after) => CommunicatorError::TimedOut { host, operation, after },
            Self::Refused(message) => CommunicatorError::Remote { action, path: path.to_owned(), message },
            Self::Nonsense(what) => CommunicatorError::Protocol { host, operation, what },
        }
    }
}

/// Words from the guest as they can be shown.
pub(super) fn plain(words: &str) -> String {
    let words = words.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    words.take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_guest_reach_no_terminal_as_they_are() {
        let Failure::Refused(words) = Failure::refused(" \u{1b}[2Jno\nfile\u{7} ") else { panic!("it is refused") };
        assert_eq!(words, " [2Jno file ");
        assert_eq!(plain(&"x".repeat(10_000)).len(), MAX_MESSAGE);
    }
}
