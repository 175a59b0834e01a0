//! Files that have a name before they are whole: they are in the ledger before they exist.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_disk_formats::{is_stream, unfinished_name};

use crate::atomic_file;
use crate::ledger::{Ledger, Resource};

/// The unfinished files of one conversion, for as long as this lives.
pub struct Unfinished {
    mark: String,
    files: Vec<Resource>,
    /// Not opened for nothing.
    ledger: Option<Arc<Ledger>>,
}

impl Unfinished {
    /// Notes in the ledger of the job in `job_dir` what a conversion to `targets` may leave when it is killed. Most leave nothing.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written, so the files had better not come to be.
    pub fn of_job<'a>(job_dir: &Path, targets: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let mut this = Self::find(targets)?;
        if !this.files.is_empty() {
            this.note(Arc::new(Ledger::open(job_dir)?))?;
        }
        Ok(this)
    }

    /// As [`of_job`](Self::of_job), in a ledger that is open.
    pub(crate) fn in_ledger<'a>(ledger: &Arc<Ledger>, targets: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let mut this = Self::find(targets)?;
        this.note(Arc::clone(ledger))?;
        Ok(this)
    }

    fn find<'a>(targets: impl IntoIterator<Item = &'a Path>) -> io::Result<Self> {
        let mark = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
        let mut files = Vec::new();
        for target in targets.into_iter().filter(|target| !is_stream(target)) {
            if let Some(name) = unfinished_name(target, &mark) {
                files.push(Resource::File { path: std::path::absolute(name)? });
            }
        }
        Ok(Self { mark, files, ledger: None })
    }

    fn note(&mut self, ledger: Arc<Ledger>) -> io::Result<()> {
        let noted = self.files.iter().try_for_each(|file| ledger.note(file));
        self.ledger = Some(ledger);
        noted
    }

    /// What the conversion is to be told: [`ConvertOptions::mark`](kiln_disk_formats::ConvertOptions::mark).
    #[must_use]
    pub fn mark(&self) -> String {
        self.mark.clone()
    }

    /// The files, whether they are there or not.
    fn paths(&self) -> impl Iterator<Item = (&Resource, &PathBuf)> {
        self.files.iter().filter_map(|file| match file {
            Resource::File { path } => Some((file, path)),
            _ => None,
        })
    }
}

/// Writes a small file that belongs to what the job in `job_dir` has made: under its name when it is whole, and in the ledger before.
///
/// # Errors
///
/// The file or the ledger cannot be written; then there is no new file.
pub fn write_whole(job_dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let ledger = Ledger::open(job_dir)?;
    let temporary = path.with_file_name(format!(".kiln-{}.partial", uuid::Uuid::new_v4().simple()));
    let noted = Resource::File { path: std::path::absolute(&temporary)? };
    ledger.note(&noted)?;
    let written = atomic_file::write_by_way_of(&temporary, path, text.as_bytes(), 0o666);
    // Renamed, or removed; what could not be stays for a sweep.
    if temporary.symlink_metadata().is_err() {
        ledger.released(&noted);
    }
    written
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(ledger) = &self.ledger else { return };
        for (file, path) in self.paths() {
            // One that could not be removed stays in the ledger: a sweep tries again.
            if path.symlink_metadata().is_err() {
                ledger.released(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Held;

    #[test]
    fn what_a_killed_conversion_may_leave_is_noted_before_it_exists() {
        let job = tempfile::tempdir().unwrap();
        let target = job.path().join("a.raw");
        let held = || Held::read(job.path()).unwrap().resources.into_iter().collect::<Vec<_>>();
        let nothing = Unfinished::of_job(job.path(), [&*target, Path::new("/dev/null")]).unwrap();
        assert!(held().is_empty() && !job.path().join("resources.ndjson").exists());
        drop(nothing);
        // One that is replaced has a name for a moment.
        std::fs::write(&target, "old").unwrap();
        let noted = Unfinished::of_job(job.path(), [&*target]).unwrap();
        let name = unfinished_name(&target, &noted.mark()).unwrap();
        assert_eq!(held(), [Resource::File { path: name.clone() }]);
        // The worker is killed just then.
        std::fs::write(&name, "part").unwrap();
        std::mem::forget(noted);
        let swept = crate::sweep(job.path()).unwrap();
        assert_eq!((swept.removed.len(), swept.failed.len()), (1, 0), "{swept:?}");
        assert!(!name.exists() && held().is_empty());

        drop(Unfinished::of_job(job.path(), [&*target]).unwrap());
        assert!(held().is_empty());
    }
}
