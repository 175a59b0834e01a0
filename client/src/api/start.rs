//! Starts `kilnd --user`, and waits until it says that it is ready.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::Hinted;

/// Name of the daemon's program.
const PROGRAM: &str = "kilnd";

/// Time for the daemon to start: it opens its journal, which may need repair after a power cut.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest report, in bytes.
const MAX_REPORT_BYTES: u64 = 64 << 10;

/// Reports that no daemon could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program does not start.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It says that it cannot serve.
    #[error("{error}")]
    Failed {
        /// Why.
        error: String,
        /// What to do, in its words.
        hint: Option<String>,
    },
    /// It ended or went silent.
    #[error("{program} did not get ready")]
    NotReady {
        /// The program.
        program: PathBuf,
    },
}

impl Hinted for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Run { .. } => Some("kilnd belongs beside kiln, or on the PATH".to_owned()),
            Self::Failed { hint, .. } => hint.clone(),
            Self::NotReady { .. } => Some("`kilnd --user` shows what goes wrong".to_owned()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Ready {},
    Failed { error: String, hint: Option<String> },
}

/// Starts the daemon and returns when it (or another one that was faster) answers.
pub(super) async fn start_daemon() -> Result<(), StartError> {
    let program = find_program();
    let not_ready = || StartError::NotReady { program: program.clone() };
    let mut child = Command::new(&program)
        .args(["--user", "--detached"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // It has a log of its own, and this terminal will be gone before it.
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| StartError::Run { program: program.clone(), source })?;
    let stdout = child.stdout.take().ok_or_else(not_ready)?;
    let mut line = String::new();
    let mut lines = BufReader::new(stdout.take(MAX_REPORT_BYTES));
    let read = timeout(START_TIMEOUT, lines.read_line(&mut line)).await;
    match (read, serde_json::from_str(&line)) {
        (Ok(Ok(_)), Ok(Report::Ready {})) => Ok(()),
        (Ok(Ok(_)), Ok(Report::Failed { error, hint })) => Err(StartError::Failed { error, hint }),
        _ => Err(not_ready()),
    }
}

/// Returns the program beside this one, else its bare name, which is looked up on the PATH.
pub(crate) fn find_program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|this| Some(this.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new(PROGRAM).to_owned())
}
