//! A hypervisor that runs nothing: it does what a script says and remembers what was asked of it. For the tests of whatever uses
//! machines; it keeps the same promises as the real ones (see [`conformance`](crate::conformance)).

#[cfg(test)]
mod broken;
mod hypervisor;
mod machine;
mod saved_state;
mod script;
pub(crate) mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use hypervisor::FakeHypervisor;
pub use script::{FakeEnd, FakeScript, FakeStart, Moved, OnResume};
pub use spec::FakeSpec;
