//! What needs promises about descriptors: waiting for those that tokio has no type for, closing inherited ones, and asking a socket for the
//! process behind it.

#![expect(
    unsafe_code,
    reason = "tokio and rustix ask for promises about descriptors, which are given here and nowhere else"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

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

/// Opens the process that connected this socket (`SO_PEERPIDFD`, Linux 6.5).
///
/// # Errors
///
/// The kernel does not know that (`ENOPROTOOPT`), or the process is gone.
pub(crate) fn peer_process(socket: &impl AsFd) -> io::Result<OwnedFd> {
    let mut number: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    let socket = socket.as_fd().as_raw_fd();
    let to = (&raw mut number).cast();
    // SAFETY: the kernel writes `length` bytes at most, which is the size of `number`; both live longer than the call.
    let result = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERPIDFD, to, &raw mut length) };
    if result != 0 || number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it (closed at exec) for this call, and nobody else has seen it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
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
