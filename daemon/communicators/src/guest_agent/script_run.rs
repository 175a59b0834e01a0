//! Short scripts of ours in the guest, whose output is small.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::{Failure, plain};
use super::scripts;
use super::session::{Ended, Session};
use super::token::token;

/// How long one may take: those that list a tree visit each file.
const LIMIT: Duration = Duration::from_mins(5);

/// Pauses between two looks at whether it has ended.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Waits for the end of a program.
async fn end(session: &Session, pid: i64) -> Result<Ended, Failure> {
    let deadline = Instant::now() + LIMIT;
    let mut pause = SHORTEST_PAUSE;
    loop {
        if let Some(ended) = session.status(pid).await? {
            return Ok(ended);
        }
        if Instant::now() >= deadline {
            return Err(Failure::Silent(LIMIT));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A script that runs; ended in the guest when dropped before its end.
struct Running {
    session: Arc<Session>,
    pid: i64,
    /// What its command line has in it, and no other one.
    token: String,
    is_over: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_over || self.session.is_over() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (session, kill) = (Arc::clone(&self.session), scripts::kill(self.pid, &self.token));
        runtime.spawn(async move {
            let _ = session.start(&["-c", &kill], false).await;
        });
    }
}

/// Finds a directory for what belongs to a running command, on a file system in memory where there is one.
pub(super) async fn scratch(session: &Session) -> Result<String, Failure> {
    let pid = session.start(&["-c", scripts::FIND_SCRATCH], true).await?;
    let found = end(session, pid).await?;
    let directory = plain(&String::from_utf8_lossy(&found.output));
    Ok(if found.code == Some(0) && directory.starts_with('/') { directory } else { "/tmp".to_owned() })
}

/// Runs a script that prints what was asked for; its complaint where it fails.
pub(super) async fn output(session: &Arc<Session>, script: &str) -> Result<Vec<u8>, Failure> {
    let token = format!("kiln-{}", token()?);
    let pid = session.start(&["-c", script, &token], true).await?;
    let mut running = Running { session: Arc::clone(session), pid, token, is_over: false };
    let ended = end(session, pid).await?;
    running.is_over = true;
    if ended.truncated {
        return Err(Failure::Refused("the agent passes on no more than 16 MiB of names".to_owned()));
    }
    match ended.code {
        Some(0) => Ok(ended.output),
        code if ended.errors.is_empty() => Err(Failure::Refused(format!("its shell ends with {code:?}"))),
        _ => Err(Failure::Refused(ended.errors)),
    }
}
