//! The output directory: locked while a build runs, its files removed when the build fails.
//!
//! The lock is the kernel's (`flock` on the directory itself) and dies with its process. The mark in the directory says whose
//! the directory is and which files are the build's: only these are ever removed, except with `-force`.

mod aborted;
mod holder;
mod lock;
mod mark;
#[cfg(test)]
pub(crate) mod tests;

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::aborted::{hold_disks, leave, shown};
use self::holder::{Holder, plain};
use self::lock::{LockError, LockedDirectory};
use self::mark::{Mark, Owner};
use crate::cleanup::CleanupId;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::ledger::Resource;

pub(crate) use self::mark::NAME as INCOMPLETE_MARK;

/// An output directory that this build holds against all others.
#[derive(Debug)]
pub(crate) struct OutputDirectory {
    locked: LockedDirectory,
    mark: Mutex<File>,
    path: PathBuf,
    resource: Resource,
}

/// A directory that is held, and what removes it when the build fails.
pub(crate) struct Held {
    pub(crate) directory: Arc<OutputDirectory>,
    cleanup: CleanupId,
}

/// Makes and locks `directory`, replacing what is there when asked to (`-force`) or when it is a leftover of an interrupted
/// build. `files` are the names of the build's files, as far as they are known.
pub(crate) async fn prepare(directory: &Path, files: &[String], context: &BuildContext) -> Result<Held, StepError> {
    let failed = |what: &str, error: io::Error| {
        StepError::new(format!("cannot {what} the output directory {}", directory.display())).with_source(error)
    };
    let path = std::path::absolute(directory).map_err(|error| failed("name", error))?;
    let owner = Owner::new(context);
    let resource = Resource::OutputDirectory { path: path.clone(), id: owner.id.clone() };
    // Owned before it exists: a kill between the two lines leaves a line in the ledger, not a directory.
    context.ledger.acquired(&resource);
    // No wait from here to the clean-up: a cancelled build cannot lose a directory it has just made.
    let taken = take(&path, directory, context).and_then(|taken| {
        match mark::write(&path, &owner, &Mark::default().with_files(files)) {
            Ok(mark) => Ok((taken, mark)),
            Err(error) => {
                if taken.made {
                    // Empty, and about to be reported; a failure of this can only have the same cause.
                    let _ = taken.locked.discard(&Mark::default());
                }
                Err(failed("write into", error))
            }
        }
    });
    let (Taken { locked, replaced, .. }, mark) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            context.ledger.released(&resource);
            return Err(error);
        }
    };
    let held = Arc::new(OutputDirectory { locked, mark: Mutex::new(mark), path, resource });
    let cleanup = discard_on_cleanup(&held, directory, context);
    for name in replaced {
        held.empty(&name).await.map_err(|error| failed("empty", error))?;
    }
    Ok(Held { directory: held, cleanup })
}

/// Locks `directory` for the build that was at work in it when its process died, and goes on with the files that are there.
/// `files` are the names of the build's files, as far as they are known.
pub(crate) async fn adopt(directory: &Path, files: &[String], context: &BuildContext) -> Result<Held, StepError> {
    let failed = |what: &str, error: io::Error| {
        StepError::new(format!("cannot {what} the output directory {}", directory.display())).with_source(error)
    };
    let path = std::path::absolute(directory).map_err(|error| failed("name", error))?;
    let locked = lock(&path, directory, context)?;
    let owner = Owner::new(context);
    let left = Mark::read(&path).filter(|mark| mark.owner.as_ref().is_some_and(|left| left.is_of_the_build_of(&owner)));
    let Some(left) = left else {
        return Err(StepError::new(format!(
            "the output directory {} is not as the build left it that is to go on",
            directory.display()
        ))
        .with_hint("build again from the start"));
    };
    let resource = Resource::OutputDirectory { path: path.clone(), id: owner.id.clone() };
    context.ledger.acquired(&resource);
    let mark = match mark::write(&path, &owner, &left.with_files(files)) {
        Ok(mark) => mark,
        Err(error) => {
            context.ledger.released(&resource);
            return Err(failed("write into", error));
        }
    };
    let held = Arc::new(OutputDirectory { locked, mark: Mutex::new(mark), path, resource });
    let cleanup = discard_on_cleanup(&held, directory, context);
    Ok(Held { directory: held, cleanup })
}

