//! Connects to the user's daemon, and to nobody else's.
//!
//! A daemon that was started with another `XDG_RUNTIME_DIR` listens elsewhere; the lock in its state directory says where.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use kiln_protocol::places::Holder;
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::error::ClientError;
use super::start::start_daemon;

/// Who keeps nothing from whom.
const ROOT: u32 = 0;

/// Longest file of a daemon's that is read, in bytes: a path and a number, or an error.
const MAX_NOTE_BYTES: u64 = 16 << 10;

/// Longest wait for a place in the kernel's queue of a daemon that has very many clients.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pause between two tries: the kernel tells nobody that there is room again.
const PAUSE: Duration = Duration::from_millis(5);

/// What to do when no daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starting {
    /// Start one.
    OnDemand,
    /// Report it.
    Never,
}

/// A socket, and whose daemon may listen there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Socket<'a> {
    /// This user's.
    OfThisUser(&'a Path),
    /// This user's, or root's, which serves everybody.
    OfAnyDaemon(&'a Path),
}

impl Socket<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::OfThisUser(path) | Self::OfAnyDaemon(path) => path,
        }
    }

    /// Where nobody has named it, a socket of root's may be any: another user can have put a link there.
    fn may_be_of(&self, uid: u32) -> bool {
        uid == rustix::process::geteuid().as_raw() || (uid == ROOT && matches!(self, Self::OfAnyDaemon(_)))
    }
}

/// Whether another user's daemon, which is one for everybody, is at the other end.
pub(super) fn is_for_everybody(stream: &UnixStream) -> bool {
    let this = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|daemon| daemon.uid() != this)
}

/// Connects to the daemon at `socket`; when nobody answers there, to the one that holds `lock`, then to the one of `system`, which serves
/// everybody, and then as `starting` says.
pub(super) async fn connect(
    socket: Socket<'_>,
    lock: Option<&Path>,
    system: Option<&Path>,
    starting: Starting,
) -> Result<UnixStream, ClientError> {
    match connect_to(socket).await {
        Err(ClientError::Connect { source, .. }) if is_absence(&source) => {}
        other => return other,
    }
    if let Some(holder) = lock.and_then(read_holder).filter(|holder| holder.socket != socket.path())
        && let Ok(stream) = connect_to(Socket::OfThisUser(&holder.socket)).await
    {
        return Ok(stream);
    }
    if let Some(system) = system
        && let Ok(stream) = connect_to(Socket::OfAnyDaemon(system)).await
    {
        return Ok(stream);
    }
    if starting == Starting::OnDemand {
        start_daemon().await?;
    }
    connect_to(socket).await
}

async fn connect_to(socket: Socket<'_>) -> Result<UnixStream, ClientError> {
    let failed = |source| ClientError::Connect { socket: socket.path().to_owned(), source };
    let stream = stand_in_line(socket.path()).await.map_err(failed)?;
    let uid = stream.peer_cred().map_err(failed)?.uid();
    // Whoever made the socket gets this shell's environment, secrets included. /tmp is open to everybody.
    if socket.may_be_of(uid) {
        Ok(stream)
    } else {
        Err(ClientError::ForeignDaemon { socket: socket.path().to_owned(), uid })
    }
}

/// Connects. One that may not block is refused at once when the queue is full, where one that may would wait (connect(2), EAGAIN).
async fn stand_in_line(socket: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// Reads who holds a daemon's lock, or held it when it died. Whether it is there shows when it is connected to.
pub(crate) fn read_holder(lock: &Path) -> Option<Holder> {
    read_note(lock)
}

/// Reads what a daemon has left in its state directory.
pub(crate) fn read_note<T: DeserializeOwned>(path: &Path) -> Option<T> {
    // The kernel's flags fit into an `int`. A fifo in its place is not waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut text = Vec::new();
    file.take(MAX_NOTE_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Whether nobody is there, as opposed to somebody who may not be spoken to.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let socket = scratch.path().join("kiln.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let mut line = Vec::new();
        let full = loop {
            match UnixStream::connect(&socket).await {
                Ok(stream) => line.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let another = tokio::spawn(async move { connect_to(Socket::OfThisUser(&socket)).await });
        // The first is accepted when the other has been refused at least once: that takes it no time, and this one some.
        tokio::time::sleep(4 * PAUSE).await;
        assert!(!another.is_finished());
        listener.accept().await.unwrap();
        another.await.unwrap().unwrap();
    }
}
