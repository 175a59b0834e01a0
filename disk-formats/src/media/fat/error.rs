//! Why a floppy image cannot be made.

use std::io;

use super::super::source::SourceError;

/// Why a floppy image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FloppyError {
    /// The label does not fit into a volume label.
    #[error("{label:?} cannot be a floppy label: {reason}")]
    Label {
        /// The label.
        label: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// FAT cannot store a name.
    #[error("`{path}` cannot be put on a floppy: {reason}")]
    Name {
        /// Path on the floppy.
        path: String,
        /// Which rule the name breaks.
        reason: &'static str,
    },
    /// Two names differ only in case, which FAT does not tell apart.
    #[error("`{first}` and `{second}` are the same name on a floppy, which ignores case")]
    CaseCollision {
        /// Path of one.
        first: String,
        /// Path of the other.
        second: String,
    },
    /// The root directory has 224 places; long names take several.
    #[error(
        "the root directory of a floppy has room for {available} entries, but {needed} are needed (long names take several)"
    )]
    RootFull {
        /// Directory entries needed, with the label and the parts of long names.
        needed: usize,
        /// Directory entries there are.
        available: usize,
    },
    /// The content is larger than the floppy.
    #[error(
        "the floppy is too small by {excess} bytes: `{path}` is the first file that does not fit into {capacity} bytes"
    )]
    Full {
        /// Path on the floppy of the first file (or directory) that does not fit.
        path: String,
        /// Bytes, in whole clusters, by which everything together is too large.
        excess: u64,
        /// Bytes there are for files and directories.
        capacity: u64,
    },
    /// The content of a file cannot be had.
    #[error("cannot put `{path}` on the floppy")]
    Source {
        /// Path on the floppy.
        path: String,
        /// Why not.
        source: SourceError,
    },
    /// The image cannot be written.
    #[error("cannot write the floppy image")]
    Write(#[source] io::Error),
}

impl FloppyError {
    /// Returns what the user can do about it, where there is something.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => Some("put large files on a CD with cd_files, or serve them with http_directory"),
            Self::RootFull { .. } => Some("put files into a directory with floppy_dirs, or on a CD with cd_files"),
            Self::Name { .. } | Self::CaseCollision { .. } => Some("a CD (cd_files) can hold such names"),
            Self::Label { .. } | Self::Source { .. } | Self::Write(_) => None,
        }
    }
}
