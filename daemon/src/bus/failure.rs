//! Why a call was not carried out, as D-Bus says it: a name for programs, a sentence for people.

use std::borrow::Cow;

use kiln_protocol::InvalidJobId;

use super::value::sendable;
use crate::account::AccountError;
use crate::control::ControlError;
use crate::explain::explain;
use crate::jobs::{FollowError, JobsError};

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The error's name.
    pub(super) name: &'static str,
    /// What failed, why, and what to do.
    pub(super) text: String,
}

pub(super) const UNKNOWN_OBJECT: &str = "org.freedesktop.DBus.Error.UnknownObject";
pub(super) const UNKNOWN_INTERFACE: &str = "org.freedesktop.DBus.Error.UnknownInterface";
pub(super) const UNKNOWN_METHOD: &str = "org.freedesktop.DBus.Error.UnknownMethod";
pub(super) const UNKNOWN_PROPERTY: &str = "org.freedesktop.DBus.Error.UnknownProperty";
pub(super) const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";
pub(super) const INVALID_ARGUMENTS: &str = "org.freedesktop.DBus.Error.InvalidArgs";
pub(super) const TOO_MUCH: &str = "org.freedesktop.DBus.Error.LimitsExceeded";
pub(super) const TOO_LATE: &str = "org.freedesktop.DBus.Error.Timeout";
pub(super) const NOT_AUTHORIZED: &str = "org.kiln.Kiln1.Error.NotAuthorized";
pub(super) const NO_SUCH_JOB: &str = "org.kiln.Kiln1.Error.NoSuchJob";
pub(super) const INVALID_STATE: &str = "org.kiln.Kiln1.Error.InvalidState";
pub(super) const INVALID_SUBMISSION: &str = "org.kiln.Kiln1.Error.InvalidSubmission";
pub(super) const CONFLICT: &str = "org.kiln.Kiln1.Error.Conflict";
pub(super) const REFUSED: &str = "org.kiln.Kiln1.Error.Refused";
pub(super) const UNAVAILABLE: &str = "org.kiln.Kiln1.Error.Unavailable";
pub(super) const FAILED: &str = "org.kiln.Kiln1.Error.Failed";

impl Failure {
    pub(super) fn new(name: &'static str, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if let Cow::Owned(without) = sendable(&text) {
            text = without;
        }
        Self { name, text }
    }

    /// An argument that does not fit.
    pub(super) fn argument(text: impl Into<String>) -> Self {
        Self::new(INVALID_ARGUMENTS, text)
    }
}

impl From<JobsError> for Failure {
    fn from(error: JobsError) -> Self {
        let name = match &error {
            JobsError::NoSuchJob(_) => NO_SUCH_JOB,
            JobsError::Over { .. }
            | JobsError::WhichQuestion { .. }
            | JobsError::NotOver { .. }
            | JobsError::NotRunning { .. }
            | JobsError::Holds { .. }
            | JobsError::Keeps { .. } => INVALID_STATE,
            JobsError::Forbidden(_) => NOT_AUTHORIZED,
            // Everybody may ask, also in vain, and the log is not theirs to fill.
            JobsError::Account(AccountError::NoLogin { .. } | AccountError::Unknown { .. }) => NOT_AUTHORIZED,
            JobsError::Invalid(_) => INVALID_SUBMISSION,
            JobsError::KeyReused(_) => CONFLICT,
            JobsError::Quota(_) => TOO_MUCH,
            JobsError::Worker(ControlError::Refused { .. }) => REFUSED,
            JobsError::Stopping | JobsError::Busy { .. } | JobsError::Worker(_) => UNAVAILABLE,
            _ => FAILED,
        };
        let mut text = explain(&error);
        let hint = match &error {
            JobsError::Invalid(invalid) => invalid.hint.clone(),
            JobsError::Quota(quota) => Some(quota.hint()),
            JobsError::Forbidden(forbidden) => forbidden.hint(),
            JobsError::Account(account) => Some(account.hint()),
            _ => None,
        };
        text.extend(hint.map(|hint| format!("; {hint}")));
        if name == FAILED {
            tracing::error!(error = text, "a call on the bus failed");
        }
        Self::new(name, text)
    }
}

impl From<FollowError> for Failure {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Jobs(error) => error.into(),
            other => Self::new(FAILED, explain(&other)),
        }
    }
}

impl From<InvalidJobId> for Failure {
    fn from(error: InvalidJobId) -> Self {
        Self::argument(error.to_string())
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        Self::argument(explain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_is_sent_without_zeros() {
        let refused = ControlError::Refused { reason: "there is no question \"1\0\"".to_owned() };
        let failure = Failure::from(JobsError::Worker(refused));
        assert_eq!((failure.name, failure.text.contains('\0')), (REFUSED, false));
        assert!(failure.text.contains("1\u{fffd}"), "{}", failure.text);
        assert_eq!(Failure::argument("a\0").text, "a\u{fffd}");
    }

    #[test]
    fn an_account_of_a_service_is_told_what_admits_it() {
        let error = AccountError::NoLogin { name: "www-data".to_owned(), shell: "/usr/sbin/nologin".to_owned() };
        let failure = Failure::from(JobsError::Account(error));
        assert_eq!(failure.name, NOT_AUTHORIZED);
        assert!(failure.text.contains("nologin_users"), "{}", failure.text);
        let failure = Failure::from(JobsError::Account(AccountError::Unknown { uid: 61001 }));
        assert_eq!(failure.name, NOT_AUTHORIZED);
        // That is not the caller's doing.
        let nonsense = AccountError::Nonsense { uid: 61001, program: "getent", said: "x".to_owned() };
        assert_eq!(Failure::from(JobsError::Account(nonsense)).name, FAILED);
    }
}
