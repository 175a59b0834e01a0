//! Directories that nobody else may look into, and the checks before they are trusted.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Whose what serves all users is.
const ROOT: u32 = 0;

/// Reports that a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made or looked at.
    #[error("cannot use the directory {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a symbolic link or a file.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else owns it.
    #[error("the directory {path} belongs to user {owner}, not to user {expected}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who should.
        expected: u32,
    },
    /// Others may use it.
    #[error("the directory {path} is open to other users (mode {mode:04o})")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl DirectoryError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io { path, .. } => Some(format!(
                "the socket belongs into {}: set XDG_RUNTIME_DIR, or KILN_SOCKET, to a place of yours that can be written",
                path.display()
            )),
            // Not ours to have removed: a daemon for all users listens there, and is not there just now.
            Self::Foreign { owner: ROOT, .. } => Some(
                "unset KILN_SOCKET for a daemon of your own. Where the daemon for all users should answer, an administrator looks at \
                 `systemctl status kilnd.socket kilnd.service`, and `systemctl reset-failed kilnd.service kilnd.socket; systemctl start \
                 kilnd.socket` after mending what is told there"
                    .to_owned(),
            ),
            Self::Foreign { .. } => {
                Some("set KILN_SOCKET to a path in a directory of yours, or unset it and XDG_RUNTIME_DIR".to_owned())
            }
            Self::NotADirectory { path } => {
                Some(format!("remove {} or set KILN_SOCKET to a path in a directory of yours", path.display()))
            }
            Self::Open { path, .. } => Some(format!("`chmod 700 {}`", path.display())),
        }
    }
}

/// How private a directory has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// Nobody else may enter it.
    Closed,
    /// Nobody else may write to it; for a directory that the user chose.
    NotWritable,
}

/// Makes the directory (mode 0700, parents included) when missing, and checks that `owner` alone controls it.
///
/// # Errors
///
/// It cannot be made, is no directory (a symbolic link is none), belongs to somebody else, or is open to others.
pub(crate) fn ensure(path: &Path, owner: u32, privacy: Privacy) -> Result<(), DirectoryError> {
    let mode = ensure_owned(path, owner)?;
    let forbidden = match privacy {
        Privacy::Closed => 0o077,
        Privacy::NotWritable => 0o022,
    };
    if mode & forbidden != 0 {
        return Err(DirectoryError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Makes the directory (mode 0700) when missing, and checks whose it is; returns its mode.
fn ensure_owned(path: &Path, owner: u32) -> Result<u32, DirectoryError> {
    let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).or_else(|source| {
        // A dangling link or a file: said more clearly below.
        if path.symlink_metadata().is_ok() { Ok(()) } else { Err(failed(source)) }
    })?;
    let metadata = path.symlink_metadata().map_err(failed)?;
    if !metadata.is_dir() {
        return Err(DirectoryError::NotADirectory { path: path.to_owned() });
    }
    if metadata.uid() != owner {
        return Err(DirectoryError::Foreign { path: path.to_owned(), owner: metadata.uid(), expected: owner });
    }
    Ok(metadata.mode() & 0o7777)
}

/// Makes the directory when missing, and sees that everybody can pass through it to what is theirs, but only `owner` sees and changes what is
/// in it. (Who may connect has to reach the socket.) Those above it are made for everybody to see.
///
/// # Errors
///
/// It cannot be made, is no directory (a symbolic link is none), or belongs to somebody else.
pub(crate) fn open_to_pass(path: &Path, owner: u32) -> Result<(), DirectoryError> {
    let failed = |source| DirectoryError::Io { path: path.to_owned(), source };
    if let Some(above) = path.parent().filter(|above| above.symlink_metadata().is_err()) {
        open_to_see(above).map_err(failed)?;
    }
    ensure_owned(path, owner)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o711)).map_err(failed)
}

/// Makes directories as most of a system are.
fn open_to_see(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| above.symlink_metadata().is_err()) {
        open_to_see(above)?;
    }
    DirBuilder::new().mode(0o755).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Sets mode 0700 on a directory of ours that an older version or the user left open.
///
/// # Errors
///
/// The mode cannot be changed.
pub(crate) fn close(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> u32 {
        rustix::process::getuid().as_raw()
    }

    #[test]
    fn a_missing_directory_is_made_for_its_owner_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a/b");
        ensure(&path, me(), Privacy::Closed).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        ensure(&path, me(), Privacy::Closed).unwrap();
    }

    #[test]
    fn nobody_is_told_to_remove_what_is_roots() {
        let foreign =
            |owner| DirectoryError::Foreign { path: "/run/kiln".into(), owner, expected: 1000 }.hint().unwrap();
        assert!(foreign(0).contains("systemctl reset-failed kilnd.service"), "{}", foreign(0));
        for owner in [0, 1001] {
            assert!(!foreign(owner).contains("remove"), "{}", foreign(owner));
        }
    }

    #[test]
    fn links_files_foreign_and_open_directories_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let (real, link, file) =
            (scratch.path().join("real"), scratch.path().join("link"), scratch.path().join("file"));
        ensure(&real, me(), Privacy::Closed).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        std::fs::write(&file, "").unwrap();
        for path in [&link, &file] {
            let error = ensure(path, me(), Privacy::Closed).unwrap_err();
            assert!(matches!(error, DirectoryError::NotADirectory { .. }), "{error}");
        }
        let error = ensure(&real, me() + 1, Privacy::Closed).unwrap_err();
        assert!(matches!(error, DirectoryError::Foreign { .. }), "{error}");
        std::fs::set_permissions(&real, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(ensure(&real, me(), Privacy::Closed).unwrap_err(), DirectoryError::Open { mode: 0o755, .. }));
        ensure(&real, me(), Privacy::NotWritable).unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o775)).unwrap();
        let error = ensure(&real, me(), Privacy::NotWritable).unwrap_err();
        assert_eq!(error.hint().unwrap(), format!("`chmod 700 {}`", real.display()));
        close(&real).unwrap();
        ensure(&real, me(), Privacy::Closed).unwrap();
    }
}
