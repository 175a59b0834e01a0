//! Checks the block map of a VDI.

use std::sync::atomic::AtomicBool;

use zerocopy::FromBytes;

use super::layout::{FREE, Header, MAGIC, MAX_BLOCKS, ZERO};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::{CheckReport, attend};
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;
use crate::reading::used_space::each_window;

/// Most blocks that are checked: 256 TiB with the usual blocks.
const MAX_CHECKED_BLOCKS: u32 = 1 << 28;

/// Finds blocks used twice, blocks outside the file, and a wrong number of allocated blocks. With `only_overlaps`, which ends it when
/// set, the first that lies on another is an error.
pub(crate) fn check(file: &SourceFile, only_overlaps: Option<&AtomicBool>) -> Result<CheckReport> {
    let bytes = file.read_table(0, size_of::<Header>() as u64, "the header")?;
    let header = Header::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no vdi header"))?;
    if header.magic.get() != MAGIC {
        return Err(file.error(ErrorKind::Corrupt, "no vdi signature").at(0x40));
    }
    let blocks = header.blocks.get();
    if blocks > MAX_BLOCKS.min(MAX_CHECKED_BLOCKS) {
        return Err(file.error(ErrorKind::TooLarge, "more than 2^28 blocks").at(0x180));
    }
    let (block, extra) = (u64::from(header.block_size.get()), u64::from(header.block_extra.get()));
    if !block.is_power_of_two() || block < 512 {
        return Err(file.error(ErrorKind::Corrupt, "the block size is not a power of two").at(0x178));
    }
    let size = header.disk_size.get();
    let (map_offset, data_offset) = (u64::from(header.map_offset.get()), u64::from(header.data_offset.get()));
    let map = PagedTable::<4>::new(file, map_offset, u64::from(blocks), "the block map")?;
    let mut report = CheckReport::new(Format::Vdi, u64::from(blocks));
    if data_offset < map_offset + u64::from(blocks) * 4 {
        report.overlap(0x158, None, "the blocks begin inside the block map");
    }
    // No entry can point further than a 32-bit block number.
    let in_file = file.len().saturating_sub(data_offset).div_ceil(block + extra).clamp(u64::from(blocks), 1 << 32);
    each_window(in_file, |used| {
        map.each(file, |index, entry| {
            attend(only_overlaps, index)?;
            let entry = u32::from_le_bytes(entry);
            if entry == FREE || entry == ZERO {
                return Ok(());
            }
            let (at, guest, number) = (map_offset + index * 4, Some(index * block), u64::from(entry));
            if used.claim(number..number + 1) {
                report.overlap(at, guest, format!("block {entry} is used twice"));
                if only_overlaps.is_some() {
                    return report.refuse_overlap(file);
                }
            }
            if !used.is_first() {
                return Ok(());
            }
            if entry >= blocks {
                let rule = format!("block {entry} is behind the last of the {blocks} blocks");
                report.corruption(at, guest, rule);
                return Ok(());
            }
            report.allocated_clusters += 1;
            // The last block of a disk need not be whole.
            let needed = size.saturating_sub(index * block).min(block);
            if data_offset + number * (block + extra) + extra + needed > file.len() {
                report.corruption(at, guest, format!("block {entry} reaches past the end of the file"));
            }
            Ok(())
        })
    })?;
    let allocated = u64::from(header.allocated.get());
    if report.allocated_clusters != allocated {
        let rule = format!("{} blocks are mapped, the header counts {allocated}", report.allocated_clusters);
        report.corruption(0x184, None, rule);
    }
    Ok(report)
}
