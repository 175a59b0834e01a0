//! Short scripts of ours in the guest, whose output is small.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::failure::{Failure, plain};
use super::scripts;
use super::session::{Ended, Session};

/// How long one may take: those that list a tree visit each file.
const LIMIT: Duration = Duration::from_mins(5);

/// Pauses between two looks at whether it has ended.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Runs a script to its end.
pub(super) async fn run(session: &Session, script: &str) -> Result<Ended, Failure> {
    let pid = session.start(&["-c", script], true).await?;
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

/// Finds a directory for what belongs to a running command, on a file system in memory where there is one.
pub(super) async fn scratch(session: &Session) -> Result<String, Failure> {
    let found = run(session, scripts::FIND_SCRATCH).await?;
    let directory = plain(&String::from_utf8_lossy(&found.output));
    Ok(if found.code == Some(0) && directory.starts_with('/') { directory } else { "/tmp".to_owned() })
}

/// Runs a script that prints what was asked for; its complaint where it fails.
pub(super) async fn output(session: &Session, script: &str) -> Result<Vec<u8>, Failure> {
    let ended = run(session, script).await?;
    if ended.truncated {
        return Err(Failure::Refused("the agent passes on no more than 16 MiB of names".to_owned()));
    }
    match ended.code {
        Some(0) => Ok(ended.output),
        code if ended.errors.is_empty() => Err(Failure::Refused(format!("its shell ends with {code:?}"))),
        _ => Err(Failure::Refused(ended.errors)),
    }
}
