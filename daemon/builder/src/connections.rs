//! Who is connected to a server: a place for each, up to a limit. When all are taken, who has asked for nothing longest makes room.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time for a new connection to send its request before it counts as idle, when nobody else waits; also the pause between two checks for
/// idle ones.
const GRACE: Duration = Duration::from_millis(250);

/// The same when very many wait: enough for who is there and has something to say.
const SHORTEST_GRACE: Duration = Duration::from_millis(10);

/// So many who wait halve the grace.
const LINE_OF_HALF_GRACE: u32 = 8;

/// The places of a server. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    places: Arc<Semaphore>,
    /// Places for those who wait for a place.
    waiting: Arc<Semaphore>,
    limit: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    next: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    /// Requests that are being answered; an event stream is one until its end.
    busy: usize,
    idle_since: Instant,
    close: CancellationToken,
}

/// A place; given back when dropped.
pub struct Place {
    id: u64,
    connections: Connections,
    close: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// A request that is being answered.
pub struct Busy {
    id: u64,
    open: Arc<Mutex<Open>>,
}

/// A response's body that keeps its connection busy until its end.
pub struct BusyBody<B> {
    body: B,
    _busy: Busy,
}

impl Connections {
    /// Makes places for so many connections.
    pub fn new(limit: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(limit));
        Self { places: semaphore(), waiting: semaphore(), limit, open: Arc::default() }
    }

    /// Takes a place that is free; nothing when there is none.
    pub fn take(&self) -> Option<Place> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|permit| self.seat(permit))
    }

    /// Takes the right to wait for a place. While too many wait already, waits for that: those who come are then left to the kernel, so
    /// that descriptors are left for the jobs. Nothing when there will be none.
    pub async fn queue(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.waiting).acquire_owned().await.ok()
    }

    /// Waits for a place, and has the longest idle connections closed meanwhile; nothing when the time is over.
    pub async fn wait(&self, limit: Duration) -> Option<Place> {
        let seated = async {
            loop {
                let grace = self.grace();
                self.close_idle(grace);
                let freed = Arc::clone(&self.places).acquire_owned();
                // Nobody says when a connection has been idle for long enough, so it is checked again.
                if let Ok(Ok(permit)) = tokio::time::timeout(grace, freed).await {
                    return self.seat(permit);
                }
            }
        };
        tokio::time::timeout(limit, seated).await.ok()
    }

    fn seat(&self, permit: OwnedSemaphorePermit) -> Place {
        let close = CancellationToken::new();
        let mut open = lock(&self.open);
        open.next += 1;
        let id = open.next;
        open.entries.insert(id, Entry { busy: 0, idle_since: Instant::now(), close: close.clone() });
        Place { id, connections: self.clone(), close, _permit: permit }
    }

    /// The longer the line, the shorter the time to say something: one client that takes all places again and again holds up others for
    /// milliseconds, not for seconds.
    fn grace(&self) -> Duration {
        let line = u32::try_from(self.limit.saturating_sub(self.waiting.available_permits())).unwrap_or(u32::MAX);
        (GRACE * LINE_OF_HALF_GRACE / line.saturating_add(LINE_OF_HALF_GRACE)).max(SHORTEST_GRACE)
    }

    /// Has the connection closed that has been idle longest, if it has been for longer than the grace.
    fn close_idle(&self, grace: Duration) {
        let open = lock(&self.open);
        let idle = open.entries.values().filter(|entry| entry.busy == 0 && !entry.close.is_cancelled());
        if let Some(entry) = idle.min_by_key(|entry| entry.idle_since)
            && entry.idle_since.elapsed() >= grace
        {
            entry.close.cancel();
        }
    }
}

impl Place {
    /// Completes when this connection has to make room. It is idle then, and must begin nothing more.
    pub async fn must_close(&self) {
        self.close.cancelled().await;
    }

    /// Notes the beginning of a request.
    pub fn busy(&self) -> Busy {
        if let Some(entry) = lock(&self.connections.open).entries.get_mut(&self.id) {
            entry.busy += 1;
        }
        Busy { id: self.id, open: Arc::clone(&self.connections.open) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.open).entries.remove(&self.id);
    }
}

impl Busy {
    /// Keeps the connection busy until the end of this body.
    pub fn until_sent<B>(self, body: B) -> BusyBody<B> {
        BusyBody { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(entry) = lock(&self.open).entries.get_mut(&self.id) {
            entry.busy -= 1;
            entry.idle_since = Instant::now();
        }
    }
}

impl<B: Body + Unpin> Body for BusyBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longer_the_line_the_shorter_the_grace() {
        let connections = Connections::new(256);
        assert_eq!(connections.grace(), GRACE);
        let mut line = Vec::new();
        let mut graces = Vec::new();
        for _ in 0..256 {
            line.push(connections.queue().await.unwrap());
            graces.push(connections.grace());
        }
        assert!(graces.is_sorted_by(|earlier, later| earlier >= later), "{graces:?}");
        assert_eq!((graces[7], graces[255]), (GRACE / 2, SHORTEST_GRACE));
        drop(line);
        assert_eq!(connections.grace(), GRACE);
    }
}
