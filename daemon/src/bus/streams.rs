//! What is read from a descriptor instead of a message: the events of a job, its log, the screen of a guest.
//!
//! A reader that does not read fills a buffer of 64 KiB and nothing else; one that closes its end ends its stream. Each counts until then,
//! also when all is written.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::failure::{FAILED, Failure, TOO_MUCH};
use super::log_text;
use crate::event_log::EventLine;
use crate::explain::explain;
use crate::jobs::{Follower, Piece};
use crate::turns::InTurn;

/// Streams at once, and of one user.
const MAX_STREAMS: usize = 128;
const MAX_STREAMS_OF_USER: usize = 32;

/// Streams that each user may have when others have taken all.
const KEPT_FOR_EACH_USER: usize = 2;

/// What lies unread in one, in bytes, at most.
const BUFFER_BYTES: usize = 64 << 10;

/// Time for reading a picture.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(60);

/// The streams that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<u32, usize>>>);

/// The right to have a stream open; ends when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    streams: Streams,
    uid: u32,
}

/// What a stream is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// A line of JSON for each event, as in the HTTP API.
    Events,
    /// What people read.
    Log,
}

impl Streams {
    /// Lets a user open one more.
    pub(super) fn permit(&self, uid: u32) -> Result<Permit, Failure> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = open.values().sum();
        let own = open.get(&uid).copied().unwrap_or_default();
        if own >= MAX_STREAMS_OF_USER || (total >= MAX_STREAMS && own >= KEPT_FOR_EACH_USER) {
            let text = format!("{own} logs, event streams and pictures of yours are open ({total} in all): close some");
            return Err(Failure::new(TOO_MUCH, text));
        }
        // Only now: of who is refused nothing is kept, for as long as anything is, streams are open.
        open.insert(uid, own + 1);
        drop(open);
        Ok(Permit { streams: self.clone(), uid })
    }

    pub(super) fn are_open(&self) -> bool {
        !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// Starts a stream and returns the end to read from.
pub(super) fn start(follower: Follower, content: Content, permit: Permit) -> Result<OwnedFd, Failure> {
    let (reader, sender) = ends()?;
    tokio::spawn(async move {
        let mut sender = copy(follower, content, sender).await;
        until_closed(&mut sender).await;
        drop(permit);
    });
    Ok(reader)
}

/// Sends a picture and returns the end to read it from. Memory that is handed over would be this process's for as long as somebody keeps it.
pub(super) fn picture(picture: InTurn, permit: Permit) -> Result<OwnedFd, Failure> {
    let (reader, mut sender) = ends()?;
    tokio::spawn(async move {
        // Who does not read it has lost it.
        if !matches!(timeout(PICTURE_TIMEOUT, sender.write_all(picture.as_ref())).await, Ok(Ok(()))) {
            tracing::debug!("a picture was not read");
        }
        drop(picture);
        until_closed(&mut sender).await;
        drop(permit);
    });
    Ok(reader)
}

/// Makes an end to read from and one to write to. They are sockets: of a pipe it cannot be told whether what was written lastly is kept by
/// somebody, and so no limit holds for how much is.
fn ends() -> Result<(OwnedFd, UnixStream), Failure> {
    let make = || -> io::Result<(OwnedFd, UnixStream)> {
        let (reader, writer) = net::UnixStream::pair()?;
        rustix::net::sockopt::set_socket_send_buffer_size(&writer, BUFFER_BYTES)?;
        writer.set_nonblocking(true)?;
        Ok((reader.into(), UnixStream::from_std(writer)?))
    };
    make().map_err(|error| Failure::new(FAILED, format!("cannot make a pair of sockets: {}", explain(&error))))
}

/// Says that nothing comes any more, and waits until the reader has closed its end: as long it is one of those that are open.
async fn until_closed(sender: &mut UnixStream) {
    if sender.shutdown().await.is_ok() {
        closed(sender).await;
    }
}

/// Waits until the reader closes its end. What it writes is thrown away.
async fn closed(sender: &UnixStream) {
    let mut thrown_away = [0; 512];
    while sender.readable().await.is_ok() {
        match sender.try_read(&mut thrown_away) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// Copies until the job is over, or nobody reads any more.
async fn copy(mut follower: Follower, content: Content, mut sender: UnixStream) -> UnixStream {
    loop {
        let piece = tokio::select! {
            piece = follower.next() => piece,
            () = closed(&sender) => return sender,
        };
        let bytes = match piece {
            Some(Ok(Piece::Events(events))) => content.bytes(&events),
            Some(Ok(Piece::Silence)) => continue,
            Some(Err(error)) => {
                tracing::warn!(error = explain(&error), "a stream on the bus was cut off");
                return sender;
            }
            None => return sender,
        };
        if sender.write_all(&bytes).await.is_err() {
            return sender;
        }
    }
}

impl Content {
    fn bytes(self, events: &[EventLine]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for event in events {
            match self {
                Self::Events => {
                    bytes.extend_from_slice(&event.text);
                    bytes.push(b'\n');
                }
                Self::Log => log_text::write(&mut bytes, event),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turns::Turns;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn streams_are_limited_for_each_user_and_in_all() {
        let streams = Streams::default();
        assert!(!streams.are_open());
        let mut open: Vec<_> = (0..MAX_STREAMS_OF_USER).map(|_| streams.permit(1).unwrap()).collect();
        assert_eq!(streams.permit(1).unwrap_err().name, TOO_MUCH);
        for uid in 2..=4 {
            open.extend((0..MAX_STREAMS_OF_USER).map(|_| streams.permit(uid).unwrap()));
        }
        let late = [streams.permit(9).unwrap(), streams.permit(9).unwrap()];
        assert_eq!(streams.permit(9).unwrap_err().name, TOO_MUCH);
        let other = streams.permit(8).unwrap();
        drop((open, late, other));
        assert!(!streams.are_open(), "nor of those who were refused");
    }

    #[tokio::test]
    async fn a_picture_counts_until_its_reader_closes_and_is_not_kept_for_it() {
        let (streams, turns) = (Streams::default(), Turns::new(2));
        let send = async |size: usize| {
            picture(InTurn::new(vec![7; size], turns.turn(1001).await), streams.permit(1001).unwrap()).unwrap()
        };
        // Small ones are sent at once, and are as many as streams may be, however long they are kept.
        let mut kept = Vec::new();
        for _ in 0..MAX_STREAMS_OF_USER {
            kept.push(timeout(PATIENCE, send(100)).await.expect("the one before is sent, and its turn over"));
        }
        assert_eq!(streams.permit(1001).unwrap_err().name, TOO_MUCH);
        let read = |end: OwnedFd| {
            tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut std::fs::File::from(end), &mut bytes).map(|_| bytes)
            })
        };
        assert_eq!(read(kept.pop().unwrap()).await.unwrap().unwrap(), [7; 100]);
        until(|| streams.permit(1001).is_ok()).await;
        drop(kept);
        until(|| !streams.are_open()).await;
        let large = send(5 << 20).await;
        assert_eq!(read(large).await.unwrap().unwrap().len(), 5 << 20);
        // One that is thrown away unread holds nothing.
        drop(send(5 << 20).await);
        until(|| !streams.are_open()).await;
        timeout(PATIENCE, async { (turns.turn(1001).await, turns.turn(1001).await) }).await.unwrap();
    }

    async fn until(done: impl Fn() -> bool) {
        let waited = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waited).await.expect("in time");
    }
}
