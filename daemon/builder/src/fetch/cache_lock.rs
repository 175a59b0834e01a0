//! One download of a file at a time, over all processes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::companions::{LOCK, beside};
use super::error::UrlError;
use super::told::SayFn;
use crate::blocking::blocking;
use crate::ledger::{Ledger, Resource};
use crate::lock_file::LockFile;

/// How often a lock that another process holds is tried: `flock` can be waited for only by blocking a thread that a
/// cancelled build could not get back.
const RETRY: Duration = Duration::from_millis(250);

/// An advisory lock beside a file of the cache, held until dropped. The lock file goes with it.
#[derive(Debug)]
pub(super) struct CacheLock {
    _lock: LockFile,
    ledger: Option<(Arc<Ledger>, Resource)>,
}

impl CacheLock {
    /// Takes the lock for a file, waiting for as long as another download of it takes.
    pub(super) async fn take(target: &Path, ledger: Option<Arc<Ledger>>, say: SayFn<'_>) -> Result<Self, UrlError> {
        let path = beside(target, LOCK);
        let mut told = false;
        loop {
            let (attempt, ledger) = (path.clone(), ledger.clone());
            match blocking("taking a lock", move |_| try_take(&attempt, ledger)).await {
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
        // Off the ledger before the lock is let go, which follows: another build of this job may wait for the same file.
        if let Some((ledger, resource)) = &self.ledger {
            ledger.released(resource);
        }
    }
}

fn try_take(path: &Path, ledger: Option<Arc<Ledger>>) -> io::Result<Option<CacheLock>> {
    let Some(lock) = LockFile::try_take(path)? else { return Ok(None) };
    // Noted once it is ours.
    let ledger = match ledger {
        Some(ledger) => {
            let resource = Resource::LockFile { path: std::path::absolute(lock.path())? };
            ledger.acquired(&resource);
            Some((ledger, resource))
        }
        None => None,
    };
    Ok(Some(CacheLock { _lock: lock, ledger }))
}
