//! What a template can reach outside of itself: files, the caller's environment, services. All of it comes in through traits and
//! values of the caller.

pub(crate) mod data;
pub(crate) mod files;
pub(crate) mod inputs;
pub(crate) mod read;
pub(crate) mod secret_stores;
