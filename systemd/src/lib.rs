//! What a service and the service manager that started it tell each other (sd_notify(3), sd_listen_fds(3)). Synchronous; knows nothing of
//! Kiln. The unit files are beside it, in `units/`.

mod journal;
mod listen;
mod notify;

pub use journal::Journal;
pub use listen::{ListenError, Listened, inherited_socket};
pub use notify::{Manager, State};

/// Is there where systemd is the service manager.
const BOOTED_BY_SYSTEMD: &str = "/run/systemd/system";

/// Whether systemd runs this machine, as sd_booted(3) finds out.
#[must_use]
pub fn is_booted_by_systemd() -> bool {
    std::path::Path::new(BOOTED_BY_SYSTEMD).is_dir()
}

/// Environment variables by which a manager speaks to the process that it starts. They are meant for that process alone: one that starts
/// others takes them out.
pub const VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];
