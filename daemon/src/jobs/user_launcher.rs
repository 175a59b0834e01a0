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

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kiln_protocol::JobSubmission;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Uid, getegid, geteuid, getgid, getuid, setsid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use tokio::process::Command;

use super::launcher::{After, Exit, HYPERVISORS, JobProcess, LaunchError, Launched, Launcher, Look};
use super::login_environment::login_environment;
use super::spawn::{Process, ProcessLauncher};
use crate::account::{Account, AccountError, Accounts};
use crate::as_owner::Owner;
use crate::blocking::blocking;
use crate::job_dir::JobDir;
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;
use crate::subordinates;

/// Starts workers as their users.
#[derive(Debug)]
pub(super) struct UserLauncher {
    processes: ProcessLauncher,
    /// Where each user has a directory of downloads.
    cache: PathBuf,
    accounts: Accounts,
    /// Accounts that nobody logs in to, and that may submit jobs all the same.
    nologin_users: Vec<String>,
}

impl UserLauncher {
    pub(super) fn new(processes: ProcessLauncher, cache: PathBuf) -> Self {
        Self { processes, cache, accounts: Accounts::default(), nologin_users: Vec::new() }
    }

    /// Lets these accounts submit jobs, too, though nobody logs in to them.
    pub(super) fn admitting(self, nologin_users: Vec<String>) -> Self {
        Self { nologin_users, ..self }
    }

    /// Makes ready what a worker of the owner of the job needs; returns who that is, and the worker's environment.
    pub(super) async fn prepare(
        &self,
        directory: &JobDir,
        submission: Option<&JobSubmission>,
    ) -> Result<(Account, BTreeMap<String, String>), LaunchError> {
        let (root, runtime) = (directory.root.clone(), directory.clone());
        let prepare = |source| LaunchError::Prepare { path: directory.root.clone(), source };
        let owner = blocking(move || Owner::of(&root)).await.map_err(prepare)?;
        let account = self.accounts.of(owner.uid).await?;
        let (owner, cache) = (account.owner, self.cache.join(owner.uid.to_string()));
        let made = cache.clone();
        blocking(move || runtime.create_runtime_for(owner).map(|()| make_cache(&made, owner)))
            .await?
            .map_err(|source| LaunchError::Prepare { path: cache.clone(), source })?;
        let environment = submission.map(|submission| submission.environment.clone()).unwrap_or_default();
        let environment = login_environment(environment, &account, &cache);
        Ok((account, environment))
    }

    /// Makes a command that will run as the owner of the job.
    async fn command(
        &self,
        directory: &JobDir,
        submission: Option<&JobSubmission>,
    ) -> Result<(Command, Owner), LaunchError> {
        let (account, environment) = self.prepare(directory, submission).await?;
        let mut command = self.processes.command(directory).await?;
        command.env_clear().envs(environment).current_dir("/");
        become_user(&mut command, &account);
        Ok((command, account.owner))
    }

    fn start(&self, command: Command, owner: Owner) -> Launched {
        let process = self.processes.start(command)?;
        Ok(Box::new(UserProcess { process, uid: owner.uid }))
    }

    /// Returns the account of this id, if it may log in; it counts as itself from then on.
    async fn person(&self, uid: u32) -> Result<Account, AccountError> {
        let account = self.accounts.of(uid).await?;
        account.has_login(&self.nologin_users)?;
        subordinates::note_account(uid);
        Ok(account)
    }

    /// Returns who this is, and the environment of a process that no client has asked for.
    pub(super) async fn plainly(&self, uid: u32) -> Result<(Account, BTreeMap<String, String>), LaunchError> {
        // The sandbox of an account's service is not to be left by a question either.
        let account = self.person(uid).await?;
        let cache = self.cache.join(uid.to_string());
        let environment = login_environment(BTreeMap::new(), &account, &cache);
        Ok((account, environment))
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
        Box::pin(async move { Ok(Some(self.person(uid).await?.owner)) })
    }

    fn worker<'a>(&'a self, directory: &'a JobDir, submission: &'a JobSubmission) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let (command, owner) = self.command(directory, Some(submission)).await?;
            self.start(command, owner)
        })
    }

    fn after<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        what: After<'a>,
    ) -> BoxFuture<'a, Launched> {
        Box::pin(async move {
            let (mut command, owner) = self.command(directory, submission).await?;
            command.args(what.arguments());
            self.start(command, owner)
        })
    }

    fn look(&self, uid: u32) -> BoxFuture<'_, Result<Option<Look>, LaunchError>> {
        Box::pin(async move {
            let (account, environment) = self.plainly(uid).await?;
            let (said, says) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| LaunchError::Watch(error.into()))?;
            let mut command = self.processes.program();
            command.arg(HYPERVISORS).env_clear().envs(environment).current_dir("/");
            command.stdin(Stdio::null()).stdout(says).stderr(Stdio::null());
            become_user(&mut command, &account);
            Ok(Some(Look { process: self.start(command, account.owner)?, said }))
        })
    }

    /// Who the worker is, its user may have written: whichever process of that user it names, it is the user's to wait for and to kill.
    fn adopt(
        &self,
        _: &JobDir,
        owner: u32,
        identity: &ProcessIdentity,
    ) -> Result<Option<Box<dyn JobProcess>>, LaunchError> {
        let Some(process) = Process::found(identity)? else { return Ok(None) };
        // Asked once it is held fast: it is no other than the one that is watched.
        if !identity.is_of(owner) {
            return Ok(None);
        }
        Ok(Some(Box::new(UserProcess { process, uid: owner })))
    }
}

