//! ESX's space-efficient sparse extent: 4 KiB grains, tables found by index.

use zerocopy::FromBytes;
use zerocopy::byteorder::{LE, U64};

use super::layout::{SECTOR, SESPARSE_MAGIC, SESPARSE_VOLATILE_MAGIC, SeSparseHeader};
use crate::mapping::Place;
use crate::paged_table::PagedTable;
use crate::source_file::SourceFile;
use crate::{Error, ErrorKind, Result};

/// Marks a directory entry as allocated; its low 32 bits are the table's index.
const DIRECTORY_ALLOCATED: u64 = 0x1000_0000_0000_0000;
/// The kind of a table entry is its highest four bits.
const KIND_SHIFT: u32 = 60;

/// An opened space-efficient sparse extent.
pub(crate) struct SeSparseExtent {
    file: SourceFile,
    capacity: u64,
    grain: u64,
    /// Entries of a grain table.
    table_entries: u64,
    tables_offset: u64,
    grains_offset: u64,
    directory: PagedTable<8>,
    /// All tables, as one.
    tables: PagedTable<8>,
}

impl SeSparseExtent {
    pub(crate) fn open(file: SourceFile) -> Result<Self> {
        let bytes = file.read_table(0, size_of::<SeSparseHeader>() as u64, "the header")?;
        let header = SeSparseHeader::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no seSparse header"))?;
        let wrong = |rule: &'static str| Err(file.error(ErrorKind::Corrupt, rule));
        if header.magic.get() != SESPARSE_MAGIC {
            return wrong("no seSparse signature");
        }
        if header.version.get() != 0x2_0000_0001 || header.flags.get() != 0 {
            return Err(file.error(ErrorKind::Unsupported, "an unknown version of seSparse"));
        }
        let capacity = header.capacity.get();
        if capacity == 0 || capacity > i64::MAX as u64 / SECTOR {
            return wrong("the capacity is zero or absurd");
        }
        if header.grain_sectors.get() != 8 || header.table_sectors.get() != 64 {
            return wrong("seSparse grains must have 8 sectors and tables 64");
        }
        let offset = |sector: U64<LE>| {
            sector
                .get()
                .checked_mul(SECTOR)
                .ok_or_else(|| file.error(ErrorKind::Corrupt, "a sector is past the largest offset"))
        };
        check_volatile(&file, offset(header.volatile[0])?)?;
        let (grain, table_entries) = (8 * SECTOR, 64 * SECTOR / 8);
        let tables = capacity.saturating_mul(SECTOR).div_ceil(grain * table_entries);
        let tables_bytes = offset(header.tables[1])?;
        Ok(Self {
            capacity: capacity * SECTOR,
            grain,
            table_entries,
            tables_offset: offset(header.tables[0])?,
            grains_offset: offset(header.grains[0])?,
            directory: PagedTable::new(&file, offset(header.directory[0])?, tables, "the grain directory")?,
            tables: PagedTable::new(&file, offset(header.tables[0])?, tables_bytes / 8, "the grain tables")?,
            file,
        })
    }

    pub(crate) fn file(&self) -> &SourceFile {
        &self.file
    }

    pub(crate) fn grain(&self) -> u64 {
        self.grain
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let span = self.grain * self.table_entries;
        let directory = u64::from_le_bytes(self.directory.get(&self.file, offset / span)?);
        if directory == 0 {
            return Ok((Place::Unallocated, span - offset % span));
        }
        if directory >> 32 != DIRECTORY_ALLOCATED >> 32 {
            let rule = "a grain directory entry has an unknown kind";
            return Err(self.file.error(ErrorKind::Corrupt, rule).at(self.tables_offset));
        }
        let index = (directory & 0xffff_ffff) * self.table_entries + offset % span / self.grain;
        let entry = u64::from_le_bytes(self.tables.get(&self.file, index)?);
        let place = match entry >> KIND_SHIFT {
            0 => Place::Unallocated,
            // 1 was unmapped by the guest, 2 written as zeroes.
            1 | 2 => Place::Zero,
            3 => {
                let grain = (entry & (0x0fff << 48)) >> 48 | (entry & 0xffff_ffff_ffff) << 12;
                let at = grain.checked_mul(self.grain).and_then(|offset| offset.checked_add(self.grains_offset));
                let at = at.ok_or_else(|| self.file.error(ErrorKind::Corrupt, "a grain is past the largest offset"))?;
                Place::Stored(at)
            }
            _ => return Err(self.file.error(ErrorKind::Corrupt, "a grain table entry has an unknown kind")),
        };
        Ok((place, self.grain - offset % self.grain))
    }

    pub(crate) fn read_stored(&self, stored: u64, offset: u64, buf: &mut [u8]) -> Result<()> {
        if stored >= self.file.len() {
            return Err(self.file.error(ErrorKind::Truncated, "a grain lies behind the end of the file").at(stored));
        }
        self.file.read_padded_at(stored + offset % self.grain, buf)
    }
}

/// Refuses an extent whose journal was not replayed.
fn check_volatile(file: &SourceFile, offset: u64) -> Result<()> {
    let bytes = file.read_table(offset, SECTOR, "the volatile header")?;
    let words = <[U64<LE>]>::ref_from_bytes(&bytes).map_err(|_| Error::corrupt("the volatile header"))?;
    // Signature, free table number, next table number, replay flag in the low byte of the fourth word.
    if words[0].get() != SESPARSE_VOLATILE_MAGIC {
        return Err(file.error(ErrorKind::Corrupt, "no volatile header").at(offset));
    }
    if words[3].get() & 0xff != 0 {
        let rule = "the extent was not closed cleanly; its journal must be replayed by ESXi";
        return Err(file.error(ErrorKind::Unsupported, rule).at(offset));
    }
    Ok(())
}
