//! What is told to people beside the data.

use std::io::Write as _;

use kiln_protocol::without_codes;

use crate::terminal;

/// Tells people something that is neither data nor an error.
pub(super) fn note(text: &str) {
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(terminal::stderr(), "{}", without_codes(text));
}
