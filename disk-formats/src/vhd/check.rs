//! Checks the two footers and the block table of a VHD.

use std::sync::atomic::AtomicBool;

use super::layout::{DiskType, DynamicHeader, Footer, SECTOR, UNUSED};
use super::tables::{BlockTable, disk_size, read_footer, valid_footer_at};
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::{CheckReport, attend};
use crate::reading::source_file::SourceFile;
use crate::reading::used_space::{UsedSpace, each_window};

/// Most blocks that are checked; with the usual blocks a full disk has 2^20.
const MAX_BLOCKS: u64 = 1 << 28;

/// Finds damaged footers, blocks outside the file, and blocks on one another or on the tables. No parent is opened. With
/// `only_overlaps`, which ends it when set, the first block that lies on something is an error.
pub(crate) fn check(file: &SourceFile, only_overlaps: Option<&AtomicBool>) -> Result<CheckReport> {
    let (footer, footer_offset) = read_footer(file)?;
    let size = disk_size(&footer);
    match footer.disk_type.get() {
        DiskType::FIXED => Ok(check_fixed(file, size)),
        DiskType::DYNAMIC | DiskType::DIFFERENCING => {
            check_dynamic(file, (&footer, footer_offset), size, only_overlaps)
        }
        other => {
            let rule = format!("vhd disk type {other}");
            Err(file.error(ErrorKind::Unsupported, rule).at(footer_offset + 60))
        }
    }
}

fn check_fixed(file: &SourceFile, size: u64) -> CheckReport {
    let mut report = CheckReport::new(Format::Vhd, 0);
    if size > file.len().saturating_sub(SECTOR - 1) {
        report.corruption(file.len(), Some(file.len()), "the file is too short for the disk and the footer behind it");
    }
    report
}

fn check_dynamic(
    file: &SourceFile,
    (footer, footer_offset): (&Footer, u64),
    size: u64,
    only_overlaps: Option<&AtomicBool>,
) -> Result<CheckReport> {
    let table = BlockTable::read(file, footer, size)?;
    let blocks = size.div_ceil(table.block);
    if blocks > MAX_BLOCKS {
        return Err(file
            .error(ErrorKind::TooLarge, "a disk of more than 2^28 blocks is not checked")
            .at(footer_offset + 48));
    }
    let mut report = CheckReport::new(Format::Vhd, blocks);
    let end = check_footers(file, &mut report)?;
    check_locators(file, &table.header, &mut report);
    // Some writers give blocks the room of entries that the disk does not have; reading finds no fault in that.
    let entries = if only_overlaps.is_some() { blocks } else { u64::from(table.header.entries.get()) };
    // No entry can point further than a 32-bit sector number.
    each_window(file.len().div_ceil(SECTOR).min(1 << 32), |used| {
        claim_structures(used, (footer, end), (&table, entries), &mut report);
        check_blocks(file, &table, used, only_overlaps, &mut report)
    })?;
    Ok(report)
}

/// Compares the footer with its copy in front; returns the offset of the footer.
fn check_footers(file: &SourceFile, report: &mut CheckReport) -> Result<u64> {
    let end = file.len().saturating_sub(SECTOR);
    let at_end = valid_footer_at(file, end)?;
    match (at_end, valid_footer_at(file, 0)?) {
        (None, _) => report.corruption(end, None, "the footer is missing or damaged; only its copy in front is left"),
        (_, None) => report.corruption(0, None, "the footer's copy in front is missing or damaged"),
        (Some(footer), Some(copy)) if footer.checksum.get() != copy.checksum.get() => {
            report.corruption(0, None, "the footer's copy in front differs from the footer");
        }
        _ => {}
    }
    // Without a footer there, blocks may reach up to the end.
    Ok(if at_end.is_some() { end } else { file.len() })
}

fn check_locators(file: &SourceFile, header: &DynamicHeader, report: &mut CheckReport) {
    for locator in header.parent_locators.iter().filter(|locator| locator.platform != [0; 4]) {
        let (offset, length) = (locator.offset.get(), u64::from(locator.length.get()));
        if file.check_range(offset, length, "").is_err() {
            report.corruption(offset, None, "a path of the parent lies behind the end of the file");
        }
    }
}

/// Marks everything that is not a block.
fn claim_structures(
    used: &mut UsedSpace,
    (footer, end): (&Footer, u64),
    (table, entries): (&BlockTable, u64),
    report: &mut CheckReport,
) {
    let sectors = |offset: u64, length: u64| offset / SECTOR..offset.saturating_add(length).div_ceil(SECTOR);
    used.claim(sectors(0, SECTOR));
    used.claim(sectors(end, SECTOR));
    let header = footer.data_offset.get();
    if used.claim(sectors(header, size_of::<DynamicHeader>() as u64)) {
        report.overlap(header, None, "the dynamic header lies on a footer");
    }
    let offset = table.header.table_offset.get();
    if used.claim(sectors(offset, entries * 4)) {
        report.overlap(offset, None, "the block table lies on a footer or on the dynamic header");
    }
}

fn check_blocks(
    file: &SourceFile,
    table: &BlockTable,
    used: &mut UsedSpace,
    only_overlaps: Option<&AtomicBool>,
    report: &mut CheckReport,
) -> Result<()> {
    let length = table.bitmap + table.block;
    table.entries.each(file, |index, entry| {
        attend(only_overlaps, index)?;
        let sector = u32::from_be_bytes(entry);
        if sector == UNUSED {
            return Ok(());
        }
        let (at, guest) = (table.header.table_offset.get() + index * 4, Some(index * table.block));
        let first = u64::from(sector);
        let outside = first * SECTOR + length > file.len();
        if used.is_first() {
            report.allocated_clusters += 1;
            if outside {
                report.corruption(at, guest, "the block reaches past the end of the file");
            }
        }
        if used.claim(first..first + length / SECTOR) && !outside {
            report.overlap(at, guest, "the block lies on another block, on the block table, or on a footer");
            if only_overlaps.is_some() {
                return report.refuse_overlap(file);
            }
        }
        Ok(())
    })
}
