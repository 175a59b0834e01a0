//! One of the two directory hierarchies of a CD: which records its directories hold, and where they lie.

use super::super::time::MediaTime;
use super::content::{Child, Content, ROOT};
use super::joliet;
use super::layout::SECTOR_BYTES;
use super::primary_names;
use super::records::{
    Extent, FLAG_DIRECTORY, FLAG_MORE_SECTIONS, PARENT_DIRECTORY, THIS_DIRECTORY, append_record, record_bytes,
};
use super::rock_ridge::{ContinuationArea, MODE_DIRECTORY, MODE_FILE, SystemUse};

/// How names are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Short upper-case names, with the real ones as Rock Ridge entries.
    PrimaryWithRockRidge,
    /// UTF-16 names.
    Joliet,
}

/// All directories in one flavour.
pub(super) struct Hierarchy {
    flavour: Flavour,
    time: MediaTime,
    /// Indexed like the directories of the content.
    directories: Vec<PlacedDirectory>,
    /// Indices of directories as path tables number them: by level, then number of the parent, then identifier.
    order: Vec<usize>,
    path_table_bytes: u32,
    little_path_table: u64,
    big_path_table: u64,
    continuation: ContinuationArea,
    continuation_first_sector: u64,
}

struct PlacedDirectory {
    identifier: Vec<u8>,
    parent: usize,
    /// `.` and `..`, then the children by identifier.
    records: Vec<PlannedRecord>,
    /// Whole sectors.
    bytes: u32,
    first_sector: u64,
}

struct PlannedRecord {
    identifier: Vec<u8>,
    target: Child,
    system_use: SystemUse,
}

impl Hierarchy {
    pub(super) fn new(content: &Content<'_>, flavour: Flavour, time: MediaTime) -> Self {
        let mut continuation = ContinuationArea::default();
        let mut directories: Vec<PlacedDirectory> = Vec::with_capacity(content.directories.len());
        let mut identifiers = vec![THIS_DIRECTORY.to_vec(); content.directories.len()];
        for (index, directory) in content.directories.iter().enumerate() {
            let mut records = dot_records(content, index, flavour, time, &mut continuation);
            let children = named_records(content, index, flavour, time, &mut continuation);
            for record in &children {
                if let Child::Directory(child) = record.target {
                    identifiers[child].clone_from(&record.identifier);
                }
            }
            records.extend(children);
            let bytes = records_bytes(content, &records);
            // Directories come level by level, so the identifier has been set by the directory above.
            let identifier = std::mem::take(&mut identifiers[index]);
            directories.push(PlacedDirectory { identifier, parent: directory.parent, records, bytes, first_sector: 0 });
        }
        let order = path_table_order(&directories);
        let table_bytes = |directory: &PlacedDirectory| (8 + directory.identifier.len()).next_multiple_of(2);
        // At most 65,535 directories with names of at most 210 bytes.
        let path_table_bytes = directories.iter().map(table_bytes).sum::<usize>() as u32;
        Self {
            flavour,
            time,
            directories,
            order,
            path_table_bytes,
            little_path_table: 0,
            big_path_table: 0,
            continuation,
            continuation_first_sector: 0,
        }
    }

    pub(super) const fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub(super) const fn path_table_bytes(&self) -> u32 {
        self.path_table_bytes
    }

    /// Returns the sectors of the two path tables: least significant byte first, and most significant byte first.
    pub(super) const fn path_table_sectors(&self) -> (u32, u32) {
        (self.little_path_table as u32, self.big_path_table as u32)
    }

    /// Returns first sector and length in bytes of the root directory.
    pub(super) fn root_extent(&self) -> (u32, u32) {
        let root = &self.directories[ROOT];
        (root.first_sector as u32, root.bytes)
    }

    pub(super) fn place_path_tables(&mut self, sector: &mut u64) {
        let sectors = u64::from(self.path_table_bytes).div_ceil(SECTOR_BYTES as u64);
        self.little_path_table = *sector;
        self.big_path_table = *sector + sectors;
        *sector += 2 * sectors;
    }

    /// Places the directories in the order of the content, and the continuation area behind them.
    pub(super) fn place_directories(&mut self, sector: &mut u64) {
        for directory in &mut self.directories {
            directory.first_sector = *sector;
            *sector += u64::from(directory.bytes) / SECTOR_BYTES as u64;
        }
        self.continuation_first_sector = *sector;
        *sector += self.continuation.bytes().len().div_ceil(SECTOR_BYTES) as u64;
    }

    pub(super) fn continuation(&self) -> &[u8] {
        self.continuation.bytes()
    }

    /// Returns a path table (ECMA-119 §9.4) in one of the byte orders.
    pub(super) fn path_table(&self, four: fn(u32) -> [u8; 4], two: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let mut numbers = vec![0_u16; self.directories.len()];
        for (position, index) in self.order.iter().enumerate() {
            // Not more than 65,535, as checked before.
            numbers[*index] = (position + 1) as u16;
        }
        let mut bytes = Vec::with_capacity(self.path_table_bytes as usize);
        for index in &self.order {
            let directory = &self.directories[*index];
            bytes.extend([directory.identifier.len() as u8, 0]);
            bytes.extend(four(directory.first_sector as u32));
            bytes.extend(two(numbers[directory.parent]));
            bytes.extend_from_slice(&directory.identifier);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
        }
        bytes
    }

