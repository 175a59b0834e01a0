//! When the process began that has connected to a socket: with its number, that names it for good.
//!
//! Between connecting and the look at it a process can end and its number pass to another. Since Linux 6.5 the kernel holds the one that is
//! meant (`SO_PEERPIDFD`); before, it is only made sure that the number is one of the same user.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use kiln_builder::process_stat::ProcessStat;
use rustix::io::Errno;

use crate::descriptor;

/// Returns when the process behind this socket began, in ticks since the boot; nothing when it has ended, or may have. `pid` and `uid` are what
/// the kernel says of who has connected.
pub(crate) fn start_time(socket: &impl AsFd, pid: u32, uid: u32) -> Option<u64> {
    match descriptor::peer_process(socket) {
        Ok(process) => start_time_of(&process, pid),
        Err(error) if is_unknown(&error) => start_time_of_users(pid, uid),
        Err(_) => None,
    }
}

/// Whether the kernel does not know what it was asked for.
fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOPROTOOPT.raw_os_error())
}

/// Returns when the process of this descriptor began, if this is its number.
fn start_time_of(process: &OwnedFd, pid: u32) -> Option<u64> {
    let start_time = ProcessStat::of(pid).ok()?.start_time;
    // Asked after: as long as it has its number nobody else has it, so what was read was its own.
    (number(process)? == pid).then_some(start_time)
}

/// Returns the number of a process; nothing when it has none any more.
fn number(process: &OwnedFd) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    // -1 when it has ended and was waited for.
    text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Returns when the process of this number began, if it acts for this user.
fn start_time_of_users(pid: u32, uid: u32) -> Option<u64> {
    let before = ProcessStat::of(pid).ok()?.start_time;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    // The second is the effective one, which `SO_PEERCRED` names.
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let is_of_user = ids.split_whitespace().nth(1)?.parse() == Ok(uid);
    (is_of_user && ProcessStat::of(pid).ok()?.start_time == before).then_some(before)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, geteuid, pidfd_open};

    use super::*;

    fn own() -> (u32, u32, u64) {
        let pid = std::process::id();
        (pid, geteuid().as_raw(), ProcessStat::of(pid).unwrap().start_time)
    }

    #[test]
    fn a_process_that_runs_is_known_by_any_kernel() {
        let (pid, uid, began) = own();
        let (socket, _other) = UnixStream::pair().unwrap();
        assert_eq!(start_time(&socket, pid, uid), Some(began));
        assert_eq!(start_time_of_users(pid, uid), Some(began));
        assert_eq!(start_time_of_users(pid, uid + 1), None, "it is not that user's");
        assert!(is_unknown(&io::Error::from_raw_os_error(92)), "as kernels before 6.5 say");
    }

    #[test]
    fn a_number_that_has_passed_to_another_is_never_taken_for_who_has_connected() {
        let (pid, uid, _) = own();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])";
        let mut client = Command::new("python3").args(["-c", script]).arg(&path).spawn().unwrap();
        let (socket, _) = listener.accept().unwrap();
        let process = pidfd_open(Pid::from_raw(client.id().cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
        assert!(client.wait().unwrap().success());
        // It has ended, and its number is free.
        assert_eq!(start_time(&socket, client.id(), uid), None);
        // As if this very process had been given its number.
        assert_eq!(start_time_of(&process, pid), None);
        match descriptor::peer_process(&socket) {
            Ok(peer) => assert_eq!(start_time_of(&peer, pid), None),
            Err(error) => {
                assert!(is_unknown(&error) || error.raw_os_error() == Some(Errno::SRCH.raw_os_error()), "{error}");
            }
        }
    }
}
