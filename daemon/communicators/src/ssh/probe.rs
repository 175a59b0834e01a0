//! Finds the moment a starting guest begins to speak SSH, with as few connections as that takes: [`Pace`] decides when one is due, the
//! first that brings a banner wins and is itself used for the connection.
//!
//! ```text
//! watched    DHCP answered ▼       closed closed closed
//!                          ├─┤ ├─┤ ├─┤ ├── SSH-2.0-… ───► key exchange
//! unwatched  ├── silence ──────────────────┼─ dropped
//!                        ├── silence ───── SSH-2.0-… ───► key exchange
//! ```

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::communicator::BoxFuture;
use crate::lookout::{GuestSight, Lookout};
use crate::ssh::dial::Dial;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::pace::{End, MAX_UNDER_WAY, Open, Pace};
use crate::ssh::progress::{AttemptFailure, Progress};
use crate::ssh::stream::BoxedTransport;

/// How long one attempt may wait for its banner. A user network gives up a request into the guest after 75 s and closes; to drop an
/// attempt before would leave it alive there.
const BANNER_TIMEOUT: Duration = Duration::from_secs(80);

/// When no attempt has come to any end for this long, the silence is reported as a stage of its own.
const SILENCE: Duration = Duration::from_secs(1);

/// What may come before the line `SSH-…` (RFC 4253 §4.2 allows other lines), and the longest line read.
const MAX_BEFORE_BANNER: usize = 4096;

/// What OpenSSH's server says instead of its banner to whom it turns away (`sshd.c`, MaxStartups and PerSourcePenalties).
const TURNED_AWAY: [&str; 2] = ["Exceeded MaxStartups", "Not allowed at this time"];

/// A server that has introduced itself.
pub(crate) struct Greeting {
    pub(crate) transport: BoxedTransport,
    /// All bytes read, to be read again by the SSH implementation.
    pub(crate) read: Bytes,
    /// The line `SSH-2.0-…`.
    pub(crate) banner: String,
}

/// What a probe starts from.
pub(crate) struct Start<'a> {
    /// Watches the guest, where that can be done.
    pub(crate) lookout: Option<&'a dyn Lookout>,
    /// There was a connection to this guest before.
    pub(crate) contacted: bool,
    /// Connections under way elsewhere: handshakes.
    pub(crate) busy: usize,
}

struct Attempt {
    started: Instant,
    restarts: Option<u32>,
    connected: Arc<AtomicBool>,
    work: BoxFuture<'static, Result<Greeting, AttemptFailure>>,
}

impl Attempt {
    fn start(dial: &Arc<impl Dial + 'static>, sight: GuestSight) -> Self {
        let connected = Arc::new(AtomicBool::new(false));
        let (dial, flag) = (Arc::clone(dial), Arc::clone(&connected));
        let work = Box::pin(async move {
            let transport = dial.dial().await?;
            flag.store(true, Ordering::Relaxed);
            match timeout(BANNER_TIMEOUT, read_banner(transport)).await {
                Ok(result) => result,
                Err(_) => Err(AttemptFailure::new(Stage::NoBanner, ConnectFailure::Silent { after: BANNER_TIMEOUT })),
            }
        });
        Self { started: Instant::now(), restarts: sight.restarts(), connected, work }
    }

    fn open(&self) -> Open {
        let connected = self.connected.load(Ordering::Relaxed);
        Open { started: self.started, restarts: self.restarts, connected }
    }
}

/// Tries until a server introduces itself or trying is pointless. There is no limit of time: drop the future.
pub(crate) async fn probe<D: Dial + 'static>(
    dial: &Arc<D>,
    start: Start<'_>,
    progress: &Progress,
) -> Result<Greeting, AttemptFailure> {
    let limit = MAX_UNDER_WAY.saturating_sub(start.busy).max(1);
    let sight = start.lookout.map_or(GuestSight::Unwatched, Lookout::sight);
    let mut pace = Pace::new(Instant::now(), sight, start.contacted);
    tell_sight(sight, progress);
    let mut attempts: Vec<Attempt> = Vec::with_capacity(MAX_UNDER_WAY);
    loop {
        let open: Vec<Open> = attempts.iter().map(Attempt::open).collect();
        let due = pace.next(&open).filter(|_| has_room(&open, limit, pace.sight()));
        // When an attempt falls silent, that is said once; its own end is said in any case.
        let silent_at = attempts.iter().map(|attempt| attempt.started + SILENCE).find(|at| *at > Instant::now());
        tokio::select! {
            biased;
            (at, result) = poll_fn(|cx| poll_any(&mut attempts, cx)) => match result {
                Ok(greeting) => return Ok(greeting),
                Err(failure) if failure.is_final => return Err(failure),
                Err(failure) => {
                    // One from before a restart tells nothing about the guest as it is now.
                    if at.restarts == pace.sight().restarts() {
                        tracing::debug!(after = ?at.started.elapsed(), end = ?end_of(&failure), "an attempt to reach the guest ended");
                        pace.ended(Instant::now(), end_of(&failure));
                        progress.failed(failure.stage, failure.failure);
                    }
                }
            },
            sight = seen(start.lookout, pace.sight()) => {
                tracing::debug!(?sight, attempts = attempts.len(), "the guest's network");
                pace.see(Instant::now(), sight);
                tell_sight(sight, progress);
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                if attempts.len() >= limit {
                    attempts.remove(0);
                }
                progress.count_attempt();
                tracing::debug!(beside = attempts.len(), "an attempt to reach the guest begins");
                attempts.push(Attempt::start(dial, pace.sight()));
            }
            () = sleep_until(silent_at.unwrap_or_else(Instant::now)), if silent_at.is_some() => {
                tell_silence(&attempts, pace.sight(), progress);
            }
        }
    }
}

