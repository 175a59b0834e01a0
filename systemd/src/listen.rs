//! The socket that the manager listened on before this process began (socket activation).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once the descriptors have an owner.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A socket that was handed over.
#[derive(Debug)]
pub struct Listened {
    /// It; close-on-exec.
    pub listener: UnixListener,
    /// Where it is in the file system.
    pub path: PathBuf,
}

/// Reports that what was handed over is not what a service of one Unix socket can use.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The variables, or a descriptor.
    #[error("the descriptors that the service manager speaks of cannot be used")]
    Descriptors(#[source] io::Error),
    /// More than one.
    #[error("the service manager handed over {0} sockets, not one")]
    Number(usize),
    /// Another kind of socket, or a socket without a path.
    #[error("the socket `{name}` of the service manager is not a Unix stream socket with a path that listens")]
    Kind {
        /// Its name (`FileDescriptorName=`).
        name: String,
    },
    /// They have been handed out before.
    #[error("the service manager's socket has been taken already")]
    Taken,
}

/// Takes the socket that the manager handed over; nothing when it handed over none. To be called once.
///
/// # Errors
///
/// Something else was handed over.
pub fn inherited_socket() -> Result<Option<Listened>, ListenError> {
    let descriptors: Vec<_> = sd_notify::listen_fds_with_names().map_err(ListenError::Descriptors)?.collect();
    let (number, name) = match &descriptors[..] {
        [] => return Ok(None),
        [one] => one.clone(),
        many => return Err(ListenError::Number(many.len())),
    };
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(ListenError::Taken);
    }
    #[expect(unsafe_code, reason = "the one place where a number from the environment becomes a descriptor")]
    // SAFETY: by the protocol of LISTEN_PID this descriptor was passed to this very process, for it to own; it is open, for its
    // close-on-exec flag was just set; and it is taken once.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    let listener = UnixListener::from(descriptor);
    match listening_path(&listener) {
        Some(path) => Ok(Some(Listened { path, listener })),
        None => Err(ListenError::Kind { name }),
    }
}

/// Returns the path of a listening stream socket; nothing when it is something else.
fn listening_path(listener: &UnixListener) -> Option<PathBuf> {
    let address = listener.local_addr().ok()?;
    if address.as_abstract_name().is_some() || !accepts(listener) {
        return None;
    }
    address.as_pathname().map(Path::to_owned)
}

/// Whether it is a stream socket on which listen(2) was called.
fn accepts(listener: &UnixListener) -> bool {
    rustix::net::sockopt::socket_acceptconn(listener).unwrap_or(false)
        && rustix::net::sockopt::socket_type(listener).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM)
}
