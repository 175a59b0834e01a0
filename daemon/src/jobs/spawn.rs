//! Starts real processes: this program, with `worker …` as its command line.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::{future, io};

use kiln_protocol::JobSubmission;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use super::launcher::{After, Exit, JobProcess, LaunchError, Launched, Launcher};
use crate::account::AccountError;
use crate::as_owner::Owner;
use crate::descriptor;
use crate::job_dir::JobDir;
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;

/// The program of whoever opens it. Between fork and exec that is still the parent's, whatever has become of the file's name.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Starts workers of this daemon's own user.
#[derive(Debug)]
pub(super) struct ProcessLauncher {
    /// Program that is started with `worker …`, as people know it.
    program: PathBuf,
    /// What is executed.
    file: PathBuf,
}

/// A process of this machine.
pub(super) struct Process {
    identity: ProcessIdentity,
    /// Readable when the process has ended.
    ended: AsyncFd<OwnedFd>,
    /// Present when this daemon started it, and must reap it.
    child: Option<Child>,
}

impl ProcessLauncher {
    /// Starts workers of `program`. When that is this process's own, it is the one that runs now, also after an upgrade or a removal.
    pub(super) fn new(program: PathBuf) -> Self {
        let is_own = std::env::current_exe().is_ok_and(|own| own == program);
        let file = if is_own { PathBuf::from(OWN_PROGRAM) } else { program.clone() };
        Self { program, file }
    }

    /// Returns what starts the program.
    pub(super) fn program(&self) -> Command {
        let mut command = Command::new(&self.file);
        command.arg0(&self.program);
        // What the service manager told the daemon was for it alone.
        for name in kiln_systemd::VARIABLES {
            command.env_remove(name);
        }
        command
    }

    /// Returns what starts the program on this job, its output in the job's log.
    pub(super) async fn command(&self, directory: &JobDir) -> Result<Command, LaunchError> {
        let log = directory.as_owner(JobDir::open_log).await?;
        let second = log.try_clone();
        let mut command = self.program();
        command.arg("worker").arg("--job-dir").arg(&directory.root).arg("--runtime-dir").arg(&directory.runtime);
        command.stdin(Stdio::null()).stdout(log).stderr(second.map_or_else(|_| Stdio::null(), Stdio::from));
        Ok(command)
    }

    /// Starts it, and keeps an eye on it.
    pub(super) fn start(&self, mut command: Command) -> Result<Process, LaunchError> {
        let failed = |source| LaunchError::Start { program: self.program.display().to_string(), source };
        let child = command.spawn().map_err(failed)?;
        Process::started(child).map_err(LaunchError::Watch)
    }
}

impl Launcher for ProcessLauncher {
    fn files_of(&self, _uid: u32) -> BoxFuture<'_, Result<Option<Owner>, AccountError>> {
        Box::pin(future::ready(Ok(None)))
    }

    fn worker<'a>(&'a self, directory: &'a JobDir, submission: &'a JobSubmission) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let mut command = self.command(directory).await?;
            // It enters its working directory itself: nobody else waits for that, or for a file server behind it.
            command.current_dir("/").env_clear().envs(&submission.environment);
            boxed(self.start(command))
        })
    }

    fn after<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        what: After<'a>,
    ) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let mut command = self.command(directory).await?;
            command.args(what.arguments()).current_dir(&directory.root);
            // An environment that was taken off the request leads nowhere; this daemon's own is the next best.
            let is_of_use = |submission: &&JobSubmission| what != After::GiveBack || !submission.environment.is_empty();
            if let Some(submission) = submission.filter(is_of_use) {
                command.env_clear().envs(&submission.environment);
            }
            boxed(self.start(command))
        })
    }

    fn adopt(
        &self,
        _: &JobDir,
        _: u32,
        identity: &ProcessIdentity,
    ) -> Result<Option<Box<dyn JobProcess>>, LaunchError> {
        Ok(Process::found(identity)?.map(|process| Box::new(process) as Box<dyn JobProcess>))
    }
}

fn boxed(process: Result<Process, LaunchError>) -> Launched {
    Ok(Box::new(process?))
}

impl Process {
    /// Finds a process that an earlier daemon started; nothing when it has ended.
    pub(super) fn found(identity: &ProcessIdentity) -> Result<Option<Self>, LaunchError> {
        let Some(descriptor) = identity.open() else { return Ok(None) };
        let ended = descriptor::watch(descriptor).map_err(LaunchError::Watch)?;
        Ok(Some(Self { identity: identity.clone(), ended, child: None }))
    }

    /// Kills it, and nothing else.
    pub(super) fn kill_alone(&self) -> io::Result<()> {
        ProcessIdentity::kill_alone(self.ended.get_ref())
    }

    fn started(mut child: Child) -> io::Result<Self> {
        let watched = || -> io::Result<(ProcessIdentity, AsyncFd<OwnedFd>)> {
            let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
            // Not reaped yet, so the number is still its own, even if it has ended.
            let identity = ProcessIdentity::of(pid)?;
            let descriptor = identity.open().ok_or(io::ErrorKind::NotFound)?;
            Ok((identity, descriptor::watch(descriptor)?))
        };
        match watched() {
            Ok((identity, ended)) => Ok(Self { identity, ended, child: Some(child) }),
            Err(error) => {
                // It must not run unwatched.
                let _ = child.start_kill();
                Err(error)
            }
        }
    }

    async fn exit(&mut self) -> Exit {
        match &mut self.child {
            Some(child) => child.wait().await.map_or(Exit::Unknown, Exit::Status),
            None => {
                if let Err(error) = self.ended.readable().await {
                    tracing::error!(%error, "a process descriptor cannot be watched");
                }
                Exit::Unknown
            }
        }
    }
}

impl JobProcess for Process {
    fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    fn kill(&self) {
        self.identity.kill(self.ended.get_ref());
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        Box::pin(self.exit())
    }
}
