//! Checks the directory, tables and grains of ESX's space-efficient sparse extent. Its free bitmap and back map, of which nothing
//! is published, are looked at from outside only.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::checked_extent::Extent;
use super::layout::SECTOR;
use super::se_sparse::{Grain, Places, check_volatile, table_of};
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::{CheckReport, attend};
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;
use crate::reading::used_space::{UsedSpace, each_window};

/// Most tables that are checked: those of a disk of 64 TiB.
const MAX_TABLES: u64 = 1 << 22;

struct Checker<'a> {
    file: &'a SourceFile,
    extent: Extent<'a>,
    places: Places,
    /// Set when only what lies on one another counts; the flag ends the search.
    only_overlaps: Option<&'a AtomicBool>,
}

/// Finds regions, tables and grains outside the file or on one another, and entries of unknown kinds. Returns guest sectors.
pub(super) fn check(file: &SourceFile, extent: Extent<'_>, report: &mut CheckReport) -> Result<u64> {
    run(file, extent, None, report)
}

/// Fails when what is read of the extent lies on one another.
pub(super) fn refuse_overlaps(file: &SourceFile, stop: &AtomicBool) -> Result<()> {
    let mut report = CheckReport::new(Format::Vmdk, 0);
    run(file, Extent::whole(), Some(stop), &mut report)?;
    report.refuse_overlap(file)
}

fn run(file: &SourceFile, extent: Extent<'_>, stop: Option<&AtomicBool>, report: &mut CheckReport) -> Result<u64> {
    let places = Places::read(file)?;
    check_volatile(file, places.volatile.start)?;
    if places.table_count() > MAX_TABLES {
        return Err(file.error(ErrorKind::TooLarge, "an extent of more than 64 TiB is not checked").at(16));
    }
    report.total_clusters += places.capacity.div_ceil(Places::GRAIN);
    let checker = Checker { file, extent, places, only_overlaps: stop };
    checker.regions(report);
    checker.tables(report)?;
    Ok(checker.places.capacity / SECTOR)
}

impl Checker<'_> {
    fn regions(&self, report: &mut CheckReport) {
        let places = &self.places;
        let read = [
            ("the header", 0..SECTOR),
            ("the volatile header", places.volatile.clone()),
            ("the grain directory", places.directory.clone()),
            ("the region of the grain tables", places.tables.clone()),
            ("the region of the grains", places.grains.clone()),
        ];
        let others = places.others.iter().filter(|_| self.only_overlaps.is_none());
        let mut known: Vec<&Range<u64>> = Vec::new();
        for (what, bytes) in read.iter().chain(others).filter(|(_, bytes)| !bytes.is_empty()) {
            if known.iter().any(|other| other.start < bytes.end && bytes.start < other.end) {
                self.extent.overlap(report, bytes.start, None, format!("{what} lies on another region"));
            }
            known.push(bytes);
            let is_grains = *bytes == places.grains;
            if bytes.end > self.file.len() && !is_grains {
                self.extent.corruption(report, bytes.start, None, format!("{what} reaches past the end of the file"));
            }
        }
    }

    fn tables(&self, report: &mut CheckReport) -> Result<()> {
        let places = &self.places;
        let in_file = (places.tables.end.min(self.file.len()).saturating_sub(places.tables.start)) / 8;
        let tables = in_file / Places::TABLE_ENTRIES;
        let directory = places.directory.start;
        let entries = PagedTable::<8>::new(self.file, directory, places.table_count(), "the grain directory")?;
        let mut used = UsedSpace::new(0..tables);
        let mut known = Vec::new();
        entries.each(self.file, |index, entry| {
            let (at, guest) = (directory + index * 8, Some(index * Places::TABLE_ENTRIES * Places::GRAIN));
            match table_of(u64::from_le_bytes(entry)) {
                Ok(None) => {}
                Ok(Some(table)) if table >= tables => {
                    self.extent.corruption(report, at, guest, "the grain table lies behind the last one");
                }
                Ok(Some(table)) => {
                    if used.claim(table..table + 1) {
                        self.extent.overlap(report, at, guest, "the grain table is used twice");
                    } else {
                        // Both are below 2^22.
                        known.push((index as u32, table as u32));
                    }
                }
                Err(rule) => self.extent.corruption(report, at, guest, rule),
            }
            Ok(())
        })?;
        let grains = self.file.len().saturating_sub(places.grains.start).div_ceil(Places::GRAIN);
        each_window(grains, |used| {
            known.iter().try_for_each(|(index, table)| self.table(u64::from(*index), u64::from(*table), used, report))
        })
    }

    fn table(&self, index: u64, table: u64, used: &mut UsedSpace, report: &mut CheckReport) -> Result<()> {
        attend(self.only_overlaps, 0)?;
        let places = &self.places;
        let start = places.tables.start + table * Places::TABLE_ENTRIES * 8;
        let bytes = self.file.read_table(start, Places::TABLE_ENTRIES * 8, "a grain table")?;
        for (slot, entry) in (0u64..).zip(bytes.as_chunks::<8>().0) {
            let guest = (index * Places::TABLE_ENTRIES + slot) * Places::GRAIN;
            if guest >= places.capacity {
                break;
            }
            let (at, guest) = (start + slot * 8, Some(guest));
            match Grain::of(u64::from_le_bytes(*entry)) {
                Ok(Grain::Stored(grain)) => {
                    let place = grain.checked_mul(Places::GRAIN).and_then(|at| at.checked_add(places.grains.start));
                    let is_inside = place.is_some_and(|place| place < places.grains.end && place < self.file.len());
                    if used.is_first() {
                        report.allocated_clusters += 1;
                        if !is_inside {
                            let rule = "the grain lies behind the end of the grains or of the file";
                            self.extent.corruption(report, at, guest, rule);
                        }
                    }
                    if is_inside && used.claim(grain..grain + 1) {
                        self.extent.overlap(report, at, guest, "the grain is used twice");
                    }
                }
                Ok(_) => {}
                Err(rule) if used.is_first() => self.extent.corruption(report, at, guest, rule),
                Err(_) => {}
            }
        }
        Ok(())
    }
}
