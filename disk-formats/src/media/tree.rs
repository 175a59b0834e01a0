//! The files and directories of a medium, before it has a format.

use std::collections::BTreeMap;

use super::source::MediaSource;

/// Most entries one medium may have: far above any boot medium, low enough that a mistaken `/` ends soon.
const MAX_ENTRIES: usize = 250_000;
/// Most directories on the way to an entry. Formats and guests have lower limits; this one keeps recursion shallow.
const MAX_DEPTH: usize = 100;
/// Longest name of one file or directory in bytes: the limit of Linux, and of Rock Ridge readers.
const MAX_NAME_BYTES: usize = 255;

/// The files and directories to put on a medium.
///
/// Paths are relative to the root of the medium and use `/`; a leading `/` and `.` components mean nothing. Directories
/// on the way to a file come into being by themselves. Entries are kept sorted by name, so that the order of calls
/// does not change the image.
#[derive(Clone, Debug, Default)]
pub struct MediaTree {
    root: MediaDirectory,
    entries: usize,
}

/// The entries of one directory, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct MediaDirectory {
    entries: BTreeMap<String, MediaNode>,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub(super) enum MediaNode {
    Directory(MediaDirectory),
    File(MediaSource),
}

/// Why an entry cannot be put into a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The path names the root where a file was meant, or is empty.
    #[error("`{path}` does not name a file on the medium")]
    Empty {
        /// The path as given.
        path: String,
    },
    /// The path would leave the medium.
    #[error("`{path}` leaves the medium: `..` is not allowed")]
    Escapes {
        /// The path as given.
        path: String,
    },
    /// The path holds a NUL character, which no file system can store.
    #[error("{path:?} contains a NUL character")]
    Nul {
        /// The path as given.
        path: String,
    },
    /// One component is longer than 255 bytes.
    #[error("`{name}` in `{path}` is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong {
        /// The path as given.
        path: String,
        /// The component.
        name: String,
    },
    /// More than 100 directories on the way to an entry.
    #[error("`{path}` is more than {MAX_DEPTH} directories deep")]
    TooDeep {
        /// The path as given.
        path: String,
    },
    /// Another entry has this path already.
    #[error("two files would both be `{path}` on the medium")]
    Duplicate {
        /// The path on the medium.
        path: String,
    },
    /// A file stands where a directory is needed, or a directory where a file is.
    #[error("`{path}` would be both a file and a directory on the medium")]
    FileAndDirectory {
        /// The path on the medium.
        path: String,
    },
    /// More than 250,000 entries.
    #[error("more than {MAX_ENTRIES} files and directories are too many for a boot medium")]
    TooManyEntries,
}

/// What to do with an entry that exists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Refuse,
    Replace,
}

impl MediaTree {
    /// Makes an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file, and the directories on the way to it.
    ///
    /// # Errors
    ///
    /// Fails when the path is not usable, or when something else has it already.
    pub fn add_file(&mut self, path_in_image: &str, source: MediaSource) -> Result<(), TreeError> {
        self.put_file(path_in_image, source, Existing::Refuse)
    }

    /// Adds a file, taking the place of an earlier file of the same path.
    ///
    /// # Errors
    ///
    /// Fails when the path is not usable, or when it is a directory.
    pub fn replace_file(&mut self, path_in_image: &str, source: MediaSource) -> Result<(), TreeError> {
        self.put_file(path_in_image, source, Existing::Replace)
    }

    /// Adds a directory, and the directories on the way to it; one that exists already is fine.
    ///
    /// # Errors
    ///
    /// Fails when the path is not usable, or when it or a part of it is a file.
    pub fn add_dir(&mut self, path_in_image: &str) -> Result<(), TreeError> {
        let components = components(path_in_image)?;
        self.directory(path_in_image, &components).map(|_| ())
    }

