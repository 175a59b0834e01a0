//! Runs a QEMU that has a monitor and nothing to do.

use std::ffi::OsString;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use super::findings::ProbeError;
use crate::error::MachineError;
use crate::ledger::NoLedger;
use crate::process::{ChildCommand, ChildProcess};
use crate::qemu::qmp::QmpClient;

/// How long QEMU may take to tell about itself.
pub(super) const QUESTION_LIMIT: Duration = Duration::from_secs(20);

/// Starts QEMU with a monitor and waits for its greeting, no longer than `limit`.
pub(super) async fn run(
    program: &Path,
    mut arguments: Vec<OsString>,
    mut inherited: Vec<OwnedFd>,
    limit: Duration,
) -> Result<(ChildProcess, QmpClient), ProbeError> {
    let cannot_run = |error: std::io::Error| ProbeError::Run(program.to_owned(), error.to_string());
    let (control, control_there) = StdUnixStream::pair().map_err(cannot_run)?;
    control.set_nonblocking(true).map_err(cannot_run)?;
    let descriptor = control_there.as_raw_fd();
    arguments.extend(["-chardev".into(), format!("socket,id=kiln-control,fd={descriptor}").into()]);
    arguments.extend(["-mon".into(), "chardev=kiln-control,mode=control".into()]);
    inherited.push(control_there.into());
    let command =
        ChildCommand { program: program.to_owned(), arguments, environment: Vec::new(), inherited, hear_stdout: false };
    // Not in a ledger: a probe has no job, and dies with this process.
    let process = ChildProcess::spawn(command, Arc::new(NoLedger)).await.map_err(cannot_run)?;
    let control = UnixStream::from_std(control).map_err(cannot_run)?;
    match QmpClient::connect(control, limit).await {
        Ok(qmp) => Ok((process, qmp)),
        Err(error) => {
            process.kill();
            let state = process.ended().await;
            let words = process.stderr_tail();
            let problem = match (words.lines().next(), error) {
                (Some(line), MachineError::Gone) => line.to_owned(),
                (None, MachineError::Gone) => format!("it ended with {state}"),
                (Some(line), error) => format!("{error}; it said: {line}"),
                (None, error) => error.to_string(),
            };
            Err(ProbeError::NotQemu(program.to_owned(), problem))
        }
    }
}
