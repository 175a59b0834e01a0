//! A user as the machine's user database knows one: what a login would find out.
//!
//! The database (passwd, LDAP, …) is asked through getent(1) and id(1) of this machine: what is plugged into it stays out of this process, with
//! its memory and its waiting for servers.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Gid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::as_owner::Owner;

/// Time for an answer; a directory server may be far away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the programs are, whatever this process was started with.
const PROGRAMS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Names of programs that end every login.
const NO_SHELLS: [&str; 2] = ["nologin", "false"];

/// Exit code of getent that says: there is none.
const NOT_FOUND: i32 = 2;

/// Time for which an answer is good: a user who has just submitted a job submits another one, and a worker starts soon after.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// Users who were looked up a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    known: Mutex<HashMap<u32, (Instant, Account)>>,
}

impl Accounts {
    /// [`Account::of`], or what that said less than half a minute ago.
    ///
    /// # Errors
    ///
    /// Nobody has this id, or the database does not answer.
    pub(crate) async fn of(&self, uid: u32) -> Result<Account, AccountError> {
        if let Some(account) = self.known(uid, Instant::now()) {
            return Ok(account);
        }
        let account = Account::of(uid).await?;
        self.lock().insert(uid, (Instant::now(), account.clone()));
        Ok(account)
    }

    fn known(&self, uid: u32, now: Instant) -> Option<Account> {
        let mut known = self.lock();
        known.retain(|_, (asked, _)| now.saturating_duration_since(*asked) < GOOD_FOR);
        known.get(&uid).map(|(_, account)| account.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, (Instant, Account)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// User id and primary group.
    pub(crate) owner: Owner,
    /// All groups.
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: PathBuf,
    pub(crate) shell: String,
}

/// Reports that nothing can be done as a user.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Nobody has this id.
    #[error("user {uid} is not in this machine's user database, so nothing can be run as this user")]
    Unknown {
        /// User id.
        uid: u32,
    },
    /// It is an account that nobody logs in to.
    #[error("user {name} has no login shell ({shell}), and accounts of services do not build here")]
    NoLogin {
        /// The account.
        name: String,
        /// What it has instead.
        shell: String,
    },
    /// The database was not asked.
    #[error("cannot look up user {uid} with {program}")]
    Ask {
        /// User id.
        uid: u32,
        /// Who was to say it.
        program: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database says nothing sensible.
    #[error("{program} says nothing sensible about user {uid}: {said}")]
    Nonsense {
        /// User id.
        uid: u32,
        /// Who said it.
        program: &'static str,
        /// What it said.
        said: String,
    },
}

impl AccountError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { uid } => {
                format!("`getent passwd {uid}` has to find it; a daemon of your own (`kilnd --user`) does without")
            }
            Self::NoLogin { name, .. } => format!(
                "an administrator lets it: `nologin_users = [\"{name}\"]` in /etc/kiln/kiln.toml, and a restart of kilnd; or `chsh`, where somebody \
                 does log in"
            ),
            Self::Ask { uid, .. } | Self::Nonsense { uid, .. } => {
                format!("see what `getent passwd {uid}` and `id -G` say on this machine, and try again")
            }
        }
    }
}

impl Account {
    /// Looks up who has this user id, with all groups.
    ///
    /// # Errors
    ///
    /// Nobody has, or the database does not answer.
    pub(crate) async fn of(uid: u32) -> Result<Self, AccountError> {
        let output = ask("getent", &["passwd", &uid.to_string()], uid).await?;
        if output.status.code() == Some(NOT_FOUND) {
            return Err(AccountError::Unknown { uid });
        }
        let mut account = parse_passwd(&output, uid)?;
        let output = ask("id", &["-G", "--", &account.name], uid).await?;
        account.groups = parse_groups(&output, uid)?;
        Ok(account)
    }
}

impl Account {
    /// Refuses an account that nobody logs in to, as those of services are, unless it is one of `admitted`: what gets hold of such a service
    /// would have a way out of the service's sandbox.
    ///
    /// # Errors
    ///
    /// It is one.
    pub(crate) fn has_login(&self, admitted: &[String]) -> Result<(), AccountError> {
        let shell = Path::new(&self.shell).file_name().and_then(OsStr::to_str).unwrap_or_default();
        if self.owner.uid == 0 || !NO_SHELLS.contains(&shell) || admitted.contains(&self.name) {
            return Ok(());
        }
        Err(AccountError::NoLogin { name: self.name.clone(), shell: self.shell.clone() })
    }
}

