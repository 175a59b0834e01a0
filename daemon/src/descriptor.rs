//! Waiting for descriptors that tokio has no type for: inotify, processes. The only unsafe code of the daemon.

#![expect(unsafe_code, reason = "tokio asks for a promise about the descriptor that OwnedFd keeps")]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the present runtime.
///
/// # Errors
///
/// The runtime cannot watch it.
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: `OwnedFd` owns its descriptor: it always returns the same one, and nobody else closes it before it is dropped, which
    // `AsyncFd` does after deregistration.
    Ok(unsafe { AsyncFd::register(descriptor) }?)
}
