//! Owns [`RenderError`].

use thiserror::Error;

/// A Go template that cannot be parsed or rendered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct RenderError {
    /// What is wrong, in one sentence.
    pub message: String,
    /// Offset in bytes of the wrong part inside the text.
    pub offset: usize,
    /// Its length in bytes.
    pub length: usize,
}
