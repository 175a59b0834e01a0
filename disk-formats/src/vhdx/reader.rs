//! Reads fixed and dynamic VHDXs, also such as were not closed cleanly. Differencing ones are refused.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::layout::{BLOCK_OFFSET_MASK, BlockState, FILE_SIGNATURE, chunk_ratio};
use super::log::Replayed;
use super::metadata::{Metadata, Regions, current_header};
use crate::mapping::{self, Mapped, Place};
use crate::open::Opening;
use crate::paged_table::PagedTable;
use crate::source_file::SourceFile;
use crate::{DiskReader, ErrorKind, Extent, Format, ImageInfo, MapEntry, Result};

/// An opened VHDX.
pub(crate) struct VhdxReader {
    file: SourceFile,
    metadata: Metadata,
    ratio: u64,
    bat_offset: u64,
    bat: PagedTable<8>,
    replayed: Replayed,
}

impl VhdxReader {
    pub(crate) fn open(file: SourceFile, opening: &Opening<'_>) -> Result<Self> {
        let mut signature = [0; 8];
        file.read_padded_at(0, &mut signature)?;
        if signature != FILE_SIGNATURE {
            return Err(file.error(ErrorKind::Corrupt, "no vhdx signature").at(0));
        }
        let header = current_header(&file)?;
        let replayed = match header.log_guid {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Replayed::default(),
            _ => Replayed::read(&file, &header)?,
        };
        let regions = Regions::read(&file, &replayed)?;
        let metadata = Metadata::read(&file, &replayed, &regions.metadata)?;
        opening.check_virtual_size(metadata.size, &file, regions.metadata.start)?;
        if metadata.has_parent {
            return Err(file
                .error(ErrorKind::Unsupported, "a differencing vhdx needs its parent")
                .at(regions.metadata.start)
                .with_hint("merge it with Hyper-V's `Merge-VHD` first"));
        }
        let entries = metadata.bat_entries(&file, &regions.bat)?;
        Ok(Self {
            ratio: chunk_ratio(metadata.block, metadata.logical_sector),
            bat_offset: regions.bat.start,
            bat: PagedTable::new(&file, regions.bat.start, entries, "the block table")?,
            metadata,
            replayed,
            file,
        })
    }
}

impl Mapped for VhdxReader {
    fn place(&self, guest: u64) -> Result<(Place, u64)> {
        let block = guest / self.metadata.block;
        // After every `ratio` payload blocks comes an entry for a sector bitmap.
        let index = block + block / self.ratio;
        let mut entry = self.bat.get(&self.file, index)?;
        self.replayed.overlay(self.bat_offset + index * 8, &mut entry);
        let entry = u64::from_le_bytes(entry);
        let place = match entry & BlockState::MASK {
            BlockState::NOT_PRESENT => Place::Unallocated,
            BlockState::UNDEFINED | BlockState::ZERO | BlockState::UNMAPPED => Place::Zero,
            BlockState::FULLY_PRESENT => Place::Stored(entry & BLOCK_OFFSET_MASK),
            BlockState::PARTIALLY_PRESENT => {
                let rule = "a partly present block in a disk without parent";
                return Err(self.file.error(ErrorKind::Corrupt, rule).at(self.bat_offset + index * 8));
            }
            _ => {
                let rule = "a block has an unknown state";
                return Err(self.file.error(ErrorKind::Corrupt, rule).at(self.bat_offset + index * 8));
            }
        };
        Ok((place, self.metadata.block - guest % self.metadata.block))
    }

    fn read_stored(&self, stored: u64, guest: u64, buf: &mut [u8]) -> Result<()> {
        if stored >= self.file.len() {
            return Err(self.file.error(ErrorKind::Truncated, "a block lies behind the end of the file").at(stored));
        }
        let offset = stored + guest % self.metadata.block;
        self.file.read_padded_at(offset, buf)?;
        self.replayed.overlay(offset, buf);
        Ok(())
    }

    fn below(&self) -> Option<&dyn DiskReader> {
        None
    }

    fn home(&self, stored: u64, guest: u64) -> (Option<u64>, bool) {
        (self.file.place(stored + guest % self.metadata.block), false)
    }

    fn may_have_below(&self) -> bool {
        false
    }
}

impl DiskReader for VhdxReader {
    fn virtual_size(&self) -> u64 {
        self.metadata.size
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        mapping::extents(self, self.metadata.size, &range)
    }

    fn map(&self, range: Range<u64>) -> Result<Vec<MapEntry>> {
        mapping::map(self, self.metadata.size, &range)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        mapping::read_at(self, self.metadata.size, offset, buf)
    }

    fn info(&self) -> ImageInfo {
        ImageInfo {
            variant: if self.metadata.fixed { "fixed" } else { "dynamic" }.to_owned(),
            cluster_size: Some(self.metadata.block),
            files: vec![self.file.path().to_path_buf()],
            ..ImageInfo::new(Format::Vhdx, self.metadata.size)
        }
    }

    fn refuse_overlaps(&self, _stop: &AtomicBool) -> Result<()> {
        super::check(&self.file)?.refuse_overlap(&self.file)
    }
}
