//! Why a login by NTLM, or what follows it, is not believed.

/// What is wrong with what the server says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NtlmError {
    /// The challenge cannot be read.
    #[error("the server's NTLM challenge cannot be used: {what}")]
    Challenge {
        /// Why.
        what: &'static str,
    },
    /// The server does not do what keeps the session safe.
    #[error("the server does without {what}, which NTLM is not safe without")]
    Weak {
        /// What is missing.
        what: &'static str,
    },
    /// A sealed message is not the server's next one.
    #[error("a sealed message has a wrong signature")]
    Signature,
    /// The system gave no random numbers.
    #[error("the system gave no random numbers")]
    Random,
}
