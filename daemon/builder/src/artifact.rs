//! Artifacts: what a build or a post-processor leaves, and how it is destroyed.

use std::io;
use std::path::PathBuf;

use crate::records::Output;

/// Files with their maker and a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// Who made it, as Packer names it: `transcend.qemu`, `packer.post-processor.checksum`.
    pub builder_id: String,
    /// Its id in its maker's terms; may be empty.
    pub id: String,
    /// The line of the summary.
    pub text: String,
    /// Its files, in a fixed order.
    pub files: Vec<PathBuf>,
    /// What destroying it removes.
    pub ownership: Ownership,
}

/// What goes away with an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Nothing (the null builder).
    Nothing,
    /// Files in a directory, and the directory when nothing else is in it.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The files.
        files: Vec<PathBuf>,
    },
    /// Single files.
    Files(Vec<PathBuf>),
}

impl Artifact {
    /// What is noted of it.
    pub(crate) fn output(&self) -> Output {
        Output::Artifact { builder_id: self.builder_id.clone(), files: self.files.clone() }
    }

    /// Whether a file of `other` is one of this artifact's.
    pub(crate) fn shares_a_file(&self, other: &Self) -> bool {
        self.files.iter().any(|file| other.files.contains(file))
    }

    /// As [`destroy`](Self::destroy), but for the files of `other`.
    pub(crate) fn destroy_beside(&self, other: &Self) -> Result<(), DestroyError> {
        let rest = |files: &[PathBuf]| files.iter().filter(|file| !other.files.contains(file)).cloned().collect();
        let ownership = match &self.ownership {
            Ownership::Nothing => Ownership::Nothing,
            Ownership::Directory { path, files } => Ownership::Directory { path: path.clone(), files: rest(files) },
            Ownership::Files(files) => Ownership::Files(rest(files)),
        };
        Self { ownership, ..self.clone() }.destroy()
    }

    /// Removes what the artifact owns. What is gone already is no error.
    ///
    /// # Errors
    ///
    /// The first file or directory that cannot be removed.
    pub(crate) fn destroy(&self) -> Result<(), DestroyError> {
        let gone = |path: &PathBuf, result: io::Result<()>| match result {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DestroyError { path: path.clone(), source }),
            _ => Ok(()),
        };
        let remove = |paths: &[PathBuf]| paths.iter().try_for_each(|path| gone(path, std::fs::remove_file(path)));
        match &self.ownership {
            Ownership::Nothing => Ok(()),
            Ownership::Directory { path, files } => {
                remove(files)?;
                match std::fs::remove_dir(path) {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                    removed => gone(path, removed),
                }
            }
            Ownership::Files(paths) => remove(paths),
        }
    }
}

/// An artifact's file that could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}", path.display())]
pub(crate) struct DestroyError {
    path: PathBuf,
    source: io::Error,
}
