//! A channel that cannot hang its user.
//!
//! russh's own writes wait for ever for window once the peer has closed the channel (a command that died, a full disk, a
//! reboot). So every write here listens at the same time. A channel that is dropped before its end is closed in the
//! guest, and the connection opens no other one until the guest has confirmed that: dropbear closes a channel
//! that is opened too early.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::communicator::Exit;
use crate::ssh::connection::Connection;
use crate::ssh::relay::relay;

/// Bytes a guest may send while we only write to it.
const MAX_UNREAD: usize = 1 << 20;

/// How long a command may take to end by itself once its input has ended and it was asked to.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the guest may take to confirm that it knows of a closed channel.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What comes out of a session channel.
#[derive(Debug)]
pub(crate) enum Incoming {
    Stdout(Bytes),
    Stderr(Bytes),
    /// The command's status. Output may still follow.
    Exit(Exit),
    /// The last request (command, subsystem, terminal) was taken.
    Accepted,
    /// The last request was refused.
    Refused,
    /// The command will write no more.
    Eof,
    /// Nothing comes any more.
    End,
}

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The guest closed the channel or the connection is gone. What it said before can still be read.
    Ended,
    /// The guest sends and sends instead of reading.
    Flooded,
}

pub(crate) struct SessionChannel {
    halves: Option<(ChannelReadHalf, ChannelWriteHalf<Msg>)>,
    connection: Arc<Connection>,
    unread: VecDeque<Incoming>,
    unread_bytes: usize,
    input_finished: bool,
    ended: bool,
}

impl SessionChannel {
    pub(crate) fn new(connection: Arc<Connection>, channel: russh::Channel<Msg>) -> Self {
        let halves = Some(channel.split());
        Self { halves, connection, unread: VecDeque::new(), unread_bytes: 0, input_finished: false, ended: false }
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Both halves, for whoever reads and writes at the same time.
    pub(super) fn halves(&mut self) -> (&mut ChannelReadHalf, &ChannelWriteHalf<Msg>) {
        let (read, write) = self.halves.as_mut().expect("only drop takes the halves");
        (read, write)
    }

    /// The sending half, for requests: they need no window, so they cannot hang.
    pub(crate) fn requests(&mut self) -> &ChannelWriteHalf<Msg> {
        self.halves().1
    }

    /// Returns what comes next; [`Incoming::End`] for ever after the end.
    pub(crate) async fn next(&mut self) -> Incoming {
        if let Some(incoming) = self.unread.pop_front() {
            if let Incoming::Stdout(bytes) | Incoming::Stderr(bytes) = &incoming {
                self.unread_bytes -= bytes.len();
            }
            return incoming;
        }
        while !self.ended {
            let message = self.halves().0.wait().await;
            if message.is_none() {
                self.ended = true;
            }
            if let Some(incoming) = message.and_then(translate) {
                return incoming;
            }
        }
        Incoming::End
    }

    /// Writes all bytes to the command's input. What the guest sends meanwhile is kept for [`Self::next`].
    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        if self.ended {
            return Err(WriteError::Ended);
        }
        let (read, write) = self.halves.as_mut().expect("only drop takes the halves");
        let writing = write.data_bytes(bytes);
        tokio::pin!(writing);
        loop {
            tokio::select! {
                biased;
                result = &mut writing => return result.map_err(|_| WriteError::Ended),
                message = read.wait() => {
                    let is_close = matches!(message, None | Some(ChannelMsg::Close));
                    self.ended |= message.is_none();
                    if let Some(incoming) = message.and_then(translate) {
                        if let Incoming::Stdout(bytes) | Incoming::Stderr(bytes) = &incoming {
                            self.unread_bytes += bytes.len();
                        }
                        self.unread.push_back(incoming);
                    }
                    if is_close {
                        return Err(WriteError::Ended);
                    }
                    if self.unread_bytes > MAX_UNREAD {
                        return Err(WriteError::Flooded);
                    }
                }
            }
        }
    }

    /// Says that no more input follows.
    pub(crate) async fn finish_input(&mut self) {
        self.input_finished = true;
        // An error means the connection is gone, which the next read says as well.
        let _ = self.halves().1.eof().await;
    }

    /// Moves bytes between the channel and a local stream until either ends.
    pub(crate) async fn relay(&mut self, stream: impl AsyncRead + AsyncWrite) {
        let (read, write) = self.halves.as_mut().expect("only drop takes the halves");
        relay(read, write, stream).await;
    }
}

impl Drop for SessionChannel {
    fn drop(&mut self) {
        let Some((mut read, write)) = self.halves.take().filter(|_| !self.ended) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connection = Arc::downgrade(&self.connection);
        let closing = self.connection.channel_closing();
        let input_finished = self.input_finished;
        runtime.spawn(async move {
            // russh forgets a channel when it closes it, so the guest's own close is seen only if it comes first. Errors
            // mean that the connection is gone, and the channel with it.
            let end = async {
                if !input_finished {
                    let _ = write.eof().await;
                }
                let _ = write.signal(Sig::TERM).await;
                while read.wait().await.is_some() {}
            };
            if timeout(END_TIMEOUT, end).await.is_err() {
                let _ = write.close().await;
                if let Some(connection) = connection.upgrade() {
                    let _ = timeout(CLOSE_TIMEOUT, connection.round_trip()).await;
                }
            }
            drop(closing);
        });
    }
}

pub(super) fn translate(message: ChannelMsg) -> Option<Incoming> {
    Some(match message {
        ChannelMsg::Data { data } => Incoming::Stdout(data),
        ChannelMsg::ExtendedData { data, ext: 1 } => Incoming::Stderr(data),
        // Servers on Windows report 32-bit codes such as 0xC0000005.
        ChannelMsg::ExitStatus { exit_status } => Incoming::Exit(Exit::Code(exit_status as i32)),
        ChannelMsg::ExitSignal { signal_name, .. } => Incoming::Exit(Exit::Signal(signal_text(signal_name))),
        ChannelMsg::Success => Incoming::Accepted,
        ChannelMsg::Failure => Incoming::Refused,
        ChannelMsg::Eof => Incoming::Eof,
        _ => return None,
    })
}

fn signal_text(signal: Sig) -> String {
    match signal {
        Sig::Custom(name) => name.chars().filter(|c| c.is_ascii_graphic()).take(32).collect(),
        other => format!("{other:?}"),
    }
}
