//! An error and its causes in one line.

use std::error::Error;

use kiln_protocol::without_codes;

/// Returns the error and its causes on one line, without the numbers of the system's errors.
pub(crate) fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Some errors say themselves what their cause will.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    without_codes(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open x")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_follow_and_numbers_are_left_out() {
        let error = Outer(io::Error::from_raw_os_error(2));
        assert_eq!(explain(&error), "cannot open x: No such file or directory");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("I/O error: {0}")]
    struct SaysItAll(#[source] io::Error);

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let error = SaysItAll(io::Error::from_raw_os_error(2));
        assert_eq!(explain(&error), "I/O error: No such file or directory");
    }
}
