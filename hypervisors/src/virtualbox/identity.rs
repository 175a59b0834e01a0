//! How the ledger names a machine of VirtualBox, so that a sweep gives back that machine and never another one.

use std::fmt;
use std::path::PathBuf;

/// A machine that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Made by us, with this UUID.
    Made(String),
    /// An import of ours: VirtualBox chooses the UUID, but its settings come to be in this directory of ours, or in this file.
    Importing(PathBuf),
    /// One of others that we work on: what we let run of it is ended, and the snapshot it stood on is restored when there is one and this
    /// process lives.
    Borrowed {
        /// The machine.
        uuid: String,
        /// The snapshot.
        snapshot: Option<String>,
    },
}

const IMPORTING: &str = "import ";
const BORROWED: &str = "borrowed ";

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(uuid) => f.write_str(uuid),
            Self::Importing(settings) => write!(f, "{IMPORTING}{}", settings.display()),
            Self::Borrowed { uuid, snapshot: None } => write!(f, "{BORROWED}{uuid}"),
            Self::Borrowed { uuid, snapshot: Some(snapshot) } => write!(f, "{BORROWED}{uuid} {snapshot}"),
        }
    }
}

impl Identity {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(super) fn parse(id: &str) -> Self {
        if let Some(path) = id.strip_prefix(IMPORTING) {
            return Self::Importing(path.into());
        }
        let Some(borrowed) = id.strip_prefix(BORROWED) else { return Self::Made(id.to_owned()) };
        let (uuid, snapshot) = match borrowed.split_once(' ') {
            Some((uuid, snapshot)) => (uuid, Some(snapshot.to_owned())),
            None => (borrowed, None),
        };
        Self::Borrowed { uuid: uuid.to_owned(), snapshot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        for identity in [
            Identity::Made("1-2".to_owned()),
            Identity::Importing("/a b/c.vbox".into()),
            Identity::Importing("/a b/bü".into()),
            Identity::Borrowed { uuid: "1-2".to_owned(), snapshot: None },
            Identity::Borrowed { uuid: "1-2".to_owned(), snapshot: Some("3-4".to_owned()) },
        ] {
            assert_eq!(Identity::parse(&identity.to_string()), identity);
        }
    }
}
