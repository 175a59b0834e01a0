//! What templates take over from Go: its texts, durations and time layouts.

pub(crate) mod duration;
pub(crate) mod path;
pub(crate) mod strings;
pub(crate) mod time_layout;
