//! What opening an image is allowed to do: which other files, how large a disk, which snapshot, which disk of an archive.

use std::path::PathBuf;

use crate::format::Format;

/// Says whether an image may pull in the files that it names (backing file, parent, extents).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BackingPolicy {
    /// No other file is opened; an image that needs one is refused.
    #[default]
    Deny,
    /// Regular files below these directories may be opened, after resolving symbolic links.
    Allow(Vec<PathBuf>),
    /// Any regular file that this process can read may be opened. For images this user's own tools made.
    AllowAny,
}

/// What opening an image is allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenPolicy {
    /// Files that the image names.
    pub backing: BackingPolicy,
    /// Largest guest disk in bytes that is accepted.
    pub max_virtual_size: u64,
    /// Most bytes that an image packed with gzip, xz, bzip2 or zstd may unpack to.
    pub max_unpacked_size: u64,
    /// Which internal snapshot is read instead of the present state, by id or name; only qcow2 has any.
    pub snapshot: Option<String>,
    /// The images below a disk that holds only what differs, the nearest first, where its maker alone knows them (VirtualBox). They are opened
    /// whatever `backing` says; no other image's own name for what is below it is heeded then.
    pub parents: Vec<(PathBuf, Format)>,
    /// Which disk of an archive (OVA) is meant, by the name of its file there. Without it an archive of several is refused.
    pub archived_disk: Option<String>,
}

/// Largest guest disk accepted by default: 64 TiB, the limit of VHDX and of seSparse.
const DEFAULT_MAX_VIRTUAL_SIZE: u64 = 64 << 40;

/// Most bytes unpacked by default: 256 GiB, some minutes of work when they are zeroes.
pub(crate) const DEFAULT_MAX_UNPACKED_SIZE: u64 = 256 << 30;

impl OpenPolicy {
    /// Returns the policy for images that nobody vouches for: no other file is opened.
    #[must_use]
    pub fn deny() -> Self {
        Self {
            backing: BackingPolicy::Deny,
            max_virtual_size: DEFAULT_MAX_VIRTUAL_SIZE,
            max_unpacked_size: DEFAULT_MAX_UNPACKED_SIZE,
            snapshot: None,
            parents: Vec::new(),
            archived_disk: None,
        }
    }

    /// Returns the policy that allows files below `directories`.
    #[must_use]
    pub fn allow_below(directories: Vec<PathBuf>) -> Self {
        Self { backing: BackingPolicy::Allow(directories), ..Self::deny() }
    }

    /// Returns the policy for images made by the user's own tools: they may name any regular file.
    #[must_use]
    pub fn allow_any() -> Self {
        Self { backing: BackingPolicy::AllowAny, ..Self::deny() }
    }
}

impl Default for OpenPolicy {
    fn default() -> Self {
        Self::deny()
    }
}
