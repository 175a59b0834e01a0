//! Reads fixed, dynamic and differencing VHDs.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::layout::{DiskType, DynamicHeader, SECTOR, UNUSED};
use super::tables::{BlockTable, disk_size, read_footer};
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::raw::reader::file_extent;
use crate::reading::cache::Cache;
use crate::reading::extent::{Extent, ExtentKind};
use crate::reading::image_info::ImageInfo;
use crate::reading::map::MapEntry;
use crate::reading::mapping::{self, Mapped, Place};
use crate::reading::opening::Opening;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;

/// Sector bitmaps kept in memory.
const BITMAPS: u64 = 256;
/// An opened VHD.
pub(crate) struct VhdReader {
    file: SourceFile,
    size: u64,
    uuid: [u8; 16],
    kind: Kind,
}

enum Kind {
    Fixed,
    Dynamic(Box<Dynamic>),
}

struct Dynamic {
    table: BlockTable,
    /// Set when the disk differs from a parent, even if that was not opened.
    parent_name: Option<String>,
    parent: Option<Parent>,
}

struct Parent {
    reader: VhdReader,
    /// Say for each sector of a block whether it is here or in the parent.
    bitmaps: Cache<Vec<u8>>,
}

impl VhdReader {
    pub(crate) fn open(file: SourceFile, opening: &Opening<'_>) -> Result<Self> {
        let (footer, footer_offset) = read_footer(&file)?;
        let size = disk_size(&footer);
        opening.check_virtual_size(size, &file, footer_offset + 48)?;
        let kind = match footer.disk_type.get() {
            DiskType::FIXED => {
                file.check_range(0, size, "the disk")?;
                Kind::Fixed
            }
            DiskType::DYNAMIC | DiskType::DIFFERENCING => {
                let table = BlockTable::read(&file, &footer, size)?;
                let parent_name = match footer.disk_type.get() {
                    DiskType::DIFFERENCING => Some(parent_name(&file, &table.header)?),
                    _ => None,
                };
                let parent = match &parent_name {
                    Some(name) if !opening.is_alone() => Some(Parent::open(&file, &table, name, opening)?),
                    _ => None,
                };
                Kind::Dynamic(Box::new(Dynamic { table, parent_name, parent }))
            }
            other => {
                let rule = format!("vhd disk type {other}");
                return Err(file.error(ErrorKind::Unsupported, rule).at(footer_offset + 60));
            }
        };
        Ok(Self { file, size, uuid: footer.uuid, kind })
    }
}

impl Parent {
    fn open(file: &SourceFile, table: &BlockTable, name: &str, opening: &Opening<'_>) -> Result<Self> {
        let at = table.header_offset + offset_of!(DynamicHeader, parent_uuid) as u64;
        let parent_file = match opening.told_parent(file, Format::Vhd, at)? {
            Some(told) => told,
            None => opening.open_named(name, file, at)?,
        };
        let below = opening.descend(&parent_file);
        let reader = VhdReader::open(parent_file, &below)?;
        if reader.uuid != table.header.parent_uuid {
            return Err(file.error(ErrorKind::Corrupt, format!("{name:?} is not the parent of this disk")).at(at));
        }
        Ok(Self { reader, bitmaps: Cache::new(BITMAPS) })
    }
}

/// Returns the parent's path: the relative locator if there is one, else the plain name in the header.
fn parent_name(file: &SourceFile, header: &DynamicHeader) -> Result<String> {
    if let Some(locator) = header.parent_locators.iter().find(|locator| locator.platform == *b"W2ru") {
        let length = u64::from(locator.length.get());
        if length > 4096 {
            let rule = "the parent's path is longer than 4096 bytes";
            return Err(file.error(ErrorKind::Corrupt, rule).at(locator.offset.get()));
        }
        let bytes = file.read_table(locator.offset.get(), length, "the parent's path")?;
        let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        return Ok(path_from(units));
    }
    let units = header.parent_name.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    Ok(path_from(units))
}

