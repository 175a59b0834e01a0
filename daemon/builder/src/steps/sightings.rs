//! What was seen of a guest since its machine was started, in order: it tells why a connection never came, and is shown then.
//!
//! ```text
//! What was seen of the guest, in order:
//!     0:00  its machine was started
//!     0:26  it was given 10.0.2.15 by DHCP
//!     0:27  it fetched files over HTTP 2 times, the last /answers
//!    10:00  nothing more
//! ```

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_communicators::{CommunicatorKind, ConnectError, ConnectEvent, ConnectStage};
use kiln_hypervisors::{DhcpState, NetworkSight};

use crate::http_server::RequestLog;

/// At most this many are kept: a guest that restarts for ever must not fill the memory.
const KEPT: usize = 40;

/// The first of them, which stay; what is left out came after them.
const FIRST: usize = 10;

/// A silence that is worth a line.
const SILENCE: Duration = Duration::from_secs(5);

/// The record of one guest.
#[derive(Debug, Default)]
pub(crate) struct Sightings(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    started: Option<Instant>,
    seen: Vec<Sighting>,
    left_out: usize,
}

/// The same, seen so many times in a row.
#[derive(Debug)]
struct Sighting {
    /// When it was seen first, since the start.
    after: Duration,
    /// When it was seen last.
    latest: Duration,
    times: u32,
    what: Seen,
}

/// What can be seen of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Its machine runs.
    Started,
    /// It has restarted.
    Restarted,
    /// It has sent packets that tell no address.
    SentPackets,
    /// It has asked for an address by DHCP.
    AskedForAddress,
    /// DHCP has given it this address.
    GivenAddress(IpAddr),
    /// It uses this address, however it came by it.
    UsesAddress(IpAddr),
    /// It has fetched this over HTTP.
    Fetched(String),
    /// It has asked for this over HTTP, and did not get it.
    FetchedInVain(String),
    /// Connecting in this way has come so far, in its own words.
    Connection(CommunicatorKind, String),
    /// We were logged in.
    LoggedIn(CommunicatorKind),
    /// The connection was lost.
    Lost(CommunicatorKind),
    /// Its serial console shows that its kernel has crashed, nobody knows when.
    KernelCrashed,
}

impl Sightings {
    /// The machine runs from now on. What was noted before is forgotten.
    pub(crate) fn start(&self) {
        *self.lock() = Record { started: Some(Instant::now()), ..Record::default() };
        self.note(Seen::Started);
    }

    /// Notes what is seen now; nothing before the machine was started.
    pub(crate) fn note(&self, what: Seen) {
        let mut record = self.lock();
        let Some(after) = record.started.map(|started| started.elapsed()) else { return };
        if let Some(last) = record.seen.last_mut().filter(|last| last.what.is_kind_of(&what)) {
            last.times = last.times.saturating_add(1);
            last.latest = after;
            last.what = what;
            return;
        }
        if record.seen.len() == KEPT {
            record.seen.remove(FIRST);
            record.left_out += 1;
        }
        record.seen.push(Sighting { after, latest: after, times: 1, what });
    }

    /// Notes a request to the build's HTTP server.
    pub(crate) fn request(&self, request: &RequestLog) {
        let path = request.path.clone();
        self.note(if request.status < 400 { Seen::Fetched(path) } else { Seen::FetchedInVain(path) });
    }

    /// Notes what a connection tells.
    pub(crate) fn connection(&self, kind: CommunicatorKind, event: &ConnectEvent) {
        match event {
            // That nothing was seen is no sighting, and nothing was tried.
            ConnectEvent::Stage { stage: ConnectStage::NoAddress | ConnectStage::Configuration, .. } => {}
            ConnectEvent::Stage { words, .. } => self.note(Seen::Connection(kind, words.clone())),
            ConnectEvent::Connected { .. } => self.note(Seen::LoggedIn(kind)),
            ConnectEvent::Reconnecting { .. } => self.note(Seen::Lost(kind)),
            _ => {}
        }
    }

