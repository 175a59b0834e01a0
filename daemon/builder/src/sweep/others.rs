//! What a job names that was over long ago, and what is another's by now: the same place, or the same machine, may have been used again.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kiln_hypervisors::Resource;

use crate::ledger::{FILE_NAME, Held};

/// Who else may have what a job names that was over at a certain time.
pub(super) struct Others {
    ended: SystemTime,
    /// What jobs hold whose ledgers were written after that.
    later: Vec<(PathBuf, Held)>,
}

impl Others {
    /// Looks at the ledgers of the jobs beside `job_dir`.
    pub(super) fn since(job_dir: &Path, ended: SystemTime) -> Self {
        let mut later = Vec::new();
        let beside = job_dir.parent().and_then(|jobs| std::fs::read_dir(jobs).ok());
        for directory in beside.into_iter().flatten().flatten().map(|entry| entry.path()) {
            let written = directory.join(FILE_NAME).symlink_metadata().and_then(|ledger| ledger.modified());
            if directory != job_dir
                && written.is_ok_and(|time| time > ended)
                && let Ok(held) = Held::read(&directory)
            {
                later.push((directory, held));
            }
        }
        Self { ended, later }
    }

    /// Says whose the resource is, when it is not the job's any more (`job x's`, `another's`).
    pub(super) fn owner_of(&self, resource: &Resource) -> Option<String> {
        if let Some((job, _)) = self.later.iter().find(|(_, held)| held.resources.contains(resource)) {
            return Some(format!("job {}'s", job.file_name().unwrap_or_default().display()));
        }
        // An output directory has a mark that says whose it is.
        let (Resource::File { path } | Resource::Directory { path }) = resource else { return None };
        let found = path.symlink_metadata().ok()?;
        let born = found.created().or_else(|_| found.modified()).ok();
        // A machine that is still there may go on writing below a directory of the job's.
        let written = matches!(resource, Resource::File { .. }).then(|| found.modified().ok()).flatten();
        let is_newer = [born, written].into_iter().flatten().any(|time| time > self.ended);
        is_newer.then(|| "another's".to_owned())
    }
}
