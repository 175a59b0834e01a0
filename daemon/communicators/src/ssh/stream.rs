//! The byte stream below an SSH connection, with the powers russh's own lacks.
//!
//! russh runs a connection in a task of its own, which ends when its stream fails and not before. So the stream must be
//! able to fail at will ([`SeverHandle`]: cancelled connects leave no task or socket behind), and by itself when
//! the peer takes nothing any more: while a write is stuck, russh sends no keep-alives and reads nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::rounded::rounded;

/// Any stream a connection may run over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A stream whose kind no longer matters.
pub(crate) type BoxedTransport = Box<dyn Transport>;

/// Makes the stream it belongs to fail, at the latest when dropped.
#[derive(Debug)]
pub(crate) struct SeverHandle(CancellationToken);

impl SeverHandle {
    /// Makes the stream fail now.
    pub(crate) fn sever(&self) {
        self.0.cancel();
    }

    /// Returns true once the stream was made to fail.
    pub(crate) fn is_severed(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Drop for SeverHandle {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A stream that gives back bytes already read, fails when severed and fails when stuck.
pub(crate) struct GuardedStream {
    inner: BoxedTransport,
    replay: Bytes,
    severed: Pin<Box<WaitForCancellationFutureOwned>>,
    read: StallTimer,
    write: StallTimer,
}

impl GuardedStream {
    /// Wraps `inner`; `replay` is read first. A write that takes longer than `write_stall`, or a read that takes longer
    /// than `read_stall` if there is one, fails the stream.
    pub(crate) fn new(
        inner: BoxedTransport,
        replay: Bytes,
        read_stall: Option<Duration>,
        write_stall: Duration,
    ) -> (Self, SeverHandle) {
        let token = CancellationToken::new();
        let severed = Box::pin(token.clone().cancelled_owned());
        let (read, write) = (StallTimer::new(read_stall), StallTimer::new(Some(write_stall)));
        (Self { inner, replay, severed, read, write }, SeverHandle(token))
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.severed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was given up")),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        if this.replay.has_remaining() {
            let part = this.replay.split_to(this.replay.len().min(buf.remaining()));
            buf.put_slice(&part);
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut this.inner).poll_read(cx, buf);
        this.read.watch(cx, polled, "read")
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(cx)?;
        let polled = Pin::new(&mut this.inner).poll_write(cx, bytes);
        this.write.watch(cx, polled, "write")
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        let polled = Pin::new(&mut this.inner).poll_flush(cx);
        this.write.watch(cx, polled, "flush")
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A severed stream is shut down by being dropped, which follows at once.
        if this.check(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        let polled = Pin::new(&mut this.inner).poll_shutdown(cx);
        this.write.watch(cx, polled, "shutdown")
    }
}

/// Measures how long one direction has been waiting.
struct StallTimer {
    limit: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl StallTimer {
    fn new(limit: Option<Duration>) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
        what: &'static str,
    ) -> Poll<io::Result<T>> {
        let Some(limit) = self.limit else { return polled };
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        ready!(sleep.as_mut().poll(cx));
        let message = format!("the {what} made no progress for {}", rounded(limit));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_already_read_come_first() {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut stream, _sever) =
            GuardedStream::new(Box::new(near), Bytes::from_static(b"SSH-"), None, Duration::from_secs(1));
        far.write_all(b"2.0").await.unwrap();
        let mut read = [0; 7];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"SSH-2.0");
    }

    #[tokio::test]
    async fn severing_wakes_a_waiting_reader() {
        let (near, _far) = tokio::io::duplex(64);
        let (mut stream, sever) = GuardedStream::new(Box::new(near), Bytes::new(), None, Duration::from_secs(60));
        let reading = tokio::spawn(async move { stream.read_u8().await });
        tokio::task::yield_now().await;
        drop(sever);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_stuck_read_fails_where_there_is_a_limit() {
        let (near, _far) = tokio::io::duplex(4);
        let limit = Some(Duration::from_millis(30));
        let (mut stream, _sever) = GuardedStream::new(Box::new(near), Bytes::new(), limit, Duration::from_secs(60));
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_stuck_write_fails() {
        let (near, _far) = tokio::io::duplex(4);
        let (mut stream, _sever) = GuardedStream::new(Box::new(near), Bytes::new(), None, Duration::from_millis(30));
        let error = stream.write_all(b"more than four").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
