//! Checks the directories, tables, grains and markers of one sparse file.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use zerocopy::FromBytes;
use zerocopy::byteorder::{LE, U32};

use super::checked_extent::Extent;
use super::layout::{
    GrainMarker, MARKER_DIRECTORY, MARKER_END, MARKER_FOOTER, MARKER_TABLE, MetadataMarker, SECTOR, SparseHeader,
};
use super::sparse_extent::{Geometry, read_header, sector_offset};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::{CheckReport, attend};
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;
use crate::reading::used_space::{UsedSpace, each_window};

/// Most table entries that are visited: what one table named by many directory entries could cost has an end.
const MAX_ENTRIES: u64 = 1 << 28;
/// The same where none is visited twice.
const MAX_DISTINCT_ENTRIES: u64 = 1 << 30;

/// What is to be checked.
pub(super) struct SparseCheck<'a> {
    pub(super) file: &'a SourceFile,
    pub(super) extent: Extent<'a>,
    pub(super) geometry: &'a Geometry,
    /// Offset of the redundant directory.
    pub(super) redundant_directory: Option<u64>,
    /// Tables have markers, and a footer says where they are.
    pub(super) is_stream: bool,
    /// Offsets and lengths of what is neither a table nor a grain.
    pub(super) structures: Vec<(u64, u64)>,
    /// Set when only what lies on one another counts, for an image that is about to be read; the flag ends the search.
    pub(super) only_overlaps: Option<&'a AtomicBool>,
}

/// The directories of one file.
struct Directories {
    offset: u64,
    entries: u64,
    primary: PagedTable<4>,
    redundant: Option<PagedTable<4>>,
}

/// Sectors that a range of bytes touches.
fn sectors(bytes: &Range<u64>) -> Range<u64> {
    bytes.start / SECTOR..bytes.end.div_ceil(SECTOR)
}

