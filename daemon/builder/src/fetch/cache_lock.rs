//! One download of a file at a time, over all processes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::SayFn;
use super::error::UrlError;
use super::partial::{beside, blocking};
use crate::ledger::{Ledger, Resource};

/// How often a lock that another process holds is tried: `flock` can be waited for only by blocking a thread that a
/// cancelled build could not get back.
const RETRY: Duration = Duration::from_millis(250);

/// An advisory lock beside a file of the cache, held until dropped. The lock file goes with it.
#[derive(Debug)]
pub(super) struct CacheLock {
    path: PathBuf,
    _file: File,
    ledger: Option<(Arc<Ledger>, Resource)>,
}

impl CacheLock {
    /// Takes the lock for a file, waiting for as long as another download of it takes.
    pub(super) async fn take(target: &Path, ledger: Option<Arc<Ledger>>, say: SayFn<'_>) -> Result<Self, UrlError> {
        let path = beside(target, "lock");
        let mut told = false;
        loop {
            let (attempt, ledger) = (path.clone(), ledger.clone());
            let result = blocking(&path, move |_| try_take(attempt, ledger)).await?;
            match result {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => {}
                Err(source) => return Err(UrlError::Write { path, source }),
            }
            if !told {
                say(format!("Waiting for another build that downloads {}", target.display()));
                told = true;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl Drop for CacheLock {
    fn drop(&mut self) {
        if let Some((ledger, resource)) = &self.ledger {
            ledger.released(resource);
        }
        // Still locked here: whoever has opened the file meanwhile finds its name gone and starts over.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a lock file");
        }
    }
}

/// Removes the lock file of a download whose worker was killed, unless another download has it by now.
pub(crate) fn sweep_lock(path: &Path) -> Result<Option<String>, String> {
    if !path.exists() {
        return Ok(None);
    }
    match try_take(path.to_owned(), None) {
        Ok(Some(_lock)) => Ok(Some(format!("removed the lock file {}", path.display()))),
        Ok(None) => Ok(None),
        Err(error) => Err(format!("cannot remove the lock file {}: {error}", path.display())),
    }
}

pub(super) fn try_take(path: PathBuf, ledger: Option<Arc<Ledger>>) -> io::Result<Option<CacheLock>> {
    let Some(file) = try_lock(&path)? else { return Ok(None) };
    // Noted once it is ours, and off the ledger before it is let go: another build of this job may wait for the same file.
    let ledger = match ledger {
        Some(ledger) => {
            let resource = Resource::LockFile { path: std::path::absolute(&path)? };
            ledger.acquired(&resource);
            Some((ledger, resource))
        }
        None => None,
    };
    Ok(Some(CacheLock { path, _file: file, ledger }))
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
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
        Ok(named) if (named.dev(), named.ino()) == (mine.dev(), mine.ino()) => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
