//! Commands, run to their end, alone or in conversation.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{Attempt, Stage};
use super::link::Link;
use super::shell::{LAST_WORDS, OUTPUT_PATIENCE, Shell};
use super::soap::answer::{Fault, Received, Stream};
use crate::communicator::{CommandOutput, CommandStreams, Exit};

/// How long output is asked for again after a question that went unanswered: drivers of networks are installed by commands, too.
const INTERRUPTION: Duration = Duration::from_secs(15);

/// Between questions to one that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the service then waits for output: that it answers at all is what matters.
const SHORT_OUTPUT_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are read from whoever speaks with a command at once.
const PIECE: usize = 64 * 1024;

/// Asks for output until there is some or the command has ended; nothing when it was lost. Only what a way that is interrupted does is
/// asked again: an answer that breaks the rules, or a login that is rejected, is no sign that the guest has gone.
async fn receive(shell: &Shell, link: &Link) -> Result<Option<Received>, Attempt> {
    let mut attempt = match shell.receive(OUTPUT_PATIENCE).await {
        Ok(received) => return Ok(Some(received)),
        Err(attempt) => attempt,
    };
    let deadline = Instant::now() + INTERRUPTION;
    loop {
        if attempt.fault().is_some_and(Fault::is_loss) {
            return Ok(None);
        }
        if !attempt.is_interruption() {
            return Err(attempt);
        }
        tracing::debug!(
            address = %link.address(), stage = %attempt.stage, failure = %attempt.failure, "a command's output cannot be asked for"
        );
        let again = async {
            sleep(AGAIN).await;
            shell.receive(SHORT_OUTPUT_PATIENCE).await
        };
        attempt = match timeout_at(deadline, again).await {
            Ok(Ok(received)) => {
                link.tell("the guest did not answer for a while; a part of what the command wrote may be missing");
                return Ok(Some(received));
            }
            Ok(Err(attempt)) => attempt,
            Err(_) => return Ok(None),
        };
    }
}

/// Says that a command's input is empty. One that has ended takes no input, and says how it ended all the same.
async fn end_input(shell: &Shell) {
    let mut told = shell.send("", true).await;
    // It may not have been heard, and may be said twice.
    if told.as_ref().is_err_and(|attempt| attempt.stage == Stage::ClosedAtOnce) {
        told = shell.send("", true).await;
    }
    if let Err(attempt) = told {
        tracing::debug!(stage = %attempt.stage, failure = %attempt.failure, "a command took no end of its input");
    }
}

/// Runs a started command to its end. There is no limit of time.
pub(super) async fn run(shell: &Shell, link: &Link, output: &dyn CommandOutput) -> Result<Exit, Attempt> {
    end_input(shell).await;
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
            match shell.send(&STANDARD.encode(&piece[..length]), length == 0).await {
                Ok(()) if length > 0 => {}
                Ok(()) => return std::future::pending::<Result<Exit, Attempt>>().await,
                // How the command ends, the other direction sees.
                Err(attempt) if attempt.fault().is_some_and(Fault::takes_no_more) => {
                    return std::future::pending().await;
                }
                // A part of the input is lost, so the command may wait for ever. One that ends just now still says how.
                Err(attempt) => {
                    sleep(LAST_WORDS).await;
                    return Err(attempt);
                }
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
        failed = speaking => failed,
    }
}
