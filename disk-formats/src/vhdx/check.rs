//! Checks the headers, region tables, log and block table of a VHDX, as they are after replaying the log.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use zerocopy::FromBytes;

use super::crc32c::is_whole;
use super::layout::{
    BLOCK_OFFSET_MASK, BlockState, FILE_SIGNATURE, HEADER_OFFSETS, HEADER_SIGNATURE, HEADER_SIZE, Header, MIB,
    REGION_OFFSETS, REGION_SIGNATURE, REGION_SIZE, chunk_ratio,
};
use super::log::Replayed;
use super::metadata::{Metadata, Regions, current_header};
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::{CheckReport, attend};
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;
use crate::reading::used_space::UsedSpace;

/// Largest file that is checked in MiB, a bit each: 256 TiB.
const MAX_FILE: u64 = 1 << 28;

struct Checker<'a> {
    file: &'a SourceFile,
    replayed: Replayed,
    metadata: Metadata,
    bat_offset: u64,
    used: UsedSpace,
    report: CheckReport,
}

/// Finds damaged headers and region tables, a log that was not replayed, and blocks that are outside the file, on one another, on
/// other regions, or in a state that cannot be. No parent is opened. With `only_overlaps`, which ends it when set, the
/// first block that lies on something is an error.
pub(crate) fn check(file: &SourceFile, only_overlaps: Option<&AtomicBool>) -> Result<CheckReport> {
    let mut signature = [0; 8];
    file.read_padded_at(0, &mut signature)?;
    if signature != FILE_SIGNATURE {
        return Err(file.error(ErrorKind::Corrupt, "no vhdx signature").at(0));
    }
    let units = file.len().div_ceil(MIB);
    if units > MAX_FILE {
        return Err(file.error(ErrorKind::TooLarge, "a file of more than 256 TiB is not checked"));
    }
    let header = current_header(file)?;
    let open_log = header.log_guid != [0; 16];
    let replayed = if open_log { Replayed::read(file, &header)? } else { Replayed::default() };
    let regions = Regions::read(file, &replayed)?;
    let metadata = Metadata::read(file, &replayed, &regions.metadata)?;
    let entries = metadata.bat_entries(file, &regions.bat)?;
    let bat = PagedTable::<8>::new(file, regions.bat.start, entries, "the block table")?;
    let mut report = CheckReport::new(Format::Vhdx, metadata.size.div_ceil(metadata.block));
    if open_log {
        let rule = "the file was not closed cleanly: its log holds changes that are not in their places yet";
        report.corruption(header.log_offset.get(), None, rule);
    }
    let used = UsedSpace::new(0..units);
    let mut checker = Checker { file, replayed, metadata, bat_offset: regions.bat.start, used, report };
    checker.headers()?;
    checker.region_tables()?;
    checker.structures(&header, &regions);
    bat.each(file, |index, entry| {
        attend(only_overlaps, index)?;
        checker.entry(index, entry)?;
        if only_overlaps.is_some() { checker.report.refuse_overlap(file) } else { Ok(()) }
    })?;
    Ok(checker.report)
}