fn discard_on_cleanup(held: &Arc<OutputDirectory>, shown: &Path, context: &BuildContext) -> CleanupId {
    let (held, owner) = (Arc::clone(held), context.clone());
    let what = format!("remove {}", shown.display());
    let resource = held.resource.clone();
    let id = context.on_cleanup("output", what, move || async move { held.discard(&owner) });
    context.gives_back(id, resource);
    id
}

/// The directory is whole: it stays. It is held until the returned value goes.
pub(crate) async fn keep(held: &Held, context: &BuildContext) -> Result<Arc<OutputDirectory>, StepError> {
    let Held { directory, cleanup } = held;
    directory.locked.remove(INCOMPLETE_MARK.as_ref()).map_err(|error| {
        StepError::new(format!("cannot remove {}", directory.path.join(INCOMPLETE_MARK).display())).with_source(error)
    })?;
    context.disarm(*cleanup);
    context.ledger.released(&directory.resource);
    Ok(Arc::clone(directory))
}

impl OutputDirectory {
    /// Whether `file` lies in it.
    pub(crate) fn holds(&self, file: &Path) -> bool {
        std::path::absolute(file).is_ok_and(|file| file.parent() == Some(&*self.path))
    }

    /// Notes files of the build, before they come to be. Those elsewhere are not this directory's.
    pub(crate) fn expect(&self, files: impl IntoIterator<Item = PathBuf>) -> Result<(), StepError> {
        files.into_iter().try_for_each(|file| self.note(&file, false))
    }

    /// Notes a directory that is about to be moved here as a whole: all that is in it is the build's.
    pub(crate) fn expect_directory(&self, directory: &Path) -> Result<(), StepError> {
        self.note(directory, true)
    }

    fn note(&self, path: &Path, is_directory: bool) -> Result<(), StepError> {
        let inside = self.holds(path);
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| inside) else { return Ok(()) };
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        mark::note(&mut mark, name, is_directory).map_err(|error| {
            StepError::new(format!("cannot write {}", self.path.join(INCOMPLETE_MARK).display())).with_source(error)
        })
    }

    /// Gives a disk the hidden name that others have from the beginning, from which it is read: a template may name its disk where the
    /// image is to be. It has that name already when an earlier try failed.
    pub(crate) fn set_aside(&self, disk: &mut GuestDisk) -> Result<PathBuf, StepError> {
        let name = disk.path.file_name().unwrap_or_default().to_string_lossy();
        let aside = disk.path.with_file_name(format!(".{name}.work"));
        self.expect([aside.clone()])?;
        if !aside.exists() {
            std::fs::rename(&disk.path, &aside).map_err(|error| {
                StepError::new(format!("cannot rename {} to {}", disk.path.display(), aside.display()))
                    .with_source(error)
            })?;
        }
        disk.path.clone_from(&aside);
        Ok(aside)
    }

    fn discard(&self, context: &BuildContext) -> Result<(), String> {
        context.registrations.check()?;
        let mark = Mark::read(&self.path).unwrap_or_default();
        let left = self.locked.discard(&mark).map_err(|error| error.to_string())?;
        if !left.is_empty() {
            let path = self.path.display();
            context.say(format!("Keeping {path}: this build did not make {} in it", listed(&left)));
        }
        context.ledger.released(&self.resource);
        Ok(())
    }

    /// Removes what was there before.
    async fn empty(&self, name: &OsString) -> io::Result<()> {
        let path = self.path.join(name);
        let is_directory = tokio::fs::symlink_metadata(&path).await.is_ok_and(|metadata| metadata.is_dir());
        let removed =
            if is_directory { tokio::fs::remove_dir_all(&path).await } else { tokio::fs::remove_file(&path).await };
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
    }
}

struct Taken {
    locked: LockedDirectory,
    made: bool,
    /// What `-force` removes.
    replaced: Vec<OsString>,
}