    /// Notes what is new in what the network shows.
    pub(crate) fn network(&self, known: &NetworkSight, now: &NetworkSight) {
        let mut known = *known;
        if now.restarts != known.restarts {
            self.note(Seen::Restarted);
            known = NetworkSight::default();
        }
        match (now.dhcp, now.address) {
            (DhcpState::Answered, Some(address)) if known.dhcp != now.dhcp || known.address != now.address => {
                self.note(Seen::GivenAddress(address));
            }
            (DhcpState::Asked, None) if known.dhcp != now.dhcp => self.note(Seen::AskedForAddress),
            (_, Some(address)) if known.address != now.address => self.note(Seen::UsesAddress(address)),
            (DhcpState::Silent, None) if now.spoke && !known.spoke => self.note(Seen::SentPackets),
            _ => {}
        }
    }

    /// The last that was seen, and when; `None` before the start.
    fn last(&self) -> Option<(Duration, Seen)> {
        self.lock().seen.last().map(|last| (last.latest, last.what.clone()))
    }

    /// Says what was seen last, when that is more than the error says itself.
    pub(crate) fn last_words(&self) -> Option<String> {
        let (after, last) = self.last()?;
        let known = matches!(last, Seen::Connection(..) | Seen::Started);
        (!known).then(|| match last {
            Seen::KernelCrashed => format!("last seen: {last}"),
            _ => format!("last seen after {}: {last}", clock(after)),
        })
    }

    /// Whether the last that is known of it is that its kernel has crashed.
    pub(crate) fn kernel_has_crashed(&self) -> bool {
        self.last().is_some_and(|(_, last)| last == Seen::KernelCrashed)
    }

    /// Whether it was logged in to, and the connection was lost and is not there again.
    pub(crate) fn is_lost(&self) -> bool {
        let record = self.lock();
        let last = record.seen.iter().rev().find(|seen| matches!(seen.what, Seen::LoggedIn(_) | Seen::Lost(_)));
        last.is_some_and(|last| matches!(last.what, Seen::Lost(_)))
    }

    /// What the user can look at when the kernel has crashed.
    pub(crate) fn crash_hint(&self) -> Option<String> {
        self.kernel_has_crashed().then(|| {
            "the guest's kernel has crashed: its trace is in the serial console's lines above; \
             look at the guest's memory, processor model and disk before its network"
                .to_owned()
        })
    }

    /// What the user can look at, after what was seen last; `error`'s own hint where that knows no more. `lost`: the guest had been
    /// logged in to before.
    pub(crate) fn hint(&self, kind: CommunicatorKind, error: &ConnectError, lost: bool) -> Option<String> {
        let (title, name) = (kind.title(), kind.name());
        let unanswered = error.kind.is_unanswered();
        Some(match self.last().map(|(_, last)| last) {
            Some(Seen::KernelCrashed) => return self.crash_hint(),
            Some(Seen::Fetched(_)) if unanswered => format!(
                "the guest has fetched files and then not come to its {title} server: look at its screen for an installer \
                 that asks or has failed, or give it more time with {name}_timeout"
            ),
            Some(Seen::FetchedInVain(_)) if unanswered => {
                "the guest did not get the file it asked for: see http_directory and \
                 http_content, and the path in boot_command"
                    .to_owned()
            }
            Some(Seen::Restarted) if unanswered => {
                "the guest has not come back after its restart: look at its screen for a boot \
                 loader that finds no system, and at the boot order"
                    .to_owned()
            }
            Some(Seen::GivenAddress(_) | Seen::UsesAddress(_)) if unanswered => format!(
                "the guest has its address but no {title} server answers on {name}_port: look at its screen for a boot that \
                 hangs, and at its firewall"
            ),
            _ if lost && unanswered => format!(
                "the guest was logged in to before: look at its screen for a crash, or a shutdown or boot that hangs, and at what \
                 was done to its network and its {title} server; one that boots for long gets more time with \
                 start_retry_timeout of a shell provisioner, else with {name}_timeout (15 minutes at most)"
            ),
            _ if lost && error.kind == ConnectStage::Login => format!(
                "the guest took this login before: look at what was done to its users, their passwords and keys, and the settings \
                 of its {title} server"
            ),
            _ => return error.hint.as_ref().map(ToString::to_string),
        })
    }

