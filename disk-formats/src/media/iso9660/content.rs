//! The tree as numbered directories and files, and where the content of files lies.

use super::super::source::MediaSource;
use super::super::tree::{MediaDirectory, MediaNode, MediaTree, join};
use super::error::IsoError;
use super::layout::SECTOR_BYTES;

/// Sectors are numbered with 32 bits.
const MAX_IMAGE_BYTES: u64 = u32::MAX as u64 * SECTOR_BYTES as u64;

/// Index of the root directory.
pub(super) const ROOT: usize = 0;

/// Everything on the CD, independent of how names are stored.
pub(super) struct Content<'a> {
    /// The root first, then level by level.
    pub(super) directories: Vec<ContentDirectory<'a>>,
    pub(super) files: Vec<ContentFile<'a>>,
    /// Longest part of a file that gets one directory record, in bytes; whole sectors.
    section_bytes: u64,
}

pub(super) struct ContentDirectory<'a> {
    /// Index of the directory above; the root is its own.
    pub(super) parent: usize,
    pub(super) children: Vec<(&'a str, Child)>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    /// Index of a directory.
    Directory(usize),
    /// Index of a file.
    File(usize),
}

pub(super) struct ContentFile<'a> {
    /// Path on the CD, for messages.
    pub(super) path: String,
    pub(super) source: &'a MediaSource,
    pub(super) bytes: u64,
    pub(super) permissions: u32,
    /// Known once placed; empty files have none and keep zero.
    first_sector: u64,
}

/// A part of a file, as long as one directory record can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) first_sector: u32,
    pub(super) bytes: u32,
    /// Whether another section follows.
    pub(super) more: bool,
}

impl<'a> Content<'a> {
    pub(super) fn new(tree: &'a MediaTree, section_bytes: u64) -> Result<Self, IsoError> {
        let mut content = Content {
            directories: vec![ContentDirectory { parent: ROOT, children: Vec::new() }],
            files: Vec::new(),
            section_bytes,
        };
        let mut waiting = vec![(tree.root(), String::new())];
        let mut index = 0;
        while index < waiting.len() {
            let (directory, path) = (waiting[index].0, waiting[index].1.clone());
            content.add_children(index, directory, &path, &mut waiting)?;
            index += 1;
        }
        Ok(content)
    }

    fn add_children(
        &mut self,
        index: usize,
        directory: &'a MediaDirectory,
        parent_path: &str,
        waiting: &mut Vec<(&'a MediaDirectory, String)>,
    ) -> Result<(), IsoError> {
        for (name, node) in directory.entries() {
            let path = join(parent_path, name);
            let child = match node {
                MediaNode::Directory(inner) => {
                    self.directories.push(ContentDirectory { parent: index, children: Vec::new() });
                    waiting.push((inner, path));
                    Child::Directory(self.directories.len() - 1)
                }
                MediaNode::File(source) => {
                    let measured = match source.measure() {
                        Ok(measured) => measured,
                        Err(source) => return Err(IsoError::Source { path, source }),
                    };
                    if measured.bytes > MAX_IMAGE_BYTES {
                        return Err(IsoError::TooLarge { bytes: measured.bytes });
                    }
                    self.files.push(ContentFile {
                        path,
                        source,
                        bytes: measured.bytes,
                        permissions: measured.permissions,
                        first_sector: 0,
                    });
                    Child::File(self.files.len() - 1)
                }
            };
            self.directories[index].children.push((name, child));
        }
        Ok(())
    }

    /// Gives all files their sectors, beginning with `sector`, and moves that behind them.
    pub(super) fn place_files(&mut self, sector: &mut u64) {
        for file in &mut self.files {
            if file.bytes > 0 {
                file.first_sector = *sector;
                *sector = sector.saturating_add(file.bytes.div_ceil(SECTOR_BYTES as u64));
            }
        }
    }

    /// Returns the number of sections of a file: at least one.
    pub(super) fn section_count(&self, file: usize) -> u64 {
        self.files[file].bytes.div_ceil(self.section_bytes).max(1)
    }

    /// Returns the sections of a placed file.
    pub(super) fn sections(&self, file: usize) -> impl Iterator<Item = Section> {
        let count = self.section_count(file);
        let file = &self.files[file];
        let section_bytes = self.section_bytes;
        (0..count).map(move |number| {
            let start = number * section_bytes;
            Section {
                // The whole image has been found to have less than 2^32 sectors, and a section less than 2^32 bytes.
                first_sector: (file.first_sector + start / SECTOR_BYTES as u64) as u32,
                bytes: (file.bytes - start).min(section_bytes) as u32,
                more: number + 1 < count,
            }
        })
    }

    /// Returns the number of directories inside a directory.
    pub(super) fn subdirectories(&self, directory: usize) -> u32 {
        let children = &self.directories[directory].children;
        children.iter().filter(|(_, child)| matches!(child, Child::Directory(_))).count() as u32
    }
}

impl ContentFile<'_> {
    pub(super) const fn first_sector(&self) -> u32 {
        self.first_sector as u32
    }
}
