//! Beside the journal, what was decided of a job that a user cannot write: that it is not confined to its guests.
//!
//! `STATE/unconfined/ID` is the daemon's own, as the directory is: the job's files are its user's, and would say whatever that one likes. A
//! mark that is missing confines, so nothing is lost by losing one but what a job may do.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use super::{JobDir, JobDirError};

impl JobDir {
    /// Notes that the job is not confined. To be called before [`create`](Self::create), which has the file system write this down, too.
    ///
    /// # Errors
    ///
    /// The disk is full or not writable.
    pub fn note_unconfined(&self) -> Result<(), JobDirError> {
        let Some(mark) = self.unconfined() else { return Ok(()) };
        let above = mark.parent().unwrap_or(&mark);
        let failed = |source| JobDirError { action: "make", path: mark.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(failed)?;
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&mark);
        made.map(drop).map_err(failed)
    }

    /// Whether it was noted that the job is not confined.
    #[must_use]
    pub fn is_unconfined(&self) -> bool {
        self.unconfined().is_some_and(|mark| mark.symlink_metadata().is_ok())
    }

    /// Removes the note, with the job.
    pub(super) fn forget_unconfined(&self) {
        let Some(mark) = self.unconfined() else { return };
        if let Err(error) = std::fs::remove_file(&mark)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %mark.display(), %error, "a note about a job cannot be removed");
        }
    }

    fn unconfined(&self) -> Option<PathBuf> {
        let state = self.root.parent()?.parent()?;
        Some(state.join("unconfined").join(self.root.file_name()?))
    }
}
