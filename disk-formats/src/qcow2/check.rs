//! Checks a qcow2 image: counts every use of every cluster and compares with the image's own reference counts.

use std::sync::atomic::AtomicBool;

use zerocopy::FromBytes;
use zerocopy::byteorder::{BE, U64};

use super::entry::{self, COMPRESSED, COPIED, Mapping, OFFSET_MASK};
use super::header::CheckedHeader;
use super::layout::{Header, Incompatible, MAX_L1_BYTES};
use super::overlaps::Search;
use super::snapshots::{self, SnapshotL1};
use super::stored_counts::{MAX_REFCOUNT_TABLE, StoredCounts};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::CheckReport;
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;

/// Most clusters of a file that are checked: 4 bytes each, 64 MiB; 1 TiB of file with the usual clusters.
const MAX_CLUSTERS: u64 = 16 << 20;
/// Bits of table entries that must be zero (spec: qcow2.txt, "Cluster mapping" and "Host cluster management").
const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;
const REFCOUNT_RESERVED: u64 = 0x1ff;
/// Most table entries that are visited, over all snapshots: what shared tables could cost has an end.
const MAX_ENTRIES: u64 = 1 << 28;
/// Autoclear bit: the bitmaps are in step with the disk (spec).
const BITMAPS: u64 = 1;

struct Checker<'a> {
    file: &'a SourceFile,
    header: CheckedHeader,
    /// Uses found of each of the file's clusters.
    uses: Vec<u32>,
    /// Table entries visited.
    visited: u64,
    report: CheckReport,
}

/// Checks the image; see [`crate::check`].
pub(crate) fn check(file: &SourceFile) -> Result<CheckReport> {
    let header = CheckedHeader::read(file)?;
    let cluster = header.cluster_size();
    let clusters = file.len().div_ceil(cluster);
    if clusters > MAX_CLUSTERS {
        return Err(file.error(ErrorKind::TooLarge, "a file of more than 2^24 clusters is not checked"));
    }
    let mut bytes = [0; size_of::<Header>()];
    file.read_padded_at(0, &mut bytes)?;
    let raw = Header::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no qcow2 header"))?;
    if header.version >= 3 && raw.autoclear.get() & BITMAPS != 0 {
        let rule = "an image with persistent bitmaps is not checked";
        return Err(file.error(ErrorKind::Unsupported, rule).with_hint("use `qemu-img check`"));
    }
    let report = CheckReport::new(Format::Qcow2, header.size.div_ceil(cluster));
    let mut checker = Checker { file, uses: vec![0; clusters as usize], visited: 0, report, header };
    checker.mark(0, cluster, None);
    checker.active_and_snapshots(&raw)?;
    let order = if checker.header.version >= 3 { raw.refcount_order.get() } else { 4 };
    if order > 6 {
        return Err(file.error(ErrorKind::Corrupt, "reference counts are wider than 64 bits").at(96));
    }
    let table = (raw.refcount_table_offset.get(), u64::from(raw.refcount_table_clusters.get()) * cluster);
    let stored = checker.stored_counts(table, order)?;
    checker.compare(&stored)?;
    checker.copied_flags(&stored)?;
    checker.compressed_overlaps()?;
    Ok(checker.report)
}