fn take(path: &Path, shown: &Path, context: &BuildContext) -> Result<Taken, StepError> {
    let failed = |what: &str, error: io::Error| {
        StepError::new(format!("cannot {what} the output directory {}", shown.display())).with_source(error)
    };
    let force = context.settings.force;
    if force && let Some((error, _)) = never_emptied(path, shown) {
        return Err(error);
    }
    if force && path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
        // What it points to is none of ours.
        std::fs::remove_file(path).map_err(|error| failed("replace", error))?;
    }
    let made = lock::make(path).map_err(|error| failed("create", error))?;
    if !made && !force && Mark::read(path).is_none() {
        return Err(exists(shown));
    }
    let locked = lock(path, shown, context)?;
    if made {
        return Ok(Taken { locked, made, replaced: Vec::new() });
    }
    let list = |names: io::Result<Vec<OsString>>| names.map_err(|error| failed("list", error));
    // Once more, for the build that had the lock may have ended well meanwhile.
    let replaced = match Mark::read(path) {
        _ if force => list(locked.names())?.into_iter().filter(|name| name != INCOMPLETE_MARK).collect(),
        None => return Err(exists(shown)),
        Some(mark) => {
            let foreign = list(locked.foreign(&mark))?;
            if !foreign.is_empty() {
                return Err(holds_more(shown, &foreign));
            }
            locked.remove_own(&mark).map_err(|error| failed("empty", error))?;
            Vec::new()
        }
    };
    context.say("Deleting previous output directory...");
    Ok(Taken { locked, made, replaced })
}

fn lock(path: &Path, shown: &Path, context: &BuildContext) -> Result<LockedDirectory, StepError> {
    match LockedDirectory::take(path) {
        Ok(locked) => Ok(locked),
        Err(LockError::Missing(error)) => {
            Err(StepError::new(format!("cannot open the output directory {}", shown.display())).with_source(error))
        }
        Err(LockError::Held(handle)) => Err(in_use(shown, &Holder::of(path, Some(&handle)))),
        Err(LockError::Unsupported(handle, error)) => {
            // The mark is the next best: it is wrong only about builds of other machines.
            if let Some(owner) = Mark::read(path).and_then(|mark| mark.owner).filter(Owner::is_running) {
                return Err(in_use(shown, &Holder::from(&owner)));
            }
            context.say(format!(
                "Warning: {} cannot be locked ({error}): do not let two builds write into it",
                shown.display()
            ));
            Ok(LockedDirectory::unlocked(path, handle))
        }
    }
}

/// What `-force` does not delete: the place where the build is run, or where another build is at work, which passes.
fn never_emptied(path: &Path, shown: &Path) -> Option<(StepError, bool)> {
    // Of a link only the link goes.
    let real = path.canonicalize().ok().filter(|_| !path.is_symlink())?;
    let homes = [std::env::current_dir().ok(), std::env::var_os("HOME").map(PathBuf::from)];
    let needed = homes.into_iter().flatten().find(|home| home.canonicalize().is_ok_and(|home| home.starts_with(&real)));
    let (why, passes) = match needed {
        Some(home) => (format!("{} lies in it", home.display()), false),
        None => {
            let (inner, holder) = holder_below(&real)?;
            (format!("{} in it is in use by {holder}", inner.display()), true)
        }
    };
    let error = StepError::new(format!("the output directory {} cannot be replaced by -force: {why}", shown.display()));
    Some((error.with_hint("choose another output_directory"), passes))
}

/// How deep other builds' directories are looked for.
const DEPTH: usize = 4;

/// A directory below `path` in which a build is at work.
fn holder_below(path: &Path) -> Option<(PathBuf, Holder)> {
    let mut left = vec![(path.to_owned(), 0)];
    while let Some((directory, depth)) = left.pop() {
        for entry in std::fs::read_dir(&directory).ok().into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let inner = entry.path();
            if let Some(owner) = Mark::read(&inner).and_then(|mark| mark.owner).filter(Owner::is_running) {
                return Some((inner, Holder::from(&owner)));
            }
            if depth + 1 < DEPTH {
                left.push((inner, depth + 1));
            }
        }
    }
    None
}