/// A process of a user.
struct UserProcess {
    process: Process,
    uid: u32,
}

impl JobProcess for UserProcess {
    fn identity(&self) -> &ProcessIdentity {
        self.process.identity()
    }

    /// Kills it with root's right, whatever it has become meanwhile, and with it every process of its session that is its user's alone: its
    /// user could keep a process of the user's from doing so.
    ///
    /// Users can end the setuid programs that they start by other means (`RLIMIT_CPU`), so that this is no new right of theirs. Such a program
    /// beside the worker is left alone all the same.
    fn kill(&self) {
        let (identity, uid) = (self.identity().clone(), self.uid);
        if let Err(error) = self.process.kill_alone() {
            tracing::error!(pid = identity.pid, uid, %error, "a worker cannot be killed: its job goes on until it ends by itself");
        }
        // Nobody waits: what is left over is a matter of the sweeper, and of the log.
        tokio::task::spawn_blocking(move || match identity.kill_session(uid) {
            0 => {}
            left => {
                tracing::warn!(pid = identity.pid, uid, left, "processes of a killed worker's session are left over");
            }
        });
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        self.process.ended()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::as_owner::is_missing_root;

    const ALICE: u32 = 61001;
    const BOB: u32 = 61002;

    /// Each step of the change takes away something that is there before it.
    #[test]
    fn a_process_that_has_become_a_user_has_nothing_of_roots_left() {
        if is_missing_root() {
            return;
        }
        let groups = [ALICE, 61100].map(Gid::from_raw).to_vec();
        let account = Account {
            name: "kiln-alice".to_owned(),
            owner: Owner { uid: ALICE, gid: ALICE },
            groups: groups.clone(),
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdin(Stdio::null());
        become_user(&mut command, &account);
        // A thread of its own: what it has its child has, and nobody else.
        let started = std::thread::spawn(move || {
            set_thread_groups(&[Gid::from_raw(4242), Gid::ROOT]).unwrap();
            let own = capabilities(None::<Pid>).unwrap();
            // A daemon may have been given some that outlive an exec.
            set_capabilities(None::<Pid>, CapabilitySets { inheritable: own.permitted, ..own }).unwrap();
            command.as_std_mut().output().unwrap()
        });
        let output = started.join().unwrap();
        let status = String::from_utf8(output.stdout).unwrap();
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("cat has run");
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let ids = vec![ALICE.to_string(); 4];
        assert_eq!((line("Uid:"), line("Gid:")), (ids.clone(), ids));
        assert_eq!(line("Groups:"), groups.iter().map(|group| group.as_raw().to_string()).collect::<Vec<_>>());
        assert_eq!(line("NSsid:"), line("NSpid:"), "it leads a session");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(set), ["0000000000000000"], "{set}");
        }
    }

    /// What a user writes into `worker.json` leads to processes of that user and to no others.
    #[tokio::test]
    async fn a_forged_identity_leads_to_no_process_of_another() {
        if is_missing_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        // Also while its user has mounted something on the job's directory, which does not tell then whose it is.
        let directory = JobDir { root: "/proc".into(), runtime: "/proc".into() };
        let launcher = UserLauncher::new(ProcessLauncher::new("/bin/true".into()), scratch.path().to_owned());
        let sleep_as = |uid: u32| {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={uid}")).args(["--clear-groups", "sleep", "1000"]).kill_on_drop(true);
            command.stdin(Stdio::null()).spawn().unwrap()
        };
        let sleepers = [sleep_as(ALICE), sleep_as(BOB)];
        let mut found = Vec::new();
        for (sleeper, uid) in sleepers.iter().zip([ALICE, BOB]) {
            let identity = ProcessIdentity::of(sleeper.id().unwrap()).unwrap();
            let becomes = async {
                while !identity.is_of(uid) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), becomes).await.expect("setpriv has done its part");
            found.push(launcher.adopt(&directory, BOB, &identity).unwrap().is_some());
        }
        assert_eq!(found, [false, true]);
        for identity in [1, std::process::id()].map(|pid| ProcessIdentity::of(pid).unwrap()) {
            assert!(launcher.adopt(&directory, BOB, &identity).unwrap().is_none(), "{identity:?}");
        }
    }

    /// A worker that has become a setuid program, as its user can have it: the user may not signal it.
    #[tokio::test]
    async fn root_ends_what_the_user_may_not_and_the_users_processes_of_its_session() {
        if is_missing_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let pid = scratch.path().join("pid");
        let script = "setpriv --reuid=61002 --clear-groups sleep 1000 & echo $! > \"$1.new\"; mv \"$1.new\" \"$1\"; exec sleep 1000";
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", script, "sh"]).arg(&pid).stdin(Stdio::null());
        let process = ProcessLauncher::new("/bin/true".into()).start(command).unwrap();
        let mut process = UserProcess { process, uid: BOB };
        let patience = Duration::from_secs(60);
        let found = async {
            loop {
                let text = std::fs::read_to_string(&pid).unwrap_or_default();
                // It is the user's from the moment of its exec on.
                if let Some(other) = text.trim().parse().ok().and_then(|pid| ProcessIdentity::of(pid).ok())
                    && other.is_of(BOB)
                {
                    return other;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let other = tokio::time::timeout(patience, found).await.expect("it has started");
        process.kill();
        let exit = tokio::time::timeout(patience, process.ended()).await.expect("it ends");
        assert_eq!(exit.cause(), "the worker was killed (SIGKILL: by hand, or because memory ran out)");
        if let Some(mut other) = Process::found(&other).unwrap() {
            tokio::time::timeout(patience, other.ended()).await.expect("so does what it has started");
        }
    }
}
