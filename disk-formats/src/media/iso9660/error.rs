//! Why a CD image cannot be made.

use std::io;

use super::super::source::SourceError;
use super::layout::MAX_DIRECTORIES;

/// Why a CD image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// The label does not fit into a volume label.
    #[error("{label:?} cannot be a CD label: {reason}")]
    Label {
        /// The label.
        label: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Path tables number directories with 16 bits.
    #[error("a CD can have {MAX_DIRECTORIES} directories, but {count} are needed")]
    TooManyDirectories {
        /// Directories needed.
        count: usize,
    },
    /// Sectors are numbered with 32 bits: 8 TiB.
    #[error("{bytes} bytes are more than a CD image can hold")]
    TooLarge {
        /// Bytes needed.
        bytes: u64,
    },
    /// The content of a file cannot be had.
    #[error("cannot put `{path}` on the CD")]
    Source {
        /// Path on the CD.
        path: String,
        /// Why not.
        source: SourceError,
    },
    /// The image cannot be written.
    #[error("cannot write the CD image")]
    Write(#[source] io::Error),
}

impl IsoError {
    /// Returns what the user can do about it, where there is something.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooManyDirectories { .. } => Some("pack the directories into an archive and put that on the CD"),
            Self::Label { .. } | Self::TooLarge { .. } | Self::Source { .. } | Self::Write(_) => None,
        }
    }
}
