//! An error at the top of a process, with what to do about it.

/// An error with what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
}
