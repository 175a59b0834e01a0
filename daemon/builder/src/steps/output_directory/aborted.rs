//! The output directory of an aborted build: what is in it is the person's, in names that are seen.
//!
//! It gets another mark, beside which the mark of a build that was killed says nothing: no later build takes it for litter.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::lock::LockedDirectory;
use super::mark::{self, Mark};

/// What the names of files and directories begin with that had hidden names.
const SHOWN: &str = "aborted-";

/// What a builder's hidden names end with.
const WORK: &str = ".work";

/// What an aborted build leaves in its output directory.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// The directory; `None`: nothing was in it, and it is gone.
    pub(crate) directory: Option<PathBuf>,
    /// Its files and directories.
    pub(crate) files: Vec<PathBuf>,
}

/// The place that is seen of a file that may have a hidden one.
pub(crate) fn shown(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default();
    visible(name).map_or_else(|| path.to_owned(), |name| path.with_file_name(name))
}

/// `aborted-web` for `.web.work`; `None`: it is seen already, or nobody's to look at.
fn visible(name: &OsStr) -> Option<String> {
    let plain = name.to_str()?.strip_prefix('.').filter(|_| !is_ours(name))?;
    Some(format!("{SHOWN}{}", plain.strip_suffix(WORK).unwrap_or(plain)))
}

/// Marks, and files that are being written.
fn is_ours(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(mark::TEMPORARY))
}

/// Gives the disks in `directory` a second name: a hypervisor that removes its machine takes only the first away. The guest is off. What
/// cannot have two gets its name from [`leave`].
pub(crate) fn hold_disks(directory: &Path) {
    let Some(mark) = Mark::read(directory) else { return };
    for (name, seen) in hidden(directory, &mark).unwrap_or_default() {
        let (from, to) = (directory.join(name), directory.join(seen));
        if let Err(error) = std::fs::hard_link(&from, &to) {
            tracing::debug!(%error, from = %from.display(), "a disk has one name only");
        }
    }
}

/// Hands `directory`, which the build of the mark `id` holds, over to the person: nothing of it is removed later without `-force`.
pub(crate) fn leave(directory: &Path, id: &str) -> io::Result<Kept> {
    let Some(mark) = Mark::read(directory) else { return Ok(Kept::default()) };
    if mark.owner.as_ref().is_none_or(|owner| owner.id != id) {
        return Ok(Kept::default());
    }
    let locked = LockedDirectory::unlocked(directory, std::fs::File::open(directory)?);
    if locked.names()?.iter().all(|name| is_ours(name)) {
        // Nothing is lost by it, and it would only be in the way.
        locked.discard(&mark)?;
        return Ok(Kept::default());
    }
    mark::make_aborted(directory)?;
    for (name, seen) in hidden(directory, &mark)? {
        let (from, to) = (directory.join(&name), directory.join(seen));
        if to.symlink_metadata().is_err() {
            std::fs::rename(&from, &to)?;
        } else if same_file(&from, &to) {
            locked.remove(&name)?;
        }
    }
    let files = locked.names()?.into_iter().filter(|name| !is_ours(name)).map(|name| directory.join(name)).collect();
    Ok(Kept { directory: Some(directory.to_owned()), files })
}

/// The names in `directory` that are not seen and the build's, each with the one that it is to have.
fn hidden(directory: &Path, mark: &Mark) -> io::Result<Vec<(OsString, String)>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let is_work = name.to_str().is_some_and(|name| name.ends_with(WORK));
        if let Some(seen) = visible(&name).filter(|_| is_work || mark.owns(&name)) {
            names.push((name, seen));
        }
    }
    Ok(names)
}

fn same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let identity = |path: &Path| path.symlink_metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}