    /// All of it, a line each; `None` before the start.
    pub(crate) fn told(&self) -> Option<String> {
        let record = self.lock();
        let now = record.started?.elapsed();
        let mut text = String::from("What was seen of the guest, in order:");
        for (index, sighting) in record.seen.iter().enumerate() {
            if index == FIRST && record.left_out > 0 {
                text.push_str(&format!("\n          ({} left out)", record.left_out));
            }
            let when = match sighting.what {
                Seen::KernelCrashed => String::new(),
                _ => clock(sighting.after),
            };
            text.push_str(&format!("\n  {when:>6}  {}", sighting.words()));
        }
        let silent_since = record.seen.iter().rev().find(|seen| seen.what != Seen::KernelCrashed);
        if silent_since.is_some_and(|last| now.saturating_sub(last.latest) >= SILENCE) {
            text.push_str(&format!("\n  {:>6}  nothing new", clock(now)));
        }
        Some(text)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Whether `other`, seen right after this, makes no line of its own.
    fn is_kind_of(&self, other: &Self) -> bool {
        self == other
            || matches!(
                (self, other),
                (Self::Fetched(_), Self::Fetched(_)) | (Self::FetchedInVain(_), Self::FetchedInVain(_))
            )
    }
}

impl Sighting {
    fn words(&self) -> String {
        match &self.what {
            Seen::Fetched(path) if self.times > 1 => {
                format!("it fetched files over HTTP {} times, the last {path}", self.times)
            }
            Seen::FetchedInVain(path) if self.times > 1 => {
                format!("it asked for files over HTTP {} times in vain, the last {path}", self.times)
            }
            what if self.times > 1 => format!("{what} ({} times)", self.times),
            what => what.to_string(),
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Started => f.write_str("its machine was started"),
            Self::Restarted => f.write_str("it restarted"),
            Self::SentPackets => f.write_str("it sent packets: its network adapter has a driver"),
            Self::AskedForAddress => f.write_str("it asked for an address by DHCP"),
            Self::GivenAddress(address) => write!(f, "it was given {address} by DHCP"),
            Self::UsesAddress(address) => write!(f, "it uses the address {address}"),
            Self::Fetched(path) => write!(f, "it fetched {path} over HTTP"),
            Self::FetchedInVain(path) => write!(f, "it asked for {path} over HTTP in vain"),
            Self::Connection(kind, words) => write!(f, "{}: {words}", kind.title()),
            Self::LoggedIn(kind) => write!(f, "{}: logged in", kind.title()),
            Self::Lost(kind) => write!(f, "{}: the connection was lost", kind.title()),
            Self::KernelCrashed => f.write_str("its kernel has crashed"),
        }
    }
}

/// Minutes and seconds.
fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSH: CommunicatorKind = CommunicatorKind::Ssh;

    fn started() -> Sightings {
        let sightings = Sightings::default();
        sightings.start();
        sightings
    }

    fn error(kind: ConnectStage) -> ConnectError {
        ConnectError {
            kind,
            address: "127.0.0.1:2222".to_owned(),
            words: "no luck".to_owned(),
            attempts: 3,
            elapsed: Duration::from_secs(300),
            hint: Some("the error's own hint".into()),
            source: "time was up".into(),
        }
    }

    fn came_to(stage: ConnectStage, words: &str) -> ConnectEvent {
        ConnectEvent::Stage { stage, words: words.to_owned() }
    }

    /// Lets the start be so much longer ago.
    fn pass(sightings: &Sightings, seconds: u64) {
        let mut record = sightings.lock();
        record.started = record.started.and_then(|started| started.checked_sub(Duration::from_secs(seconds)));
    }

