//! Packer's rules for what `floppy_*` and `cd_*` options put where.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::glob::{self, GlobError};
use super::source::MediaSource;
use super::tree::{MediaTree, TreeError, join};

/// Most directories inside each other that are followed: what a tree can hold anyway.
const MAX_DEPTH: usize = 100;
/// Most files and directories that are looked at, so that a mistaken `/` ends soon.
const MAX_VISITED: usize = 250_000;

/// A tree made by Packer's rules, and what there is to say about it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The files and directories of the medium.
    pub tree: MediaTree,
    /// Files of this machine that were put on it, in order.
    pub copied: Vec<PathBuf>,
    /// Patterns that matched nothing. Packer says nothing about them; a user may want to know.
    pub unmatched: Vec<String>,
}

/// Why files cannot be put on a medium.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// A file or directory named by the template cannot be examined.
    #[error("cannot find `{}` for the {medium}", path.display())]
    Missing {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory cannot be listed.
    #[error("cannot list `{}` for the {medium}", path.display())]
    List {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A socket, device or pipe cannot be put on a medium.
    #[error("`{}` is neither a file nor a directory, so it cannot be put on the {medium}", path.display())]
    NotAFile {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// What was named.
        path: PathBuf,
    },
    /// A name is not UTF-8, which both media store.
    #[error("the name of `{}` is not valid UTF-8, so it cannot be put on the {medium}", path.display())]
    NotText {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// The file or directory.
        path: PathBuf,
    },
    /// A symbolic link leads back to a directory that contains it.
    #[error("`{}` leads back to a directory that contains it", path.display())]
    Loop {
        /// The symbolic link.
        path: PathBuf,
    },
    /// More than 100 directories inside each other.
    #[error("`{}` is more than {MAX_DEPTH} directories deep", path.display())]
    TooDeep {
        /// The directory.
        path: PathBuf,
    },
    /// More than 250,000 files and directories.
    #[error("more than {MAX_VISITED} files and directories are too many for the {medium}")]
    TooMany {
        /// `floppy` or `CD`.
        medium: &'static str,
    },
    /// Two files would have the same name on the medium.
    #[error("cannot put `{}` on the {medium}", path.display())]
    Place {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// The file of this machine.
        path: PathBuf,
        /// Why not.
        source: TreeError,
    },
    /// A key of `floppy_content` or `cd_content` is not usable.
    #[error("cannot put the content for {path:?} on the {medium}")]
    Content {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// The key.
        path: String,
        /// Why not.
        source: TreeError,
    },
    /// A pattern cannot be expanded.
    #[error("cannot expand a pattern for the {medium}")]
    Pattern {
        /// `floppy` or `CD`.
        medium: &'static str,
        /// Why not.
        source: GlobError,
    },
}

impl SelectionError {
    /// Returns what the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Place { medium: "floppy", source: TreeError::Duplicate { .. }, .. } => {
                Some("floppy_files puts all files into one directory; floppy_dirs keeps directories")
            }
            Self::Missing { .. } => Some("relative paths start from the directory in which the build was started"),
            _ => None,
        }
    }
}

