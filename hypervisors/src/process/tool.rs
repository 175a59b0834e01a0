//! Runs a program to its end, which comes soon: what it said, within limits of time and size.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::child::{ChildProcess, ExitState};
use super::command::ChildCommand;
use crate::ledger::NoLedger;

/// What a program said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolOutput {
    pub(crate) state: ExitState,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Why nothing came of a program.
#[derive(Debug)]
pub(crate) enum ToolFailure {
    /// It cannot be started.
    Spawn(io::Error),
    /// It did not end in time, and was killed.
    Timeout,
}

/// Runs `program`. It is killed when it has not ended after `limit`, when the future is dropped, and when this process dies, which
/// is why no ledger has to know it.
pub(crate) async fn run_tool(
    program: &Path,
    arguments: Vec<OsString>,
    limit: Duration,
) -> Result<ToolOutput, ToolFailure> {
    let command = ChildCommand {
        program: program.to_owned(),
        arguments,
        environment: Vec::new(),
        inherited: Vec::new(),
        hear_stdout: true,
    };
    let process = ChildProcess::spawn(command, Arc::new(NoLedger)).await.map_err(ToolFailure::Spawn)?;
    match tokio::time::timeout(limit, process.ended()).await {
        Ok(state) => Ok(ToolOutput { state, stdout: process.stdout(), stderr: process.stderr_tail() }),
        Err(_) => {
            process.kill();
            process.ended().await;
            Err(ToolFailure::Timeout)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, limit: Duration) -> Result<ToolOutput, ToolFailure> {
        run_tool(Path::new("/bin/sh"), vec!["-c".into(), script.into()], limit).await
    }

    #[tokio::test]
    async fn both_streams_and_the_status_are_told() {
        let output = shell("echo out; echo err >&2; exit 3", Duration::from_secs(20)).await.unwrap();
        assert_eq!((output.state, output.stdout.as_str()), (ExitState::Exited(3), "out\n"));
        assert_eq!(output.stderr, "err");
    }

    #[tokio::test]
    async fn one_that_hangs_or_is_missing_is_told() {
        let failure = shell("exec sleep 600", Duration::from_millis(50)).await;
        assert!(matches!(failure, Err(ToolFailure::Timeout)), "{failure:?}");
        let failure = run_tool(Path::new("/nonexistent"), Vec::new(), Duration::from_secs(20)).await;
        assert!(matches!(failure, Err(ToolFailure::Spawn(_))), "{failure:?}");
    }
}
