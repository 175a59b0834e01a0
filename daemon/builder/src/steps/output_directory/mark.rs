//! The mark in an output directory whose build has not ended: whose it is, and which of the files there are the build's.
//!
//! A line for people, then lines of JSON: who builds, and each file before it comes to be.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::context::BuildContext;
use crate::ledger::Resource;
use crate::regular_file;

/// The mark's file name.
pub(crate) const NAME: &str = ".kiln-incomplete";

/// The file name of the mark of a build that was aborted: what is in its directory is to stay.
pub(super) const ABORTED: &str = ".kiln-aborted";

/// The first line, under both names.
const NOTE: &str = ".kiln-incomplete: this build has not ended; if no kiln is running, delete this directory. \
    .kiln-aborted: it was aborted, and what it had made is kept; delete this directory when you no longer need it.\n";

/// The largest mark that is read, in bytes; a build has tens of files.
const MAX_BYTES: u64 = 1 << 20;

/// How the names of files begin that are being written.
pub(super) const TEMPORARY: &str = ".kiln-";

/// Who builds into a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// This build's own, of all builds there ever are.
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) build: String,
    /// When it began, for people.
    pub(crate) since: String,
    /// The worker.
    process: Option<Resource>,
}

impl Owner {
    pub(super) fn new(context: &BuildContext) -> Self {
        let job = context.settings.job_dir.file_name();
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            job: job.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            build: context.build.to_string(),
            since: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            process: Resource::process(std::process::id()).ok(),
        }
    }

    /// True for another process's hold on a directory for the same build of the same job.
    pub(super) fn is_of_the_build_of(&self, other: &Self) -> bool {
        (&self.job, &self.build) == (&other.job, &other.build)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match self.process {
            Some(Resource::Process { pid, .. }) => Some(pid),
            _ => None,
        }
    }

    /// True while its worker runs on this machine.
    pub(crate) fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(Resource::is_running)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Owner(Owner),
    File(String),
    Directory(String),
}

/// A mark that was read.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// `None` when it cannot be understood.
    pub(crate) owner: Option<Owner>,
    files: BTreeSet<String>,
    directories: BTreeSet<String>,
}

impl Mark {
    /// Reads the mark of `directory`; `None` when it has none, or its build was aborted: what such a build leaves is nobody's to
    /// remove. A link or a device of that name is none.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        if Self::read_aborted(directory).is_some() { None } else { Self::read_file(&directory.join(NAME)) }
    }

    /// Reads the mark that an aborted build has left in `directory`.
    pub(super) fn read_aborted(directory: &Path) -> Option<Self> {
        Self::read_file(&directory.join(ABORTED))
    }

    fn read_file(path: &Path) -> Option<Self> {
        let file = regular_file::open_to_read(path).ok()?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
        let mut mark = Self::default();
        for line in bytes.split(|&byte| byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Owner(owner)) => mark.owner = Some(owner),
                Ok(Line::File(name)) => {
                    mark.files.insert(name);
                }
                Ok(Line::Directory(name)) => {
                    mark.directories.insert(name);
                }
                Err(_) => {}
            }
        }
        Some(mark)
    }

    /// A mark with these files too.
    pub(super) fn with_files(mut self, more: &[String]) -> Self {
        self.files.extend(more.iter().cloned());
        self
    }

    /// True for files of the build that left the mark.
    pub(super) fn owns(&self, name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        name == NAME || name.starts_with(TEMPORARY) || self.files.contains(name)
    }

    /// True for directories that the build that left the mark has moved in as a whole.
    pub(super) fn owns_directory(&self, name: &OsStr) -> bool {
        name.to_str().is_some_and(|name| self.directories.contains(name))
    }
}

/// Writes the mark of `owner` with what `mark` notes, in place of another perhaps; returns it for more files.
pub(super) fn write(directory: &Path, owner: &Owner, mark: &Mark) -> io::Result<File> {
    let mut text = NOTE.as_bytes().to_vec();
    append(&mut text, &Line::Owner(owner.clone()))?;
    for file in &mark.files {
        append(&mut text, &Line::File(file.clone()))?;
    }
    for name in &mark.directories {
        append(&mut text, &Line::Directory(name.clone()))?;
    }
    let path = directory.join(NAME);
    atomic_file::write(&path, &text, 0o666)?;
    OpenOptions::new().append(true).open(path)
}

/// Makes the mark of `directory` that of a build that was aborted, also on a full disk: it is the same file, by another name.
pub(super) fn make_aborted(directory: &Path) -> io::Result<()> {
    std::fs::rename(directory.join(NAME), directory.join(ABORTED))?;
    File::open(directory)?.sync_all()
}

/// Notes another file of the build, or a directory that is moved in as a whole, before it comes to be.
pub(super) fn note(mark: &mut File, name: &str, is_directory: bool) -> io::Result<()> {
    let mut line = Vec::new();
    let name = name.to_owned();
    append(&mut line, &if is_directory { Line::Directory(name) } else { Line::File(name) })?;
    mark.write_all(&line)
}

fn append(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}
