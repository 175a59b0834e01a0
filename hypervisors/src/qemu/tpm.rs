//! The TPM emulator `swtpm`, one process for one machine, talking to QEMU over an inherited socket.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use crate::error::StartError;
use crate::ledger::ResourceLedger;
use crate::process::{ChildCommand, ChildProcess, find_program};
use crate::spec::TpmVersion;

/// The emulator's program.
pub(super) const PROGRAM: &str = "swtpm";

/// What to do when it is missing.
pub(super) const HINT: &str = "install the package swtpm";

/// A running emulator and QEMU's end of its control socket.
pub(super) struct Tpm {
    pub(super) process: ChildProcess,
    pub(super) socket: OwnedFd,
}

/// Starts an emulator with a fresh state in `directory`. The state goes with the machine, as in Packer.
pub(super) async fn start(
    version: TpmVersion,
    directory: &Path,
    ledger: Arc<dyn ResourceLedger>,
) -> Result<Tpm, StartError> {
    let program = find_program(PROGRAM)
        .ok_or_else(|| StartError::ProgramMissing { program: PROGRAM.to_owned(), hint: HINT.to_owned() })?;
    let state = directory.join("tpm");
    std::fs::create_dir(&state).map_err(|source| StartError::Prepare { path: state.clone(), source })?;
    let sockets = UnixStream::pair().map_err(|source| StartError::Prepare { path: state.clone(), source })?;
    let (ours, theirs) = (OwnedFd::from(sockets.0), OwnedFd::from(sockets.1));
    let mut arguments = vec![
        "socket".into(),
        "--tpmstate".into(),
        format!("dir={}", state.display()).into(),
        "--ctrl".into(),
        format!("type=unixio,clientfd={}", theirs.as_raw_fd()).into(),
    ];
    if version == TpmVersion::V2 {
        arguments.push("--tpm2".into());
    }
    let command = ChildCommand {
        program: program.clone(),
        arguments,
        environment: Vec::new(),
        inherited: vec![theirs],
        hear_stdout: false,
    };
    let process = ChildProcess::spawn(command, ledger).await.map_err(|source| StartError::Spawn { program, source })?;
    Ok(Tpm { process, socket: ours })
}