/// Whether another attempt may be begun: there is a place, or one held by an attempt from before a restart.
fn has_room(open: &[Open], limit: usize, sight: GuestSight) -> bool {
    open.len() < limit || open.first().is_some_and(|oldest| oldest.restarts != sight.restarts())
}

async fn seen(lookout: Option<&dyn Lookout>, present: GuestSight) -> GuestSight {
    match lookout {
        Some(lookout) => lookout.other_than(present).await,
        None => std::future::pending().await,
    }
}

fn end_of(failure: &AttemptFailure) -> End {
    match failure.stage {
        Stage::Refused | Stage::ClosedAtOnce => End::Refused,
        Stage::TurnedAway => End::TurnedAway,
        _ => End::Other,
    }
}

fn tell_sight(sight: GuestSight, progress: &Progress) {
    if matches!(sight, GuestSight::Booting { .. }) {
        progress.failed(Stage::NoAddress, ConnectFailure::TimeUp);
    }
}

fn tell_silence(attempts: &[Attempt], sight: GuestSight, progress: &Progress) {
    // While the guest has no address, nobody else is expected to answer.
    if matches!(sight, GuestSight::Booting { .. }) {
        return;
    }
    let Some(oldest) = attempts.iter().find(|attempt| attempt.started.elapsed() >= SILENCE) else { return };
    let stage = if oldest.connected.load(Ordering::Relaxed) { Stage::NoBanner } else { Stage::NoAnswer };
    progress.failed(stage, ConnectFailure::Silent { after: oldest.started.elapsed() });
}

fn poll_any(attempts: &mut Vec<Attempt>, cx: &mut Context<'_>) -> Poll<(Open, Result<Greeting, AttemptFailure>)> {
    for index in 0..attempts.len() {
        if let Poll::Ready(result) = Pin::new(&mut attempts[index].work).poll(cx) {
            return Poll::Ready((attempts.remove(index).open(), result));
        }
    }
    Poll::Pending
}

async fn read_banner(mut transport: BoxedTransport) -> Result<Greeting, AttemptFailure> {
    let mut read = BytesMut::with_capacity(256);
    loop {
        if let Some(banner) = find_banner(&read) {
            return Ok(Greeting { banner, read: read.freeze(), transport });
        }
        if read.len() >= MAX_BEFORE_BANNER {
            return Err(not_ssh(&read));
        }
        match transport.read_buf(&mut read).await {
            Ok(0) if read.is_empty() => return Err(closed(ConnectFailure::ClosedBeforeBanner)),
            Ok(0) => return Err(not_ssh(&read)),
            Ok(_) => {}
            Err(error) if read.is_empty() && error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(closed(ConnectFailure::ClosedBeforeBanner));
            }
            Err(error) => return Err(closed(ConnectFailure::Transport(error))),
        }
    }
}

fn closed(failure: ConnectFailure) -> AttemptFailure {
    AttemptFailure::new(Stage::ClosedAtOnce, failure)
}

fn not_ssh(read: &[u8]) -> AttemptFailure {
    let said: String = String::from_utf8_lossy(read).chars().filter(|c| !c.is_control()).take(80).collect();
    let turned_away = TURNED_AWAY.iter().any(|words| said.starts_with(words));
    let stage = if turned_away { Stage::TurnedAway } else { Stage::NotSsh };
    AttemptFailure::new(stage, ConnectFailure::NotSsh { said })
}

/// Returns the first whole line that begins with `SSH-`.
fn find_banner(read: &[u8]) -> Option<String> {
    read.split_inclusive(|byte| *byte == b'\n')
        .find(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n"))
        .map(|line| String::from_utf8_lossy(line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_may_follow_other_lines_but_must_be_whole() {
        assert_eq!(find_banner(b"SSH-2.0-x"), None);
        assert_eq!(find_banner(b"hello\r\nSSH-2.0-x\r\n").as_deref(), Some("SSH-2.0-x"));
        assert_eq!(find_banner(b"not SSH-2.0-x\n"), None);
    }

    #[test]
    fn a_server_that_turns_us_away_is_told_from_another_service() {
        assert_eq!(not_ssh(b"Exceeded MaxStartups\r\n").stage, Stage::TurnedAway);
        assert_eq!(not_ssh(b"Not allowed at this time\r\n").stage, Stage::TurnedAway);
        assert_eq!(not_ssh(b"220 mail.example ESMTP\r\n").stage, Stage::NotSsh);
    }
}
