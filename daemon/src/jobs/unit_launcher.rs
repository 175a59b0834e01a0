//! Starts workers as transient units of systemd, as the users whose jobs they work on. For a daemon for all users under systemd.
//!
//! A worker gets what `user_launcher.rs` gives one: the user with all groups, no capability, a session of its own, the job's log as standard
//! output and error, the submission's environment as a login would have it. That comes through its standard input, sealed memory which the
//! worker reads before anything else: the properties of units are everybody's to read. What is added: limits, a cgroup that systemd kills, the
//! job's name in the journal, and that the worker has nothing of the daemon's sandbox.

use std::collections::BTreeMap;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use kiln_protocol::JobSubmission;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::pipe::{PipeFlags, pipe_with};

use super::launcher::{After, Exit, HYPERVISORS, JobProcess, LaunchError, Launched, Launcher, Look};
use super::spawn::Process;
use super::user_launcher::UserLauncher;
use crate::account::AccountError;
use crate::as_owner::Owner;
use crate::job_dir::JobDir;
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;
use crate::units::{KillMode, Started, UnitDescription, UnitLimits, UnitManager, Whom};
use crate::worker::ENVIRONMENT_ON_STDIN;

/// Starts workers as units.
pub(super) struct UnitLauncher {
    /// Knows users, and what they need.
    users: UserLauncher,
    program: PathBuf,
    manager: UnitManager,
    limits: UnitLimits,
    kill_mode: KillMode,
}

impl UnitLauncher {
    pub(super) fn new(users: UserLauncher, program: PathBuf, manager: UnitManager, limits: UnitLimits) -> Self {
        let kill_mode = KillMode::beside_services(kiln_builder::has_service_of_its_users());
        Self { users, program, manager, limits, kill_mode }
    }

    async fn start(
        &self,
        directory: &JobDir,
        submission: Option<&JobSubmission>,
        kind: Kind,
        arguments: Vec<String>,
    ) -> Launched {
        let (account, environment) = self.users.prepare(directory, submission).await?;
        let program = self.program.display().to_string();
        let start = |source| LaunchError::Start { program: program.clone(), source };
        let stdin = sealed(&environment).map_err(start)?;
        let log = directory.as_owner(JobDir::open_log).await?;
        let job = directory.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = |path: &PathBuf| path.display().to_string();
        let mut words = vec![program.clone(), "worker".to_owned(), ENVIRONMENT_ON_STDIN.to_owned()];
        words.extend([
            "--job-dir".to_owned(),
            path(&directory.root),
            "--runtime-dir".to_owned(),
            path(&directory.runtime),
        ]);
        words.extend(arguments);
        let unit = UnitDescription {
            description: format!("{} {job} of {}", kind.words(), account.name),
            program: program.clone(),
            arguments: words,
            uid: account.owner.uid,
            job: Some(job.clone()),
            kill_mode: self.kill_mode,
            limits: self.limits,
            stdin,
            log: log.into(),
        };
        Ok(Box::new(self.launch(&format!("{}{job}", kind.beginning()), &unit, job).await?))
    }

    /// Starts a unit, and keeps an eye on its process.
    async fn launch(&self, name: &str, unit: &UnitDescription, job: String) -> Result<UnitProcess, LaunchError> {
        let started = self.manager.start(name, unit).await?;
        let (identity, process) = match self.watch(&started).await {
            Ok(watched) => watched,
            Err(error) => {
                self.manager.stop(&started.unit).await;
                return Err(error);
            }
        };
        let (manager, kill_mode) = (self.manager.clone(), self.kill_mode);
        Ok(UnitProcess { identity, process, unit: Some(started.unit), manager, kill_mode, job, forked: None })
    }

    async fn watch(&self, started: &Started) -> Result<(ProcessIdentity, Option<Process>), LaunchError> {
        let mut process = None;
        if let Ok(identity) = ProcessIdentity::of(started.pid) {
            process = Process::found(&identity)?;
        }
        // One that has ended already is none to watch, and systemd knows how it has ended. While systemd cannot be asked, it may run.
        if matches!(self.manager.runs(started).await, Ok(false)) {
            process = None;
        }
        let identity = match &process {
            Some(process) => process.identity().clone(),
            None => ProcessIdentity::gone(started.pid).map_err(LaunchError::Watch)?,
        };
        Ok((identity, process))
    }
}

/// What a unit is for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Worker,
    Sweeper,
}

/// What the names of workers' units begin with.
const WORKER_BEGINNING: &str = "kiln-job-";

impl Kind {
    fn beginning(self) -> &'static str {
        match self {
            Self::Worker => WORKER_BEGINNING,
            Self::Sweeper => "kiln-sweep-",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Worker => "Kiln job",
            Self::Sweeper => "Clean-up after Kiln job",
        }
    }
}

