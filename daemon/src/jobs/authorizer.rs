//! Who may do what with jobs: asked by every method of [`Jobs`](super::Jobs), so that no way to them can leave it out.

use std::fmt;

use crate::caller::Caller;
use crate::config::Mode;
use crate::polkit::{Answer, Polkit};

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
    /// See the one job that was asked for.
    SeeOne,
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
    /// polkit does not let it.
    #[error("user {uid} may not {action}: polkit {why} ({policy})")]
    ByPolicy {
        /// What was asked for.
        action: Action,
        /// Who asked.
        uid: u32,
        /// polkit's name for it.
        policy: &'static str,
        /// What polkit says.
        why: String,
        /// What would do.
        remedy: Remedy,
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

/// What helps against a refusal by polkit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A password, for which nobody could be asked.
    Password,
    /// A password that was asked for, or another rule.
    AskAgain,
    /// Another rule; to ask again gives the same answer.
    Rule,
    /// The bus of the system, without which nobody can be asked; `pkcheck` cannot either.
    Bus,
    /// polkit, which is to answer.
    Polkit,
    /// Kiln's actions, which polkit does not know.
    PolicyFile,
}

impl Action {
    /// Whether a person may be asked for a password for it, where it is about a job of another. Programs on a bus look at every job that there
    /// is, one after the other, and say with each call that a person may be asked (`busctl` does).
    fn is_worth_a_password(self) -> bool {
        self != Self::See
    }
}

impl Forbidden {
    /// Whether a password would do, and nobody could be asked for one.
    #[must_use]
    pub fn needs_authentication(&self) -> bool {
        matches!(self, Self::ByPolicy { remedy: Remedy::Password, .. })
    }

    /// Returns what to do about it, where polkit is to be spoken with.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let Self::ByPolicy { policy, remedy, .. } = self else { return None };
        Some(match remedy {
            Remedy::Password | Remedy::AskAgain => format!(
                "`pkcheck --action-id {policy} --process $$ --allow-user-interaction` tries it; a rule in /etc/polkit-1/rules.d allows it, or root does it"
            ),
            Remedy::Rule => {
                "a rule of this machine says so, below /etc/polkit-1 or /usr/share/polkit-1: its administrator can change it, or root does it".to_owned()
            }
            Remedy::Bus => {
                "`systemctl status dbus` says what is wrong with it; once it is there again, the same command works".to_owned()
            }
            Remedy::PolicyFile => {
                "put the file there: the package installs it (`apt install --reinstall kiln`), the tarball has it in share/doc/kiln/system and the sources in systemd/polkit; polkit takes it by itself, so try again then".to_owned()
            }
            Remedy::Polkit => {
                "`systemctl status polkit` says what is wrong with it; `kilnd` asks it anew each time, so try again then".to_owned()
            }
        })
    }
}

/// Decides what callers may do.
///
/// | mode | who | may |
/// |---|---|---|
/// | user | the owner | everything |
/// | user | others, root too | nothing |
/// | system | everybody | submit, and everything with jobs of their own; jobs of others are not there. polkit may forbid and allow more |
/// | system | root | everything |
///
/// Both questions may wait: polkit for somebody who has to type a password. What is to be done has its final form before, and is owned by
/// who asks: nothing that comes later can change it.
#[derive(Clone, Debug)]
pub(crate) struct Authorizer {
    mode: Mode,
    owner: u32,
    polkit: Option<Polkit>,
}

/// Actions of polkit, as `systemd/polkit/org.kiln.Kiln1.policy` has them.
const BUILD: &str = "org.kiln.Kiln1.build";
const BUILD_UNCONFINED: &str = "org.kiln.Kiln1.build-unconfined";
const CONSOLE: &str = "org.kiln.Kiln1.console";
const MANAGE_OTHERS: &str = "org.kiln.Kiln1.manage-others";
const CONFIGURE: &str = "org.kiln.Kiln1.configure";

