//! Who may do what with jobs: asked by every method of [`Jobs`](super::Jobs), so that no way to them can leave it out.

use std::fmt;

use crate::caller::Caller;
use crate::config::Mode;

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
#[error("this daemon serves user {owner} only, and you are user {uid}")]
pub struct Forbidden {
    /// Who is served.
    pub owner: u32,
    /// Who asked.
    pub uid: u32,
}

/// Decides what callers may do.
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

    /// Lets the caller do it, or says why not.
    pub(crate) fn check(&self, caller: &Caller, action: Action) -> Result<(), Forbidden> {
        match self.mode {
            Mode::User if caller.uid() == self.owner => Ok(()),
            Mode::User => {
                let (uid, pid) = (caller.uid(), caller.pid());
                tracing::warn!(uid, pid, %action, "a stranger was refused");
                Err(Forbidden { owner: self.owner, uid })
            }
        }
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
            Self::Stop => "stop",
        })
    }
}
