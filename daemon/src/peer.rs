//! Who is at the other end of a connection: a typed value, taken from the kernel once, at accept.

use std::io;

use tokio::net::UnixStream;

/// The credentials of a connected process (`SO_PEERCRED`, unix(7)).
///
/// Never made from text; no request can contain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User id at the time of connecting.
    pub uid: u32,
    /// Group id at the time of connecting.
    pub gid: u32,
    /// Process id, for the log only: it may have passed to another process meanwhile.
    pub pid: Option<i32>,
}

impl Peer {
    /// Asks the kernel who has connected.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
    }
}
