//! The harness of the end-to-end tests: the built programs in a home of their own, the test guest's installer, and what
//! must not be left behind.

mod home;
mod leftovers;
mod requirements;

pub use home::{Home, Ran, Running};
pub use leftovers::Leftovers;
pub use requirements::{corpus, debian, installer, judges, program, root, tool, vmware_tools};