impl Authorizer {
    /// Decides for a daemon of this mode and owner; polkit is asked for one of all users.
    pub(crate) fn new(mode: Mode, owner: u32, polkit: Option<Polkit>) -> Self {
        Self { mode, owner, polkit: polkit.filter(|_| mode == Mode::System) }
    }

    /// Lets the caller do it with this daemon, or with whichever jobs are the caller's; or says why not.
    pub(crate) async fn check(&self, caller: &Caller, action: Action) -> Result<(), Forbidden> {
        let (uid, pid) = (caller.uid(), caller.pid());
        let forbidden = match (self.mode, action) {
            (Mode::User, _) if uid != self.owner => Forbidden::Stranger { owner: self.owner, uid },
            (Mode::User, _) => return Ok(()),
            (Mode::System, _) if uid == ROOT => return Ok(()),
            (Mode::System, Action::Submit) => return self.check_policy(caller, action, BUILD).await,
            (Mode::System, Action::SeeScreen) => return self.check_policy(caller, action, CONSOLE).await,
            (Mode::System, Action::Stop) => match self.ask(caller, CONFIGURE, action, None).await {
                Answer::NotThere => Forbidden::OnlyRoot { action, uid },
                answer => return allow(caller, action, CONFIGURE, answer),
            },
            (Mode::System, _) => return Ok(()),
        };
        // No louder: whoever may connect must not be able to fill the log.
        tracing::debug!(uid, pid, %action, "a caller was refused");
        Err(forbidden)
    }

    /// Whether jobs of the caller are confined to their guests: polkit does not let them run programs of this machine, or give hypervisors
    /// options as they like. Anybody may where there is no polkit: a job has its user's rights and no others.
    pub(crate) async fn confines(&self, caller: &Caller) -> bool {
        if self.mode == Mode::User || caller.uid() == ROOT {
            return false;
        }
        // A person is asked where that may change something, and not for what is allowed or forbidden anyway.
        let quiet = caller.asking(false);
        let mut answer = self.ask(&quiet, BUILD_UNCONFINED, Action::Submit, None).await;
        if answer == Answer::NeedsAuthentication && caller.is_interactive() {
            answer = self.ask(caller, BUILD_UNCONFINED, Action::Submit, None).await;
        }
        !matches!(answer, Answer::Yes | Answer::NotThere)
    }

    /// Lets the caller do what everybody may where polkit does not say otherwise.
    async fn check_policy(&self, caller: &Caller, action: Action, policy: &'static str) -> Result<(), Forbidden> {
        match self.ask(caller, policy, action, None).await {
            Answer::NotThere => Ok(()),
            answer => allow(caller, action, policy, answer),
        }
    }

    async fn ask(&self, caller: &Caller, policy: &'static str, action: Action, job_owner: Option<u32>) -> Answer {
        let Some(polkit) = &self.polkit else { return Answer::NotThere };
        let mut details = vec![("action", action.to_string())];
        details.extend(job_owner.map(|owner| ("owner", owner.to_string())));
        polkit.ask(caller, policy, details).await
    }

    /// Whether the caller may do it with a job of this user. For who may not, there is no such job. To be asked after [`check`](Self::check).
    /// Nobody is asked for a password for a look that may be one of many.
    pub(crate) async fn may_with_job_of(&self, caller: &Caller, action: Action, job_owner: u32) -> bool {
        let asking = caller.asking(caller.is_interactive() && action.is_worth_a_password());
        let may = self.owns(caller, job_owner)
            || self.ask(&asking, MANAGE_OTHERS, action, Some(job_owner)).await == Answer::Yes;
        if !may {
            let (uid, pid) = (caller.uid(), caller.pid());
            tracing::debug!(uid, pid, %action, job_owner, "a caller named a job of another user");
        }
        may
    }

