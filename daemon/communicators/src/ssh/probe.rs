//! Finds the moment a starting guest begins to speak SSH.
//!
//! Behind a forwarded port (QEMU's user network), connecting always succeeds at once. Then, as long as the guest has no
//! address, nothing happens: QEMU repeats its own connection request into the guest ever more slowly, so an attempt
//! begun early may hear of a guest that is up only many seconds later. Once the guest has an address but no server,
//! the connection is closed at once. So attempts overlap: a new one starts every [`PACE`], older ones go on beside it,
//! and the first that brings a banner wins and is itself used for the connection.
//!
//! ```text
//! attempt 1  ├── silence ─────────────────────────────────┤ dropped
//! attempt 2      ├── silence ──────┤ dropped (thinned out)
//! attempt 9                              ├── SSH-2.0-… ───► key exchange
//!                        guest is up ────▲
//! ```

use std::collections::VecDeque;
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
use crate::ssh::dial::Dialer;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::progress::{AttemptFailure, Progress};
use crate::ssh::stream::BoxedTransport;

/// Time between two attempts: with the 200 ms in which readiness is to be found, 50 ms are left for the answer.
const PACE: Duration = Duration::from_millis(150);

/// Time between two attempts while one is probably being served: each costs an emulated guest a process start.
const PACE_WHEN_SERVED: Duration = Duration::from_millis(600);

/// How long an attempt that stayed open after others were closed at once is taken for one being served.
const SERVED_FOR: Duration = Duration::from_secs(5);

/// Time between two attempts when the host name does not resolve.
const PACE_UNRESOLVED: Duration = Duration::from_secs(1);

/// Attempts waiting at the same time. OpenSSH begins to refuse at ten connections that are not logged in.
const MAX_WAITING: usize = 6;

/// How long one attempt may wait for its banner.
const BANNER_TIMEOUT: Duration = Duration::from_secs(15);

/// When no attempt has come to any end for this long, the silence is reported as a stage of its own.
const SILENCE: Duration = Duration::from_secs(1);

/// What may come before the line `SSH-…` (RFC 4253 §4.2 allows other lines), and the longest line read.
const MAX_BEFORE_BANNER: usize = 4096;

/// A server that has introduced itself.
pub(crate) struct Greeting {
    pub(crate) transport: BoxedTransport,
    /// All bytes read, to be read again by the SSH implementation.
    pub(crate) read: Bytes,
    /// The line `SSH-2.0-…`.
    pub(crate) banner: String,
}

struct Waiting {
    started: Instant,
    connected: Arc<AtomicBool>,
    attempt: BoxFuture<'static, Result<Greeting, AttemptFailure>>,
}

/// Tries until a server introduces itself or trying is pointless. There is no limit of time: drop the future.
pub(crate) async fn probe(dialer: &Arc<Dialer>, progress: &Progress) -> Result<Greeting, AttemptFailure> {
    let mut waiting: VecDeque<Waiting> = VecDeque::with_capacity(MAX_WAITING + 1);
    let mut next_start = Instant::now();
    let mut last_closed_at_once: Option<Instant> = None;
    let mut last_end = next_start;
    loop {
        let finished = tokio::select! {
            biased;
            finished = poll_fn(|cx| poll_any(&mut waiting, cx)) => Some(finished),
            () = sleep_until(next_start) => None,
        };
        match finished {
            Some((_, Ok(greeting))) => return Ok(greeting),
            Some((_, Err(failure))) if failure.is_final => return Err(failure),
            Some((started, Err(failure))) => {
                last_end = Instant::now();
                if matches!(failure.stage, Stage::ClosedAtOnce | Stage::Refused) {
                    last_closed_at_once = last_closed_at_once.max(Some(started));
                }
                if failure.stage == Stage::Resolving {
                    next_start = Instant::now() + PACE_UNRESOLVED;
                }
                progress.failed(failure.stage, failure.failure);
            }
            None => {
                if last_end.elapsed() >= SILENCE {
                    report_silence(&waiting, progress);
                }
                if waiting.len() >= MAX_WAITING {
                    thin_out(&mut waiting);
                }
                progress.count_attempt();
                waiting.push_back(start(Arc::clone(dialer)));
                let served = last_closed_at_once.is_some_and(|closed| is_served(&waiting, closed));
                next_start = Instant::now() + if served { PACE_WHEN_SERVED } else { PACE };
            }
        }
    }
}

