//! The pass over a disk: windows are read and compressed on all cores, and handed to the writers in order.

pub(crate) mod batch;
pub(crate) mod collector;
mod failure;
pub(crate) mod identity;
pub(crate) mod pipeline;
mod process;
mod turns;
mod windows;
