//! Transient units of systemd (org.freedesktop.systemd1(5)): each worker of a daemon for all users is a unit of its own, started by the
//! system's service manager as its user, with limits and a place in the journal, outside of the daemon's sandbox.
//!
//! | file | owns |
//! |---|---|
//! | `manager.rs` | the conversation with the service manager |
//! | `description.rs` | what such a unit is: its properties |

mod description;
mod manager;

pub use description::UnitLimits;
pub(crate) use description::{KillMode, UnitDescription};
pub use manager::UnitError;
pub(crate) use manager::{Started, UnitManager, Whom};
