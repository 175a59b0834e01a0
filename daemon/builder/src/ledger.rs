//! The ledger: a file that names every resource a job holds, so that whatever a killed worker left can be found and removed.
//!
//! ```text
//! {"held":true,"kind":"file","path":"/…"}      noted, and on the disk, before the file is made
//! {"held":false,"kind":"file","path":"/…"}     given back
//! ```
//!
//! Records are only ever added. What a reader does not understand (damage, a record of a newer version) it says and leaves.

mod held;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub use held::FILE_NAME;
pub(crate) use held::Held;
pub(crate) use kiln_hypervisors::Resource;
use serde::Serialize;

#[derive(Serialize)]
struct Record<'a> {
    held: bool,
    #[serde(flatten)]
    resource: &'a Resource,
}

/// The open ledger of one job.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Mutex<File>,
}

impl Ledger {
    /// Opens (or creates, mode 0600) the ledger of `job_dir`. A last record that a crash has cut short goes: what it names has not come
    /// to be.
    pub(crate) fn open(job_dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = job_dir.join(FILE_NAME);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
        if file.metadata()?.len() == 0 {
            // The records are synced one by one, which is for nothing if the file's name is not there after a power loss.
            File::open(job_dir)?.sync_all()?;
        } else {
            end_last_line(&mut file)?;
        }
        Ok(Self { file: Mutex::new(file) })
    }

    /// Notes that `resource` is held from now on. Call before acquiring where the name is known before. That it cannot be noted is only
    /// logged; where this must stop the build use [`note`](Self::note).
    pub(crate) fn acquired(&self, resource: &Resource) {
        if let Err(error) = self.note(resource) {
            tracing::warn!(%error, ?resource, "the resource ledger cannot be written");
        }
    }

    /// Notes that `resource` is held from now on; what outlives a power loss is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    pub(crate) fn note(&self, resource: &Resource) -> io::Result<()> {
        self.write(true, resource)
    }

    /// Notes that `resource` was given back.
    pub(crate) fn released(&self, resource: &Resource) {
        if let Err(error) = self.write(false, resource) {
            tracing::warn!(%error, ?resource, "the resource ledger cannot be written");
        }
    }

    /// [`released`](Self::released) for what would be lost if a sweep after a power loss gave it back all the same: it is on the disk when this
    /// returns.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    pub(crate) fn released_for_good(&self, resource: &Resource) -> io::Result<()> {
        self.write(false, resource)?;
        self.file.lock().unwrap_or_else(PoisonError::into_inner).sync_data()
    }

    fn write(&self, held: bool, resource: &Resource) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Record { held, resource })?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // One write of one short line with O_APPEND: it is in the page cache even if we are killed right after.
        let length = file.metadata()?.len();
        if let Err(error) = file.write_all(&line) {
            // A disk that is full may have taken a piece, in which the next record would be lost.
            let _ = file.set_len(length);
            return Err(error);
        }
        if held && resource.outlives_power_loss() { file.sync_data() } else { Ok(()) }
    }
}

impl kiln_hypervisors::ResourceLedger for Ledger {
    fn acquired(&self, resource: &Resource) -> io::Result<()> {
        self.note(resource)
    }

    fn released(&self, resource: &Resource) {
        Self::released(self, resource);
    }
}

/// Sees that the next record begins on a line of its own: a whole last record without its newline gets one, a piece of one goes.
fn end_last_line(file: &mut File) -> io::Result<()> {
    let mut bytes = Vec::new();
    let length = file.metadata()?.len();
    let start = length.saturating_sub(held::MAX_RECORD_BYTES);
    file.seek(io::SeekFrom::Start(start))?;
    io::Read::take(&*file, held::MAX_RECORD_BYTES).read_to_end(&mut bytes)?;
    let last = bytes.iter().rposition(|&byte| byte == b'\n').map(|end| end + 1);
    match (&bytes[last.unwrap_or(0)..], last) {
        ([], _) => Ok(()),
        // Damage, longer than any record.
        (_, None) if start > 0 => file.write_all(b"\n"),
        (record, _) if serde_json::from_slice::<serde_json::Value>(record).is_ok() => file.write_all(b"\n"),
        (_, last) => file.set_len(start + last.unwrap_or(0) as u64),
    }
}

#[cfg(test)]
mod tests;
