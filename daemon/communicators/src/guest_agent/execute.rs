//! Runs one command in the guest, and follows its output.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use super::failure::{Failure, plain};
use super::feed::{Fed, feed};
use super::guest_file::GuestFile;
use super::pieces::Pieces;
use super::scripts;
use super::session::{Ended, Session};
use super::token::token;
use crate::communicator::{CommandOutput, CommandStreams, Exit};

/// Pauses between two looks at a command that says nothing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A command that says nothing is asked this often whether it has ended and something that it has started holds its output.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Once a command has ended, how long silent output is waited for that something it has started holds open: as by SSH.
const LINGER: Duration = Duration::from_secs(5);

/// How long the end of a command is waited for whose directory is gone, as it is when the command has ended.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// Runs a command without input.
pub(super) async fn execute(
    session: &Arc<Session>,
    command: &str,
    output: &dyn CommandOutput,
) -> Result<Exit, Failure> {
    let mut running = Running::start(session, command, false).await?;
    loop {
        match running.next().await? {
            Said::Output(bytes) => output.stdout(&bytes),
            Said::Errors(bytes) => output.stderr(&bytes),
            Said::End(exit) => return Ok(running.over(exit).await),
        }
    }
}

/// Runs a command that somebody speaks with.
pub(super) async fn converse(
    session: &Arc<Session>,
    command: &str,
    streams: CommandStreams<'_>,
) -> Result<Exit, Failure> {
    let CommandStreams { mut input, mut output, mut errors } = streams;
    let mut running = Running::start(session, command, true).await?;
    let directory = running.directory.clone();
    let exit = {
        let listening = async {
            loop {
                let written = match running.next().await? {
                    Said::Output(bytes) => output.write_all(&bytes).await,
                    Said::Errors(bytes) => errors.write_all(&bytes).await,
                    Said::End(exit) => return Ok(Some(exit)),
                };
                if written.is_err() {
                    // What takes no more bytes ends the command.
                    return Ok(None);
                }
            }
        };
        let speaking = async {
            match feed(session, &directory, &mut input).await? {
                Fed::All => std::future::pending().await,
                // The command's end is told in a moment, or it would wait for its input for ever.
                Fed::Gone => sleep(GONE_LIMIT).await,
            }
            Err(Failure::Refused("what was kept for it in the guest is gone, and its input with it".to_owned()))
        };
        tokio::select! {
            biased;
            listened = listening => listened?,
            failed = speaking => failed?,
        }
    };
    // Whoever has gone meanwhile does not mind.
    let _ = tokio::join!(output.flush(), errors.flush());
    match exit {
        Some(exit) => Ok(running.over(exit).await),
        None => Ok(Exit::Disconnected),
    }
}

/// What a command says.
enum Said {
    Output(Vec<u8>),
    Errors(Vec<u8>),
    End(Exit),
}

/// A command that runs; ended in the guest when dropped before its end.
struct Running {
    session: Arc<Session>,
    pid: i64,
    directory: String,
    output: Option<Pieces>,
    errors: Option<Pieces>,
    ended: Option<Ended>,
    pause: Duration,
    /// When something was last heard of it.
    heard: Instant,
    looked: Instant,
    /// Its status, once it is known that it holds its output open no more by itself.
    left: Option<Exit>,
    is_over: bool,
}

impl Running {
    async fn start(session: &Arc<Session>, command: &str, has_input: bool) -> Result<Self, Failure> {
        let directory = format!("{}/kiln-{}", session.scratch, token()?);
        let input = if has_input { "in" } else { "no" };
        let now = Instant::now();
        let mut running = Self {
            session: Arc::clone(session),
            pid: 0,
            output: Some(Pieces::new(session, format!("{directory}/o"))),
            errors: Some(Pieces::new(session, format!("{directory}/e"))),
            directory,
            ended: None,
            pause: SHORTEST_PAUSE,
            heard: now,
            looked: now,
            left: None,
            is_over: false,
        };
        running.pid = session.start(&["-c", scripts::RUN, "kiln", &running.directory, command, input], true).await?;
        Ok(running)
    }

    /// Waits for what it says next.
    async fn next(&mut self) -> Result<Said, Failure> {
        loop {
            for (stream, said) in
                [(&mut self.output, Said::Output as fn(_) -> _), (&mut self.errors, Said::Errors as fn(_) -> _)]
            {
                let Some(pieces) = stream else { continue };
                let bytes = pieces.next().await?;
                if !bytes.is_empty() {
                    (self.pause, self.heard) = (SHORTEST_PAUSE, Instant::now());
                    return Ok(said(bytes));
                }
            }
            if let Some(ended) = &self.ended {
                return status(ended).map(Said::End);
            }
            self.ended = self.session.status(self.pid).await?;
            if self.ended.is_some() {
                // All that it has said is there now.
                continue;
            }
            if self.looked.elapsed() >= LOOK_EVERY && self.left.is_none() {
                self.looked = Instant::now();
                self.left = self.look().await?;
                if self.left.is_some() {
                    self.heard = Instant::now();
                }
            }
            if let Some(exit) = self.left.take_if(|_| self.heard.elapsed() >= LINGER) {
                tracing::debug!("the command has ended, but something it started holds its output open");
                return Ok(Said::End(exit));
            }
            sleep(self.pause).await;
            self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// The command's own status, which is known before all of its output is.
    async fn look(&self) -> Result<Option<Exit>, Failure> {
        let file = match GuestFile::open(&self.session, &format!("{}/x", self.directory), "r").await {
            Ok(file) => file,
            Err(Failure::Refused(_)) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let bytes = file.read().await?;
        file.close().await?;
        Ok(code(&bytes).map(Exit::Code))
    }

    /// Forgets a command that has ended.
    async fn over(mut self, exit: Exit) -> Exit {
        self.is_over = true;
        // Errors mean that the guest has gone, and all of this with it.
        for pieces in [self.output.take(), self.errors.take()].into_iter().flatten() {
            let _ = pieces.close().await;
        }
        let _ = self.session.start(&["-c", scripts::FORGET, "kiln", &self.directory], false).await;
        exit
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over || self.session.is_over() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (session, directory) = (Arc::clone(&self.session), self.directory.clone());
        runtime.spawn(async move {
            let _ = session.start(&["-c", scripts::GIVE_UP, "kiln", &directory], false).await;
        });
    }
}

/// What the script that ran the command says of it.
fn status(ended: &Ended) -> Result<Exit, Failure> {
    match (ended.code, code(&ended.output)) {
        (Some(0), Some(code)) => Ok(Exit::Code(code)),
        // It was killed as everything is when a guest goes down.
        (None, _) => Ok(Exit::Disconnected),
        _ if ended.errors.is_empty() => Err(Failure::Refused("its shell ends without a word".to_owned())),
        _ => Err(Failure::Refused(plain(&ended.errors))),
    }
}

fn code(said: &[u8]) -> Option<i32> {
    std::str::from_utf8(said).ok()?.trim().parse().ok()
}
