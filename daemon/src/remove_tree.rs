//! Removes a directory that others may have filled, however deep it is: without recursion, and with three open descriptors at most.

use std::fs::{FileType, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time for one directory. Whoever owns it can put things there as fast as they are removed.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// What names of directories begin with that were moved up.
const MOVED_PREFIX: &str = ".removed-";

/// Empties a directory of ours, whatever modes are in it. Directories in directories are moved up first, so that no path grows.
///
/// # Errors
///
/// Something cannot be removed, or more comes than goes.
pub(crate) fn empty(top: &Path) -> io::Result<()> {
    empty_until(top, Instant::now() + TIME_LIMIT)
}

fn empty_until(top: &Path, deadline: Instant) -> io::Result<()> {
    let mut moved = 0_u64;
    std::fs::set_permissions(top, Permissions::from_mode(0o700))?;
    // Each round takes one level away below every directory; those that it moves up are the next round's.
    while empty_directories(top, &mut moved, deadline)? {}
    Ok(())
}

/// Removes files, and directories after moving up those that are in them. Tells whether anything was moved up.
fn empty_directories(top: &Path, moved: &mut u64, deadline: Instant) -> io::Result<bool> {
    let before = *moved;
    for entry in std::fs::read_dir(top)? {
        let entry = entry?;
        let path = entry.path();
        in_time(deadline)?;
        if !remove_file_of(&path, entry.file_type()?)? {
            open_for_us(&path)?;
            for inner in std::fs::read_dir(&path)? {
                let inner = inner?;
                in_time(deadline)?;
                if !remove_file_of(&inner.path(), inner.file_type()?)? {
                    // A directory that is moved is written to, for it names the one above.
                    open_for_us(&inner.path())?;
                    std::fs::rename(inner.path(), free_name(top, moved))?;
                }
            }
            std::fs::remove_dir(&path)?;
        }
    }
    Ok(*moved > before)
}

fn in_time(deadline: Instant) -> io::Result<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "there is too much in it, or ever more"))
}

/// Removes what is no directory; tells whether it was none.
fn remove_file_of(path: &Path, kind: FileType) -> io::Result<bool> {
    if kind.is_dir() {
        return Ok(false);
    }
    std::fs::remove_file(path).map(|()| true)
}

fn open_for_us(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))
}

fn free_name(top: &Path, moved: &mut u64) -> PathBuf {
    loop {
        *moved += 1;
        let name = top.join(format!("{MOVED_PREFIX}{moved}"));
        if name.symlink_metadata().is_err() {
            return name;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_in_its_time_however_many_files_lie_side_by_side() {
        let scratch = tempfile::tempdir().unwrap();
        let inner = scratch.path().join("flat/inner");
        std::fs::create_dir_all(&inner).unwrap();
        let over = Instant::now();
        for directory in [inner.parent().unwrap(), &inner] {
            std::fs::write(directory.join("file"), "x").unwrap();
            let error = empty_until(directory, over).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(directory.join("file").exists(), "nothing is removed after the end");
        }
        empty(scratch.path()).unwrap();
    }

    #[test]
    fn it_may_be_as_deep_and_as_closed_as_it_likes() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        std::fs::create_dir(&top).unwrap();
        // Deeper than a path may be long and than a process may have descriptors, built from the bottom up.
        let (mut inner, outer) = (scratch.path().join("0"), |number: u32| scratch.path().join(number.to_string()));
        std::fs::create_dir(&inner).unwrap();
        for number in 1..5_000 {
            let next = outer(number);
            std::fs::create_dir(&next).unwrap();
            std::fs::write(next.join("file"), "x").unwrap();
            std::fs::rename(&inner, next.join("d")).unwrap();
            inner = next;
        }
        std::fs::rename(&inner, top.join("deep")).unwrap();
        std::fs::write(top.join(".removed-1"), "in the way").unwrap();
        std::os::unix::fs::symlink(scratch.path(), top.join("link")).unwrap();
        let closed = top.join("closed/inner");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::write(closed.join("file"), "x").unwrap();
        for directory in [closed.as_path(), &top.join("closed")] {
            std::fs::set_permissions(directory, Permissions::from_mode(0o000)).unwrap();
        }
        std::fs::write(scratch.path().join("precious"), "x").unwrap();
        empty(&top).unwrap();
        assert_eq!(std::fs::read_dir(&top).unwrap().count(), 0);
        assert!(scratch.path().join("precious").exists());
    }
}
