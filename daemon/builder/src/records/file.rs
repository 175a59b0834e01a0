//! The file that a worker writes: each line is on disk before the call returns.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::reader;
use super::step::{FILE_NAME, Header, StepRecord};
use crate::regular_file;

/// The records of a job, open for writing. Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct RecordFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl RecordFile {
    /// Opens (or creates, mode 0600) the records of `job_dir`. A last line that a crash has cut short goes, or the next one would stand
    /// behind what is no record.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, read or mended, or holds no records.
    pub(crate) fn open(job_dir: &Path) -> io::Result<Self> {
        let path = job_dir.join(FILE_NAME);
        let mut options = OpenOptions::new();
        let mut file = regular_file::open(&path, options.read(true).append(true).create(true).mode(0o600))?;
        drop_what_was_cut(&mut file, &path)?;
        // The name is durable only when the directory is.
        File::open(job_dir)?.sync_all()?;
        Ok(Self { path, file: Arc::new(Mutex::new(file)) })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a build.
    ///
    /// # Errors
    ///
    /// The line cannot be written or synced.
    pub(crate) async fn begin(&self, header: &Header) -> io::Result<()> {
        self.append(header).await
    }

    /// Adds a line of a step.
    ///
    /// # Errors
    ///
    /// The line cannot be written or synced.
    pub(crate) async fn note(&self, step: &StepRecord) -> io::Result<()> {
        self.append(step).await
    }

    async fn append(&self, line: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let file = Arc::clone(&self.file);
        let written = tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // One write of a whole line: builds that run at once do not mix theirs.
            file.write_all(&line)?;
            file.sync_data()
        });
        written.await.map_err(io::Error::other)?
    }
}

/// Cuts off what follows the last record: the end of a line, or after a power loss a line of anything.
fn drop_what_was_cut(file: &mut File, path: &Path) -> io::Result<()> {
    let (_, whole) = reader::read_file(file, path).map_err(io::Error::other)?;
    if whole < file.metadata()?.len() {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}