impl SparseCheck<'_> {
    /// Checks what comes behind the directory of a stream: the footer between its marker and the end marker.
    pub(super) fn trailer(&mut self, footer: &SparseHeader, report: &mut CheckReport) -> Result<()> {
        let offset = self.file.len().saturating_sub(2 * SECTOR) / SECTOR * SECTOR;
        let header = read_header(self.file, 0)?;
        let numbers = |header: &SparseHeader| {
            let sizes = (header.capacity.get(), header.grain_sectors.get(), header.table_entries.get());
            (sizes, header.flags.get(), header.compression.get())
        };
        if numbers(&header) != numbers(footer) {
            self.extent.corruption(report, offset, None, "the footer contradicts the header");
        }
        if !self.is_marker(offset.saturating_sub(SECTOR), MARKER_FOOTER, None)? {
            self.extent.corruption(report, offset.saturating_sub(SECTOR), None, "the footer has no marker");
        }
        if !self.is_marker(offset + SECTOR, MARKER_END, Some(0))? {
            self.extent.corruption(report, offset + SECTOR, None, "the stream does not end with an end marker");
        }
        self.structures.push((offset.saturating_sub(SECTOR), 3 * SECTOR));
        Ok(())
    }

    fn is_marker(&self, offset: u64, kind: u32, length: Option<u64>) -> Result<bool> {
        let mut bytes = [0; SECTOR as usize];
        self.file.read_padded_at(offset, &mut bytes)?;
        let Ok(marker) = MetadataMarker::read_from_bytes(&bytes) else { return Ok(false) };
        let fits = length.is_none_or(|length| length == marker.sectors.get());
        Ok(marker.size.get() == 0 && marker.kind.get() == kind && fits)
    }

    /// Checks directories, tables and grains.
    pub(super) fn run(&self, report: &mut CheckReport) -> Result<()> {
        let entries = self.geometry.directory_entries(self.file)?;
        let offset = sector_offset(self.file, self.geometry.directory_sector, self.geometry.fields.directory)?;
        let primary = PagedTable::new(self.file, offset, entries, "the grain directory")?;
        let mut redundant = None;
        if let Some(at) = self.redundant_directory {
            match PagedTable::new(self.file, at, entries, "the redundant grain directory") {
                Ok(table) => redundant = Some(table),
                Err(_) => {
                    let rule = "the redundant grain directory reaches past the end of the file";
                    self.extent.corruption(report, at, None, rule);
                }
            }
        }
        if self.is_stream && !self.is_marker(offset.saturating_sub(SECTOR), MARKER_DIRECTORY, None)? {
            self.extent.corruption(report, offset, None, "the grain directory has no marker");
        }
        report.total_clusters += self.geometry.capacity_sectors.div_ceil(self.geometry.grain_sectors);
        let directories = Directories { offset, entries, primary, redundant };
        // Tables cannot point further than a 32-bit sector number.
        each_window(self.file.len().div_ceil(SECTOR).min(1 << 32), |used| {
            self.claim_structures(&directories, used, report);
            self.check_tables(&directories, used, report)?;
            self.end_at_overlap(report)?;
            self.check_grains(&directories, used, report)
        })
    }

    /// Fails at the first overlap when nothing else is looked for.
    fn end_at_overlap(&self, report: &CheckReport) -> Result<()> {
        if self.only_overlaps.is_some() { report.refuse_overlap(self.file) } else { Ok(()) }
    }

    fn claim_structures(&self, directories: &Directories, used: &mut UsedSpace, report: &mut CheckReport) {
        let length = directories.entries * 4;
        let redundant = directories.redundant.as_ref().and(self.redundant_directory);
        let directories = [Some(directories.offset), redundant].into_iter().flatten().map(|at| (at, length));
        for (offset, length) in self.structures.iter().copied().chain(directories) {
            // The redundant directory is not read, so what it lies on is no harm to reading.
            let is_read = self.only_overlaps.is_none() || redundant != Some(offset);
            if used.claim(sectors(&(offset..offset + length))) && is_read {
                let rule = "header, descriptor, grain directories or footer lie on one another";
                self.extent.overlap(report, offset, None, rule);
            }
        }
    }

    /// Returns the guest bytes that a table covers.
    fn span(&self) -> u64 {
        self.geometry.grain_sectors * SECTOR * self.geometry.table_entries
    }

    fn table_bytes(&self) -> u64 {
        self.geometry.table_entries * 4
    }

    fn check_tables(&self, directories: &Directories, used: &mut UsedSpace, report: &mut CheckReport) -> Result<()> {
        let mut visited = 0;
        let most = if self.only_overlaps.is_some() { MAX_DISTINCT_ENTRIES } else { MAX_ENTRIES };
        directories.primary.each(self.file, |index, entry| {
            let guest = Some(index * self.span());
            let table = self.table(entry, directories.offset + index * 4, guest, used, report);
            visited += if table.is_some() { self.geometry.table_entries } else { 0 };
            if visited > most {
                let rule = format!("more than {most} table entries are not checked");
                return Err(self.file.error(ErrorKind::TooLarge, rule).at(directories.offset));
            }
            attend(self.only_overlaps, index)?;
            if self.is_stream
                && used.is_first()
                && let Some(table) = &table
                && !self.is_marker(table.start.saturating_sub(SECTOR), MARKER_TABLE, None)?
            {
                self.extent.corruption(report, table.start, guest, "a grain table has no marker");
            }
            let (Some(redundant), Some(at)) = (&directories.redundant, self.redundant_directory) else {
                return Ok(());
            };
            let mut unread = CheckReport::new(Format::Vmdk, 0);
            let redundant_report = if self.only_overlaps.is_some() { &mut unread } else { &mut *report };
            let copy = redundant.get(self.file, index)?;
            let copy = self.table(copy, at + index * 4, guest, used, redundant_report);
            if used.is_first() && self.only_overlaps.is_none() {
                self.compare_tables(table, copy, at + index * 4, guest, report)?;
            }
            Ok(())
        })
    }

    /// Marks the table of the entry at `at` as used and returns its place; `None` where there is none that can be read.
    fn table(
        &self,
        entry: [u8; 4],
        at: u64,
        guest: Option<u64>,
        used: &mut UsedSpace,
        report: &mut CheckReport,
    ) -> Option<Range<u64>> {
        let start = u64::from(u32::from_le_bytes(entry)) * SECTOR;
        if start == 0 {
            return None;
        }
        let bytes = start..start + self.table_bytes();
        if bytes.end > self.file.len() {
            if used.is_first() {
                self.extent.corruption(report, at, guest, "the grain table reaches past the end of the file");
            }
            return None;
        }
        if used.claim(sectors(&bytes)) {
            let rule = "the grain table lies on another table, on a directory, or on the header";
            self.extent.overlap(report, at, guest, rule);
        }
        Some(bytes)
    }

    fn compare_tables(
        &self,
        table: Option<Range<u64>>,
        copy: Option<Range<u64>>,
        at: u64,
        guest: Option<u64>,
        report: &mut CheckReport,
    ) -> Result<()> {
        match (table, copy) {
            (Some(table), Some(copy)) => {
                let length = self.table_bytes();
                let first = self.file.read_table(table.start, length, "a grain table")?;
                if first != self.file.read_table(copy.start, length, "a redundant grain table")? {
                    self.extent.corruption(report, copy.start, guest, "the redundant grain table differs");
                }
            }
            (None, None) => {}
            _ => self.extent.corruption(report, at, guest, "only one of the two grain directories has this table"),
        }
        Ok(())
    }

    fn check_grains(&self, directories: &Directories, used: &mut UsedSpace, report: &mut CheckReport) -> Result<()> {
        directories.primary.each(self.file, |index, entry| {
            let start = u64::from(u32::from_le_bytes(entry)) * SECTOR;
            if start == 0 || start + self.table_bytes() > self.file.len() {
                return Ok(());
            }
            // A table is much to read: looked at before each.
            attend(self.only_overlaps, 0)?;
            let bytes = self.file.read_table(start, self.table_bytes(), "a grain table")?;
            let table = <[U32<LE>]>::ref_from_bytes(&bytes).map_err(|_| Error::corrupt("a grain table"))?;
            let mut guest = index * self.span();
            for (slot, entry) in (0u64..).zip(table) {
                let sector = entry.get();
                let is_data = sector > 1 || sector == 1 && !self.geometry.zeroed_grains;
                if is_data && guest < self.geometry.capacity_sectors * SECTOR {
                    self.grain(u64::from(sector) * SECTOR, start + slot * 4, guest, used, report)?;
                }
                guest += self.geometry.grain_sectors * SECTOR;
            }
            self.end_at_overlap(report)
        })
    }

    /// Checks one grain whose table entry is at `at`.
    fn grain(&self, start: u64, at: u64, guest: u64, used: &mut UsedSpace, report: &mut CheckReport) -> Result<()> {
        let grain = self.geometry.grain_sectors * SECTOR;
        if used.is_first() {
            report.allocated_clusters += 1;
            report.compressed_clusters += u64::from(self.geometry.compressed);
        }
        if self.only_overlaps.is_some() && self.geometry.compressed {
            // The marker would say how long it is, and cost a read of its own.
            if used.claim(start / SECTOR..start / SECTOR + 1) {
                let rule = "the grain lies on another grain, on a table, or on the header";
                self.extent.overlap(report, at, Some(guest), rule);
            }
            return Ok(());
        }
        let longest = if self.geometry.compressed { size_of::<GrainMarker>() as u64 + 2 * grain } else { grain };
        if !used.is_first() && !used.touches(&sectors(&(start..start + longest))) {
            return Ok(());
        }
        let (length, rule) = if self.geometry.compressed {
            self.compressed_grain(start, guest)?
        } else {
            // The last grain of the disk may be cut short where the disk ends.
            let needed = grain.min(self.geometry.capacity_sectors * SECTOR - guest);
            let outside = start + needed > self.file.len();
            (grain, outside.then_some("the grain reaches past the end of the file"))
        };
        if let Some(rule) = rule {
            if used.is_first() {
                self.extent.corruption(report, at, Some(guest), rule);
            }
        } else if used.claim(sectors(&(start..start + length))) {
            let rule = "the grain lies on another grain, on a table, or on the header";
            self.extent.overlap(report, at, Some(guest), rule);
        }
        Ok(())
    }

    /// Returns the length of a compressed grain with its marker, and which rule it breaks.
    fn compressed_grain(&self, start: u64, guest: u64) -> Result<(u64, Option<&'static str>)> {
        let mut bytes = [0; size_of::<GrainMarker>()];
        if self.file.check_range(start, bytes.len() as u64, "").is_err() {
            return Ok((0, Some("the grain reaches past the end of the file")));
        }
        self.file.read_exact_at(start, &mut bytes)?;
        let Ok(marker) = GrainMarker::read_from_bytes(&bytes) else { return Ok((0, Some("no grain marker"))) };
        let size = u64::from(marker.size.get());
        let length = bytes.len() as u64 + size;
        let rule = if marker.sector.get() != guest / SECTOR {
            Some("the grain's marker names another place of the disk")
        } else if size == 0 || size > 2 * self.geometry.grain_sectors * SECTOR {
            Some("the compressed grain's size is zero or absurd")
        } else if start + length > self.file.len() {
            Some("the grain reaches past the end of the file")
        } else {
            None
        };
        Ok((length, rule))
    }
}