impl MediaTree {
    /// Builds the tree that Packer's `floppy_files`, `floppy_dirs` and `floppy_content` ask for; relative paths start from
    /// the working directory of the process. See [`Selection::floppy`].
    ///
    /// # Errors
    ///
    /// The same as of [`Selection::floppy`].
    pub fn from_packer_floppy<K: AsRef<str>, V: AsRef<[u8]>>(
        files: &[impl AsRef<Path>],
        dirs: &[impl AsRef<Path>],
        content: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SelectionError> {
        Selection::floppy(Path::new(""), files, dirs, content).map(|selection| selection.tree)
    }

    /// Builds the tree that Packer's `cd_files` and `cd_content` ask for; relative paths start from the working directory of
    /// the process. See [`Selection::cd`].
    ///
    /// # Errors
    ///
    /// The same as of [`Selection::cd`].
    pub fn from_packer_cd<K: AsRef<str>, V: AsRef<[u8]>>(
        files: &[impl AsRef<Path>],
        content: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SelectionError> {
        Selection::cd(Path::new(""), files, content).map(|selection| selection.tree)
    }
}

impl Selection {
    /// Selects what Packer's `floppy_files`, `floppy_dirs` and `floppy_content` ask for.
    ///
    /// Files of `files` all go into the root, those inside directories too. Directories of `dirs` keep their tree under their
    /// own name; plain files among them go into the root. `content` pairs paths with bytes. Both lists may hold patterns.
    /// Relative paths start from `base`. Symbolic links are followed.
    ///
    /// # Errors
    ///
    /// Fails when a path that is no pattern does not exist, something cannot be read, or two files would have the same
    /// place. The same file named twice is put there once.
    pub fn floppy<K: AsRef<str>, V: AsRef<[u8]>>(
        base: &Path,
        files: &[impl AsRef<Path>],
        dirs: &[impl AsRef<Path>],
        content: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SelectionError> {
        let mut collector = Collector::new(base, "floppy");
        for path in collector.expand(files)? {
            collector.place(&path, Shape::Flat)?;
        }
        for path in collector.expand(dirs)? {
            collector.place(&path, Shape::Tree)?;
        }
        collector.finish(content, MediaTree::add_file)
    }

    /// Selects what Packer's `cd_files` and `cd_content` ask for.
    ///
    /// Files go into the root; directories keep their tree under their own name. An entry of `content` replaces a file of
    /// the same path, and a later file an earlier one. Relative paths start from `base`. Symbolic links are followed.
    ///
    /// # Errors
    ///
    /// Fails when a path that is no pattern does not exist, or something cannot be read.
    pub fn cd<K: AsRef<str>, V: AsRef<[u8]>>(
        base: &Path,
        files: &[impl AsRef<Path>],
        content: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, SelectionError> {
        let mut collector = Collector::new(base, "CD");
        collector.replace = true;
        for path in collector.expand(files)? {
            collector.place(&path, Shape::Tree)?;
        }
        collector.finish(content, MediaTree::replace_file)
    }
}

/// What becomes of directories.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Flat,
    Tree,
}

struct Collector<'a> {
    base: &'a Path,
    medium: &'static str,
    /// Whether a later file takes the place of an earlier one.
    replace: bool,
    selection: Selection,
    /// Files and directories looked at so far.
    visited: usize,
    /// Device and inode numbers of the directories being walked, outermost first.
    walking: Vec<(u64, u64)>,
}

impl<'a> Collector<'a> {
    fn new(base: &'a Path, medium: &'static str) -> Self {
        Self { base, medium, replace: false, selection: Selection::default(), visited: 0, walking: Vec::new() }
    }

    fn expand(&mut self, paths: &[impl AsRef<Path>]) -> Result<Vec<PathBuf>, SelectionError> {
        let mut expanded = Vec::new();
        for path in paths.iter().map(AsRef::as_ref) {
            if !glob::is_pattern(path) {
                expanded.push(path.to_owned());
                continue;
            }
            let medium = self.medium;
            let matches = glob::expand(self.base, path).map_err(|source| SelectionError::Pattern { medium, source })?;
            if matches.is_empty() {
                self.selection.unmatched.push(path.to_string_lossy().into_owned());
            }
            expanded.extend(matches);
        }
        Ok(expanded)
    }

    /// Puts one path of the template on the medium.
    fn place(&mut self, path: &Path, shape: Shape) -> Result<(), SelectionError> {
        // `.`, `..` and `/` have no name of their own: their content goes into the root.
        let is_directory = self.is_directory(path)?;
        let name = match path.file_name() {
            Some(name) => name.to_str().ok_or_else(|| self.not_text(path))?,
            None => "",
        };
        if !is_directory {
            return self.place_file(path, name);
        }
        if shape == Shape::Tree && !name.is_empty() {
            self.place_directory(path, name)?;
        }
        self.walk(path, name, shape)
    }

    fn walk(&mut self, directory: &Path, target: &str, shape: Shape) -> Result<(), SelectionError> {
        let metadata = self.metadata(directory)?;
        let identity = (metadata.dev(), metadata.ino());
        if self.walking.contains(&identity) {
            return Err(SelectionError::Loop { path: directory.to_owned() });
        }
        if self.walking.len() >= MAX_DEPTH {
            return Err(SelectionError::TooDeep { path: directory.to_owned() });
        }
        self.walking.push(identity);
        let walked = self.walk_entries(directory, target, shape);
        self.walking.pop();
        walked
    }

    fn walk_entries(&mut self, directory: &Path, target: &str, shape: Shape) -> Result<(), SelectionError> {
        let failed = |source| SelectionError::List { medium: self.medium, path: directory.to_owned(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.base.join(directory)).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        self.visited += names.len();
        if self.visited > MAX_VISITED {
            return Err(SelectionError::TooMany { medium: self.medium });
        }
        for name in names {
            let path = directory.join(&name);
            let name = name.to_str().ok_or_else(|| self.not_text(&path))?;
            let inner = match shape {
                Shape::Flat => name.to_owned(),
                Shape::Tree => join(target, name),
            };
            if !self.is_directory(&path)? {
                self.place_file(&path, &inner)?;
                continue;
            }
            if shape == Shape::Tree {
                self.place_directory(&path, &inner)?;
            }
            self.walk(&path, &inner, shape)?;
        }
        Ok(())
    }

    fn place_directory(&mut self, path: &Path, target: &str) -> Result<(), SelectionError> {
        let medium = self.medium;
        self.selection.tree.add_dir(target).map_err(|source| SelectionError::Place {
            medium,
            path: path.to_owned(),
            source,
        })
    }

    fn place_file(&mut self, path: &Path, target: &str) -> Result<(), SelectionError> {
        // `a` and `./a`, or a file and a pattern that matches it, are no conflict.
        let absolute = self.base.join(path);
        let absolute = absolute.canonicalize().unwrap_or(absolute);
        if self.selection.tree.file_source(target) == Some(&MediaSource::Path(absolute.clone())) {
            return Ok(());
        }
        let source = MediaSource::Path(absolute);
        let placed = if self.replace {
            self.selection.tree.replace_file(target, source)
        } else {
            self.selection.tree.add_file(target, source)
        };
        let medium = self.medium;
        placed.map_err(|source| SelectionError::Place { medium, path: path.to_owned(), source })?;
        self.selection.copied.push(path.to_owned());
        Ok(())
    }

    fn finish<K: AsRef<str>, V: AsRef<[u8]>>(
        mut self,
        content: impl IntoIterator<Item = (K, V)>,
        put: impl Fn(&mut MediaTree, &str, MediaSource) -> Result<(), TreeError>,
    ) -> Result<Selection, SelectionError> {
        for (path, bytes) in content {
            let path = path.as_ref();
            let source = MediaSource::Bytes(bytes.as_ref().to_vec());
            put(&mut self.selection.tree, path, source).map_err(|source| SelectionError::Content {
                medium: self.medium,
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(self.selection)
    }

    fn is_directory(&self, path: &Path) -> Result<bool, SelectionError> {
        let metadata = self.metadata(path)?;
        if !metadata.is_dir() && !metadata.is_file() {
            return Err(SelectionError::NotAFile { medium: self.medium, path: path.to_owned() });
        }
        Ok(metadata.is_dir())
    }

    fn metadata(&self, path: &Path) -> Result<Metadata, SelectionError> {
        self.base.join(path).metadata().map_err(|source| SelectionError::Missing {
            medium: self.medium,
            path: path.to_owned(),
            source,
        })
    }

    fn not_text(&self, path: &Path) -> SelectionError {
        SelectionError::NotText { medium: self.medium, path: path.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        std::fs::create_dir_all(base.join("drivers/net/w11")).unwrap();
        std::fs::create_dir_all(base.join("drivers/empty")).unwrap();
        for name in ["autounattend.xml", "a.ps1", "b.ps1", "drivers/readme", "drivers/net/w11/net.inf"] {
            std::fs::write(base.join(name), name).unwrap();
        }
        directory
    }

    const NOTHING: [(&str, &str); 0] = [];

    fn floppy(base: &Path, files: &[&str], dirs: &[&str], content: &[&str]) -> Result<Selection, SelectionError> {
        let content = content.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec()));
        Selection::floppy(base, files, dirs, content)
    }

    #[test]
    fn floppy_files_are_flattened() {
        let fixture = fixture();
        let selection =
            floppy(fixture.path(), &["./autounattend.xml", "*.ps1", "a.ps1", "drivers", "*.none"], &[], &[]).unwrap();
        assert_eq!(selection.tree.file_paths(), ["a.ps1", "autounattend.xml", "b.ps1", "net.inf", "readme"]);
        assert_eq!(selection.unmatched, ["*.none"]);
        assert_eq!(selection.copied.len(), 5);
    }

    #[test]
    fn floppy_dirs_keep_their_tree() {
        let fixture = fixture();
        for name in ["drivers", "drivers/", "./drivers"] {
            let selection = floppy(fixture.path(), &[], &[name], &["cfg/x/y.txt"]).unwrap();
            assert_eq!(selection.tree.file_paths(), ["cfg/x/y.txt", "drivers/net/w11/net.inf", "drivers/readme"]);
            assert_eq!(selection.tree.len(), 3 + 2 + 2 + 2, "empty directories are kept");
        }
        let selection = floppy(fixture.path(), &[], &["drivers/*", "a.ps1"], &[]).unwrap();
        assert_eq!(selection.tree.file_paths(), ["a.ps1", "net/w11/net.inf", "readme"]);
    }

    #[test]
    fn cd_files_keep_their_tree_and_content_wins() {
        let fixture = fixture();
        let content = [("drivers/readme", "new"), ("/meta-data", "")];
        let selection = Selection::cd(fixture.path(), &["drivers", "?.ps1"], content).unwrap();
        assert_eq!(
            selection.tree.file_paths(),
            ["a.ps1", "b.ps1", "drivers/net/w11/net.inf", "drivers/readme", "meta-data"]
        );
        assert_eq!(selection.tree.file_source("drivers/readme"), Some(&MediaSource::Bytes(b"new".to_vec())));
        let dot = Selection::cd(fixture.path(), &["."], NOTHING).unwrap();
        assert_eq!(dot.tree.file_paths().len(), 5);
    }

    #[test]
    fn names_what_is_wrong() {
        let fixture = fixture();
        let base = fixture.path();
        let error = floppy(base, &["missing.xml"], &[], &[]).unwrap_err();
        assert_eq!(error.to_string(), "cannot find `missing.xml` for the floppy");
        let error = floppy(base, &["a.ps1"], &[], &["a.ps1"]).unwrap_err();
        assert!(matches!(error, SelectionError::Content { source: TreeError::Duplicate { .. }, .. }));
        std::fs::write(base.join("drivers/a.ps1"), "other").unwrap();
        let error = floppy(base, &["a.ps1", "drivers"], &[], &[]).unwrap_err();
        assert!(matches!(error, SelectionError::Place { source: TreeError::Duplicate { .. }, .. }));
        assert!(error.hint().unwrap().contains("floppy_dirs"));
        std::os::unix::fs::symlink("..", base.join("drivers/loop")).unwrap();
        let error = Selection::cd(base, &["drivers"], NOTHING).unwrap_err();
        assert!(matches!(error, SelectionError::Loop { .. }), "{error}");
    }
}
