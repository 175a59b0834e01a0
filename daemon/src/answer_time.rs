//! A limit to the time in which a client takes an answer: who asks and does not read keeps neither the answer in memory nor the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Until when the answers that are on their way have to be taken. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnswerTime(Arc<Mutex<Option<Instant>>>);

/// A connection that fails when an answer is not taken in its time.
#[derive(Debug)]
pub(crate) struct Timed<S> {
    stream: S,
    time: AnswerTime,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl AnswerTime {
    /// An answer begins. It gets no more time than one before it that is still on its way: nobody can put off the end by asking again.
    pub(crate) fn begin(&self, limit: Duration) {
        self.lock().get_or_insert_with(|| Instant::now() + limit);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Timed<S> {
    pub(crate) fn new(stream: S, time: AnswerTime) -> Self {
        Self { stream, time, alarm: None }
    }

    /// Fails what has to wait when the time is over.
    fn unless_late<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Some(end) = *self.time.lock() else { return Poll::Pending };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if alarm.deadline() != end {
            alarm.as_mut().reset(end);
        }
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer is not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.unless_late(context),
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, bytes) {
            Poll::Pending => self.unless_late(context),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything is written, and only then (hyper): no answer is on its way any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        *self.time.lock() = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn an_answer_that_is_not_read_ends_the_connection() {
        let time = AnswerTime::default();
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let mut ours = Timed::new(ours, time.clone());
        time.begin(Duration::ZERO);
        // Asking for more meanwhile gives no more time.
        time.begin(LONG);
        let error = ours.write_all(&[0; 1001]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(ours);
        let mut read = Vec::new();
        theirs.read_to_end(&mut read).await.unwrap();
        assert_eq!(read.len(), 1000);
    }

    #[tokio::test]
    async fn one_that_is_read_leaves_the_next_one_all_its_time() {
        let time = AnswerTime::default();
        let (ours, mut theirs) = tokio::io::duplex(1000);
        let mut ours = Timed::new(ours, time.clone());
        time.begin(Duration::ZERO);
        ours.write_all(&[0; 1000]).await.unwrap();
        ours.flush().await.unwrap();
        let (written, read) = tokio::join!(ours.write_all(&[0; 5000]), async {
            let mut read = vec![0; 6000];
            theirs.read_exact(&mut read).await
        });
        written.unwrap();
        read.unwrap();
        time.begin(LONG);
        assert!(time.lock().is_some_and(|end| end > Instant::now() + LONG / 2));
    }
}
