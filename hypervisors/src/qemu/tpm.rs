//! The TPM emulator `swtpm`, one process for one machine, talking to QEMU over an inherited socket.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::unfinished::Parts;
use crate::error::StartError;
use crate::ledger::ResourceLedger;
use crate::process::{ChildCommand, ChildProcess, find_program};
use crate::spec::TpmVersion;

/// The emulator's program.
pub(super) const PROGRAM: &str = "swtpm";

/// What to do when it is missing.
pub(super) const HINT: &str = "install the package swtpm";

/// How long after QEMU's end the emulator may end, if that was the reason.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Starts an emulator, `program`, as one of `parts`. Returns QEMU's end of its control socket, which QEMU inherits.
pub(super) async fn start(
    program: &str,
    version: TpmVersion,
    parts: &mut Parts,
    ledger: &Arc<dyn ResourceLedger>,
) -> Result<OwnedFd, StartError> {
    let prepare = |source| StartError::Prepare { path: parts.directory.path().to_owned(), source };
    let (ours, theirs) = UnixStream::pair().map_err(prepare)?;
    run(program, version, parts, ledger, "clientfd", theirs.into()).await?;
    Ok(ours.into())
}

/// Starts an emulator with a fresh state in the directory of `parts`. The state goes with the machine, as in Packer. `control` is its
/// end of the control socket: connected (`clientfd`), or listening (`fd`).
pub(super) async fn run(
    program: &str,
    version: TpmVersion,
    parts: &mut Parts,
    ledger: &Arc<dyn ResourceLedger>,
    kind: &str,
    control: OwnedFd,
) -> Result<(), StartError> {
    let program = find_program(program)
        .ok_or_else(|| StartError::ProgramMissing { program: PROGRAM.to_owned(), hint: HINT.to_owned() })?;
    let state = parts.directory.path().join("tpm");
    std::fs::create_dir(&state).map_err(|source| StartError::Prepare { path: state.clone(), source })?;
    let mut arguments = vec![
        "socket".into(),
        "--tpmstate".into(),
        format!("dir={}", state.display()).into(),
        "--ctrl".into(),
        format!("type=unixio,{kind}={}", control.as_raw_fd()).into(),
    ];
    if version == TpmVersion::V2 {
        arguments.push("--tpm2".into());
    }
    let command = ChildCommand {
        program: program.clone(),
        arguments,
        environment: Vec::new(),
        inherited: vec![control],
        hear_stdout: false,
    };
    let process = parts.spawn(command, ledger).await.map_err(|source| StartError::Spawn { program, source })?;
    parts.tpm = Some(process);
    Ok(())
}

/// Puts the emulator into `error` where it is the reason of a start that has failed: QEMU asks it for its abilities before it greets.
pub(super) async fn blame(error: StartError, emulator: &ChildProcess) -> StartError {
    // It ends with QEMU, too, whatever that has ended of.
    if matches!(&error, StartError::EndedEarly { stderr, .. } if !stderr.contains("tpm")) {
        return error;
    }
    // QEMU sees its connection close, and ends, before the system has told us of the process.
    match tokio::time::timeout(END_LIMIT, emulator.ended()).await {
        Ok(state) => {
            let (program, status) = (PROGRAM.to_owned(), state.to_string());
            StartError::EndedEarly { program, status, stderr: emulator.stderr_tail() }
        }
        Err(_) => match error {
            StartError::Timeout { program, what, limit } => {
                StartError::Timeout { program, what: format!("{what}, which comes after {PROGRAM}'s answer,"), limit }
            }
            error => error,
        },
    }
}
