//! Reads fixed, dynamic and differencing VHDXs, also such as were not closed cleanly.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::layout::{BLOCK_OFFSET_MASK, BlockState, FILE_SIGNATURE, chunk_ratio};
use super::log::Replayed;
use super::metadata::{Metadata, Regions, current_header};
use super::parent_locator::ParentLocator;
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::reading::cache::Cache;
use crate::reading::extent::Extent;
use crate::reading::image_info::ImageInfo;
use crate::reading::map::MapEntry;
use crate::reading::mapping::{self, Mapped, Place};
use crate::reading::opening::Opening;
use crate::reading::paged_table::PagedTable;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;

/// An opened VHDX.
pub(crate) struct VhdxReader {
    file: SourceFile,
    metadata: Metadata,
    ratio: u64,
    bat_offset: u64,
    bat: PagedTable<8>,
    replayed: Replayed,
    /// Identifies the content for disks that lie on this one.
    data_write_guid: [u8; 16],
    /// The parent's path, even if that was not opened.
    parent_name: Option<String>,
    parent: Option<Box<Self>>,
    /// Say for each sector of a block whether it is here or in the parent.
    bitmaps: Cache<Vec<u8>>,
}

/// Pieces of sector bitmaps kept in memory; of the largest blocks, 64 KiB each.
const BITMAPS: u64 = 64;

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
        let (parent_name, parent) = match &metadata.parent_locator {
            None => (None, None),
            Some(bytes) => {
                let at = regions.metadata.start;
                let locator =
                    ParentLocator::parse(bytes).map_err(|rule| file.error(ErrorKind::Corrupt, rule).at(at))?;
                let parent = if opening.is_alone() { None } else { Some(open_parent(&locator, &file, at, opening)?) };
                (Some(locator.path), parent.map(Box::new))
            }
        };
        let entries = metadata.bat_entries(&file, &regions.bat)?;
        Ok(Self {
            ratio: chunk_ratio(metadata.block, metadata.logical_sector),
            bat_offset: regions.bat.start,
            bat: PagedTable::new(&file, regions.bat.start, entries, "the block table")?,
            metadata,
            replayed,
            data_write_guid: header.data_write_guid,
            parent_name,
            parent,
            bitmaps: Cache::new(BITMAPS),
            file,
        })
    }

    /// Returns a table entry and its offset.
    fn entry(&self, index: u64) -> Result<(u64, u64)> {
        let at = self.bat_offset + index * 8;
        let mut entry = self.bat.get(&self.file, index)?;
        self.replayed.overlay(at, &mut entry);
        Ok((u64::from_le_bytes(entry), at))
    }

    /// Says where the sector at `guest` of a block that is here in part lies, and for how many bytes that holds.
    fn partial(&self, guest: u64, stored: u64, at: u64) -> Result<(Place, u64)> {
        let Metadata { block, logical_sector, .. } = self.metadata;
        let (index, sectors) = (guest / block, block / logical_sector);
        let (chunk, within) = (index / self.ratio, index % self.ratio);
        let (entry, bitmap_at) = self.entry(chunk * (self.ratio + 1) + self.ratio)?;
        if entry & BlockState::MASK != BlockState::FULLY_PRESENT {
            let rule = "a block is here in part, but which one is not said: its sector bitmap is missing";
            return Err(self.file.error(ErrorKind::Corrupt, rule).at(bitmap_at.max(at)));
        }
        let place = (entry & BLOCK_OFFSET_MASK).saturating_add(within * sectors / 8);
        let bitmap = self.bitmaps.get(place, || {
            let mut bytes = self.file.read_table(place, sectors / 8, "a sector bitmap")?;
            self.replayed.overlay(place, &mut bytes);
            Ok(bytes)
        })?;
        let is_here = |sector: u64| bitmap[(sector / 8) as usize] >> (sector % 8) & 1 == 1;
        let first = guest % block / logical_sector;
        let here = is_here(first);
        let run = (first..sectors).take_while(|sector| is_here(*sector) == here).count() as u64;
        let place = if here { Place::Stored(stored) } else { Place::Unallocated };
        Ok((place, run * logical_sector - guest % logical_sector))
    }
}

fn open_parent(locator: &ParentLocator, file: &SourceFile, at: u64, opening: &Opening<'_>) -> Result<VhdxReader> {
    let parent_file = opening.open_named(&locator.path, file, at)?;
    let below = opening.descend(&parent_file);
    let parent = VhdxReader::open(parent_file, &below)?;
    if !locator.linkages.contains(&parent.data_write_guid) {
        let rule = format!("the parent {:?} was changed after this disk was made from it", locator.path);
        return Err(file.error(ErrorKind::Corrupt, rule).at(at));
    }
    Ok(parent)
}

impl Mapped for VhdxReader {
    fn place(&self, guest: u64) -> Result<(Place, u64)> {
        let block = guest / self.metadata.block;
        // After every `ratio` payload blocks comes an entry for a sector bitmap.
        let index = block + block / self.ratio;
        let (entry, at) = self.entry(index)?;
        let place = match entry & BlockState::MASK {
            BlockState::NOT_PRESENT => Place::Unallocated,
            BlockState::UNDEFINED | BlockState::ZERO | BlockState::UNMAPPED => Place::Zero,
            BlockState::FULLY_PRESENT => Place::Stored(entry & BLOCK_OFFSET_MASK),
            BlockState::PARTIALLY_PRESENT if self.metadata.has_parent => {
                return self.partial(guest, entry & BLOCK_OFFSET_MASK, at);
            }
            BlockState::PARTIALLY_PRESENT => {
                let rule = "a partly present block in a disk without parent";
                return Err(self.file.error(ErrorKind::Corrupt, rule).at(at));
            }
            _ => {
                let rule = "a block has an unknown state";
                return Err(self.file.error(ErrorKind::Corrupt, rule).at(at));
            }
        };
        Ok((place, self.metadata.block - guest % self.metadata.block))
    }

    fn read_stored(&self, stored: u64, guest: u64, buf: &mut [u8]) -> Result<()> {
        let offset = stored + guest % self.metadata.block;
        self.file.read_data_at(offset, buf, "a block")?;
        self.replayed.overlay(offset, buf);
        Ok(())
    }

    fn below(&self) -> Option<&dyn DiskReader> {
        self.parent.as_deref().map(|parent| parent as &dyn DiskReader)
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
        let mut files = vec![self.file.path().to_path_buf()];
        files.extend(self.parent.iter().flat_map(|parent| parent.info().files));
        ImageInfo {
            variant: match (&self.parent_name, self.metadata.fixed) {
                (Some(_), _) => "differencing",
                (None, true) => "fixed",
                (None, false) => "dynamic",
            }
            .to_owned(),
            cluster_size: Some(self.metadata.block),
            backing_file: self.parent_name.clone(),
            files,
            ..ImageInfo::new(Format::Vhdx, self.metadata.size)
        }
    }

    fn refuse_overlaps(&self, stop: &AtomicBool) -> Result<()> {
        let mut reader = Some(self);
        while let Some(image) = reader {
            super::check::check(&image.file, Some(stop))?.refuse_overlap(&image.file)?;
            reader = image.parent.as_deref();
        }
        Ok(())
    }
}
