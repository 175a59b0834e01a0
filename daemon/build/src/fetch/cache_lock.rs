//! One download of a file at a time, over all processes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::SayFn;
use super::error::UrlError;
use super::partial::{beside, blocking};

/// How often a lock that another process holds is tried: `flock` can be waited for only by blocking a thread that a
/// cancelled build could not get back.
const RETRY: Duration = Duration::from_millis(250);

/// An advisory lock beside a file of the cache, held until dropped. The lock file goes with it.
#[derive(Debug)]
pub(super) struct CacheLock {
    path: PathBuf,
    _file: File,
}

impl CacheLock {
    /// Takes the lock for a file, waiting for as long as another download of it takes.
    pub(super) async fn take(target: &Path, say: SayFn<'_>) -> Result<Self, UrlError> {
        let path = beside(target, "lock");
        let mut told = false;
        loop {
            let attempt = path.clone();
            let result = blocking(&path, move |_| try_take(attempt)).await?;
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
        // Still locked here: whoever has opened the file meanwhile finds its name gone and starts over.
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a lock file");
        }
    }
}

fn try_take(path: PathBuf) -> io::Result<Option<CacheLock>> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // The holder before us removes the file as it lets go: a lock counts only if its file still has the name.
    let mine = file.metadata()?;
    match std::fs::metadata(&path) {
        Ok(named) if (named.dev(), named.ino()) == (mine.dev(), mine.ino()) => {
            Ok(Some(CacheLock { path, _file: file }))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
