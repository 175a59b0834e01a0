//! Who asks: a typed value, made once, where a connection is accepted.

use std::io;

use tokio::net::UnixStream;

/// The user behind a request.
///
/// Never made from text; no request can contain one. What takes one has to ask for it where the kernel, or a bus that the kernel has told,
/// says who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: u32,
    gid: u32,
    pid: Option<i32>,
}

impl Caller {
    /// Asks the kernel who has connected (`SO_PEERCRED`, unix(7)).
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self { uid: credentials.uid(), gid: credentials.gid(), pid: credentials.pid() })
    }

    /// Takes the word of a bus for who has connected to it (`GetConnectionCredentials`). It tells no group.
    pub(crate) fn on_bus(uid: u32, pid: Option<i32>) -> Self {
        Self { uid, gid: u32::MAX, pid }
    }

    /// User id at the time of connecting.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Group id at the time of connecting; one that nobody has when it came by a bus.
    #[must_use]
    pub fn gid(self) -> u32 {
        self.gid
    }

    /// Process id, for the log only: it may have passed to another process meanwhile.
    #[must_use]
    pub fn pid(self) -> Option<i32> {
        self.pid
    }
}

#[cfg(test)]
impl Caller {
    /// A caller with this user id, as a test wants one.
    pub(crate) fn with_uid(uid: u32) -> Self {
        Self { uid, gid: uid, pid: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_says_who_has_connected() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Caller::of(&one).unwrap();
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!((caller.uid(), caller.gid()), (uid, gid));
        assert_eq!(caller.pid(), i32::try_from(std::process::id()).ok());
    }
}