/// What is there may be the only one of its kind: nobody is told to delete it before they have looked.
fn exists(shown: &Path) -> StepError {
    let mut text = format!("Output directory '{}' already exists. It must not exist.", shown.display());
    if let Some(owner) = Mark::read_aborted(shown).and_then(|mark| mark.owner) {
        let (build, job) = (plain(&owner.build), plain(&owner.job));
        text.push_str(&format!(" It holds what the build {build} of job {job} had made when it was aborted."));
    }
    StepError::new(text).with_hint(
        "look at what is in it, and move it elsewhere if you want to keep it; or choose another output_directory, or build with \
         -force, which deletes it",
    )
}

fn holds_more(shown: &Path, foreign: &[OsString]) -> StepError {
    let (path, names) = (shown.display(), listed(foreign));
    StepError::new(format!(
        "the output directory {path} is left from a build that did not end, but {names} in it is not that build's"
    ))
    .with_hint("move it elsewhere, or build with -force to delete it")
}

fn in_use(shown: &Path, holder: &Holder) -> StepError {
    let cancel = holder.job.as_ref().map_or_else(String::new, |job| format!(" or cancel it (`kiln cancel {job}`)"));
    StepError::new(format!("the output directory {} is in use by {holder}", shown.display()))
        .with_hint(format!("wait until it has ended{cancel}, or choose another output_directory; -force does not help"))
}

/// What keeps a build from having its directory.
pub(crate) struct Obstacle {
    pub(crate) text: String,
    pub(crate) hint: String,
    /// It goes by itself: another build is at work.
    pub(crate) passes: bool,
}

impl Obstacle {
    fn new(error: &StepError, passes: bool) -> Self {
        Self { text: error.to_string(), hint: error.hint().unwrap_or_default().to_owned(), passes }
    }
}

/// Returns why a build that starts now cannot have the directory. What is found out here is only said early; [`prepare`]
/// decides.
pub(crate) fn obstacle(directory: &Path, force: bool) -> Option<Obstacle> {
    let mut passes = false;
    let error = match Mark::read(directory) {
        Some(mark) => match mark.owner.as_ref().filter(|owner| owner.is_running()) {
            Some(owner) => {
                passes = true;
                in_use(directory, &Holder::from(owner))
            }
            None if force => return forced(directory),
            None => {
                let names =
                    File::open(directory).map(|handle| LockedDirectory::unlocked(directory, handle).foreign(&mark));
                let foreign = names.ok()?.ok().filter(|foreign| !foreign.is_empty())?;
                holds_more(directory, &foreign)
            }
        },
        None if directory.symlink_metadata().is_err() => return None,
        None if force => return forced(directory),
        None => exists(directory),
    };
    Some(Obstacle::new(&error, passes))
}

/// What keeps `-force` from replacing the directory.
fn forced(directory: &Path) -> Option<Obstacle> {
    never_emptied(directory, directory).map(|(error, passes)| Obstacle::new(&error, passes))
}

/// Gives back a directory whose build was killed, unless somebody else has it by now; says what was done.
pub(crate) fn sweep(path: &Path, id: &str) -> Result<Option<String>, String> {
    let failed = |error: io::Error| format!("cannot remove the output directory {}: {error}", path.display());
    let locked = match LockedDirectory::take(path) {
        Ok(locked) => locked,
        Err(LockError::Unsupported(handle, _)) => LockedDirectory::unlocked(path, handle),
        // Gone, or another build's.
        Err(LockError::Missing(_) | LockError::Held(_)) => return Ok(None),
    };
    let left = match Mark::read(path) {
        Some(mark) if mark.owner.as_ref().is_some_and(|owner| owner.id == id) => {
            locked.discard(&mark).map_err(failed)?
        }
        // Killed before it could write the mark.
        None if locked.names().map_err(failed)?.is_empty() => locked.discard(&Mark::default()).map_err(failed)?,
        _ => return Ok(None),
    };
    let path = path.display();
    Ok(Some(match left.as_slice() {
        [] => format!("removed the directory {path}"),
        left => format!("removed the files of the build from {path}; {} is not its own and stays", listed(left)),
    }))
}

fn listed(names: &[OsString]) -> String {
    const SHOWN: usize = 3;
    let mut list: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{:?}", name.to_string_lossy())).collect();
    if names.len() > SHOWN {
        list.push(format!("{} more", names.len() - SHOWN));
    }
    list.join(", ")
}
