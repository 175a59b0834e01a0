//! Parts of downloads that nobody has gone on with for a week: they go, so that the cache does not grow without bound.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::companions::{LOCK, ORIGIN, PARTIAL, beside, target_of};
use crate::blocking::blocking;
use crate::lock_file::LockFile;

/// How long a part of a download is kept for the next try.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Removes what is too old in the cache. That it does not work is no reason to fail a download.
pub(super) async fn remove(cache_dir: &Path) {
    let directory = cache_dir.to_owned();
    let Some(limit) = SystemTime::now().checked_sub(KEPT) else { return };
    let removing = blocking("removing old downloads", move |_| {
        remove_before(&directory, limit);
        Ok::<_, io::Error>(())
    });
    if removing.await.is_err() {
        tracing::debug!("looking for old parts of downloads ended abnormally");
    }
}

fn remove_before(directory: &Path, limit: SystemTime) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let old = entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|modified| modified < limit);
        let Some(target) = target_of(&path).filter(|target| old && is_ours(target)) else { continue };
        // A download that is under way has the lock.
        if let Ok(Some(_lock)) = LockFile::try_take(&beside(&target, LOCK)) {
            for suffix in [PARTIAL, ORIGIN] {
                // Whichever of them is there.
                let _ = std::fs::remove_file(beside(&target, suffix));
            }
        }
    }
}

/// True for the names that downloads have in the cache: 40 hexadecimal digits and an extension.
fn is_ours(target: &Path) -> bool {
    let stem = target.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    stem.len() == 40 && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_after_a_week_unless_they_are_in_use() {
        let cache = tempfile::tempdir().unwrap();
        let name = |digit: &str| cache.path().join(format!("{}.iso", digit.repeat(40)));
        let (old, new, used, other) = (name("a"), name("b"), name("c"), cache.path().join("mine.iso"));
        let _lock = LockFile::try_take(&beside(&used, LOCK)).unwrap().unwrap();
        std::fs::write(&old, "whole").unwrap();
        for target in [&old, &new, &used, &other] {
            for suffix in ["partial", "origin", "lock"] {
                let file = std::fs::OpenOptions::new().create(true).append(true).open(beside(target, suffix)).unwrap();
                let age = if *target == new { 6 } else { 8 };
                file.set_modified(SystemTime::now() - Duration::from_secs(age * 24 * 3600)).unwrap();
            }
        }
        remove_before(cache.path(), SystemTime::now() - KEPT);
        for (target, kept) in [(&old, false), (&new, true), (&used, true), (&other, true)] {
            for suffix in ["partial", "origin", "lock"] {
                assert_eq!(beside(target, suffix).exists(), kept, "{} {suffix}", target.display());
            }
        }
        assert!(old.exists(), "what is whole stays");
    }
}
