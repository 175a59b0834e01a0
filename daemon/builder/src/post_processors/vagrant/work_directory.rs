//! A directory for what is written on the way to a box: in the ledger before it exists, gone when nobody needs it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ledger::{Ledger, Resource};

/// The directory, for as long as this lives.
pub(super) struct WorkDirectory {
    path: PathBuf,
    ledger: Arc<Ledger>,
}

impl WorkDirectory {
    /// Makes one beside `output`, so that large files go where the large file goes.
    pub(super) fn beside(output: &Path, ledger: &Arc<Ledger>) -> io::Result<Self> {
        let name = format!(".kiln-{}.box", uuid::Uuid::new_v4().simple());
        let path = std::path::absolute(output.with_file_name(name))?;
        ledger.note(&Resource::Directory { path: path.clone() })?;
        let this = Self { path, ledger: Arc::clone(ledger) };
        std::fs::create_dir_all(&this.path)?;
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
        // What could not be removed stays in the ledger: a sweep tries again.
        if self.path.symlink_metadata().is_err() {
            self.ledger.released(&Resource::Directory { path: self.path.clone() });
        }
    }
}
