//! Who may do what with jobs: asked by every method of [`Jobs`](super::Jobs), so that no way to them can leave it out.

use std::fmt;

use crate::caller::Caller;
use crate::config::Mode;

/// Who may everything on a machine.
const ROOT: u32 = 0;

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Speak to this daemon at all.
    Connect,
    /// Submit a job.
    Submit,
    /// See jobs, or how many there are.
    See,
    /// Read what a job says.
    ReadEvents,
    /// Cancel a job.
    Cancel,
    /// Answer a question of a job.
    Answer,
    /// See the screen of a guest.
    SeeScreen,
    /// Remove a job that is over.
    Remove,
    /// Stop this daemon.
    Stop,
}

/// Reports that a caller may not do what it wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// This daemon is somebody else's.
    #[error("this daemon serves user {owner} only, and you are user {uid}")]
    Stranger {
        /// Who is served.
        owner: u32,
        /// Who asked.
        uid: u32,
    },
    /// It is the administrator's to do.
    #[error("only root may {action} for all users of this machine, and you are user {uid}")]
    OnlyRoot {
        /// What was asked for.
        action: Action,
        /// Who asked.
        uid: u32,
    },
}

/// Decides what callers may do.
///
/// | mode | who | may |
/// |---|---|---|
/// | user | the owner | everything |
/// | user | others, root too | nothing |
/// | system | everybody | submit, and everything with jobs of their own; jobs of others are not there |
/// | system | root | everything |
///
/// Both questions may wait: for somebody who has to be asked, as polkit does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Authorizer {
    mode: Mode,
    owner: u32,
}

impl Authorizer {
    /// Decides for a daemon of this mode and owner.
    pub(crate) fn new(mode: Mode, owner: u32) -> Self {
        Self { mode, owner }
    }

    /// Lets the caller do it with this daemon, or with whichever jobs are the caller's; or says why not.
    pub(crate) async fn check(&self, caller: &Caller, action: Action) -> Result<(), Forbidden> {
        let (uid, pid) = (caller.uid(), caller.pid());
        let forbidden = match self.mode {
            Mode::User if uid != self.owner => Forbidden::Stranger { owner: self.owner, uid },
            Mode::System if action == Action::Stop && uid != ROOT => Forbidden::OnlyRoot { action, uid },
            Mode::User | Mode::System => return Ok(()),
        };
        // No louder: whoever may connect must not be able to fill the log.
        tracing::debug!(uid, pid, %action, "a caller was refused");
        Err(forbidden)
    }

    /// Whether the caller may do it with a job of this user. For who may not, there is no such job. To be asked after [`check`](Self::check).
    pub(crate) async fn may_with_job_of(&self, caller: &Caller, action: Action, job_owner: u32) -> bool {
        let may = self.sees_jobs_of(caller, job_owner);
        if !may {
            let (uid, pid) = (caller.uid(), caller.pid());
            tracing::debug!(uid, pid, %action, job_owner, "a caller named a job of another user");
        }
        may
    }

    /// Whose jobs the caller sees; nothing: everybody's.
    pub(crate) fn horizon(&self, caller: &Caller) -> Option<u32> {
        let everything = self.mode == Mode::User || caller.uid() == ROOT;
        (!everything).then(|| caller.uid())
    }

    /// Whether the jobs of this user are among those that the caller sees.
    pub(crate) fn sees_jobs_of(&self, caller: &Caller, job_owner: u32) -> bool {
        self.horizon(caller).is_none_or(|uid| uid == job_owner)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::Submit => "submit",
            Self::See => "see",
            Self::ReadEvents => "read events",
            Self::Cancel => "cancel",
            Self::Answer => "answer",
            Self::SeeScreen => "see screen",
            Self::Remove => "remove",
            Self::Stop => "stop the daemon",
        })
    }
}