    /// Returns the number of files and directories, not counting the root.
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Says whether there is nothing to put on the medium.
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns the paths of all files in the order in which they are laid out.
    pub fn file_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        collect_file_paths(&self.root, "", &mut paths);
        paths
    }

    /// Returns the source of the file at a path, when there is one.
    pub fn file_source(&self, path_in_image: &str) -> Option<&MediaSource> {
        let components = components(path_in_image).ok()?;
        let (name, parents) = components.split_last()?;
        let mut directory = &self.root;
        for parent in parents {
            match directory.entries.get(*parent)? {
                MediaNode::Directory(inner) => directory = inner,
                MediaNode::File(_) => return None,
            }
        }
        match directory.entries.get(*name)? {
            MediaNode::File(source) => Some(source),
            MediaNode::Directory(_) => None,
        }
    }

    pub(super) const fn root(&self) -> &MediaDirectory {
        &self.root
    }

    fn put_file(&mut self, path: &str, source: MediaSource, existing: Existing) -> Result<(), TreeError> {
        let components = components(path)?;
        let Some((name, parents)) = components.split_last() else {
            return Err(TreeError::Empty { path: path.to_owned() });
        };
        if path.ends_with('/') {
            return Err(TreeError::Empty { path: path.to_owned() });
        }
        let full = self.entries >= MAX_ENTRIES;
        let directory = self.directory(path, parents)?;
        match directory.entries.get_mut(*name) {
            Some(MediaNode::Directory(_)) => return Err(TreeError::FileAndDirectory { path: components.join("/") }),
            Some(MediaNode::File(_)) if existing == Existing::Refuse => {
                return Err(TreeError::Duplicate { path: components.join("/") });
            }
            Some(MediaNode::File(old)) => *old = source,
            None if full => return Err(TreeError::TooManyEntries),
            None => {
                directory.entries.insert((*name).to_owned(), MediaNode::File(source));
                self.entries += 1;
            }
        }
        Ok(())
    }

    /// Returns the directory at `components`, making what is missing.
    fn directory(&mut self, path: &str, components: &[&str]) -> Result<&mut MediaDirectory, TreeError> {
        if components.len() > MAX_DEPTH {
            return Err(TreeError::TooDeep { path: path.to_owned() });
        }
        let mut directory = &mut self.root;
        for (depth, name) in components.iter().enumerate() {
            if !directory.entries.contains_key(*name) {
                if self.entries >= MAX_ENTRIES {
                    return Err(TreeError::TooManyEntries);
                }
                self.entries += 1;
            }
            let node = directory
                .entries
                .entry((*name).to_owned())
                .or_insert_with(|| MediaNode::Directory(MediaDirectory::default()));
            directory = match node {
                MediaNode::Directory(inner) => inner,
                MediaNode::File(_) => {
                    return Err(TreeError::FileAndDirectory { path: components[..=depth].join("/") });
                }
            };
        }
        Ok(directory)
    }
}

impl MediaDirectory {
    /// Returns the entries in the order of their names (by Unicode code point).
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (&str, &MediaNode)> {
        self.entries.iter().map(|(name, node)| (name.as_str(), node))
    }
}

/// Joins a directory and a name as a path on the medium.
pub(super) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn components(path: &str) -> Result<Vec<&str>, TreeError> {
    if path.contains('\0') {
        return Err(TreeError::Nul { path: path.to_owned() });
    }
    let mut components = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err(TreeError::Escapes { path: path.to_owned() }),
            _ if name.len() > MAX_NAME_BYTES => {
                return Err(TreeError::NameTooLong { path: path.to_owned(), name: name.to_owned() });
            }
            _ => components.push(name),
        }
    }
    Ok(components)
}

fn collect_file_paths(directory: &MediaDirectory, parent: &str, paths: &mut Vec<String>) {
    for (name, node) in directory.entries() {
        let path = join(parent, name);
        match node {
            MediaNode::Directory(inner) => collect_file_paths(inner, &path, paths),
            MediaNode::File(_) => paths.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> MediaSource {
        MediaSource::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn normalizes_paths() {
        let mut tree = MediaTree::new();
        tree.add_file("/a//./b", bytes("1")).unwrap();
        tree.add_file("a/c", bytes("2")).unwrap();
        tree.add_dir("/a/d/").unwrap();
        assert_eq!(tree.file_paths(), ["a/b", "a/c"]);
        assert_eq!(tree.len(), 4);
    }

    #[test]
    fn refuses_paths_that_mean_nothing() {
        let mut tree = MediaTree::new();
        for (path, expected) in [
            ("", TreeError::Empty { path: String::new() }),
            ("/", TreeError::Empty { path: "/".into() }),
            ("a/", TreeError::Empty { path: "a/".into() }),
            ("a/../../b", TreeError::Escapes { path: "a/../../b".into() }),
            ("a\0b", TreeError::Nul { path: "a\0b".into() }),
        ] {
            assert_eq!(tree.add_file(path, bytes("")), Err(expected));
        }
        assert!(matches!(tree.add_file(&"x".repeat(256), bytes("")), Err(TreeError::NameTooLong { .. })));
        assert!(matches!(tree.add_file(&"x/".repeat(101), bytes("")), Err(TreeError::Empty { .. })));
        assert!(matches!(tree.add_dir(&"x/".repeat(101)), Err(TreeError::TooDeep { .. })));
        assert!(tree.is_empty());
    }

    #[test]
    fn keeps_files_and_directories_apart() {
        let mut tree = MediaTree::new();
        tree.add_file("a", bytes("1")).unwrap();
        assert_eq!(tree.add_file("a", bytes("2")), Err(TreeError::Duplicate { path: "a".into() }));
        assert_eq!(tree.add_file("a/b", bytes("2")), Err(TreeError::FileAndDirectory { path: "a".into() }));
        assert_eq!(tree.add_dir("a"), Err(TreeError::FileAndDirectory { path: "a".into() }));
        tree.replace_file("a", bytes("3")).unwrap();
        tree.add_dir("d").unwrap();
        assert_eq!(tree.replace_file("d", bytes("3")), Err(TreeError::FileAndDirectory { path: "d".into() }));
        assert_eq!(tree.len(), 2);
    }
}