fn start(dialer: Arc<Dialer>) -> Waiting {
    let connected = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&connected);
    let attempt = Box::pin(async move {
        let transport = dialer.dial().await?;
        flag.store(true, Ordering::Relaxed);
        match timeout(BANNER_TIMEOUT, read_banner(transport)).await {
            Ok(result) => result,
            Err(_) => Err(AttemptFailure::new(Stage::NoBanner, ConnectFailure::Silent { after: BANNER_TIMEOUT })),
        }
    });
    Waiting { started: Instant::now(), connected, attempt }
}

fn poll_any(
    waiting: &mut VecDeque<Waiting>,
    cx: &mut Context<'_>,
) -> Poll<(Instant, Result<Greeting, AttemptFailure>)> {
    for index in 0..waiting.len() {
        if let Poll::Ready(result) = Pin::new(&mut waiting[index].attempt).poll(cx) {
            let started = waiting[index].started;
            waiting.remove(index);
            return Poll::Ready((started, result));
        }
    }
    Poll::Pending
}

/// True when the oldest attempt begun after the last one that was closed at once is still open: the server took it.
fn is_served(waiting: &VecDeque<Waiting>, last_closed: Instant) -> bool {
    let taken = waiting.iter().find(|w| w.started > last_closed);
    taken.is_some_and(|w| {
        let age = w.started.elapsed();
        age >= PACE && age < SERVED_FOR && w.connected.load(Ordering::Relaxed)
    })
}

fn report_silence(waiting: &VecDeque<Waiting>, progress: &Progress) {
    let Some(oldest) = waiting.front() else { return };
    let after = oldest.started.elapsed();
    if after < SILENCE {
        return;
    }
    let stage = if oldest.connected.load(Ordering::Relaxed) { Stage::NoBanner } else { Stage::NoAnswer };
    progress.failed(stage, ConnectFailure::Silent { after });
}

/// Drops the attempt whose age is best covered by its neighbours'.
fn thin_out(waiting: &mut VecDeque<Waiting>) {
    let ages: Vec<f64> = waiting.iter().map(|w| w.started.elapsed().as_secs_f64()).collect();
    if let Some(index) = most_crowded(&ages) {
        waiting.remove(index);
    }
}

/// Chooses so that ages stay spread like 0.15, 0.3, 0.6, 1.2 s …: a server that needs seconds for its banner is found too.
/// The oldest stays until its own time is up.
fn most_crowded(ages: &[f64]) -> Option<usize> {
    let crowding = |index: usize| (ages[index - 1] - ages[index + 1]) / ages[index].max(f64::MIN_POSITIVE);
    (1..ages.len().saturating_sub(1)).min_by(|a, b| crowding(*a).total_cmp(&crowding(*b)))
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
    AttemptFailure::new(Stage::NotSsh, ConnectFailure::NotSsh { said })
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
    fn ages_of_waiting_attempts_stay_spread() {
        let mut started: Vec<f64> = Vec::new();
        for tick in 0..200 {
            let now = f64::from(tick) * PACE.as_secs_f64();
            if started.len() >= MAX_WAITING {
                let ages: Vec<f64> = started.iter().map(|start| now - start).collect();
                started.remove(most_crowded(&ages).unwrap());
                assert!(ages[0] > now - 0.01, "the oldest stays: {ages:?}");
                let newer: Vec<f64> = ages[1..].to_vec();
                assert!(tick < 50 || newer[0] > 1.0, "one waits long enough for a slow server: {ages:?}");
            }
            started.push(now);
        }
    }
}
