//! Refuses an image whose tables give one place of the file to two things, before it is converted.
//!
//! Only what a conversion reads is looked at: the active tables, not those of internal snapshots, with which an image shares its
//! clusters as a matter of course. The reference counts are not trusted, but they decide one case: several guest clusters may share
//! a data cluster whose count says so. QEMU never makes such an image, deduplicating tools do, and QEMU reads it.
//!
//! A compressed cluster begins at any byte, its length is known in sectors, and the next one may begin in its last sector. So
//! sectors between the first and the last must belong to one only; two clusters within the same two sectors are not told apart.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use zerocopy::FromBytes;
use zerocopy::byteorder::{BE, U64};

use super::entry::{self, COMPRESSED, Mapping, OFFSET_MASK};
use super::header::CheckedHeader;
use super::layout::Header;
use super::stored_counts::{MAX_REFCOUNT_TABLE, StoredCounts};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;
use crate::reading::used_space::{UsedSpace, WINDOW};

/// Unit in which compressed clusters are told apart in bytes.
const SECTOR: u64 = 512;
/// Most passes over the tables: enough for 2 PiB with the usual clusters, and for 16 TiB of compressed data.
const MAX_PASSES: u32 = 256;

/// What is searched.
pub(super) struct Search<'a> {
    pub(super) file: &'a SourceFile,
    pub(super) data_file: Option<&'a SourceFile>,
    pub(super) header: &'a CheckedHeader,
    pub(super) l1: &'a [U64<BE>],
    pub(super) stop: &'a AtomicBool,
}

/// A guest cluster's place.
struct Found {
    /// Offset of its table entry.
    at: u64,
    guest: u64,
    place: Mapping,
}

/// The units of the file that one pass looks at, and where the next one begins.
struct Pass {
    window: Range<u64>,
    next: u64,
}

impl Pass {
    /// Notes what lies behind the window, so that passes go only where something is.
    fn note(&mut self, units: &Range<u64>) {
        if units.end > self.window.end {
            self.next = self.next.min(units.start.max(self.window.end));
        }
    }
}

/// The clusters of one pass by what is in them.
struct Clusters {
    pass: Pass,
    tables: UsedSpace,
    data: UsedSpace,
    packed: UsedSpace,
}

