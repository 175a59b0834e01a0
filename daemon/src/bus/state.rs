//! How the daemon stands on the bus, as people are told.

use std::fmt;

use super::NAME;

/// How the daemon stands on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BusState {
    /// It is not to be there.
    Off,
    /// It tries for the first time.
    Connecting,
    /// It has its name and answers.
    Serves,
    /// Somebody else has its name.
    NameTaken,
    /// There is no bus, or none that answers.
    NotThere {
        /// Why.
        why: String,
    },
}

impl fmt::Display for BusState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::Connecting => formatter.write_str("connecting"),
            Self::Serves => write!(formatter, "{NAME}"),
            Self::NameTaken => {
                write!(
                    formatter,
                    "the name {NAME} is taken by another program (`busctl status {NAME}` shows which, with --user on a session bus); tried \
                     again, once a minute at least"
                )
            }
            Self::NotThere { why } => write!(formatter, "not there ({why}); tried again, once a minute at least"),
        }
    }
}
