//! Who asks: a typed value, made once, where a connection is accepted.

use std::io;

use tokio::net::UnixStream;

use crate::{peer_process, subordinates};

/// The user behind a request.
///
/// Never made from text; no request can contain one. What takes one has to ask for it where the kernel, or a bus that the kernel has told,
/// says who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    uid: u32,
    gid: u32,
    pid: Option<i32>,
    /// When that process began, in ticks since the boot; nothing when it cannot be told from another that has its number now.
    start_time: Option<u64>,
    /// Unique name on the bus (`:1.42`), by its numbers.
    bus_name: Option<(u64, u64)>,
    /// Whether a person may be asked for a password on its behalf.
    interactive: bool,
}

impl Caller {
    /// Asks the kernel who has connected (`SO_PEERCRED`, unix(7)).
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let (uid, gid, pid) = (credentials.uid(), credentials.gid(), credentials.pid());
        let number = pid.and_then(|pid| u32::try_from(pid).ok());
        let start_time = number.and_then(|pid| peer_process::start_time(stream, pid, uid));
        Ok(Self { uid, gid, pid, start_time, bus_name: None, interactive: false })
    }

    /// Asks the kernel for the user alone, as it counts where users have shares (`counts_as`).
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub(crate) fn user_of(stream: &UnixStream) -> io::Result<u32> {
        Ok(subordinates::counts_as(stream.peer_cred()?.uid()))
    }

    /// Takes the word of a bus for who has connected to it (`GetConnectionCredentials`). It tells no group.
    pub(crate) fn on_bus(uid: u32, pid: Option<i32>, unique_name: &str) -> Self {
        let numbers = unique_name.strip_prefix(':').and_then(|name| name.split_once('.'));
        let bus_name = numbers.and_then(|(bus, number)| Some((bus.parse().ok()?, number.parse().ok()?)));
        // Known by its name: the bus tells nothing that would name its process for good.
        Self { uid, gid: u32::MAX, pid, start_time: None, bus_name, interactive: false }
    }

    /// The same, for a request that says whether a person may be asked on its behalf.
    pub(crate) fn asking(self, interactive: bool) -> Self {
        Self { interactive, ..self }
    }

    /// Whether a person may be asked for a password on its behalf.
    pub(crate) fn is_interactive(self) -> bool {
        self.interactive
    }

    /// Returns its process, and when that began, where both are known for sure.
    pub(crate) fn process(self) -> Option<(u32, u64)> {
        Some((u32::try_from(self.pid?).ok()?, self.start_time?))
    }

    /// Returns its unique name on the bus.
    pub(crate) fn bus_name(self) -> Option<String> {
        self.bus_name.map(|(bus, number)| format!(":{bus}.{number}"))
    }

    /// User id at the time of connecting.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// The user id under which it counts where users have shares: one for all that a user can take on as they like.
    pub(crate) fn counts_as(self) -> u32 {
        subordinates::counts_as(self.uid)
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
        Self { uid, gid: uid, pid: None, start_time: None, bus_name: None, interactive: false }
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
        assert_eq!(Caller::user_of(&one).unwrap(), caller.counts_as());
        assert_eq!(caller.pid(), i32::try_from(std::process::id()).ok());
        let began = kiln_builder::process_stat::ProcessStat::of(std::process::id()).unwrap().start_time;
        assert_eq!(caller.process(), Some((std::process::id(), began)));
    }
}