/// Turns a Windows path into one of this system.
fn path_from(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units.take_while(|unit| *unit != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .map(|c| if c == '\\' { '/' } else { c })
        .collect()
}

impl Mapped for VhdReader {
    fn place(&self, guest: u64) -> Result<(Place, u64)> {
        let dynamic = match &self.kind {
            Kind::Fixed => {
                let extent = file_extent(&self.file, &(guest..self.size))?;
                let place = if extent.kind == ExtentKind::Data { Place::Stored(guest) } else { Place::Sparse(guest) };
                return Ok((place, extent.len));
            }
            Kind::Dynamic(dynamic) => dynamic,
        };
        let (index, within) = (guest / dynamic.table.block, guest % dynamic.table.block);
        let sector = u32::from_be_bytes(dynamic.table.entries.get(&self.file, index)?);
        if sector == UNUSED {
            return Ok((Place::Unallocated, dynamic.table.block - within));
        }
        let bitmap_offset = u64::from(sector) * SECTOR;
        let data = bitmap_offset + dynamic.table.bitmap;
        let Some(parent) = &dynamic.parent else { return Ok((Place::Stored(data), dynamic.table.block - within)) };
        let bitmap: Arc<Vec<u8>> = parent
            .bitmaps
            .get(bitmap_offset, || self.file.read_table(bitmap_offset, dynamic.table.bitmap, "a block's bitmap"))?;
        let is_here = |sector: u64| bitmap[(sector / 8) as usize] >> (7 - sector % 8) & 1 == 1;
        let first = within / SECTOR;
        let here = is_here(first);
        let run = (first..dynamic.table.block / SECTOR).take_while(|sector| is_here(*sector) == here).count() as u64;
        let place = if here { Place::Stored(data) } else { Place::Unallocated };
        Ok((place, run * SECTOR - within % SECTOR))
    }

    fn read_stored(&self, stored: u64, guest: u64, buf: &mut [u8]) -> Result<()> {
        match &self.kind {
            Kind::Fixed => self.file.read_exact_at(stored, buf),
            Kind::Dynamic(dynamic) => self.file.read_data_at(stored + guest % dynamic.table.block, buf, "a block"),
        }
    }

    fn below(&self) -> Option<&dyn DiskReader> {
        match &self.kind {
            Kind::Fixed => None,
            Kind::Dynamic(dynamic) => dynamic.parent.as_ref().map(|parent| &parent.reader as &dyn DiskReader),
        }
    }

    fn home(&self, stored: u64, guest: u64) -> (Option<u64>, bool) {
        let within = match &self.kind {
            Kind::Fixed => 0,
            Kind::Dynamic(dynamic) => guest % dynamic.table.block,
        };
        (self.file.place(stored + within), false)
    }

    fn may_have_below(&self) -> bool {
        false
    }
}

impl DiskReader for VhdReader {
    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        mapping::extents(self, self.size, &range)
    }

    fn map(&self, range: Range<u64>) -> Result<Vec<MapEntry>> {
        mapping::map(self, self.size, &range)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        mapping::read_at(self, self.size, offset, buf)
    }

    fn info(&self) -> ImageInfo {
        let mut info = ImageInfo::new(Format::Vhd, self.size);
        info.files.push(self.file.path().to_path_buf());
        match &self.kind {
            Kind::Fixed => "fixed".clone_into(&mut info.variant),
            Kind::Dynamic(dynamic) => {
                info.cluster_size = Some(dynamic.table.block);
                info.files.extend(dynamic.parent.iter().flat_map(|parent| parent.reader.info().files));
                match &dynamic.parent_name {
                    None => "dynamic".clone_into(&mut info.variant),
                    Some(name) => {
                        "differencing".clone_into(&mut info.variant);
                        info.backing_file = Some(name.clone());
                    }
                }
            }
        }
        info
    }

    fn refuse_overlaps(&self, stop: &AtomicBool) -> Result<()> {
        let mut reader = self;
        while let Kind::Dynamic(dynamic) = &reader.kind {
            super::check::check(&reader.file, Some(stop))?.refuse_overlap(&reader.file)?;
            match &dynamic.parent {
                Some(parent) => reader = &parent.reader,
                None => break,
            }
        }
        Ok(())
    }
}
