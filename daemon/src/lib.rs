//! kilnd: takes jobs over a Unix socket, runs each in a worker process of its own, and keeps what happened.
//!
//! ```text
//! main.rs ─► command_line ─► user_daemon (one per user) ─► server ─► api ─► jobs ─► journal
//!                 └► worker ─► runner                └► bus (D-Bus) ─┘   └► event_log ◄─ worker
//! ```
//!
//! [`serve`] is the whole daemon with everything from outside given to it: socket, configuration, engine, the signal to stop. The
//! worker is the only place where templates and images are read; it knows the daemon through three files only (`job_dir.rs`).

mod account;
mod announcer;
mod answer_time;
mod api;
mod as_owner;
mod blocking;
mod bus;
mod caller;
pub mod command_line;
pub mod config;
mod config_changes;
mod config_file;
pub mod control;
mod descriptor;
pub mod engine;
pub mod event_log;
mod explain;
mod failed_start;
mod failure;
mod images;
mod instance;
pub mod job_dir;
pub mod jobs;
pub mod journal;
mod journald;
mod logging;
mod memory;
mod peer_process;
mod polkit;
mod private_directory;
mod process_identity;
pub mod queue;
pub mod quotas;
mod reload;
mod remove_tree;
pub mod runner;
mod server;
mod subordinates;
mod turns;
mod unavailable;
mod units;
mod user_daemon;
mod version;
mod wall_clock;
pub mod worker;

pub use account::AccountError;
pub use as_owner::Owner;
pub use caller::Caller;
pub use config::{Config, Limits};
pub use config_file::{ConfigFile, ConfigFileError};
pub use instance::{Instance, InstanceError};
pub use process_identity::ProcessIdentity;
pub use reload::Reloaded;
pub use server::{ServeError, serve};
pub use turns::InTurn;
pub use units::{UnitError, UnitLimits};
pub use version::VERSION;
