//! What the service manager is told while the daemon serves: that its one deciding task still turns, and how many jobs there are.

use std::future;
use std::time::Duration;

use kiln_systemd::{Manager, State};
use tokio::time::{Instant, sleep_until};

/// Time between two lines of status at least, and after which a manager without a watchdog is told of changes that nobody announces.
const STATUS_PAUSE: Duration = Duration::from_secs(1);
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// How often the watchdog is fed within its limit: two messages may get lost or late.
const FEEDINGS: u32 = 3;

/// Speaks to the manager, if there is one.
pub(crate) struct Announcer {
    manager: Option<Manager>,
    /// The line that the manager knows.
    told: String,
    /// What stands behind each, until it is replaced.
    note: Option<String>,
    told_at: Instant,
    /// When it is to be told again.
    due: Instant,
}

impl Announcer {
    pub(crate) fn new(manager: Option<Manager>) -> Self {
        let now = Instant::now();
        Self { manager, told: String::new(), note: None, told_at: now, due: now }
    }

    /// Waits until the manager is to be told something; for ever where none listens. May be dropped and called again.
    pub(crate) async fn due(&self) {
        match self.manager {
            Some(_) => sleep_until(self.due).await,
            None => future::pending().await,
        }
    }

    /// Has each line end with this from now on.
    pub(crate) fn keep(&mut self, note: Option<String>) {
        self.note = note;
    }

    /// To be called at every turn of the loop: tells what is due.
    pub(crate) fn turn(&mut self, status: impl FnOnce() -> String) {
        let Some(manager) = self.manager else { return };
        let (now, mut status) = (Instant::now(), status());
        if let Some(note) = &self.note {
            status.push_str("; ");
            status.push_str(note);
        }
        let changed = status != self.told;
        let soonest = self.told_at + STATUS_PAUSE;
        if now < self.due && !(changed && (now >= soonest || self.told.is_empty())) {
            if changed {
                self.due = self.due.min(soonest);
            }
            return;
        }
        let states = [State::Alive, State::Status(&status)];
        if let Err(error) = manager.tell(if changed { &states } else { &states[..1] }) {
            tracing::debug!(%error, "the service manager does not hear");
        }
        if changed {
            (self.told, self.told_at) = (status, now);
        }
        self.due = now + manager.watchdog().map_or(REFRESH_PAUSE, |limit| limit / FEEDINGS);
    }
}

/// Says in a line what the daemon is busy with.
pub(crate) fn status(running: usize, queued: usize, asking: usize) -> String {
    let parts = [(running, "running"), (queued, "queued"), (asking, "waiting for an answer")];
    let said: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if said.is_empty() { "idle".to_owned() } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_there_is() {
        assert_eq!(status(0, 0, 0), "idle");
        assert_eq!(status(2, 5, 1), "2 running, 5 queued, 1 waiting for an answer");
        assert_eq!(status(1, 0, 0), "1 running");
    }
}
