//! How the ledger names a machine of VirtualBox, so that a sweep gives back that machine and never another one.

use std::fmt;
use std::path::PathBuf;

use crate::process_stat::boot_id;

/// A machine that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// Made by us, with this UUID.
    Made(String),
    /// An import of ours: VirtualBox chooses the UUID, but its settings come to be in this directory, which is ours alone.
    Importing(PathBuf),
    /// One of others that we work on.
    Borrowed(Borrowed),
}

/// A machine of others: what we let run of it is ended, what is ours in it is taken out, and the snapshot it stood on is restored when
/// there is one and this process lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Borrowed {
    /// The machine.
    pub(super) uuid: String,
    /// UUID of the snapshot on which it stood.
    pub(super) snapshot: Option<String>,
    /// It was told to run then, and the process that runs it is not noted yet.
    pub(super) told_to_run: Option<Moment>,
    /// The port of the remote display that it gets.
    pub(super) display: Option<u16>,
    /// The directory in which all media lie that are ours alone.
    pub(super) work: Option<PathBuf>,
}

/// A moment of this or an earlier boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// In clock ticks since boot, as start times of processes.
    pub(super) ticks: u64,
    /// The boot's id.
    pub(super) boot: String,
}

impl Moment {
    /// The moment `ticks` of this boot.
    pub(super) fn of_this_boot(ticks: u64) -> std::io::Result<Self> {
        Ok(Self { ticks, boot: boot_id()? })
    }

    fn parse(text: &str) -> Option<Self> {
        let (ticks, boot) = text.split_once('@')?;
        Some(Self { ticks: ticks.parse().ok()?, boot: boot.to_owned() })
    }
}

const IMPORTING: &str = "import ";
const BORROWED: &str = "borrowed ";
const TOLD_TO_RUN: &str = "since=";
const DISPLAY: &str = "display=";
const WORK: &str = " in=";

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(uuid) => f.write_str(uuid),
            Self::Importing(directory) => write!(f, "{IMPORTING}{}", directory.display()),
            Self::Borrowed(Borrowed { uuid, snapshot, told_to_run, display, work }) => {
                write!(f, "{BORROWED}{uuid}")?;
                if let Some(snapshot) = snapshot {
                    write!(f, " {snapshot}")?;
                }
                if let Some(Moment { ticks, boot }) = told_to_run {
                    write!(f, " {TOLD_TO_RUN}{ticks}@{boot}")?;
                }
                if let Some(port) = display {
                    write!(f, " {DISPLAY}{port}")?;
                }
                // Last, for it may have blanks.
                work.as_ref().map_or(Ok(()), |work| write!(f, "{WORK}{}", work.display()))
            }
        }
    }
}

impl Identity {
    /// Reads what [`Display`](fmt::Display) writes, and what earlier versions wrote.
    pub(super) fn parse(id: &str) -> Self {
        if let Some(path) = id.strip_prefix(IMPORTING) {
            return Self::Importing(path.into());
        }
        let Some(borrowed) = id.strip_prefix(BORROWED) else { return Self::Made(id.to_owned()) };
        let (words, work) = match borrowed.split_once(WORK) {
            Some((words, work)) => (words, Some(PathBuf::from(work))),
            None => (borrowed, None),
        };
        let mut words = words.split(' ');
        let mut borrowed = Borrowed { uuid: words.next().unwrap_or_default().to_owned(), work, ..Borrowed::default() };
        for word in words {
            if let Some(moment) = word.strip_prefix(TOLD_TO_RUN) {
                borrowed.told_to_run = Moment::parse(moment);
            } else if let Some(port) = word.strip_prefix(DISPLAY) {
                borrowed.display = port.parse().ok();
            } else {
                borrowed.snapshot = Some(word.to_owned());
            }
        }
        Self::Borrowed(borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back() {
        let uuid = || "1-2".to_owned();
        let told_to_run = || Some(Moment { ticks: 77, boot: "b-1".to_owned() });
        for identity in [
            Identity::Made(uuid()),
            Identity::Importing("/a b/bü".into()),
            Identity::Borrowed(Borrowed { uuid: uuid(), ..Borrowed::default() }),
            Identity::Borrowed(Borrowed { uuid: uuid(), work: Some("/a in=b c".into()), ..Borrowed::default() }),
            Identity::Borrowed(Borrowed { uuid: uuid(), told_to_run: told_to_run(), ..Borrowed::default() }),
            Identity::Borrowed(Borrowed {
                uuid: uuid(),
                snapshot: Some("3-4".to_owned()),
                told_to_run: told_to_run(),
                display: Some(5900),
                work: Some("/w".into()),
            }),
        ] {
            assert_eq!(Identity::parse(&identity.to_string()), identity);
        }
        // As earlier versions wrote it.
        let snapshot = Some("3-4".to_owned());
        assert_eq!(
            Identity::parse("borrowed 1-2 3-4"),
            Identity::Borrowed(Borrowed { uuid: uuid(), snapshot, ..Borrowed::default() })
        );
    }
}
