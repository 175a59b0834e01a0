//! Decides when the next attempt to reach a guest is due, from what the attempts before came to and what is seen of the guest.
//!
//! Each attempt must be worth it. Behind a user network (QEMU's, VirtualBox's NAT) a connection succeeds at once and then lives on,
//! also when it is dropped here: the network repeats its request into the guest after 6, 18 and 42 s until 75 s are over
//! (libslirp's TCP timers), and when the guest comes up, all of them meet a server that refuses who comes in numbers (OpenSSH's
//! MaxStartups) or costs (PerSourcePenalties, OpenSSH 9.8). So there are never more than [`MAX_UNDER_WAY`] at a time.
//!
//! | what is known | attempts |
//! |---|---|
//! | the guest is watched and has no address | none; one in case it never tells its address ([`UNSEEN_ADDRESS`]) |
//! | it just got its address | one, [`SETTLE`] later |
//! | its port is closed: it answers itself, nothing is left behind | one after the other, [`refused_pace`] |
//! | an attempt is open and silent | it is waited for; one more beside it when its request may have been lost |
//! | the server turns us away | one at a time, after [`TURNED_AWAY`] each |
//! | nothing can be watched | two, the second later than the first |

use std::time::Duration;

use tokio::time::Instant;

use crate::lookout::GuestSight;

/// Connections under way at the same time, handshakes included.
pub(super) const MAX_UNDER_WAY: usize = 2;

/// From the answer of DHCP to the first attempt: the guest sets the address meanwhile. A request that comes too early is lost, and
/// repeated only after 6 s.
const SETTLE: Duration = Duration::from_millis(200);

/// From the start of a watched guest without an address to an attempt all the same: its address may be fixed, and nothing sent.
const UNSEEN_ADDRESS: Duration = Duration::from_secs(20);

/// The same from its first packet: DHCP would have answered by then.
const UNSEEN_ADDRESS_OF_SPEAKER: Duration = Duration::from_secs(5);

/// An attempt begun so soon after the address was seen may have come too early.
const TOO_EARLY: Duration = Duration::from_secs(1);

/// When an attempt that may have come too early gets one beside it: an emulated guest that does serve it needs 1 to 3 s.
const PATIENCE_EARLY: Duration = Duration::from_secs(5);

/// When a silent attempt gets one beside it. With requests repeated after 6, 18 and 42 s, two so far apart ask at least every 12 s.
const PATIENCE: Duration = Duration::from_secs(12);

/// The same where the guest has answered before: it is going down, and will be seen to come up.
const PATIENCE_AFTER_CONTACT: Duration = Duration::from_secs(30);

/// When a connect that got no answer from a host reached directly gets another beside it: the system repeats its own after 1, 3
/// and 7 s. Nothing is left behind by it.
const PATIENCE_CONNECTING: Duration = Duration::from_millis(1500);

/// Between attempts that a closed port ended: from this …
const REFUSED_MIN: Duration = Duration::from_millis(150);

/// … to this, for [`REFUSED_OFTEN_FOR`]: readiness is to be found within 500 ms.
const REFUSED_MAX: Duration = Duration::from_millis(450);

/// How long a closed port is asked often. It costs the guest a packet, and leaves nothing behind there.
const REFUSED_OFTEN_FOR: Duration = Duration::from_secs(60);

/// The longest for a guest that has refused for longer, such as an installer that runs no server.
const REFUSED_LONG: Duration = Duration::from_secs(5);

/// After an attempt that the server turned away; OpenSSH's smallest penalty that is felt is 15 s, one attempt adds 1 s to it.
const TURNED_AWAY: Duration = Duration::from_secs(5);

/// After any other end.
const PAUSE: Duration = Duration::from_secs(1);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The port is closed.
    Refused,
    /// The server is there and did not want us.
    TurnedAway,
    /// The name did not resolve, there was no way, nobody answered, something else answered.
    Other,
}

