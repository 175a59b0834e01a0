//! How long servers are waited for, and what is said before another try.

use std::time::Duration;

use super::error::{UrlError, with_causes};
use kiln_template::GoDuration;

/// How long to wait, and how often to try.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    /// For one address of a server to accept a connection.
    pub(super) connect: Duration,
    /// For the server to send anything at all. There is no limit for the whole: large files and slow lines are legitimate.
    pub(super) stall: Duration,
    /// Pause before the second try; doubled each time.
    pub(super) first_pause: Duration,
    /// Tries without any progress before giving up.
    pub(super) tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(90),
            first_pause: Duration::from_secs(1),
            tries: 5,
        }
    }
}

/// Says what went wrong, and that it is not the end.
pub(super) fn again(error: &UrlError, pause: Duration, next: u32, tries: u32) -> String {
    format!("{}; trying again in {} (try {next} of {tries})", with_causes(error), GoDuration(pause))
}
