//! The builders: each turns options into a plan, and a plan into an artifact.

pub(crate) mod communicator;
pub(crate) mod file;
pub(crate) mod null;
pub(crate) mod qemu;
pub(crate) mod shared;