/// An attempt under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) started: Instant,
    /// What was seen when it was started.
    pub(super) restarts: Option<u32>,
    /// The connection stands, if only to the network in between.
    pub(super) connected: bool,
}

/// What was learned so far.
#[derive(Debug)]
pub(super) struct Pace {
    sight: GuestSight,
    seen_at: Instant,
    /// The guest itself has answered since it last started.
    contacted: bool,
    refused_since: Option<Instant>,
    last_end: Option<(Instant, End)>,
}

impl Pace {
    /// `contacted`: there was a connection to this guest before.
    pub(super) fn new(now: Instant, sight: GuestSight, contacted: bool) -> Self {
        Self { sight, seen_at: now, contacted, refused_since: None, last_end: None }
    }

    pub(super) fn sight(&self) -> GuestSight {
        self.sight
    }

    /// Takes another sight.
    pub(super) fn see(&mut self, now: Instant, sight: GuestSight) {
        if sight.restarts() != self.sight.restarts() {
            self.contacted = false;
        }
        (self.refused_since, self.last_end) = (None, None);
        (self.sight, self.seen_at) = (sight, now);
    }

    /// Takes the end of an attempt.
    pub(super) fn ended(&mut self, now: Instant, end: End) {
        self.last_end = Some((now, end));
        match end {
            End::Refused => {
                self.contacted = true;
                self.refused_since.get_or_insert(now);
            }
            End::TurnedAway => self.contacted = true,
            End::Other => self.refused_since = None,
        }
    }

    /// When the next attempt is due; `None`: not before one of `open` ends or something else is seen.
    pub(super) fn next(&self, open: &[Open]) -> Option<Instant> {
        // Attempts from before a restart are not heard of soon, if ever.
        // Any attempt serves for the case that a guest never tells its address.
        if matches!(self.sight, GuestSight::Booting { .. }) && !open.is_empty() {
            return None;
        }
        // An attempt from before a restart is not heard of soon, if ever: it gives way.
        if open.iter().filter(|open| open.restarts == self.sight.restarts()).count() >= MAX_UNDER_WAY {
            return None;
        }
        // One from before the present sight asked a guest that was not there yet.
        let newest = open.iter().filter(|open| open.started >= self.seen_at).max_by_key(|open| open.started);
        let due = match (newest, self.sight) {
            (Some(newest), _) => newest.started + self.patience(newest),
            (None, GuestSight::Unwatched) => self.seen_at,
            (None, GuestSight::Booting { spoke: false, .. }) => self.seen_at + UNSEEN_ADDRESS,
            (None, GuestSight::Booting { spoke: true, .. }) => self.seen_at + UNSEEN_ADDRESS_OF_SPEAKER,
            (None, GuestSight::Addressed { .. }) => self.seen_at + SETTLE,
        };
        let after_end = self.last_end.map(|(at, end)| at + self.pause_after(at, end));
        Some(after_end.map_or(due, |after_end| after_end.max(due)))
    }

    /// How long `newest` is waited for before another is begun beside it.
    fn patience(&self, newest: &Open) -> Duration {
        match self.sight {
            _ if !newest.connected => PATIENCE_CONNECTING,
            _ if self.contacted => PATIENCE_AFTER_CONTACT,
            GuestSight::Addressed { .. } if newest.started < self.seen_at + TOO_EARLY => PATIENCE_EARLY,
            _ => PATIENCE,
        }
    }

    fn pause_after(&self, at: Instant, end: End) -> Duration {
        match end {
            End::Refused => refused_pace(self.refused_since.map_or(Duration::ZERO, |since| at - since)),
            End::TurnedAway => TURNED_AWAY,
            End::Other => PAUSE,
        }
    }
}

/// The pause after an attempt that found a closed port, `since` the first that did.
fn refused_pace(since: Duration) -> Duration {
    if since < REFUSED_OFTEN_FOR {
        return (since / 3).clamp(REFUSED_MIN, REFUSED_MAX);
    }
    (since / 20).min(REFUSED_LONG)
}

#[cfg(test)]
mod tests;
