//! Commands, run to their end, alone or in conversation.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use super::error::Attempt;
use super::link::Link;
use super::shell::Shell;
use super::soap::answer::{Received, Stream};
use crate::communicator::{CommandOutput, CommandStreams, Exit};

/// How long a guest may not answer while a command runs there before it is given up: drivers of networks are installed by commands, too.
const INTERRUPTION: Duration = Duration::from_secs(15);

/// Between questions to one that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// Bytes that are read from whoever speaks with a command at once.
const PIECE: usize = 64 * 1024;

/// Asks for output until there is some or the command has ended; nothing when it was lost.
async fn receive(shell: &Shell, link: &Link) -> Result<Option<Received>, Attempt> {
    let mut silent_since: Option<Instant> = None;
    loop {
        let attempt = match shell.receive().await {
            Ok(received) => {
                if silent_since.is_some() {
                    link.tell("the guest did not answer for a while; a part of what the command wrote may be missing");
                }
                return Ok(Some(received));
            }
            Err(attempt) => attempt,
        };
        match attempt.fault() {
            Some(fault) if fault.is_loss() => return Ok(None),
            Some(_) => return Err(attempt),
            None => {}
        }
        tracing::debug!(address = %link.address(), stage = %attempt.stage, "a command's output cannot be asked for");
        if silent_since.get_or_insert_with(Instant::now).elapsed() >= INTERRUPTION {
            return Ok(None);
        }
        sleep(AGAIN).await;
    }
}

/// Runs a started command to its end. There is no limit of time.
pub(super) async fn run(shell: &Shell, link: &Link, output: &dyn CommandOutput) -> Result<Exit, Attempt> {
    // Its input is empty. One that has ended takes no input, and says how it ended all the same.
    if let Err(attempt) = shell.send("", true).await {
        tracing::debug!(stage = %attempt.stage, failure = %attempt.failure, "a command took no end of its input");
    }
    loop {
        let Some(received) = receive(shell, link).await? else { return Ok(Exit::Disconnected) };
        for (stream, piece) in received.pieces {
            match stream {
                Stream::Out => output.stdout(&piece),
                Stream::Errors => output.stderr(&piece),
            }
        }
        if let Some(code) = received.exit {
            return Ok(Exit::Code(code));
        }
    }
}

/// Moves bytes between a started command and its far ends, until it has ended or its output goes nowhere any more.
pub(super) async fn converse(shell: &Shell, link: &Link, streams: CommandStreams<'_>) -> Result<Exit, Attempt> {
    let CommandStreams { mut input, mut output, mut errors } = streams;
    let speaking = async {
        let mut piece = vec![0; PIECE];
        loop {
            let length = input.read(&mut piece).await.unwrap_or_default();
            let sent = shell.send(&STANDARD.encode(&piece[..length]), length == 0).await;
            if length == 0 || sent.is_err() {
                // A command that takes no more has ended, which the other direction sees as well; that ends both.
                return std::future::pending::<Result<Exit, Attempt>>().await;
            }
        }
    };
    let listening = async {
        loop {
            let Some(received) = receive(shell, link).await? else { return Ok(Exit::Disconnected) };
            for (stream, piece) in received.pieces {
                let written = match stream {
                    Stream::Out => output.write_all(&piece).await,
                    Stream::Errors => errors.write_all(&piece).await,
                };
                if written.is_err() {
                    return Ok(Exit::Disconnected);
                }
            }
            if let Some(code) = received.exit {
                // Whoever has gone meanwhile does not mind.
                let _ = tokio::join!(output.flush(), errors.flush());
                return Ok(Exit::Code(code));
            }
        }
    };
    tokio::select! {
        biased;
        exit = listening => exit,
        never = speaking => never,
    }
}
