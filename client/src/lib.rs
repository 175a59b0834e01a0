//! kiln: the command line, and the typed client of kilnd's API.
//!
//! ```text
//! argv (Packer's flags → clap's) ─► arguments ─► commands ─► api ──► kilnd
//!                                                   └► render (events → Packer's lines) ─► standard output
//! ```
//!
//! Data and build output go to standard output, as scripts around Packer expect; errors, hints and bars go to standard error.
//! All text for people passes [`visible`], so that no guest and no file name drives the terminal.
//! [`api`] and [`render`] know neither terminal nor environment; tests use them directly.

mod agent;
pub mod api;
mod arguments;
pub mod argv;
mod commands;
mod error;
mod live;
pub mod render;
mod run;
mod terminal;
mod usage;
mod version;
pub mod visible;

pub use error::{CommandError, Hinted};
pub use run::run;
pub use version::VERSION;
