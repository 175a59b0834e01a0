//! kilnd: takes jobs over a Unix socket, runs each in a worker process of its own, and keeps what happened.
//!
//! ```text
//! main.rs ─► command_line ─► instance (one per user) ─► server ─► api ─► jobs ─► journal
//!                 └► worker ─► runner                                     └► event_log ◄─ worker
//! ```
//!
//! [`serve`] is the whole daemon with everything from outside given to it: socket, configuration, engine, the signal to stop. The
//! worker is the only place where templates and images are read; it knows the daemon through three files only (`job_dir.rs`).

mod api;
pub mod command_line;
pub mod config;
pub mod control;
mod descriptor;
pub mod engine;
pub mod event_log;
mod images;
mod instance;
pub mod job_dir;
pub mod jobs;
pub mod journal;
mod logging;
mod memory;
mod peer;
mod private_directory;
mod process_identity;
pub mod queue;
mod regular_file;
pub mod runner;
mod server;
pub mod worker;

pub use config::{Config, Limits};
pub use instance::{Instance, InstanceError};
pub use peer::Peer;
pub use process_identity::ProcessIdentity;
pub use server::{ServeError, serve};

/// Version of daemon and worker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the error and its causes on one line.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
