//! The version of this client.

/// Version of the client.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
