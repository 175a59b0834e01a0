//! What the agent says of itself: to its log, which the service manager keeps.

use std::io::Write as _;

use kiln_protocol::without_codes;

use crate::terminal;

/// Says that something does not work.
pub(super) fn complain(text: &str) {
    // Nobody is left to tell when the log is gone.
    let _ = writeln!(terminal::stderr(), "kiln agent: {}", without_codes(text));
}
