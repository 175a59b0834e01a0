//! Lock files: a name that one process at a time can have.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// A lock file that is ours until it is dropped, and goes then. The lock itself dies with the process.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
    _file: File,
}

impl LockFile {
    /// Takes the lock; nothing when somebody else has it. Makes the directory above it.
    ///
    /// # Errors
    ///
    /// The file cannot be made, or its file system has no locks.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The holder before us removes the file as it lets go: a lock counts only if its file still has the name.
        let mine = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (mine.dev(), mine.ino()) => {
                Ok(Some(Self { path: path.to_owned(), _file: file }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Still locked here: whoever has opened the file meanwhile finds its name gone and starts over.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a lock file");
        }
    }
}

/// Removes a lock file whose holder was killed, unless somebody else holds it by now; says what was done.
pub(crate) fn sweep(path: &Path) -> Result<Option<String>, String> {
    if !path.exists() {
        return Ok(None);
    }
    match LockFile::try_take(path) {
        Ok(Some(_lock)) => Ok(Some(format!("removed the lock file {}", path.display()))),
        Ok(None) => Ok(None),
        Err(error) => Err(format!("cannot remove the lock file {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_nothing_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/x.lock");
        let held = LockFile::try_take(&path).unwrap().unwrap();
        assert_eq!(held.path(), path);
        assert!(LockFile::try_take(&path).unwrap().is_none());
        assert_eq!(sweep(&path), Ok(None), "what is held is left alone");
        assert!(path.exists());
        drop(held);
        assert!(!path.exists());
        assert_eq!(sweep(&path), Ok(None));
        assert!(LockFile::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn what_a_killed_holder_left_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.lock");
        std::fs::write(&path, "").unwrap();
        assert!(sweep(&path).unwrap().unwrap().contains("x.lock"));
        assert!(!path.exists());
        std::fs::create_dir(&path).unwrap();
        assert!(sweep(&path).unwrap_err().starts_with("cannot remove the lock file "));
    }
}