    /// Whose jobs the caller sees in lists; nothing: everybody's. Nobody is asked for a password for a list.
    pub(crate) async fn horizon(&self, caller: &Caller) -> Option<u32> {
        let uid = caller.uid();
        if self.mode == Mode::User || uid == ROOT {
            return None;
        }
        let quiet = caller.asking(false);
        let everything = self.ask(&quiet, MANAGE_OTHERS, Action::See, None).await == Answer::Yes;
        (!everything).then_some(uid)
    }

    /// Whether the jobs of this user are the caller's, for this daemon.
    pub(crate) fn owns(&self, caller: &Caller, job_owner: u32) -> bool {
        self.mode == Mode::User || caller.uid() == ROOT || caller.uid() == job_owner
    }
}

/// Makes of polkit's answer what the caller hears.
fn allow(caller: &Caller, action: Action, policy: &'static str, answer: Answer) -> Result<(), Forbidden> {
    let (remedy, why) = match answer {
        Answer::Yes => return Ok(()),
        Answer::No => (Remedy::Rule, "does not allow it".to_owned()),
        Answer::NeedsAuthentication => {
            let why =
                "wants a password for it, and nobody could be asked: no agent runs where you are, or none was wanted";
            (Remedy::Password, why.to_owned())
        }
        Answer::Dismissed => (Remedy::AskAgain, "wanted a password for it and did not get one".to_owned()),
        Answer::NotThere => (Remedy::Polkit, "is not there".to_owned()),
        Answer::Unregistered => {
            let why = "knows nothing of Kiln: org.kiln.Kiln1.policy is not in /usr/share/polkit-1/actions";
            (Remedy::PolicyFile, why.to_owned())
        }
        Answer::BusAway(why) => (Remedy::Bus, format!("cannot be asked ({why})")),
        Answer::Failed(why) => (Remedy::Polkit, format!("does not answer ({why})")),
    };
    let (uid, pid) = (caller.uid(), caller.pid());
    tracing::debug!(uid, pid, %action, policy, why, "a caller was refused by polkit");
    Err(Forbidden::ByPolicy { action, uid, policy, why, remedy })
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::Submit => "submit",
            // One and the same to rules.
            Self::See | Self::SeeOne => "see",
            Self::ReadEvents => "read events",
            Self::Cancel => "cancel",
            Self::Answer => "answer",
            Self::SeeScreen => "see screen",
            Self::Remove => "remove",
            Self::Stop => "stop the daemon",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_of_a_refusal_is_one_that_helps() {
        let refused = |answer| allow(&Caller::with_uid(61001), Action::Submit, BUILD, answer).unwrap_err();
        let away = refused(Answer::BusAway("the bus of the system is not there just now: gone".to_owned()));
        assert!(away.to_string().contains("polkit cannot be asked (the bus of the system is not there"), "{away}");
        for (answer, words) in [
            (Answer::BusAway(String::new()), "systemctl status dbus"),
            (Answer::Failed(String::new()), "systemctl status polkit"),
            (Answer::Unregistered, "the package installs it"),
            (Answer::No, "a rule of this machine says so"),
            (Answer::NeedsAuthentication, "pkcheck --action-id org.kiln.Kiln1.build "),
            (Answer::Dismissed, "pkcheck --action-id org.kiln.Kiln1.build "),
        ] {
            let (refusal, may_try) = (refused(answer.clone()), words.starts_with("pkcheck"));
            let hint = refusal.hint().unwrap();
            assert!(hint.contains(words) && hint.contains("pkcheck") == may_try, "{answer:?}: {hint}");
            assert_eq!(refusal.needs_authentication(), answer == Answer::NeedsAuthentication);
        }
    }

    #[test]
    fn a_look_at_all_is_not_worth_a_password() {
        assert!(!Action::See.is_worth_a_password());
        for action in
            [Action::SeeOne, Action::Cancel, Action::Answer, Action::SeeScreen, Action::Remove, Action::ReadEvents]
        {
            assert!(action.is_worth_a_password(), "{action}");
        }
    }
}
