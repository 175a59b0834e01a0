//! What is read from a descriptor instead of a message: the events of a job, its log, the screen of a guest.
//!
//! A reader that does not read fills a pipe of 64 KiB and nothing else; one that closes its end ends its stream.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::unix::pipe;

use super::failure::{FAILED, Failure, TOO_MUCH};
use super::log_text;
use crate::event_log::EventLine;
use crate::explain::explain;
use crate::jobs::{Follower, Piece};

/// Streams at once, and of one user.
const MAX_STREAMS: usize = 128;
const MAX_STREAMS_OF_USER: usize = 32;

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
        if total >= MAX_STREAMS || own >= MAX_STREAMS_OF_USER {
            let text = format!("{own} logs and event streams of yours are open ({total} in all): close some");
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
    let failed = |error: io::Error| Failure::new(FAILED, format!("cannot make a pipe: {}", explain(&error)));
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let sender = pipe::Sender::from_owned_fd(writer).map_err(failed)?;
    tokio::spawn(async move {
        copy(follower, content, sender).await;
        drop(permit);
    });
    Ok(reader)
}

/// Copies until the job is over, or nobody reads any more.
async fn copy(mut follower: Follower, content: Content, mut sender: pipe::Sender) {
    loop {
        let piece = tokio::select! {
            piece = follower.next() => piece,
            // The kernel says so when the last reader closes its end; there is nothing else that is said.
            _ = sender.ready(Interest::ERROR) => return,
        };
        let bytes = match piece {
            Some(Ok(Piece::Events(events))) => content.bytes(&events),
            Some(Ok(Piece::Silence)) => continue,
            Some(Err(error)) => {
                tracing::warn!(error = explain(&error), "a stream on the bus was cut off");
                return;
            }
            None => return,
        };
        if sender.write_all(&bytes).await.is_err() {
            return;
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

/// Puts bytes where others can read them and nobody can change them.
pub(super) fn sealed(name: &str, bytes: &[u8]) -> Result<OwnedFd, Failure> {
    let make = || -> io::Result<OwnedFd> {
        let descriptor = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = std::fs::File::from(descriptor);
        io::Write::write_all(&mut file, bytes)?;
        io::Seek::rewind(&mut file)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    };
    make().map_err(|error| Failure::new(FAILED, format!("cannot keep the picture in memory: {}", explain(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_limited_for_each_user_and_in_all() {
        let streams = Streams::default();
        assert!(!streams.are_open());
        let mut open: Vec<_> = (0..MAX_STREAMS_OF_USER).map(|_| streams.permit(1).unwrap()).collect();
        assert_eq!(streams.permit(1).unwrap_err().name, TOO_MUCH);
        for uid in 2..=4 {
            open.extend((0..MAX_STREAMS_OF_USER).map(|_| streams.permit(uid).unwrap()));
        }
        assert_eq!(streams.permit(9).unwrap_err().name, TOO_MUCH);
        open.pop();
        streams.permit(9).unwrap();
        streams.permit(9).unwrap();
        let other = streams.permit(8).unwrap();
        assert_eq!(streams.permit(7).unwrap_err().name, TOO_MUCH);
        drop((open, other));
        assert!(!streams.are_open(), "nor of those who were refused");
    }

    #[test]
    fn what_is_sealed_can_be_read_and_not_changed() {
        let file = std::fs::File::from(sealed("screen", b"abc").unwrap());
        assert_eq!(io::read_to_string(&file).unwrap(), "abc");
        assert!(io::Write::write(&mut &file, b"x").is_err());
        assert!(file.set_len(0).is_err());
    }
}