impl Checker<'_> {
    fn headers(&mut self) -> Result<()> {
        let mut sequences = Vec::new();
        for offset in HEADER_OFFSETS {
            let bytes = self.file.read_table(offset, HEADER_SIZE, "a header")?;
            match Header::read_from_prefix(&bytes) {
                Ok((header, _)) if header.signature == HEADER_SIGNATURE && is_whole(&bytes) => {
                    sequences.push((header.sequence.get(), bytes));
                }
                _ => self.report.corruption(offset, None, "a header is damaged; only the other one is left"),
            }
        }
        if let [(first, one), (second, other)] = &sequences[..]
            && first == second
            && one != other
        {
            let rule = "the headers differ but have the same sequence number";
            self.report.corruption(HEADER_OFFSETS[1], None, rule);
        }
        Ok(())
    }

    fn region_tables(&mut self) -> Result<()> {
        let mut whole = Vec::new();
        for offset in REGION_OFFSETS {
            let mut bytes = self.file.read_table(offset, REGION_SIZE, "a region table")?;
            self.replayed.overlay(offset, &mut bytes);
            if bytes.starts_with(&REGION_SIGNATURE) && is_whole(&bytes) {
                whole.push(bytes);
            } else {
                self.report.corruption(offset, None, "a region table is damaged; only the other one is left");
            }
        }
        if let [first, second] = &whole[..]
            && first != second
        {
            self.report.corruption(REGION_OFFSETS[1], None, "the two region tables differ");
        }
        Ok(())
    }

    /// Marks everything that is not a block.
    fn structures(&mut self, header: &Header, regions: &Regions) {
        self.used.claim(0..1);
        let (offset, length) = (header.log_offset.get(), u64::from(header.log_length.get()));
        if !offset.is_multiple_of(MIB) || !length.is_multiple_of(MIB) {
            self.report.corruption(offset, None, "the log is not aligned to 1 MiB");
        }
        self.claim_region(&(offset..offset.saturating_add(length)), "the log");
        self.claim_region(&regions.metadata, "the metadata region");
        self.claim_region(&regions.bat, "the block table's region");
    }

    fn claim_region(&mut self, bytes: &Range<u64>, what: &str) {
        if bytes.end > self.file.len() {
            self.report.corruption(bytes.start, None, format!("{what} reaches past the end of the file"));
        }
        if self.used.claim(bytes.start / MIB..bytes.end.div_ceil(MIB)) {
            self.report.overlap(bytes.start, None, format!("{what} lies on the headers or on another region"));
        }
    }

    fn entry(&mut self, index: u64, mut entry: [u8; 8]) -> Result<()> {
        let at = self.bat_offset + index * 8;
        self.replayed.overlay(at, &mut entry);
        let entry = u64::from_le_bytes(entry);
        let (state, offset) = (entry & BlockState::MASK, entry & BLOCK_OFFSET_MASK);
        // After every `ratio` payload blocks comes an entry for a sector bitmap.
        let ratio = chunk_ratio(self.metadata.block, self.metadata.logical_sector);
        let (chunk, within) = (index / (ratio + 1), index % (ratio + 1));
        let is_bitmap = within == ratio;
        let block = chunk * ratio + within;
        let guest = (!is_bitmap).then_some(block * self.metadata.block);
        if entry & !(BlockState::MASK | BLOCK_OFFSET_MASK) != 0 {
            self.report.corruption(at, guest, "reserved bits of a block's entry are set");
        }
        match (is_bitmap, state) {
            (true, BlockState::FULLY_PRESENT) => {
                self.place(at, guest, offset, MIB);
                return Ok(());
            }
            (true, BlockState::NOT_PRESENT) => {}
            (true, _) => self.report.corruption(at, guest, format!("a sector bitmap has the impossible state {state}")),
            (false, BlockState::FULLY_PRESENT | BlockState::PARTIALLY_PRESENT) => {
                if block >= self.report.total_clusters {
                    self.report.corruption(at, guest, "a block behind the end of the disk is present");
                }
                if state == BlockState::PARTIALLY_PRESENT && !self.metadata.has_parent {
                    self.report.corruption(at, guest, "a partly present block in a disk without parent");
                }
                self.report.allocated_clusters += 1;
                self.place(at, guest, offset, self.metadata.block);
            }
            (false, state) if state > BlockState::UNMAPPED => {
                self.report.corruption(at, guest, format!("a block has the unknown state {state}"));
            }
            (false, _) => {}
        }
        Ok(())
    }

    /// Marks a block as used.
    fn place(&mut self, at: u64, guest: Option<u64>, offset: u64, length: u64) {
        if offset.checked_add(length).is_none_or(|end| end > self.file.len()) {
            self.report.corruption(at, guest, "the block reaches past the end of the file");
        } else if self.used.claim(offset / MIB..(offset + length) / MIB) {
            self.report.overlap(at, guest, "the block lies on another block, on the headers, or on a region");
        }
    }
}
