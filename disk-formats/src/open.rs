//! The one way in: from a path, a format and a policy to a reader. Only this file knows every reader.

use std::path::{Path, PathBuf};

use crate::{DiskReader, Error, Format, Result};

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
}

/// Largest guest disk accepted by default: 64 TiB, the limit of VHDX and of seSparse.
const DEFAULT_MAX_VIRTUAL_SIZE: u64 = 64 << 40;

impl OpenPolicy {
    /// Returns the policy for images that nobody vouches for: no other file is opened.
    #[must_use]
    pub fn deny() -> Self {
        Self { backing: BackingPolicy::Deny, max_virtual_size: DEFAULT_MAX_VIRTUAL_SIZE }
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

/// Opens an image for reading.
///
/// With `format` absent the signature decides (see [`crate::detect`]); give it whenever it is known.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or needs what the policy does not allow.
pub fn open(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<Box<dyn DiskReader>> {
    let _ = (format, policy);
    Err(Error::unsupported("no reader is built in").with_path(path))
}

pub(crate) fn detect_path(path: &Path) -> Result<Format> {
    Err(Error::unsupported("no reader is built in").with_path(path))
}
