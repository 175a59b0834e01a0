//! What scp and sftp have in common: the job they are given, and how they fail.

use std::path::Path;

use crate::communicator::{Transfer, TransferProgress};
use crate::error::CommunicatorError;
use crate::quoting::is_windows_path;

/// Bytes read from a file and sent at a time.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Mode of directories in the guest that have no counterpart here.
pub(crate) const NEW_DIRECTORY_MODE: u32 = 0o755;

/// A job and who listens to it.
#[derive(Clone, Copy)]
pub(crate) struct Job<'a> {
    pub(crate) transfer: Transfer<'a>,
    pub(crate) progress: &'a dyn TransferProgress,
}

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum TransferFailure {
    /// The guest lacks the program; the other one may do. The text says how this was found.
    Missing(String),
    /// Anything else.
    Failed(CommunicatorError),
}

impl From<CommunicatorError> for TransferFailure {
    fn from(error: CommunicatorError) -> Self {
        Self::Failed(error)
    }
}

/// A path in the guest, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemotePath {
    /// The directory, `.` when the path names none.
    pub(crate) directory: String,
    pub(crate) name: String,
}

/// Takes apart the path of a file. A path that names no file is an error.
pub(crate) fn split_remote(path: &str) -> Result<RemotePath, CommunicatorError> {
    let unix = if is_windows_path(path) { path.replace('\\', "/") } else { path.to_owned() };
    let (directory, name) = match unix.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((directory, name)) => (directory, name),
        None => (".", unix.as_str()),
    };
    let tilde_alone = directory == "." && name.starts_with('~');
    if matches!(name, "" | "." | "..") || tilde_alone || name.contains('\0') {
        return Err(CommunicatorError::InvalidDestination { destination: path.to_owned() });
    }
    Ok(RemotePath { directory: directory.to_owned(), name: name.to_owned() })
}

/// Returns the destination of a file: one that ends in `/` gets the name of the source.
pub(crate) fn file_destination(source: &Path, destination: &str) -> Result<String, CommunicatorError> {
    if !destination.ends_with('/') {
        return Ok(destination.to_owned());
    }
    match source.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(format!("{destination}{name}")),
        None => Err(CommunicatorError::InvalidDestination { destination: destination.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let split = |path| split_remote(path).map(|p| (p.directory, p.name)).ok();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(split("/tmp/x"), pair("/tmp", "x"));
        assert_eq!(split("/x"), pair("/", "x"));
        assert_eq!(split("x"), pair(".", "x"));
        assert_eq!(split("~/x"), pair("~", "x"));
        assert_eq!(split("C:\\Temp\\x"), pair("C:/Temp", "x"));
        for bad in ["", "/tmp/", ".", "/..", "~"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
