//! The region table and the metadata items of a VHDX.

use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::byteorder::{LE, U32, U64};

use super::crc32c::is_whole;
use super::layout::{
    HEADER_OFFSETS, HEADER_SIGNATURE, HEADER_SIZE, Header, ITEM_DISK_SIZE, ITEM_FILE_PARAMETERS, ITEM_LOGICAL_SECTOR,
    ITEM_PAGE_83, ITEM_PARENT_LOCATOR, ITEM_PHYSICAL_SECTOR, ItemFlags, MAX_BLOCK, MAX_ITEMS, MAX_REGIONS, MAX_SIZE,
    METADATA_SIGNATURE, METADATA_TABLE_SIZE, MIB, MIN_BLOCK, MetadataEntry, MetadataTableHeader, REGION_BAT,
    REGION_METADATA, REGION_OFFSETS, REGION_SIGNATURE, REGION_SIZE, RegionEntry, RegionTableHeader,
};
use super::log::Replayed;
use super::parent_locator::MAX_LOCATOR;
use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// Largest metadata region in bytes (practice: 1 MiB).
const MAX_METADATA: u64 = 128 << 20;
/// Largest block table in bytes: 64 TiB in blocks of 1 MiB, with bitmap entries.
const MAX_BAT: u64 = 513 << 20;

/// Returns the header that counts: of the valid ones that with the higher sequence number.
pub(crate) fn current_header(file: &SourceFile) -> Result<Header> {
    let mut current: Option<(Header, u64)> = None;
    for offset in HEADER_OFFSETS {
        let bytes = file.read_table(offset, HEADER_SIZE, "a header")?;
        let Ok((header, _)) = Header::read_from_prefix(&bytes) else { continue };
        let newer = current.is_none_or(|(other, _)| header.sequence.get() > other.sequence.get());
        if header.signature == HEADER_SIGNATURE && is_whole(&bytes) && newer {
            current = Some((header, offset));
        }
    }
    let (header, offset) =
        current.ok_or_else(|| file.error(ErrorKind::Corrupt, "neither header is valid").at(HEADER_OFFSETS[0]))?;
    if header.version.get() != 1 {
        let rule = format!("vhdx version {}", header.version.get());
        return Err(file.error(ErrorKind::Unsupported, rule).at(offset + 66));
    }
    Ok(header)
}

/// Where the parts of the file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) bat: Range<u64>,
    pub(crate) metadata: Range<u64>,
}

impl Regions {
    pub(crate) fn read(file: &SourceFile, replayed: &Replayed) -> Result<Self> {
        for offset in REGION_OFFSETS {
            let mut bytes = file.read_table(offset, REGION_SIZE, "a region table")?;
            replayed.overlay(offset, &mut bytes);
            if bytes.starts_with(&REGION_SIGNATURE) && is_whole(&bytes) {
                return Self::parse(file, &bytes).map_err(|error| error.at(offset));
            }
        }
        Err(file.error(ErrorKind::Corrupt, "neither region table is valid").at(REGION_OFFSETS[0]))
    }

    fn parse(file: &SourceFile, bytes: &[u8]) -> Result<Self> {
        let wrong = |rule: &'static str| file.error(ErrorKind::Corrupt, rule);
        let (header, rest) = RegionTableHeader::read_from_prefix(bytes).map_err(|_| wrong("no region table"))?;
        if header.entries.get() > MAX_REGIONS {
            return Err(wrong("more than 2047 regions"));
        }
        let (mut bat, mut metadata) = (None, None);
        let mut used: Vec<Range<u64>> = Vec::new();
        for entry in rest.chunks_exact(size_of::<RegionEntry>()).take(header.entries.get() as usize) {
            let entry = RegionEntry::read_from_bytes(entry).map_err(|_| wrong("a region"))?;
            let (offset, length) = (entry.offset.get(), u64::from(entry.length.get()));
            let end = offset.checked_add(length).ok_or_else(|| wrong("a region ends past the largest offset"))?;
            if offset < MIB || !offset.is_multiple_of(MIB) || !length.is_multiple_of(MIB) {
                return Err(wrong("a region is not aligned to 1 MiB"));
            }
            if used.iter().any(|other| other.start < end && offset < other.end) {
                return Err(wrong("two regions overlap"));
            }
            used.push(offset..end);
            match entry.guid {
                REGION_BAT => bat = Some(offset..end),
                REGION_METADATA => metadata = Some(offset..end),
                _ if entry.required.get() & 1 == 1 => {
                    return Err(file.error(ErrorKind::Unsupported, "an unknown region that must be understood"));
                }
                _ => {}
            }
        }
        match (bat, metadata) {
            (Some(bat), Some(metadata)) if metadata.end - metadata.start <= MAX_METADATA => Ok(Self { bat, metadata }),
            (Some(_), Some(_)) => Err(wrong("the metadata region is larger than 128 MiB")),
            _ => Err(wrong("the block table or the metadata is missing")),
        }
    }
}

