//! Why the journal cannot be used.

use std::io;
use std::path::PathBuf;

/// Reports that the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened, not even a new one.
    #[error("cannot open the journal {path}")]
    Open {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A damaged one cannot be moved aside.
    #[error("the journal {path} is damaged and cannot be moved aside")]
    MoveAside {
        /// The database.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It was written by a newer kilnd.
    #[error("the journal {path} has version {found}, this kilnd knows versions up to {known}")]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest known version.
        known: u32,
    },
    /// A read or a write failed.
    #[error("the journal failed")]
    Sql {
        /// What SQLite said.
        #[from]
        source: rusqlite::Error,
    },
    /// A value in it is none that this kilnd writes.
    #[error("the journal holds `{value}` as {what}")]
    Unexpected {
        /// What it stands for.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The journal's thread cannot be started, or is gone.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// Returns what to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TooNew { path, .. } => {
                let (directory, path) = (path.parent().unwrap_or(path).display(), path.display());
                // What SQLite keeps beside it belongs to it, and must not be taken for the next one's.
                let aside = format!("`mkdir -p '{directory}/newer' && mv '{path}'* '{directory}/newer'`");
                Some(format!(
                    "use the kilnd that wrote it; or {aside}, and the jobs are taken in again from their directories"
                ))
            }
            Self::Open { path, .. } | Self::MoveAside { path, .. } => {
                let directory = path.parent().unwrap_or(path).display();
                Some(format!("see whether {directory} can be written and has room; XDG_STATE_HOME names another place"))
            }
            Self::Sql { .. } | Self::Unexpected { .. } | Self::Closed => None,
        }
    }
}
