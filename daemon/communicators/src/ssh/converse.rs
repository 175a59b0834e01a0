//! A command that somebody speaks with: both directions at once, so that neither waits for the other.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use crate::communicator::{CommandStreams, Exit};
use crate::ssh::channel::{Incoming, SessionChannel, translate};
use crate::ssh::execute::LINGER;

/// Size of the pieces moved.
const PIECE: usize = 64 * 1024;

/// Moves bytes between a command that was started and its far ends, until it has ended or its output goes nowhere any more.
/// `talking` is how long what it has left running is listened to when that does not fall silent.
pub(super) async fn converse(channel: &mut SessionChannel, streams: CommandStreams<'_>, talking: Duration) -> Exit {
    let (read, write) = channel.halves();
    let CommandStreams { mut input, mut output, mut errors } = streams;
    let speaking = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match input.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) if write.data_bytes(buffer.split().freeze()).await.is_err() => break,
                Ok(_) => {}
            }
        }
        // An error means the connection is gone, which the other direction sees as well.
        let _ = write.eof().await;
        // That direction ends both.
        std::future::pending::<Option<Exit>>().await
    };
    let listening = async {
        let mut exit = None;
        let mut linger_until = Instant::now();
        let mut ends_at = None;
        loop {
            let message = tokio::select! {
                () = sleep_until(linger_until), if exit.is_some() => break,
                message = read.wait() => message,
            };
            let Some(message) = message else { break };
            let written = match translate(message) {
                Some(Incoming::Stdout(bytes)) => output.write_all(&bytes).await,
                Some(Incoming::Stderr(bytes)) => errors.write_all(&bytes).await,
                Some(Incoming::Exit(status)) => {
                    exit = Some(status);
                    Ok(())
                }
                _ => Ok(()),
            };
            if written.is_err() {
                return exit;
            }
            linger_until = Instant::now() + LINGER;
            if exit.is_some() {
                linger_until = linger_until.min(*ends_at.get_or_insert_with(|| Instant::now() + talking));
            }
        }
        // Whoever has gone meanwhile does not mind.
        let _ = tokio::join!(output.flush(), errors.flush());
        exit
    };
    tokio::select! {
        biased;
        exit = listening => exit,
        never = speaking => never,
    }
    .unwrap_or(Exit::Disconnected)
}