    /// Returns the content of a directory: whole sectors.
    pub(super) fn directory(&self, index: usize, content: &Content<'_>) -> Vec<u8> {
        let directory = &self.directories[index];
        let mut bytes = Vec::with_capacity(directory.bytes as usize);
        for record in &directory.records {
            let system_use = record.system_use.bytes(self.continuation_first_sector as u32);
            let mut append = |extent: Extent| {
                let length = record_bytes(&record.identifier, system_use.len());
                bytes.resize(record_start(bytes.len(), length), 0);
                append_record(&mut bytes, &record.identifier, extent, self.time, &system_use);
            };
            match record.target {
                Child::Directory(target) => {
                    let target = &self.directories[target];
                    let first_sector = target.first_sector as u32;
                    append(Extent { first_sector, bytes: target.bytes, flags: FLAG_DIRECTORY });
                }
                Child::File(file) => {
                    for section in content.sections(file) {
                        let flags = if section.more { FLAG_MORE_SECTIONS } else { 0 };
                        append(Extent { first_sector: section.first_sector, bytes: section.bytes, flags });
                    }
                }
            }
        }
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
        assert_eq!(bytes.len(), directory.bytes as usize, "a directory is as long as planned");
        bytes
    }
}

/// Makes the records of `.` and `..`.
fn dot_records(
    content: &Content<'_>,
    index: usize,
    flavour: Flavour,
    time: MediaTime,
    continuation: &mut ContinuationArea,
) -> Vec<PlannedRecord> {
    let parent = content.directories[index].parent;
    [(THIS_DIRECTORY, index), (PARENT_DIRECTORY, parent)]
        .into_iter()
        .map(|(identifier, target)| {
            let links = 2 + content.subdirectories(target);
            let system_use = match flavour {
                Flavour::Joliet => SystemUse::default(),
                Flavour::PrimaryWithRockRidge if index == ROOT && identifier == THIS_DIRECTORY => {
                    SystemUse::root(links, time, identifier, continuation)
                }
                Flavour::PrimaryWithRockRidge => SystemUse::unnamed(links, time, identifier, continuation),
            };
            PlannedRecord { identifier: identifier.to_vec(), target: Child::Directory(target), system_use }
        })
        .collect()
}

/// Makes the records of the children, in the order of their identifiers.
fn named_records(
    content: &Content<'_>,
    index: usize,
    flavour: Flavour,
    time: MediaTime,
    continuation: &mut ContinuationArea,
) -> Vec<PlannedRecord> {
    let children = &content.directories[index].children;
    let named = children.iter().map(|(name, child)| (*name, matches!(child, Child::Directory(_))));
    let identifiers = match flavour {
        Flavour::PrimaryWithRockRidge => primary_names::identifiers(named),
        Flavour::Joliet => joliet::identifiers(named),
    };
    let mut sorted: Vec<(Vec<u8>, (&str, Child))> = identifiers.into_iter().zip(children.iter().copied()).collect();
    sorted.sort_by(|left, right| left.0.cmp(&right.0));
    sorted
        .into_iter()
        .map(|(identifier, (name, target))| {
            let (mode, links) = match target {
                Child::Directory(child) => (MODE_DIRECTORY | 0o755, 2 + content.subdirectories(child)),
                Child::File(file) => (MODE_FILE | content.files[file].permissions, 1),
            };
            let system_use = match flavour {
                Flavour::Joliet => SystemUse::default(),
                Flavour::PrimaryWithRockRidge => SystemUse::named(name, mode, links, time, &identifier, continuation),
            };
            PlannedRecord { identifier, target, system_use }
        })
        .collect()
}

/// Returns the length of a directory in bytes: whole sectors.
fn records_bytes(content: &Content<'_>, records: &[PlannedRecord]) -> u32 {
    let mut end = 0;
    for record in records {
        let length = record_bytes(&record.identifier, record.system_use.record_bytes());
        let count = match record.target {
            Child::Directory(_) => 1,
            Child::File(file) => content.section_count(file),
        };
        for _ in 0..count {
            end = record_start(end, length) + length;
        }
    }
    // 250,000 records of at most 254 bytes, and 2048 more for 8 TiB of sections, stay far below 4 GiB.
    end.next_multiple_of(SECTOR_BYTES) as u32
}

/// Returns where a record of `length` bytes starts when `end` bytes are taken: records do not cross sectors.
const fn record_start(end: usize, length: usize) -> usize {
    let left = end.next_multiple_of(SECTOR_BYTES) - end;
    if left > 0 && left < length { end + left } else { end }
}

/// Sorts directories as path tables need them: a walk level by level, each directory's children by identifier.
fn path_table_order(directories: &[PlacedDirectory]) -> Vec<usize> {
    let mut order = vec![ROOT];
    let mut position = 0;
    while position < order.len() {
        // Past `.` and `..`, which lead back.
        let records = directories[order[position]].records.iter().skip(2);
        order.extend(records.filter_map(|record| match record.target {
            Child::Directory(child) => Some(child),
            Child::File(_) => None,
        }));
        position += 1;
    }
    order
}
