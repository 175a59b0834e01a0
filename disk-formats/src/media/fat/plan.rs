//! What goes where on a floppy: short names, directory sizes and clusters, all known before the first byte is written.

use std::collections::BTreeMap;
use std::ops::Range;

use zerocopy::IntoBytes;

use super::super::source::MediaSource;
use super::super::time::MediaTime;
use super::super::tree::{MediaDirectory, MediaNode, MediaTree, join};
use super::directory::{long_entries, long_entry_count, name_problem};
use super::error::FloppyError;
use super::layout::{
    ATTRIBUTE_ARCHIVE, ATTRIBUTE_DIRECTORY, CLUSTER_BYTES, CLUSTERS, ENTRY_BYTES, ROOT_ENTRIES, ShortEntry,
};
use super::short_name::{ShortName, short_names};

/// The first cluster that can hold content.
const FIRST_CLUSTER: u16 = 2;
/// Index of the root among the directories of a plan.
const ROOT: usize = 0;

/// A floppy laid out. Every directory and file is one run of clusters.
pub(super) struct Plan<'a> {
    /// The root first, then level by level.
    directories: Vec<PlannedDirectory<'a>>,
}

pub(super) struct PlannedDirectory<'a> {
    pub(super) entries: Vec<PlannedEntry<'a>>,
    path: String,
    /// Index of the directory above; the root is its own.
    parent: usize,
    /// Zero for the root, which lies outside the clusters.
    pub(super) first_cluster: u16,
}

pub(super) struct PlannedEntry<'a> {
    name: &'a str,
    /// Path on the floppy, for messages.
    pub(super) path: String,
    short: ShortName,
    pub(super) target: Target<'a>,
    /// Zero for empty files.
    pub(super) first_cluster: u16,
}

pub(super) enum Target<'a> {
    /// Index of a directory of the plan.
    Directory(usize),
    File {
        source: &'a MediaSource,
        bytes: u64,
    },
}

impl<'a> Plan<'a> {
    pub(super) fn new(tree: &'a MediaTree) -> Result<Self, FloppyError> {
        let mut plan = Self { directories: Vec::new() };
        plan.directories.push(PlannedDirectory {
            entries: Vec::new(),
            path: String::new(),
            parent: ROOT,
            first_cluster: 0,
        });
        let mut waiting = vec![tree.root()];
        let mut index = 0;
        while index < waiting.len() {
            plan.add_entries(index, waiting[index], &mut waiting)?;
            index += 1;
        }
        // The volume label takes one place.
        let needed = 1 + plan.directories[ROOT].entry_count();
        if needed > ROOT_ENTRIES {
            return Err(FloppyError::RootFull { needed, available: ROOT_ENTRIES });
        }
        plan.allocate()?;
        Ok(plan)
    }

    pub(super) fn directories(&self) -> &[PlannedDirectory<'a>] {
        &self.directories
    }