impl Search<'_> {
    /// Fails when two things lie on one another.
    pub(super) fn run(&self) -> Result<()> {
        let mut packed = false;
        let cluster = self.header.cluster_size();
        passes(self.file, self.file.len().div_ceil(cluster), |pass| {
            let mut clusters = Clusters::new(pass);
            self.tables(&mut clusters)?;
            let counts = self.stored_counts()?;
            self.each_entry(|found| match found.place {
                Mapping::Data(_) if self.data_file.is_some() => Ok(()),
                Mapping::Data(offset) => self.data(&mut clusters, offset / cluster, found, counts.as_ref()),
                Mapping::Compressed { offset, length } => {
                    packed = true;
                    let units = offset / cluster..offset.saturating_add(length).div_ceil(cluster);
                    clusters.packed(&units).map_or(Ok(()), |what| Err(self.refuse(found, "a compressed", what)))
                }
                _ => Ok(()),
            })?;
            Ok(clusters.pass)
        })?;
        if let Some(file) = self.data_file {
            passes(file, file.len().div_ceil(cluster), |pass| {
                let mut clusters = Clusters::new(pass);
                self.each_entry(|found| match found.place {
                    Mapping::Data(offset) => self.data(&mut clusters, offset / cluster, found, None),
                    _ => Ok(()),
                })?;
                Ok(clusters.pass)
            })?;
        }
        if packed { self.sectors() } else { Ok(()) }
    }

    /// Marks the tables that lead to the data, and those of the reference counts as far as they are sound.
    fn tables(&self, clusters: &mut Clusters) -> Result<()> {
        let cluster = self.header.cluster_size();
        let header = self.raw_header()?;
        let (counts, counts_len) = counts_table(&header, cluster);
        let wrong = |at: u64, what: &str| {
            let rule = format!("{what} lies on another table or on the header");
            Err(self.file.error(ErrorKind::Corrupt, rule).at(at))
        };
        clusters.table(0..1);
        if clusters.table(units(self.header.l1_offset, self.header.l1_entries.into(), cluster)) {
            return wrong(40, "the l1 table");
        }
        if self.is_table(counts, counts_len) {
            if clusters.table(counts / cluster..(counts + counts_len) / cluster) {
                return wrong(48, "the reference count table");
            }
            let table = PagedTable::<8>::new(self.file, counts, counts_len / 8, "the reference count table")?;
            table.each(self.file, |index, entry| {
                let block = u64::from_be_bytes(entry) & OFFSET_MASK;
                let is_block = block != 0 && self.is_table(block, cluster);
                match is_block && clusters.table(block / cluster..block / cluster + 1) {
                    true => wrong(counts + index * 8, "a reference count block"),
                    false => Ok(()),
                }
            })?;
        }
        for (index, table) in self.l2_tables() {
            if clusters.table(table / cluster..table / cluster + 1) {
                return wrong(self.header.l1_offset + index * 8, "an l2 table");
            }
        }
        Ok(())
    }

    /// Marks a data cluster.
    fn data(&self, clusters: &mut Clusters, index: u64, found: &Found, counts: Option<&StoredCounts>) -> Result<()> {
        let Some(what) = clusters.data(index) else { return Ok(()) };
        if what == Clusters::DATA && counts.is_some_and(|counts| counts.get(self.file, index).is_ok_and(|n| n > 1)) {
            return Ok(());
        }
        Err(self.refuse(found, "a data", what))
    }

    /// Looks for compressed clusters that have a sector in common which is not an edge of either.
    pub(super) fn sectors(&self) -> Result<()> {
        passes(self.file, self.file.len().div_ceil(SECTOR), |mut pass| {
            let mut whole = UsedSpace::new(pass.window.clone());
            let mut edges = UsedSpace::new(pass.window.clone());
            self.each_entry(|found| {
                let Mapping::Compressed { offset, length } = found.place else { return Ok(()) };
                let (first, end) = (offset / SECTOR, offset.saturating_add(length).div_ceil(SECTOR));
                pass.note(&(first..end));
                let (last, inner) = (end.saturating_sub(1), first + 1..end.saturating_sub(1));
                let taken = whole.has(&(first..end)) || edges.has(&inner);
                whole.claim(inner);
                edges.claim(first..first + 1);
                edges.claim(last..end);
                if taken { Err(self.refuse(found, "a compressed", "another one")) } else { Ok(()) }
            })?;
            Ok(pass)
        })
    }

    /// Visits the places of all guest clusters of the disk.
    fn each_entry(&self, mut visit: impl FnMut(&Found) -> Result<()>) -> Result<()> {
        let header = self.header;
        let (cluster, width) = (header.cluster_size(), if header.extended_l2() { 16 } else { 8 });
        for (index, table) in self.l2_tables() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::cancelled(Operation::Convert));
            }
            let mut guest = index << (header.cluster_bits + header.l2_bits());
            let bytes = self.file.read_table(table, cluster, "an l2 table")?;
            for (slot, entry) in (0u64..).zip(bytes.chunks_exact(width)) {
                let word = entry.first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
                let at = table + slot * width as u64;
                if word & COMPRESSED != 0 {
                    visit(&Found { at, guest, place: entry::standard(word, header.cluster_bits, header.version) })?;
                } else if word & OFFSET_MASK != 0 {
                    visit(&Found { at, guest, place: Mapping::Data(word & OFFSET_MASK) })?;
                }
                guest += cluster;
                if guest >= header.size {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Returns the L2 tables of the disk that can be read; reading says what is wrong with the others.
    fn l2_tables(&self) -> impl Iterator<Item = (u64, u64)> {
        let entries = (0u64..).zip(self.l1).take(self.header.l1_entries_for(self.header.size) as usize);
        let tables = entries.map(|(index, entry)| (index, entry.get() & OFFSET_MASK));
        tables.filter(|(_, table)| *table != 0 && self.is_table(*table, self.header.cluster_size()))
    }

    fn is_table(&self, offset: u64, len: u64) -> bool {
        offset.is_multiple_of(self.header.cluster_size()) && self.file.check_range(offset, len, "").is_ok()
    }

    /// Returns the reference counts, unless their table is damaged.
    fn stored_counts(&self) -> Result<Option<StoredCounts>> {
        let cluster = self.header.cluster_size();
        let (offset, len) = counts_table(&self.raw_header()?, cluster);
        if self.header.refcount_order > 6 || !self.is_table(offset, len) {
            return Ok(None);
        }
        let table = PagedTable::new(self.file, offset, len / 8, "the reference count table")?;
        Ok(Some(StoredCounts::new(table, self.header.refcount_order, cluster)))
    }

    fn raw_header(&self) -> Result<Header> {
        let mut bytes = [0; size_of::<Header>()];
        self.file.read_padded_at(0, &mut bytes)?;
        Header::read_from_bytes(&bytes).map_err(|_| self.file.error(ErrorKind::Corrupt, "no qcow2 header").at(0))
    }

    fn refuse(&self, found: &Found, which: &str, what: &str) -> Error {
        let rule = format!("{which} cluster, that of guest offset {:#x}, lies on {what}", found.guest);
        self.file.error(ErrorKind::Corrupt, rule).at(found.at)
    }
}

impl Clusters {
    const DATA: &'static str = "that of another guest offset, and its reference count does not say that it is shared";

    fn new(pass: Pass) -> Self {
        let space = || UsedSpace::new(pass.window.clone());
        Self { tables: space(), data: space(), packed: space(), pass }
    }

    /// Marks clusters of a table; returns whether one of them belongs to another.
    fn table(&mut self, units: Range<u64>) -> bool {
        self.pass.note(&units);
        self.tables.claim(units)
    }

    /// Marks a data cluster; says what is there already.
    fn data(&mut self, index: u64) -> Option<&'static str> {
        let units = index..index.saturating_add(1);
        self.pass.note(&units);
        if self.tables.has(&units) {
            return Some("the image's tables");
        }
        if self.packed.has(&units) {
            return Some("a compressed one");
        }
        self.data.claim(units).then_some(Self::DATA)
    }

    /// Marks the clusters that compressed data touches; says what else is there already.
    fn packed(&mut self, units: &Range<u64>) -> Option<&'static str> {
        self.pass.note(units);
        self.packed.claim(units.clone());
        if self.tables.has(units) {
            return Some("the image's tables");
        }
        self.data.has(units).then_some("that of another guest offset")
    }
}

/// Runs passes over the windows of a file in which something lies.
fn passes(file: &SourceFile, units: u64, mut run: impl FnMut(Pass) -> Result<Pass>) -> Result<()> {
    let mut start: u64 = 0;
    for _ in 0..MAX_PASSES {
        let window = start..units.min(start.saturating_add(WINDOW));
        start = run(Pass { window, next: u64::MAX })?.next;
        if start >= units {
            return Ok(());
        }
    }
    Err(file.error(ErrorKind::TooLarge, "the clusters are scattered over more of the file than can be searched").at(0))
}

fn units(offset: u64, entries: u64, cluster: u64) -> Range<u64> {
    offset / cluster..(offset + entries * 8).div_ceil(cluster)
}

/// Returns offset and length of the reference count table; the length is 0 when it is absurd.
fn counts_table(header: &Header, cluster: u64) -> (u64, u64) {
    let len = u64::from(header.refcount_table_clusters.get()) * cluster;
    (header.refcount_table_offset.get(), if len > MAX_REFCOUNT_TABLE { 0 } else { len })
}
