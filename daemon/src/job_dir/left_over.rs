//! What a job still holds when it is over, and why that could not be given back.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::{JobDir, JobDirError, read_whole, write_whole};
use crate::explain::explain;

impl JobDir {
    /// Names what the job still holds, and what its own directory keeps; nothing: it may be forgotten.
    #[must_use]
    pub fn still_held(&self) -> Vec<String> {
        [self.still_on_ledger(), self.keeps()].concat()
    }

    /// Names what lies in the job's directory and would be lost with it: the machine of an aborted build that could not be moved away.
    #[must_use]
    pub fn keeps(&self) -> Vec<String> {
        kiln_builder::kept_inside(&self.root)
    }

    /// Names what the job still holds, as far as its ledger says; nothing: all is given back.
    #[must_use]
    pub fn still_on_ledger(&self) -> Vec<String> {
        kiln_builder::still_held(&self.root).unwrap_or_else(|error| {
            vec![format!("what the ledger {} names: it cannot be read ({error})", self.ledger().display())]
        })
    }

    /// Removes the credentials by which what the job has at services would be given back, and those of the proxy on the way there.
    ///
    /// # Errors
    ///
    /// What has them cannot be read or written.
    pub fn forget_credentials(&self) -> Result<(), String> {
        let forgotten = kiln_builder::forget_credentials(&self.root);
        // Of the other notes, where one cannot be written.
        let scrubbed = self.scrub_request().map_err(|error| explain(&error));
        forgotten.and(scrubbed)
    }

    /// Returns the path of the ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.root.join(kiln_builder::LEDGER_NAME)
    }

    /// Returns when the job was over: nothing is written to its events after that.
    ///
    /// # Errors
    ///
    /// There are no events.
    pub fn ended(&self) -> Result<SystemTime, JobDirError> {
        let path = self.events();
        let written = path.symlink_metadata().and_then(|events| events.modified());
        written.map_err(|source| JobDirError { action: "look at", path, source })
    }

    /// Writes down why something could not be given back; nothing: all was.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_left(&self, reasons: &[String]) -> Result<(), JobDirError> {
        let path = self.left();
        if !reasons.is_empty() {
            return write_whole(&path, &reasons);
        }
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JobDirError { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Returns why something could not be given back when that was last tried, as far as it is known.
    #[must_use]
    pub fn read_left(&self) -> Vec<String> {
        read_whole(&self.left()).unwrap_or_default()
    }

    fn left(&self) -> PathBuf {
        self.root.join("left.json")
    }
}
