//! A communicator without a guest, for the tests of other crates.
//!
//! Commands get scripted answers; uploads land in a map, downloads come from it. It can refuse, hang and lose its
//! connection. Commands no script matches succeed silently. Otherwise it keeps the promises of the real ones (see
//! [`conformance`](crate::conformance)).

#[cfg(test)]
mod broken;
mod communicator;
mod connector;
mod files;
mod guest;
mod script;
#[cfg(test)]
mod tests;

pub use connector::FakeConnector;
pub use guest::FakeCommunicator;
pub use script::{Answer, Call};