impl Checker<'_> {
    /// Counts one use of every cluster that the range touches.
    fn mark(&mut self, offset: u64, len: u64, guest: Option<u64>) {
        let cluster = self.header.cluster_size();
        let Some(end) = offset.checked_add(len).filter(|_| len > 0) else { return };
        for index in offset / cluster..end.div_ceil(cluster) {
            match self.uses.get_mut(index as usize) {
                Some(uses) => *uses = uses.saturating_add(1),
                None => {
                    let rule = "the image refers to a place behind the end of the file";
                    self.report.corruption(index * cluster, guest, rule);
                    return;
                }
            }
        }
    }

    /// Tells of bits that must be zero.
    fn reserved(&mut self, bits: u64, at: u64, guest: Option<u64>, what: &str) {
        if bits != 0 {
            self.report.corruption(at, guest, format!("{what} has reserved bits set ({bits:#x})"));
        }
    }

    fn active_and_snapshots(&mut self, raw: &Header) -> Result<()> {
        let active = SnapshotL1 { offset: self.header.l1_offset, entries: self.header.l1_entries, size: None };
        self.l1_table(active, true)?;
        let mut tables = Vec::new();
        let start = raw.snapshots_offset.get();
        let length = snapshots::walk(self.file, start, self.header.snapshots, |_, l1| tables.push(l1))?;
        self.mark(start, length, None);
        tables.into_iter().try_for_each(|table| self.l1_table(table, false))
    }

    fn l1_table(&mut self, table: SnapshotL1, active: bool) -> Result<()> {
        let (cluster, length) = (self.header.cluster_size(), u64::from(table.entries) * 8);
        if length > MAX_L1_BYTES || !table.offset.is_multiple_of(cluster) {
            self.report.corruption(table.offset, None, "an l1 table is unaligned or larger than 32 MiB");
            return Ok(());
        }
        self.mark(table.offset, length, None);
        if self.file.check_range(table.offset, length, "an l1 table").is_err() {
            return Ok(());
        }
        let l1 = PagedTable::<8>::new(self.file, table.offset, u64::from(table.entries), "an l1 table")?;
        let span_bits = self.header.cluster_bits + self.header.l2_bits();
        for index in 0..u64::from(table.entries) {
            let word = u64::from_be_bytes(l1.get(self.file, index)?);
            let (offset, guest) = (word & OFFSET_MASK, index.checked_shl(span_bits).unwrap_or(u64::MAX));
            self.reserved(word & L1_RESERVED, table.offset + index * 8, Some(guest), "an l1 entry");
            if offset == 0 {
                continue;
            }
            self.mark(offset, cluster, Some(guest));
            if !offset.is_multiple_of(cluster) {
                self.report.corruption(
                    table.offset + index * 8,
                    Some(guest),
                    "an l2 table is not aligned to a cluster",
                );
            } else if self.file.check_range(offset, cluster, "an l2 table").is_ok() {
                self.l2_table(offset, guest, active)?;
            }
        }
        Ok(())
    }

    fn l2_table(&mut self, table: u64, first_guest: u64, active: bool) -> Result<()> {
        let cluster = self.header.cluster_size();
        let bytes = self.file.read_table(table, cluster, "an l2 table")?;
        let (width, reserved) =
            if self.header.extended_l2() { (16, L2_RESERVED | entry::ZERO) } else { (8, L2_RESERVED) };
        self.visited += cluster / width;
        if self.visited > MAX_ENTRIES {
            return Err(self.file.error(ErrorKind::TooLarge, "more than 2^28 table entries are not checked"));
        }
        let mut next = 0;
        for (index, entry) in bytes.chunks_exact(width as usize).enumerate() {
            let word = first_word(entry);
            let guest = first_guest.saturating_add(index as u64 * cluster);
            if word & COMPRESSED != 0 {
                let Mapping::Compressed { offset, length } = entry::standard(word, self.header.cluster_bits, 3) else {
                    continue;
                };
                // The last sector need not be there in full, but its cluster must.
                self.mark(offset, length, Some(guest));
                if active {
                    self.report.allocated_clusters += 1;
                    self.report.compressed_clusters += 1;
                    self.report.fragmented_clusters += 1;
                }
                continue;
            }
            self.reserved(word & reserved, table + index as u64 * width, Some(guest), "an l2 entry");
            let offset = word & OFFSET_MASK;
            if offset == 0 {
                continue;
            }
            if active {
                self.report.allocated_clusters += 1;
                self.report.fragmented_clusters += u64::from(next != 0 && next != offset);
                next = offset + cluster;
            }
            if self.header.incompatible & Incompatible::EXTERNAL_DATA == 0 {
                self.mark(offset, cluster, Some(guest));
                if !offset.is_multiple_of(cluster) {
                    let at = table + index as u64 * width;
                    self.report.corruption(at, Some(guest), "a data cluster is not aligned to a cluster");
                }
            }
        }
        Ok(())
    }

    /// Counts the uses of the reference counts themselves and returns a view of them.
    fn stored_counts(&mut self, (offset, length): (u64, u64), order: u32) -> Result<StoredCounts> {
        let cluster = self.header.cluster_size();
        if length > MAX_REFCOUNT_TABLE || !offset.is_multiple_of(cluster) {
            let rule = "the reference count table is unaligned or larger than 8 MiB";
            return Err(self.file.error(ErrorKind::Corrupt, rule).at(48));
        }
        self.mark(offset, length, None);
        let table = PagedTable::<8>::new(self.file, offset, length / 8, "the reference count table")?;
        for index in 0..length / 8 {
            let word = u64::from_be_bytes(table.get(self.file, index)?);
            self.reserved(word & REFCOUNT_RESERVED, offset + index * 8, None, "a reference count table's entry");
            let block = word & !REFCOUNT_RESERVED;
            if block == 0 {
                continue;
            }
            if !block.is_multiple_of(cluster) {
                self.report.corruption(offset + index * 8, None, "a reference count block is not aligned to a cluster");
            } else {
                self.mark(block, cluster, None);
            }
        }
        Ok(StoredCounts::new(table, order, cluster))
    }

    fn compare(&mut self, stored: &StoredCounts) -> Result<()> {
        let cluster = self.header.cluster_size();
        let mut end = 0;
        for index in 0..self.uses.len() as u64 {
            let (found, recorded) = (u64::from(self.uses[index as usize]), stored.get(self.file, index)?);
            if found > 0 || recorded > 0 {
                end = index + 1;
            }
            let rule = || format!("the cluster is used {found} times, its reference count is {recorded}");
            match recorded.cmp(&found) {
                std::cmp::Ordering::Less => self.report.corruption(index * cluster, None, rule()),
                std::cmp::Ordering::Greater => self.report.leak(index * cluster, rule()),
                std::cmp::Ordering::Equal => {}
            }
        }
        self.report.image_end_offset = Some(end * cluster);
        Ok(())
    }

    /// Looks for what counting cannot see: compressed clusters that lie on one another inside a cluster of the file, where many may
    /// be. Only where counting has found nothing: one finding is told, the first.
    fn compressed_overlaps(&mut self) -> Result<()> {
        let length = u64::from(self.header.l1_entries) * 8;
        if self.report.corruptions > 0 || self.file.check_range(self.header.l1_offset, length, "").is_err() {
            return Ok(());
        }
        let bytes = self.file.read_table(self.header.l1_offset, length, "the l1 table")?;
        let Ok(l1) = <[U64<BE>]>::ref_from_bytes(&bytes) else { return Ok(()) };
        let (data_file, stop) = (None, AtomicBool::new(false));
        let search = Search { file: self.file, data_file, header: &self.header, l1, stop: &stop };
        match search.sectors() {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.report.corruption(error.offset().unwrap_or(0), None, error.rule().to_owned());
                Ok(())
            }
            other => other,
        }
    }

    /// Compares the flag "used exactly once" of the active tables' entries with the reference counts.
    fn copied_flags(&mut self, stored: &StoredCounts) -> Result<()> {
        let (cluster, width) = (self.header.cluster_size(), if self.header.extended_l2() { 16 } else { 8 });
        let entries = u64::from(self.header.l1_entries);
        let l1 = PagedTable::<8>::new(self.file, self.header.l1_offset, entries, "the l1 table")?;
        let span_bits = self.header.cluster_bits + self.header.l2_bits();
        for index in 0..entries {
            let word = u64::from_be_bytes(l1.get(self.file, index)?);
            let (table, guest) = (word & OFFSET_MASK, index.checked_shl(span_bits).unwrap_or(u64::MAX));
            if table == 0 || !table.is_multiple_of(cluster) || self.file.check_range(table, cluster, "").is_err() {
                continue;
            }
            let once = stored.get(self.file, table / cluster)? == 1;
            if once != (word & COPIED != 0) {
                let at = self.header.l1_offset + index * 8;
                self.report.corruption(
                    at,
                    Some(guest),
                    "an l2 table's flag for one use contradicts its reference count",
                );
            }
            if self.header.incompatible & Incompatible::EXTERNAL_DATA != 0 {
                continue;
            }
            let bytes = self.file.read_table(table, cluster, "an l2 table")?;
            for (index, entry) in bytes.chunks_exact(width).enumerate() {
                let word = first_word(entry);
                let offset = word & OFFSET_MASK;
                if word & COMPRESSED != 0 || offset == 0 {
                    continue;
                }
                let once = stored.get(self.file, offset / cluster)? == 1;
                if once != (word & COPIED != 0) {
                    let (at, guest) = (table + (index * width) as u64, guest.saturating_add(index as u64 * cluster));
                    let rule = "a data cluster's flag for one use contradicts its reference count";
                    self.report.corruption(at, Some(guest), rule);
                }
            }
        }
        Ok(())
    }
}

/// Returns the first word of an L2 entry, which has 8 or 16 bytes.
fn first_word(entry: &[u8]) -> u64 {
    entry.first_chunk().map_or(0, |word| u64::from_be_bytes(*word))
}