    #[test]
    fn everything_is_told_in_order() {
        let sightings = Sightings::default();
        sightings.note(Seen::Fetched("/early".to_owned()));
        assert_eq!((sightings.told(), sightings.last_words()), (None, None), "nothing before the start");
        sightings.start();
        assert_eq!(sightings.last_words(), None);
        pass(&sightings, 26);
        let boot = NetworkSight::watched();
        let spoke = NetworkSight { spoke: true, ..boot };
        let asked = NetworkSight { dhcp: DhcpState::Asked, ..spoke };
        let address = Some([10, 0, 2, 15].into());
        let given = NetworkSight { dhcp: DhcpState::Answered, address, ..asked };
        sightings.network(&boot, &spoke);
        sightings.network(&spoke, &asked);
        sightings.network(&asked, &given);
        pass(&sightings, 2);
        sightings.note(Seen::Fetched("/preseed.cfg".to_owned()));
        pass(&sightings, 3);
        sightings.note(Seen::Fetched("/answers".to_owned()));
        assert_eq!(sightings.last_words().unwrap(), "last seen after 0:31: it fetched /answers over HTTP");
        sightings.note(Seen::FetchedInVain("/late".to_owned()));
        pass(&sightings, 300);
        let restarted = given.after_restart(true);
        sightings.network(&given, &restarted);
        sightings.network(&restarted, &NetworkSight { spoke: true, address, ..restarted });
        for _ in 0..3 {
            sightings.connection(SSH, &came_to(ConnectStage::NoAddress, "the guest has no address yet"));
            sightings.connection(SSH, &came_to(ConnectStage::ClosedAtOnce, "the port closes every connection at once"));
        }
        pass(&sightings, 60);
        assert_eq!(
            sightings.told().unwrap(),
            "What was seen of the guest, in order:\n\
             \x20   0:00  its machine was started\n\
             \x20   0:26  it sent packets: its network adapter has a driver\n\
             \x20   0:26  it asked for an address by DHCP\n\
             \x20   0:26  it was given 10.0.2.15 by DHCP\n\
             \x20   0:28  it fetched files over HTTP 2 times, the last /answers\n\
             \x20   0:31  it asked for /late over HTTP in vain\n\
             \x20   5:31  it restarted\n\
             \x20   5:31  it uses the address 10.0.2.15\n\
             \x20   5:31  SSH: the port closes every connection at once (3 times)\n\
             \x20   6:31  nothing new"
        );
    }

    #[test]
    fn a_guest_that_restarts_for_ever_does_not_fill_the_memory() {
        let sightings = started();
        for _ in 0..1_000_000 {
            sightings.note(Seen::Restarted);
            sightings.note(Seen::SentPackets);
        }
        let told = sightings.told().unwrap();
        assert_eq!(told.lines().count(), 1 + KEPT + 1);
        assert!(told.contains("\n          (1999961 left out)\n"), "{told}");
    }

    #[test]
    fn the_hint_follows_what_was_seen_last() {
        let closed = error(ConnectStage::ClosedAtOnce);
        for (seen, hint) in [
            (Seen::Started, "own hint"),
            (Seen::Connection(SSH, "closed".to_owned()), "own hint"),
            (Seen::Restarted, "after its restart"),
            (Seen::GivenAddress([10, 0, 2, 15].into()), "no SSH server answers on ssh_port"),
            (Seen::Fetched("/answers".to_owned()), "give it more time with ssh_timeout"),
            (Seen::FetchedInVain("/answers".to_owned()), "http_directory"),
            (Seen::KernelCrashed, "kernel has crashed"),
        ] {
            let sightings = started();
            sightings.note(seen.clone());
            assert!(sightings.hint(SSH, &closed, false).unwrap().contains(hint), "{seen:?}");
            if seen != Seen::KernelCrashed {
                let rejected = error(ConnectStage::Handshake);
                assert_eq!(
                    sightings.hint(SSH, &rejected, false).as_deref(),
                    rejected.hint.as_deref(),
                    "an answer says more than {seen:?}"
                );
            }
        }
    }

    #[test]
    fn a_guest_that_was_logged_in_to_is_not_said_to_boot_for_the_first_time() {
        let sightings = started();
        let silent = error(ConnectStage::Silent);
        sightings.note(Seen::LoggedIn(SSH));
        assert!(!sightings.is_lost());
        sightings.note(Seen::Lost(SSH));
        sightings.connection(SSH, &came_to(ConnectStage::Silent, "the port is open but nothing answers"));
        assert!(sightings.is_lost() && sightings.crash_hint().is_none());
        assert!(sightings.hint(SSH, &silent, true).unwrap().contains("was logged in to before"));
        let hint = sightings.hint(SSH, &error(ConnectStage::Login), true).unwrap();
        assert!(hint.contains("took this login before"), "{hint}");
        assert_eq!(sightings.hint(SSH, &error(ConnectStage::TurnedAway), true).as_deref(), silent.hint.as_deref());
        sightings.note(Seen::LoggedIn(SSH));
        assert!(!sightings.is_lost());
        sightings.note(Seen::KernelCrashed);
        assert!(sightings.hint(SSH, &silent, true).unwrap().contains("kernel has crashed"));
        assert!(sightings.crash_hint().is_some());
    }
}
