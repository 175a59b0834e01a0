//! The lock on an output directory, which dies with its process, and what can be done while it is held.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, OFlags};
use rustix::io::Errno;

use super::mark::{self, Mark};

/// How often the directory may vanish or change under us before we give up.
const ATTEMPTS: usize = 100;

/// A directory that no other build can have.
#[derive(Debug)]
pub(super) struct LockedDirectory {
    path: PathBuf,
    handle: File,
}

/// Why a directory cannot be locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// There is none, or it is no directory.
    Missing(io::Error),
    /// Somebody holds it; the open directory tells who.
    Held(File),
    /// This file system has no locks; the open directory all the same.
    Unsupported(File, io::Error),
}

/// Makes the directory unless it is there; says whether it was made.
pub(super) fn make(path: &Path) -> io::Result<bool> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

impl LockedDirectory {
    /// Locks the directory that has this path now.
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        for _ in 0..ATTEMPTS {
            let flags = OFlags::DIRECTORY.bits().cast_signed();
            let handle = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(LockError::Missing)?;
            match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(LockError::Held(handle)),
                Err(error) => return Err(LockError::Unsupported(handle, error.into())),
            }
            let locked = Self { path: path.to_owned(), handle };
            // The holder before us may have removed it, and somebody else made another.
            if locked.has_the_name() {
                return Ok(locked);
            }
        }
        Err(LockError::Missing(io::Error::other("it is made and removed again and again")))
    }

    /// A directory on a file system that has no locks.
    pub(super) fn unlocked(path: &Path, handle: File) -> Self {
        Self { path: path.to_owned(), handle }
    }

    fn has_the_name(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let (mine, named) = (self.handle.metadata().map(identity), std::fs::metadata(&self.path).map(identity));
        matches!((mine, named), (Ok(mine), Ok(named)) if mine == named)
    }

    /// The names in the directory, sorted.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.handle)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The names that are not files of the build that left `mark`.
    pub(super) fn foreign(&self, mark: &Mark) -> io::Result<Vec<OsString>> {
        let own = |name: &OsString| {
            if self.is_directory(name) { mark.owns_directory(name) } else { mark.owns(name) }
        };
        Ok(self.names()?.into_iter().filter(|name| !own(name)).collect())
    }

    /// Removes the files of the build that left `mark`, but not the mark.
    pub(super) fn remove_own(&self, mark: &Mark) -> io::Result<()> {
        for name in self.names()? {
            if !self.is_directory(&name) {
                if name != mark::NAME && mark.owns(&name) {
                    self.remove(&name)?;
                }
            } else if mark.owns_directory(&name) && self.has_the_name() {
                std::fs::remove_dir_all(self.path.join(&name))?;
            }
        }
        Ok(())
    }

    /// Removes the files of the build that left `mark`, and the directory if nothing else is in it; returns what is.
    pub(super) fn discard(&self, mark: &Mark) -> io::Result<Vec<OsString>> {
        self.remove_own(mark)?;
        self.remove(OsStr::new(mark::NAME))?;
        let left = self.names()?;
        if left.is_empty() && self.has_the_name() {
            match std::fs::remove_dir(&self.path) {
                // It is reached through a link, or somebody has put something into it just now.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::DirectoryNotEmpty) => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(left)
    }

    /// Removes a file; in this very directory, whatever has its path by now.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.handle, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_directory(&self, name: &OsStr) -> bool {
        rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    }
}