    pub(super) fn root(&self) -> &PlannedDirectory<'a> {
        &self.directories[ROOT]
    }

    fn add_entries(
        &mut self,
        index: usize,
        directory: &'a MediaDirectory,
        waiting: &mut Vec<&'a MediaDirectory>,
    ) -> Result<(), FloppyError> {
        let parent_path = self.directories[index].path.clone();
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        for (name, _) in directory.entries() {
            if let Some(reason) = name_problem(name) {
                return Err(FloppyError::Name { path: join(&parent_path, name), reason });
            }
            if let Some(first) = folded.insert(name.to_lowercase(), name) {
                let (first, second) = (join(&parent_path, first), join(&parent_path, name));
                return Err(FloppyError::CaseCollision { first, second });
            }
        }
        let short = short_names(directory.entries().map(|(name, _)| name)).ok_or(FloppyError::Name {
            path: parent_path.clone(),
            reason: "the directory has too many similar names",
        })?;
        for ((name, node), short) in directory.entries().zip(short) {
            let path = join(&parent_path, name);
            let target = match node {
                MediaNode::Directory(inner) => {
                    self.directories.push(PlannedDirectory {
                        entries: Vec::new(),
                        path: path.clone(),
                        parent: index,
                        first_cluster: 0,
                    });
                    waiting.push(inner);
                    Target::Directory(self.directories.len() - 1)
                }
                MediaNode::File(source) => {
                    let measured =
                        source.measure().map_err(|source| FloppyError::Source { path: path.clone(), source })?;
                    Target::File { source, bytes: measured.bytes }
                }
            };
            self.directories[index].entries.push(PlannedEntry { name, path, short, target, first_cluster: 0 });
        }
        Ok(())
    }

    /// Gives every directory and file its clusters, or says by how much they do not fit.
    fn allocate(&mut self) -> Result<(), FloppyError> {
        let mut allocator = Allocator { used: 0, overflow: None };
        for index in 1..self.directories.len() {
            let clusters = self.directories[index].clusters();
            let first = allocator.take(clusters, &self.directories[index].path);
            self.directories[index].first_cluster = first;
        }
        for index in 0..self.directories.len() {
            for entry in 0..self.directories[index].entries.len() {
                let planned = &self.directories[index].entries[entry];
                let first = match planned.target {
                    Target::Directory(target) => self.directories[target].first_cluster,
                    Target::File { bytes, .. } => allocator.take(bytes.div_ceil(CLUSTER_BYTES as u64), &planned.path),
                };
                self.directories[index].entries[entry].first_cluster = first;
            }
        }
        match allocator.overflow {
            None => Ok(()),
            Some(path) => Err(FloppyError::Full {
                path,
                excess: (allocator.used - CLUSTERS as u64).saturating_mul(CLUSTER_BYTES as u64),
                capacity: (CLUSTERS * CLUSTER_BYTES) as u64,
            }),
        }
    }

    /// Returns the runs of clusters of all directories and files that have any.
    pub(super) fn chains(&self) -> Vec<Range<u16>> {
        let directories =
            self.directories.iter().skip(1).map(|directory| (directory.first_cluster, directory.clusters()));
        let files = self.directories.iter().flat_map(|directory| &directory.entries).filter_map(|entry| {
            let Target::File { bytes, .. } = entry.target else { return None };
            Some((entry.first_cluster, bytes.div_ceil(CLUSTER_BYTES as u64)))
        });
        directories
            .chain(files)
            .filter(|(_, count)| *count > 0)
            // Everything fits into 2847 clusters, or there is no plan.
            .map(|(first, count)| first..first + count as u16)
            .collect()
    }

    /// Appends the entries of a directory, without `.` and `..`.
    pub(super) fn append_entries(&self, directory: &PlannedDirectory<'_>, time: MediaTime, bytes: &mut Vec<u8>) {
        for entry in &directory.entries {
            if !entry.short.is(entry.name) {
                for part in long_entries(entry.name, &entry.short) {
                    bytes.extend_from_slice(part.as_bytes());
                }
            }
            let (attributes, length) = match entry.target {
                Target::Directory(_) => (ATTRIBUTE_DIRECTORY, 0),
                Target::File { bytes, .. } => (ATTRIBUTE_ARCHIVE, bytes as u32),
            };
            let short = ShortEntry::new(*entry.short.bytes(), attributes, time, entry.first_cluster, length);
            bytes.extend_from_slice(short.as_bytes());
        }
    }

    /// Returns the content of a directory other than the root.
    pub(super) fn directory_bytes(&self, index: usize, time: MediaTime) -> Vec<u8> {
        let directory = &self.directories[index];
        let mut bytes = Vec::new();
        let parent = self.directories[directory.parent].first_cluster;
        for (name, cluster) in [(ShortName::DOT, directory.first_cluster), (ShortName::DOT_DOT, parent)] {
            bytes.extend_from_slice(ShortEntry::new(name, ATTRIBUTE_DIRECTORY, time, cluster, 0).as_bytes());
        }
        self.append_entries(directory, time, &mut bytes);
        bytes
    }
}

impl PlannedDirectory<'_> {
    /// Places that the entries take, without `.` and `..`.
    fn entry_count(&self) -> usize {
        let places = |entry: &PlannedEntry<'_>| {
            if entry.short.is(entry.name) { 1 } else { 1 + long_entry_count(entry.name) }
        };
        self.entries.iter().map(places).sum()
    }

    /// Clusters of a directory other than the root.
    fn clusters(&self) -> u64 {
        ((2 + self.entry_count()) * ENTRY_BYTES).div_ceil(CLUSTER_BYTES) as u64
    }
}

struct Allocator {
    /// Clusters asked for so far, also those that are not there.
    used: u64,
    /// Path of the first that did not fit.
    overflow: Option<String>,
}

impl Allocator {
    /// Returns the first of `count` clusters; zero when there is none to have.
    fn take(&mut self, count: u64, path: &str) -> u16 {
        if count == 0 {
            return 0;
        }
        let first = self.used;
        self.used = self.used.saturating_add(count);
        if self.used > CLUSTERS as u64 {
            self.overflow.get_or_insert_with(|| path.to_owned());
            return 0;
        }
        // Below 2847, as just checked.
        FIRST_CLUSTER + first as u16
    }
}
