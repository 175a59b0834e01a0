//! Errors as people see them: what failed, the chain of causes, and what to do next.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use kiln_protocol::without_codes;

/// Exit code for everything that fails, as in Packer.
const EXIT_FAILURE: u8 = 1;

/// A command that failed.
#[derive(Debug)]
pub struct CommandError {
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    exit_code: u8,
}

impl CommandError {
    /// Makes an error of a text or of another error.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: error.into(), hint: None, exit_code: EXIT_FAILURE }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code; 1 unless it is set.
    #[must_use]
    pub fn exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// Returns the exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.exit_code
    }

    /// Writes `error:`, the causes, and `hint:`.
    ///
    /// # Errors
    ///
    /// The output is closed.
    pub fn print(&self, output: &mut dyn Write) -> io::Result<()> {
        let mut said = without_codes(&self.source.to_string()).into_owned();
        writeln!(output, "error: {said}")?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let text = without_codes(&error.to_string()).into_owned();
            // Some crates repeat their cause in their own text.
            if !said.contains(&text) {
                writeln!(output, "  caused by: {text}")?;
                said = text;
            }
            cause = error.source();
        }
        match &self.hint {
            Some(hint) => writeln!(output, "\nhint: {hint}"),
            None => Ok(()),
        }
    }

    /// Whether the reader of our output has gone: nothing to complain about.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        let mut error: Option<&(dyn Error + 'static)> = Some(self.source.as_ref());
        while let Some(present) = error {
            if present.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
                return true;
            }
            error = present.source();
        }
        false
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}

/// Errors with an idea of what to do; everything that a command returns on failure is turned into a [`CommandError`] here.
pub trait Hinted {
    /// Returns what to do next.
    fn hint(&self) -> Option<String>;
}

impl<E: Hinted + Error + Send + Sync + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        let hint = error.hint();
        Self { source: Box::new(error), hint, exit_code: EXIT_FAILURE }
    }
}

impl Hinted for io::Error {
    fn hint(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot reach the daemon")]
    struct Outer(#[from] io::Error);

    #[test]
    fn causes_and_hint_follow_the_error() {
        let error = CommandError::new(Outer(io::Error::other("no luck"))).hint("`kiln daemon status`");
        let mut output = Vec::new();
        error.print(&mut output).unwrap();
        let expected = "error: cannot reach the daemon\n  caused by: no luck\n\nhint: `kiln daemon status`\n";
        assert_eq!(String::from_utf8(output).unwrap(), expected);
        assert!(CommandError::new(Outer(io::ErrorKind::BrokenPipe.into())).is_broken_pipe());
        assert!(!error.is_broken_pipe());
    }

    #[test]
    fn numbers_of_the_system_and_repeated_causes_are_left_out() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read a: {0}")]
        struct Repeating(#[source] io::Error);
        let error = CommandError::new(Repeating(io::Error::from_raw_os_error(2)));
        let mut output = Vec::new();
        error.print(&mut output).unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), "error: cannot read a: No such file or directory\n");
    }
}
