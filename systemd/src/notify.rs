//! What the service tells its manager: ready, reloading, stopping, a line of status, and that it is alive.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Something to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Requests are answered (also: again, after [`State::Reloading`]).
    Ready,
    /// The configuration is read anew; [`State::Ready`] follows.
    Reloading,
    /// The service is about to end.
    Stopping,
    /// One line for `systemctl status`. Line breaks become blanks: what follows one would be an assignment of its own.
    Status(&'a str),
    /// The main loop still turns.
    Alive,
}

/// The manager that started this process, and listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manager {
    watchdog: Option<Duration>,
}

impl Manager {
    /// Returns the manager of this process; nothing when none listens.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())?;
        // A limit of zero would be a ping without end.
        Some(Self { watchdog: sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) })
    }

    /// Returns how long the manager waits for the next [`State::Alive`] before it ends the process; nothing when it does not watch.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells it, all in one message.
    ///
    /// # Errors
    ///
    /// The socket is gone, or not to be written to. Nothing to end for: a manager that hears nothing acts by itself.
    pub fn tell(&self, states: &[State<'_>]) -> io::Result<()> {
        let lines: Vec<_> = states
            .iter()
            .map(|state| if let State::Status(text) = state { one_line(text) } else { String::new() })
            .collect();
        let mut message = Vec::with_capacity(states.len() + 1);
        for (state, line) in states.iter().zip(&lines) {
            match state {
                State::Ready => message.push(NotifyState::Ready),
                State::Reloading => {
                    message.push(NotifyState::Reloading);
                    // systemd 253 and later ends a service of type notify-reload that leaves it out.
                    message.push(NotifyState::monotonic_usec_now()?);
                }
                State::Stopping => message.push(NotifyState::Stopping),
                State::Status(_) => message.push(NotifyState::Status(line)),
                State::Alive => message.push(NotifyState::Watchdog),
            }
        }
        sd_notify::notify(&message)
    }
}

fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
