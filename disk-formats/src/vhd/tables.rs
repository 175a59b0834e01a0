//! What a VHD says of itself, for reading and for checking: its footer, the size that counts, and where the blocks are.

use zerocopy::{FromBytes, IntoBytes};

use super::layout::{COOKIE, DYNAMIC_COOKIE, DynamicHeader, Footer, SECTOR, checksum};
use crate::error::{Error, ErrorKind, Result};
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;

/// Largest block that makes sense in bytes (practice: 2 MiB, 512 KiB for small disks).
const MAX_BLOCK: u64 = 256 << 20;
/// Creators whose footer's size counts; for all others cylinders, heads and sectors do (qemu's rule; but VirtualBox's own
/// reading of its images goes by the size).
const SIZE_COUNTS: [&[u8; 4]; 7] = [b"vbox", b"win ", b"qem2", b"d2v ", b"tap\0", b"CTXS", b"wa\0\0"];

/// Where the blocks are.
pub(super) struct BlockTable {
    pub(super) header: DynamicHeader,
    /// Offset of that header.
    pub(super) header_offset: u64,
    /// Guest bytes of a block.
    pub(super) block: u64,
    /// Bytes of the sector bitmap before each block.
    pub(super) bitmap: u64,
    /// Sectors of the blocks, as far as the disk reaches.
    pub(super) entries: PagedTable<4>,
}

impl BlockTable {
    /// Reads the dynamic header and checks what it says.
    pub(super) fn read(file: &SourceFile, footer: &Footer, size: u64) -> Result<Self> {
        let offset = footer.data_offset.get();
        let bytes = file.read_table(offset, size_of::<DynamicHeader>() as u64, "the dynamic header")?;
        let mut header = DynamicHeader::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no dynamic header"))?;
        let wrong = |rule: &'static str| Err(file.error(ErrorKind::Corrupt, rule).at(offset));
        if header.cookie != DYNAMIC_COOKIE {
            return wrong("no dynamic header");
        }
        let wanted = std::mem::take(&mut header.checksum);
        if checksum(header.as_bytes()) != wanted.get() {
            return wrong("the dynamic header's checksum is wrong");
        }
        let block = u64::from(header.block_size.get());
        if !block.is_power_of_two() || !(SECTOR..=MAX_BLOCK).contains(&block) {
            return wrong("the block size is not a power of two from 512 bytes to 256 MiB");
        }
        if u64::from(header.entries.get()) < size.div_ceil(block) {
            return wrong("the block table is too small for the disk's size");
        }
        let entries = PagedTable::new(file, header.table_offset.get(), size.div_ceil(block), "the block table")?;
        Ok(Self {
            block,
            bitmap: (block / SECTOR).div_ceil(8).next_multiple_of(SECTOR),
            entries,
            header,
            header_offset: offset,
        })
    }
}

/// Finds a footer with a right checksum, and its offset: at the end, one byte further on (old versions wrote 511 bytes), or its copy in front.
pub(super) fn read_footer(file: &SourceFile) -> Result<(Footer, u64)> {
    let end = file.len();
    let mut places = vec![end.saturating_sub(SECTOR), end.saturating_sub(SECTOR - 1), 0];
    places.retain(|place| *place < end);
    let mut damaged = None;
    for place in places {
        match footer_at(file, place)? {
            Some((footer, true)) => return Ok((footer, place)),
            Some(_) => damaged = Some(place),
            None => {}
        }
    }
    match damaged {
        Some(place) => Err(file.error(ErrorKind::Corrupt, "the footer's checksum is wrong").at(place)),
        None => Err(file.error(ErrorKind::Corrupt, "no vhd footer").at(end.saturating_sub(SECTOR))),
    }
}

/// Returns what has a footer's signature at this place, and whether its checksum is right.
fn footer_at(file: &SourceFile, place: u64) -> Result<Option<(Footer, bool)>> {
    let mut bytes = [0; SECTOR as usize];
    file.read_padded_at(place, &mut bytes)?;
    let Ok(footer) = Footer::read_from_bytes(&bytes) else { return Ok(None) };
    if footer.cookie != COOKIE {
        return Ok(None);
    }
    let mut summed = footer;
    summed.checksum = 0.into();
    Ok(Some((footer, checksum(summed.as_bytes()) == footer.checksum.get())))
}

/// Returns the footer at this place unless it is missing or damaged.
pub(super) fn valid_footer_at(file: &SourceFile, place: u64) -> Result<Option<Footer>> {
    Ok(footer_at(file, place)?.and_then(|(footer, valid)| valid.then_some(footer)))
}

/// Returns the size that counts in bytes.
pub(super) fn disk_size(footer: &Footer) -> u64 {
    let (cylinders, heads, sectors) = (footer.cylinders.get(), footer.heads, footer.sectors);
    let by_geometry = u64::from(cylinders) * u64::from(heads) * u64::from(sectors) * SECTOR;
    // At its largest a geometry says nothing any more.
    let geometry_full = (cylinders, heads, sectors) == (65535, 16, 255);
    match SIZE_COUNTS.contains(&&footer.creator) || geometry_full || by_geometry == 0 {
        true => footer.current_size.get() / SECTOR * SECTOR,
        false => by_geometry,
    }
}
