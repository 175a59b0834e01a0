//! The daemon as its clients see it: over the socket, with scripted workers in processes of their own.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests, too")]

mod api;
mod bus;
mod hostile;
mod lifecycle;
mod places;
mod process;
mod recovery;
mod replaced_program;
mod rig;
mod service_manager;
mod steps;
mod system;
mod units;
mod users;
