//! What needs promises about descriptors: waiting for those that tokio has no type for, and closing inherited ones. The only unsafe
//! code of the daemon.

#![expect(
    unsafe_code,
    reason = "tokio and rustix ask for promises about descriptors, which are given here and nowhere else"
)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

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

/// Keeps what this process has inherited from its children: everything but the three standard ones is closed when they start a program. What is
/// opened here is so from the beginning.
pub(crate) fn keep_inherited_from_children() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            // SAFETY: it is open, as it is listed just now, by the one thread that there is; the borrow ends here.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
        }
    }
    Ok(())
}

/// Closes every descriptor but the three standard ones.
///
/// A daemon that is started on demand gets whatever the shell of its first user had open. Kept open, a pipe among them would make
/// somebody wait for its end until the daemon ends.
///
/// # Safety
///
/// Nothing in this process may own a descriptor yet: to be called first thing in `main`, with one thread.
pub(crate) unsafe fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let mut inherited: Vec<RawFd> = Vec::new();
    for entry in entries.flatten() {
        // Not the one of this listing, which is owned and closes itself.
        let is_listing = entry.path().read_link().is_ok_and(|target| target.ends_with("fd"));
        let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        inherited.extend(number.filter(|number| *number > 2 && !is_listing));
    }
    for number in inherited {
        // SAFETY: it is open, as it was listed just now, and the caller promises that nobody owns it.
        unsafe { rustix::io::close(number) };
    }
}