/// What the metadata says about the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) block: u64,
    pub(crate) size: u64,
    pub(crate) logical_sector: u64,
    pub(crate) has_parent: bool,
    /// All blocks were allocated when the file was made.
    pub(crate) fixed: bool,
    /// The parent's bytes of the metadata, where there is a parent.
    pub(crate) parent_locator: Option<Vec<u8>>,
}

impl Metadata {
    pub(crate) fn read(file: &SourceFile, replayed: &Replayed, region: &Range<u64>) -> Result<Self> {
        let wrong = |rule: &'static str| file.error(ErrorKind::Corrupt, rule).at(region.start);
        let mut bytes = file.read_table(region.start, METADATA_TABLE_SIZE, "the metadata table")?;
        replayed.overlay(region.start, &mut bytes);
        let (header, rest) = MetadataTableHeader::read_from_prefix(&bytes).map_err(|_| wrong("no metadata table"))?;
        if header.signature != METADATA_SIGNATURE || header.entries.get() > MAX_ITEMS {
            return Err(wrong("no metadata table, or one with more than 2047 items"));
        }
        let (mut parameters, mut size, mut sector, mut locator) = (None, None, None, None);
        for entry in rest.chunks_exact(size_of::<MetadataEntry>()).take(usize::from(header.entries.get())) {
            let entry = MetadataEntry::read_from_bytes(entry).map_err(|_| wrong("a metadata item"))?;
            let item = |len: u64| -> Result<Vec<u8>> {
                let (offset, length) = (u64::from(entry.offset.get()), u64::from(entry.length.get()));
                if length != len || offset < METADATA_TABLE_SIZE || offset + length > region.end - region.start {
                    return Err(wrong("a metadata item has a wrong length or lies outside its region"));
                }
                let mut bytes = file.read_table(region.start + offset, length, "a metadata item")?;
                replayed.overlay(region.start + offset, &mut bytes);
                Ok(bytes)
            };
            let number = |bytes: &[u8]| U32::<LE>::read_from_prefix(bytes).map_or(0, |(value, _)| value.get());
            match entry.guid {
                ITEM_FILE_PARAMETERS => {
                    let bytes = item(8)?;
                    parameters = Some((number(&bytes), number(&bytes[4..])));
                }
                ITEM_DISK_SIZE => {
                    size = U64::<LE>::read_from_bytes(&item(8)?).ok().map(U64::get);
                }
                ITEM_LOGICAL_SECTOR => sector = Some(u64::from(number(&item(4)?))),
                ITEM_PARENT_LOCATOR => locator = Some(item(u64::from(entry.length.get()).min(MAX_LOCATOR))?),
                ITEM_PHYSICAL_SECTOR | ITEM_PAGE_83 => {}
                _ if entry.flags.get() & (ItemFlags::REQUIRED | ItemFlags::USER) == ItemFlags::REQUIRED => {
                    let rule = "an unknown metadata item that must be understood";
                    return Err(file.error(ErrorKind::Unsupported, rule).at(region.start));
                }
                _ => {}
            }
        }
        let (Some((block, flags)), Some(size), Some(logical_sector)) = (parameters, size, sector) else {
            return Err(wrong("block size, disk size or sector size is missing"));
        };
        let block = u64::from(block);
        if !block.is_power_of_two() || !(MIN_BLOCK..=MAX_BLOCK).contains(&block) {
            return Err(wrong("the block size is not a power of two from 1 to 256 MiB"));
        }
        if !matches!(logical_sector, 512 | 4096) || !size.is_multiple_of(logical_sector) || size > MAX_SIZE {
            return Err(wrong("the sector size is neither 512 nor 4096, or the disk's size does not fit it"));
        }
        let has_parent = flags & 2 != 0;
        let parent_locator = locator.filter(|_| has_parent);
        if has_parent && parent_locator.is_none() {
            return Err(wrong("the disk has a parent but does not name it"));
        }
        Ok(Self { block, size, logical_sector, has_parent, fixed: flags & 1 != 0, parent_locator })
    }

    /// Returns the entries of the block table, bitmap entries included, after checking that they fit.
    pub(crate) fn bat_entries(&self, file: &SourceFile, bat: &Range<u64>) -> Result<u64> {
        let blocks = self.size.div_ceil(self.block);
        let ratio = super::layout::chunk_ratio(self.block, self.logical_sector);
        let entries = match self.has_parent {
            true => blocks.div_ceil(ratio) * (ratio + 1),
            false => blocks + blocks.saturating_sub(1) / ratio,
        };
        if entries * 8 > (bat.end - bat.start).min(MAX_BAT) {
            return Err(file
                .error(ErrorKind::Corrupt, "the block table is too small for the disk's size")
                .at(bat.start));
        }
        Ok(entries)
    }
}