/// Puts an environment into memory that nobody changes any more.
fn sealed(environment: &BTreeMap<String, String>) -> io::Result<OwnedFd> {
    let memory = memfd_create("kiln-environment", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(&serde_json::to_vec(environment)?)?;
    file.rewind()?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

impl Launcher for UnitLauncher {
    fn files_of(&self, uid: u32) -> BoxFuture<'_, Result<Option<Owner>, AccountError>> {
        self.users.files_of(uid)
    }

    fn worker<'a>(&'a self, directory: &'a JobDir, submission: &'a JobSubmission) -> BoxFuture<'a, Launched> {
        Box::pin(self.start(directory, Some(submission), Kind::Worker, Vec::new()))
    }

    fn after<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        what: After<'a>,
    ) -> BoxFuture<'a, Launched> {
        Box::pin(self.start(directory, submission, Kind::Sweeper, what.arguments()))
    }

    fn look(&self, uid: u32) -> BoxFuture<'_, Result<Option<Look>, LaunchError>> {
        Box::pin(async move {
            let (account, environment) = self.users.plainly(uid).await?;
            let (said, says) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| LaunchError::Watch(error.into()))?;
            let program = self.program.display().to_string();
            let start = |source| LaunchError::Start { program: program.clone(), source };
            let unit = UnitDescription {
                description: format!("Kiln's look for hypervisors as {}", account.name),
                program: program.clone(),
                arguments: vec![program.clone(), HYPERVISORS.to_owned(), ENVIRONMENT_ON_STDIN.to_owned()],
                uid,
                job: None,
                kill_mode: self.kill_mode,
                limits: self.limits,
                stdin: sealed(&environment).map_err(start)?,
                log: says,
            };
            let process = self.launch(&format!("kiln-look-{uid}"), &unit, String::new()).await?;
            Ok(Some(Look { process: Box::new(process), said }))
        })
    }

    fn adopt(
        &self,
        directory: &JobDir,
        owner: u32,
        identity: &ProcessIdentity,
    ) -> Result<Option<Box<dyn JobProcess>>, LaunchError> {
        let Some(found) = self.users.adopt(directory, owner, identity)? else { return Ok(None) };
        let job = directory.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (manager, kill_mode) = (self.manager.clone(), self.kill_mode);
        let (identity, process) = (identity.clone(), Process::found(identity)?);
        Ok(Some(Box::new(UnitProcess {
            identity,
            process,
            unit: None,
            manager,
            kill_mode,
            job,
            forked: Some(Arc::from(found)),
        })))
    }
}

/// The process of a unit.
struct UnitProcess {
    identity: ProcessIdentity,
    /// Nothing when it had ended before anybody could look.
    process: Option<Process>,
    /// The unit that this daemon has started; nothing for one of an earlier daemon.
    unit: Option<String>,
    manager: UnitManager,
    kill_mode: KillMode,
    job: String,
    /// The same process of an earlier daemon, which perhaps started it without systemd: killed as such a one is.
    forked: Option<Arc<dyn JobProcess>>,
}

impl JobProcess for UnitProcess {
    fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    fn kill(&self) {
        let (manager, kill_mode, pid) = (self.manager.clone(), self.kill_mode, self.identity.pid);
        let (unit, beginning) = (self.unit.clone(), format!("{WORKER_BEGINNING}{}", self.job));
        let forked = self.forked.clone();
        tokio::spawn(async move {
            let unit = match unit {
                Some(unit) => Some(unit),
                // Whoever it is, its user may have written: only a unit of this very job is killed. systemd knows it by its process for as
                // long as that lives.
                None => manager.unit_of(pid, &beginning).await,
            };
            let whom = if kill_mode == KillMode::All { Whom::All } else { Whom::Main };
            if let Some(unit) = unit
                && let Err(error) = manager.kill(&unit, whom).await
            {
                tracing::error!(unit, error = crate::explain::explain(&error), "a worker is not killed by its unit");
            }
            if let Some(process) = forked {
                process.kill();
            }
        });
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        Box::pin(async move {
            if let Some(process) = &mut self.process {
                process.ended().await;
            }
            let Some(unit) = &self.unit else { return Exit::Unknown };
            self.manager.exit_of(unit).await.map_or(Exit::Unknown, Exit::Status)
        })
    }
}

impl Drop for UnitProcess {
    fn drop(&mut self) {
        if let (Some(unit), Ok(runtime)) = (self.unit.take(), tokio::runtime::Handle::try_current()) {
            let manager = self.manager.clone();
            runtime.spawn(async move { manager.release(&unit).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// It lies in a worker's hands before the worker has become what it is to be, and systemd hands it on.
    #[test]
    fn an_environment_that_was_handed_over_stays_as_it_is() {
        let environment = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
        let mut file = std::fs::File::from(sealed(&environment).unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"{"GREETING":"hello"}"#);
        file.rewind().unwrap();
        assert!(file.write_all(b"[").is_err() && file.set_len(0).is_err() && file.set_len(100).is_err());
        assert!(fcntl_add_seals(&file, SealFlags::empty()).is_err(), "nor can that be changed");
    }
}
