//! Reads VDIs. Differencing ones name their parent by UUID only: who opens one has to say which file that is.

use std::mem::offset_of;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use zerocopy::FromBytes;

use super::layout::{FREE, Header, ImageType, MAGIC, MAX_BLOCKS, VERSION_1_1, ZERO};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::reading::extent::Extent;
use crate::reading::image_info::ImageInfo;
use crate::reading::map::MapEntry;
use crate::reading::mapping::{self, Mapped, Place};
use crate::reading::opening::Opening;
use crate::reading::paged_table::PagedTable;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;

/// Largest block that makes sense in bytes (vendor: VirtualBox allows 256 MiB).
const MAX_BLOCK: u64 = 256 << 20;

/// An opened VDI.
pub(crate) struct VdiReader {
    file: SourceFile,
    size: u64,
    block: u64,
    /// Distance of blocks in the file in bytes.
    stride: u64,
    /// Offset of the first block's data.
    data_offset: u64,
    variant: &'static str,
    uuid: [u8; 16],
    parent: Option<Box<Self>>,
    map: PagedTable<4>,
}

impl VdiReader {
    pub(crate) fn open(file: SourceFile, opening: &Opening<'_>) -> Result<Self> {
        let bytes = file.read_table(0, size_of::<Header>() as u64, "the header")?;
        let header = Header::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no vdi header"))?;
        let wrong = |rule: &'static str, at: u64| Err(file.error(ErrorKind::Corrupt, rule).at(at));
        if header.magic.get() != MAGIC {
            return wrong("no vdi signature", 0x40);
        }
        if header.version.get() != VERSION_1_1 {
            let rule = format!("vdi version {:#x}", header.version.get());
            return Err(file.error(ErrorKind::Unsupported, rule).at(0x44));
        }
        let variant = match header.image_type.get() {
            ImageType::DYNAMIC => "dynamic",
            ImageType::FIXED => "fixed",
            ImageType::DIFFERENCING => "differencing",
            ImageType::UNDO => return Err(file.error(ErrorKind::Unsupported, "an undo image").at(0x4c)),
            _ => return wrong("an unknown image type", 0x4c),
        };
        let size = header.disk_size.get();
        opening.check_virtual_size(size, &file, 0x170)?;
        let (block, extra) = (u64::from(header.block_size.get()), u64::from(header.block_extra.get()));
        if !block.is_power_of_two() || !(512..=MAX_BLOCK).contains(&block) {
            return wrong("the block size is not a power of two up to 256 MiB", 0x178);
        }
        if extra > block {
            return wrong("the space before each block is larger than the block", 0x17c);
        }
        let blocks = header.blocks.get();
        if blocks > MAX_BLOCKS || u64::from(blocks) < size.div_ceil(block) {
            return wrong("the number of blocks does not fit the disk's size", 0x180);
        }
        let parent = if header.image_type.get() == ImageType::DIFFERENCING && !opening.is_alone() {
            Some(open_parent(&file, &header, opening)?)
        } else {
            None
        };
        let map = PagedTable::new(&file, u64::from(header.map_offset.get()), u64::from(blocks), "the block map")?;
        Ok(Self {
            size,
            block,
            stride: block + extra,
            data_offset: u64::from(header.data_offset.get()) + extra,
            variant,
            uuid: header.uuid,
            parent,
            map,
            file,
        })
    }
}

/// Opens what a differencing image lies on.
fn open_parent(file: &SourceFile, header: &Header, opening: &Opening<'_>) -> Result<Box<VdiReader>> {
    let at = offset_of!(Header, parent_uuid) as u64;
    let Some(below) = opening.told_parent(file, Format::Vdi, at)? else {
        return Err(file
            .error(ErrorKind::Unsupported, "a differencing vdi needs VirtualBox to find its parent")
            .at(0x4c)
            .with_hint("merge it with `VBoxManage clonemedium` first"));
    };
    let further = opening.descend(&below);
    let parent = VdiReader::open(below, &further)?;
    if parent.uuid != header.parent_uuid {
        let rule = format!("{:?} is not the parent of this disk", parent.file.path());
        return Err(file.error(ErrorKind::Corrupt, rule).at(at));
    }
    Ok(Box::new(parent))
}

impl Mapped for VdiReader {
    fn place(&self, guest: u64) -> Result<(Place, u64)> {
        let entry = u32::from_le_bytes(self.map.get(&self.file, guest / self.block)?);
        let place = match entry {
            FREE => Place::Unallocated,
            ZERO => Place::Zero,
            // At most 2^32 blocks of 2^28 bytes, twice: fits.
            block => Place::Stored(self.data_offset + u64::from(block) * self.stride),
        };
        Ok((place, self.block - guest % self.block))
    }

    fn read_stored(&self, stored: u64, guest: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_data_at(stored + guest % self.block, buf, "a block")
    }

    fn below(&self) -> Option<&dyn DiskReader> {
        self.parent.as_deref().map(|parent| parent as &dyn DiskReader)
    }

    fn home(&self, stored: u64, guest: u64) -> (Option<u64>, bool) {
        (self.file.place(stored + guest % self.block), false)
    }

    fn may_have_below(&self) -> bool {
        false
    }
}

impl DiskReader for VdiReader {
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
        let mut files = vec![self.file.path().to_path_buf()];
        files.extend(self.parent.iter().flat_map(|parent| parent.info().files));
        ImageInfo {
            variant: self.variant.to_owned(),
            cluster_size: Some(self.block),
            files,
            ..ImageInfo::new(Format::Vdi, self.size)
        }
    }

    fn refuse_overlaps(&self, stop: &AtomicBool) -> Result<()> {
        super::check::check(&self.file, Some(stop))?.refuse_overlap(&self.file)?;
        self.parent.as_ref().map_or(Ok(()), |parent| parent.refuse_overlaps(stop))
    }
}
