//! Starts workers as the users whose jobs they work on: fork, then groups, group and user, then the program. For a daemon that is root.
//!
//! What the worker gets of this daemon is its standard output and error, both the job's log; nothing else that is open (everything here is
//! closed at exec), no terminal, no group, no capability, and no environment but the submission's, filtered as a login would
//! (`login_environment.rs`). It enters its working directory itself, after that: with the user's rights, and without anybody waiting for it.
//!
//! `NO_NEW_PRIVS` is not set: VirtualBox's programs are setuid root and would not start. What the user can become by programs of this machine,
//! as sudo, a worker of the user can become, too, and nothing else.

#![expect(
    unsafe_code,
    reason = "between fork and exec a process is changed by a function of ours, which std cannot check"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kiln_protocol::{JobState, JobSubmission};
use rustix::process::{Gid, Pid, Uid, getegid, geteuid, getgid, getuid, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use tokio::process::Command;

use super::launcher::{Exit, JobProcess, LaunchError, Launched, Launcher};
use super::login_environment::login_environment;
use super::spawn::{Process, ProcessLauncher, sweeping};
use crate::account::{Account, AccountError};
use crate::as_owner::Owner;
use crate::blocking::blocking;
use crate::job_dir::JobDir;
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;

/// Starts workers as their users.
#[derive(Debug)]
pub(super) struct UserLauncher {
    processes: ProcessLauncher,
    /// Where each user has a directory of downloads.
    cache: PathBuf,
}

impl UserLauncher {
    pub(super) fn new(processes: ProcessLauncher, cache: PathBuf) -> Self {
        Self { processes, cache }
    }

    /// Makes a command that will run as the owner of the job.
    async fn command(
        &self,
        directory: &JobDir,
        submission: Option<&JobSubmission>,
    ) -> Result<(Command, Account), LaunchError> {
        let (root, runtime) = (directory.root.clone(), directory.clone());
        let prepare = |source| LaunchError::Prepare { path: directory.root.clone(), source };
        let owner = blocking(move || Owner::of(&root)).await.map_err(prepare)?;
        let account = Account::of(owner.uid).await?;
        let (owner, cache) = (account.owner, self.cache.join(owner.uid.to_string()));
        let made = cache.clone();
        blocking(move || runtime.create_runtime_for(owner).map(|()| make_cache(&made, owner)))
            .await?
            .map_err(|source| LaunchError::Prepare { path: cache.clone(), source })?;
        let mut command = self.processes.command(directory)?;
        let environment = submission.map(|submission| submission.environment.clone()).unwrap_or_default();
        command.env_clear().envs(login_environment(environment, &account, &cache)).current_dir("/");
        become_user(&mut command, &account);
        Ok((command, account))
    }

    fn start(&self, command: Command, account: Account) -> Launched {
        let process = self.processes.start(command)?;
        Ok(Box::new(UserProcess { process, program: self.processes.file().to_owned(), account }))
    }
}

/// Makes the directory of a user's downloads.
fn make_cache(path: &Path, owner: Owner) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match Owner::of(path) {
        Ok(found) if found.uid == owner.uid => Ok(()),
        Ok(found) => Err(io::Error::other(format!("it belongs to user {}", found.uid))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().mode(0o700).create(path)?;
            std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid))
        }
        Err(error) => Err(error),
    }
}

/// Has the process that this command starts become the user, for good.
fn become_user(command: &mut Command, account: &Account) {
    let (uid, gid) = (Uid::from_raw(account.owner.uid), Gid::from_raw(account.owner.gid));
    let groups = account.groups.clone();
    // SAFETY: between fork and exec only what a signal handler may do is allowed, for another thread may have held any lock at the fork. This
    // makes system calls and compares numbers; `groups` was allocated before, and errors here are made without memory.
    unsafe {
        command.pre_exec(move || take_on(uid, gid, &groups));
    }
}

/// Becomes the user, and makes sure of it.
fn take_on(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    // The worker leads a session of its own from its first moment.
    setsid()?;
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    if uid.is_root() {
        return Ok(());
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None::<Pid>, none)?;
    let is_user = getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid;
    let sets = capabilities(None::<Pid>)?;
    let is_bare = sets.effective.is_empty() && sets.permitted.is_empty() && sets.inheritable.is_empty();
    // Also the saved ids are the user's: there is no way back.
    let is_root_again = set_thread_res_uid(None, Uid::ROOT, None).is_ok();
    let has_roots_group = !gid.is_root() && set_thread_res_gid(None, Gid::ROOT, None).is_ok();
    if !is_user || !is_bare || is_root_again || has_roots_group {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

impl Launcher for UserLauncher {
    fn files_of(&self, uid: u32) -> BoxFuture<'_, Result<Option<Owner>, AccountError>> {
        Box::pin(async move { Ok(Some(Account::of(uid).await?.owner)) })
    }

    fn worker<'a>(&'a self, directory: &'a JobDir, submission: &'a JobSubmission) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let (command, account) = self.command(directory, Some(submission)).await?;
            self.start(command, account)
        })
    }

    fn sweeper<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        state: JobState,
        cause: &'a str,
    ) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let (mut command, account) = self.command(directory, submission).await?;
            sweeping(&mut command, state, cause);
            self.start(command, account)
        })
    }

    fn give_back<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
    ) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let (mut command, account) = self.command(directory, submission).await?;
            command.arg("--give-back");
            self.start(command, account)
        })
    }

    /// Who the worker is, its user may have written: whichever process of that user it names, it is the user's to wait for and to kill.
    fn adopt(
        &self,
        directory: &JobDir,
        identity: &ProcessIdentity,
    ) -> Result<Option<Box<dyn JobProcess>>, LaunchError> {
        let Ok(owner) = Owner::of(&directory.root) else { return Ok(None) };
        let Some(process) = Process::found(identity)? else { return Ok(None) };
        // Asked once it is held fast: it is no other than the one that is watched.
        if !identity.is_of(owner.uid) {
            return Ok(None);
        }
        let program = self.processes.file().to_owned();
        Ok(Some(Box::new(UserProcess { process, program, account: Account::bare(owner) })))
    }
}

/// A process of a user.
struct UserProcess {
    process: Process,
    /// What kills it.
    program: PathBuf,
    account: Account,
}

impl JobProcess for UserProcess {
    fn identity(&self) -> &ProcessIdentity {
        self.process.identity()
    }

    /// Has it killed by a process of its user: among those of its group are perhaps some that the user may not kill.
    fn kill(&self) {
        let mut command = Command::new(&self.program);
        command.arg("kill").arg(self.identity().pid.to_string()).env_clear().current_dir("/").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        become_user(&mut command, &self.account);
        // Waited for by tokio, some time later.
        if let Err(error) = command.spawn() {
            tracing::error!(%error, "nothing kills a worker");
        }
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        self.process.ended()
    }
}