async fn ask(program: &'static str, arguments: &[&str], uid: u32) -> Result<Output, AccountError> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PROGRAMS).env("LC_ALL", "C").current_dir("/");
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let asked = timeout(ANSWER_TIMEOUT, output).await;
    let asked = asked.unwrap_or_else(|_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")));
    asked.map_err(|source| AccountError::Ask { uid, program, source })
}

fn parse_passwd(output: &Output, uid: u32) -> Result<Account, AccountError> {
    let text = String::from_utf8_lossy(&output.stdout);
    let fields: Vec<&str> = text.lines().next().unwrap_or_default().split(':').collect();
    let account = match fields[..] {
        [name, _, number, gid, _, home, shell] if output.status.success() && !name.is_empty() => {
            gid.parse().ok().filter(|_| number.parse() == Ok(uid)).map(|gid| Account {
                name: name.to_owned(),
                owner: Owner { uid, gid },
                groups: Vec::new(),
                home: PathBuf::from(home),
                shell: shell.to_owned(),
            })
        }
        _ => None,
    };
    account.ok_or_else(|| nonsense("getent", output, uid))
}

fn parse_groups(output: &Output, uid: u32) -> Result<Vec<Gid>, AccountError> {
    let text = String::from_utf8_lossy(&output.stdout);
    let groups: Option<Vec<_>> = text.split_whitespace().map(|gid| Some(Gid::from_raw(gid.parse().ok()?))).collect();
    groups.filter(|groups| output.status.success() && !groups.is_empty()).ok_or_else(|| nonsense("id", output, uid))
}

fn nonsense(program: &'static str, output: &Output, uid: u32) -> AccountError {
    let text = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let said: String = String::from_utf8_lossy(text).trim().chars().take(200).collect();
    AccountError::Nonsense { uid, program, said: format!("`{said}` ({})", output.status) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::*;

    fn said(stdout: &str) -> Output {
        Output { status: ExitStatus::from_raw(0), stdout: stdout.into(), stderr: Vec::new() }
    }

    #[tokio::test]
    async fn root_is_in_every_database_and_some_ids_are_in_none() {
        let root = Account::of(0).await.unwrap();
        assert_eq!((root.name.as_str(), root.owner), ("root", Owner { uid: 0, gid: 0 }));
        assert!(root.groups.contains(&Gid::ROOT));
        let unknown = Account::of(4_000_000_123).await.unwrap_err();
        assert!(matches!(unknown, AccountError::Unknown { uid: 4_000_000_123 }), "{unknown:?}");
        assert!(unknown.hint().starts_with("`getent passwd 4000000123` has to find it"), "{}", unknown.hint());
    }

    #[tokio::test]
    async fn an_answer_is_good_for_a_while_and_no_longer() {
        let accounts = Accounts::default();
        let root = accounts.of(0).await.unwrap();
        let (asked, _) = accounts.lock()[&0];
        assert_eq!(accounts.known(0, asked + GOOD_FOR / 2), Some(root));
        assert_eq!(accounts.known(0, asked + GOOD_FOR), None);
        assert!(accounts.lock().is_empty(), "nothing is kept of who does nothing");
        accounts.of(4_000_000_123).await.unwrap_err();
        assert!(accounts.lock().is_empty(), "who is not there may come");
    }

    #[test]
    fn accounts_of_services_do_not_build_unless_they_are_named() {
        let account =
            |uid: u32, shell: &str| parse_passwd(&said(&format!("www:x:{uid}:33::/var/www:{shell}\n")), uid).unwrap();
        for shell in ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false"] {
            let refused = account(33, shell).has_login(&["ci".to_owned()]).unwrap_err();
            assert!(refused.to_string().starts_with(&format!("user www has no login shell ({shell})")), "{refused}");
            assert!(refused.hint().contains("nologin_users = [\"www\"]"), "{}", refused.hint());
            assert!(account(33, shell).has_login(&["www".to_owned()]).is_ok());
            assert!(account(0, shell).has_login(&[]).is_ok(), "root may everything");
        }
        // None is /bin/sh: passwd(5).
        for shell in ["/bin/sh", "/usr/bin/zsh", "/opt/false/bash", ""] {
            assert!(account(33, shell).has_login(&[]).is_ok(), "{shell}");
        }
    }

    #[test]
    fn only_the_very_user_is_taken() {
        let account = parse_passwd(&said("a:x:1000:100:A,,,:/home/a:/bin/sh\n"), 1000).unwrap();
        assert_eq!(
            (account.owner.gid, account.home.to_str(), account.shell.as_str()),
            (100, Some("/home/a"), "/bin/sh")
        );
        for text in
            ["", "a:x:1001:100::/home/a:/bin/sh", "a:x:1000:-1::/h:/bin/sh", ":x:1000:1::/h:/s", "a:x:1000:1:/h:/s"]
        {
            assert!(matches!(parse_passwd(&said(text), 1000), Err(AccountError::Nonsense { .. })), "{text}");
        }
        assert_eq!(parse_groups(&said("100 4 27\n"), 1000).unwrap().len(), 3);
        for text in ["", "100 x", "-1"] {
            assert!(parse_groups(&said(text), 1000).is_err(), "{text}");
        }
    }
}
