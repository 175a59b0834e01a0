//! Starts worker processes.

use std::path::Path;
use std::process::Stdio;

use kiln_protocol::{JobState, JobSubmission};
use tokio::process::{Child, Command};

use crate::job_dir::{JobDir, JobDirError};

/// Reports that a worker cannot be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpawnError {
    /// Its log cannot be opened.
    #[error(transparent)]
    Log(#[from] JobDirError),
    /// The working directory is gone or closed.
    #[error("cannot enter the working directory {path}")]
    WorkingDirectory { path: String, source: std::io::Error },
    /// The program does not start.
    #[error("cannot start the worker {program}")]
    Start { program: String, source: std::io::Error },
}

/// Starts the worker: in the client's directory, with the client's environment, its output in the job's log.
pub(super) fn worker(program: &Path, directory: &JobDir, submission: &JobSubmission) -> Result<Child, SpawnError> {
    let path = &submission.working_directory;
    // A missing directory would otherwise be reported as a missing program.
    std::fs::read_dir(path).map_err(|source| SpawnError::WorkingDirectory { path: path.clone(), source })?;
    let mut command = command(program, directory)?;
    command.current_dir(path).env_clear().envs(&submission.environment);
    start(command, program)
}

/// Starts the sweeper, with the environment that the worker had: it may need the same tools.
pub(super) fn sweeper(
    program: &Path,
    directory: &JobDir,
    submission: Option<&JobSubmission>,
    state: JobState,
    cause: &str,
) -> Result<Child, SpawnError> {
    let mut command = command(program, directory)?;
    command.arg("--sweep").arg(format!("--state={state}")).arg(format!("--cause={cause}")).current_dir(&directory.root);
    if let Some(submission) = submission {
        command.env_clear().envs(&submission.environment);
    }
    start(command, program)
}

fn command(program: &Path, directory: &JobDir) -> Result<Command, SpawnError> {
    let log = directory.open_log()?;
    let second = log.try_clone();
    let mut command = Command::new(program);
    command.arg("worker").arg("--job-dir").arg(&directory.root).arg("--runtime-dir").arg(&directory.runtime);
    command.stdin(Stdio::null()).stdout(log).stderr(second.map_or_else(|_| Stdio::null(), Stdio::from));
    Ok(command)
}

fn start(mut command: Command, program: &Path) -> Result<Child, SpawnError> {
    command.spawn().map_err(|source| SpawnError::Start { program: program.display().to_string(), source })
}
