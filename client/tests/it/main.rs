//! The client as people and scripts use it, with a daemon whose jobs follow a script (`daemon/examples/kilnd_scripted.rs`).

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests, too")]

mod asking;
mod command_line;
mod completions;
mod console;
mod following;
mod jobs;
mod live;
mod rig;
mod starting;
