//! The present time as it stands in the journal, in events and on the wire.

use jiff::Timestamp;

/// Returns the present time: RFC 3339 in UTC, with milliseconds.
pub(crate) fn wall_clock() -> String {
    format!("{:.3}", Timestamp::now())
}
