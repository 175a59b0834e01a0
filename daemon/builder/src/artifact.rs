//! Artifacts: what a build or a post-processor leaves, and how it is destroyed.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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

    /// The file of this artifact that `path` is, by whatever name.
    pub(crate) fn file_at(&self, path: &Path) -> Option<&Path> {
        let identity = FileIdentity::of(path);
        self.files.iter().find(|file| FileIdentity::of(file) == identity).map(PathBuf::as_path)
    }

    /// Whether a file of `other` is one of this artifact's.
    pub(crate) fn shares_a_file(&self, other: &Self) -> bool {
        other.files.iter().any(|file| self.file_at(file).is_some())
    }

    /// As [`destroy`](Self::destroy), but for the files of `other`.
    pub(crate) fn destroy_beside(&self, other: &Self) -> Result<(), DestroyError> {
        let rest = |files: &[PathBuf]| files.iter().filter(|file| other.file_at(file).is_none()).cloned().collect();
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

/// What a path leads to: templates name one file in many ways.
#[derive(Debug, PartialEq, Eq)]
enum FileIdentity {
    /// Device and inode of what is there.
    There(u64, u64),
    /// Nothing is there, or it cannot be looked at: the path that it would have.
    Named(PathBuf),
}

impl FileIdentity {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(metadata) => Self::There(metadata.dev(), metadata.ino()),
            Err(_) => Self::Named(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(files: &[&Path]) -> Artifact {
        let files: Vec<PathBuf> = files.iter().map(|path| path.to_path_buf()).collect();
        Artifact {
            builder_id: String::new(),
            id: String::new(),
            text: String::new(),
            ownership: Ownership::Files(files.clone()),
            files,
        }
    }

    #[test]
    fn a_file_is_the_same_by_every_name() {
        let place = tempfile::tempdir().unwrap();
        let (image, other, link) = (place.path().join("image"), place.path().join("other"), place.path().join("link"));
        std::fs::write(&image, "an image of hours").unwrap();
        std::fs::write(&other, "made later").unwrap();
        std::os::unix::fs::symlink(&image, &link).unwrap();
        let built = artifact(&[&image]);
        for name in [place.path().join(".").join("image"), link] {
            let later = artifact(&[&name, &other]);
            assert!(later.shares_a_file(&built), "{}", name.display());
            later.destroy_beside(&built).unwrap();
            assert!(image.exists() && !other.exists(), "{}", name.display());
            std::fs::write(&other, "made later").unwrap();
        }
        assert!(!artifact(&[&other, &place.path().join("gone")]).shares_a_file(&built));
        std::fs::remove_file(&image).unwrap();
        assert!(artifact(&[&place.path().join(".").join("image")]).shares_a_file(&built), "also where it is gone");
    }
}
