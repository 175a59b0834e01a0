//! A running `scp` in the guest: its lines, answers and last words.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::time::timeout;

use crate::communicator::Exit;
use crate::error::CommunicatorError;
use crate::ssh::channel::{Incoming, SessionChannel, WriteError};
use crate::ssh::config::SshConfig;
use crate::ssh::execute;
use crate::ssh::transfer::TransferFailure;

/// How long nothing may move. A guest's disk can take its time over a flush; a dead guest is noticed by keep-alives.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);

/// The longest header or message taken from a guest: a path of Linux's maximal length fits.
const MAX_LINE: usize = 8192;

/// What is kept of the program's complaints.
const MAX_STDERR: usize = 4096;

/// A running `scp` in the guest.
pub(super) struct Scp {
    channel: SessionChannel,
    /// What the guest is asked to do, for errors: `receive` or `send`.
    action: &'static str,
    path: String,
    pub(super) unread: BytesMut,
    stderr: Vec<u8>,
    exit: Option<Exit>,
    /// Whether anything came on standard output: scp speaks before it does anything.
    pub(super) spoke: bool,
    at_end: bool,
}

impl Scp {
    pub(super) async fn start(
        mut channel: SessionChannel,
        config: &SshConfig,
        command: &str,
        action: &'static str,
        path: &str,
    ) -> Result<Self, TransferFailure> {
        tracing::debug!(command, "scp");
        match execute::start(&mut channel, config, command, false).await {
            Ok(()) => {}
            Err(CommunicatorError::Refused { reason, .. }) => {
                return Err(TransferFailure::Missing(format!("the guest refuses to run a command: {reason}")));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Self {
            channel,
            action,
            path: path.to_owned(),
            unread: BytesMut::new(),
            stderr: Vec::new(),
            exit: None,
            spoke: false,
            at_end: false,
        })
    }

    pub(super) fn host(&self) -> String {
        self.channel.connection().address().to_owned()
    }

    pub(super) fn operation(&self) -> String {
        let action = if self.action == "receive" { "upload" } else { "download" };
        format!("the scp {action} of {}", self.path)
    }

    pub(super) fn protocol(&self, what: impl Into<String>) -> TransferFailure {
        let (host, operation) = (self.host(), self.operation());
        CommunicatorError::Protocol { host, operation, what: what.into() }.into()
    }

    pub(super) fn remote(&self, message: &[u8]) -> TransferFailure {
        let text = String::from_utf8_lossy(message);
        let text = text.trim().trim_start_matches("scp: ").trim_start_matches("protocol error: ");
        let message = text.chars().filter(|c| !c.is_control()).collect();
        CommunicatorError::Remote { action: self.action, path: self.path.clone(), message }.into()
    }

    pub(super) fn stalled(&self) -> TransferFailure {
        let (host, operation) = (self.host(), self.operation());
        CommunicatorError::TimedOut { host, operation, after: STALL_TIMEOUT }.into()
    }

    /// Makes the error for a guest that says no more although it should.
    pub(super) fn ended(&self) -> TransferFailure {
        if self.channel.connection().is_closed() || (self.exit.is_none() && self.stderr.is_empty()) {
            let (host, operation) = (self.host(), self.operation());
            return CommunicatorError::Disconnected { host, operation }.into();
        }
        let complaint = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        let exit = self.exit.as_ref().map(Exit::to_string).unwrap_or_default();
        let what = if complaint.is_empty() { exit } else { complaint };
        if self.spoke { self.remote(what.as_bytes()) } else { TransferFailure::Missing(what) }
    }

    /// Reads more from the guest; false at the end.
    pub(super) async fn fill(&mut self) -> Result<bool, TransferFailure> {
        while !self.at_end {
            let Ok(incoming) = timeout(STALL_TIMEOUT, self.channel.next()).await else {
                return Err(self.stalled());
            };
            match incoming {
                Incoming::Stdout(bytes) => {
                    self.spoke = true;
                    self.unread.extend_from_slice(&bytes);
                    return Ok(true);
                }
                Incoming::Stderr(bytes) => {
                    let room = MAX_STDERR.saturating_sub(self.stderr.len());
                    self.stderr.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Incoming::Exit(exit) => self.exit = Some(exit),
                Incoming::End => self.at_end = true,
                Incoming::Eof | Incoming::Accepted | Incoming::Refused => {}
            }
        }
        Ok(false)
    }

    /// Reads one byte; none at the end.
    pub(super) async fn byte(&mut self) -> Result<Option<u8>, TransferFailure> {
        while self.unread.is_empty() {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        Ok(Some(self.unread.get_u8()))
    }

    /// Reads up to a line break, which is not returned.
    pub(super) async fn line(&mut self) -> Result<Bytes, TransferFailure> {
        let mut searched = 0;
        loop {
            if let Some(found) = self.unread[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line = self.unread.split_to(searched + found + 1);
                line.truncate(searched + found);
                return Ok(line.freeze());
            }
            searched = self.unread.len();
            if searched > MAX_LINE {
                return Err(self.protocol("a line does not end"));
            }
            if !self.fill().await? {
                return Err(self.ended());
            }
        }
    }

    /// Waits for the guest's go-ahead.
    pub(super) async fn acknowledged(&mut self) -> Result<(), TransferFailure> {
        match self.byte().await? {
            Some(0) => Ok(()),
            Some(1 | 2) => {
                let message = self.line().await?;
                Err(self.remote(&message))
            }
            Some(other) => {
                // Usually a start-up file of the shell that prints something.
                let rest = self.unread.iter().take(60).copied();
                let said: Vec<u8> = std::iter::once(other).chain(rest).collect();
                let said = String::from_utf8_lossy(&said).into_owned();
                Err(self.protocol(format!("the guest's shell prints {said:?} where scp should speak")))
            }
            None => Err(self.ended()),
        }
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), TransferFailure> {
        match timeout(STALL_TIMEOUT, self.channel.write(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(WriteError::Flooded)) => Err(self.protocol("the guest sends instead of listening")),
            Err(_) => Err(self.stalled()),
            Ok(Err(WriteError::Ended)) => Err(self.last_words().await),
        }
    }

    /// Reads what the guest said before it closed the channel and makes an error of it.
    pub(super) async fn last_words(&mut self) -> TransferFailure {
        loop {
            match self.byte().await {
                Ok(Some(0)) => {}
                Ok(Some(1 | 2)) => {
                    return match self.line().await {
                        Ok(message) => self.remote(&message),
                        Err(failure) => failure,
                    };
                }
                Ok(Some(_) | None) => {
                    while let Ok(true) = self.fill().await {
                        self.unread.clear();
                    }
                    return self.ended();
                }
                Err(failure) => return failure,
            }
        }
    }

    /// Closes our side and waits for the program's status.
    pub(super) async fn finish(mut self) -> Result<(), TransferFailure> {
        self.channel.finish_input().await;
        loop {
            match self.byte().await? {
                Some(1 | 2) => {
                    let message = self.line().await?;
                    return Err(self.remote(&message));
                }
                Some(_) => {}
                None => break,
            }
        }
        match &self.exit {
            Some(exit) if exit.is_success() => Ok(()),
            _ => Err(self.ended()),
        }
    }
}
