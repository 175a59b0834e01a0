//! The version of this daemon.

/// Version of daemon and worker.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
