//! ESX's space-efficient sparse extent: 4 KiB grains, tables found by index.

use std::mem::offset_of;
use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::byteorder::{LE, U64};

use super::layout::{SECTOR, SESPARSE_MAGIC, SESPARSE_VOLATILE_MAGIC, SeSparseHeader};
use crate::error::{Error, ErrorKind, Result};
use crate::reading::mapping::Place;
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;

/// Marks a directory entry as allocated; its low 32 bits are the table's index.
const DIRECTORY_ALLOCATED: u64 = 0x1000_0000_0000_0000;
/// The kind of a table entry is its highest four bits.
const KIND_SHIFT: u32 = 60;
/// Sectors of a grain.
const GRAIN_SECTORS: u64 = 8;
/// Sectors of a grain table.
const TABLE_SECTORS: u64 = 64;

/// An opened space-efficient sparse extent.
pub(crate) struct SeSparseExtent {
    file: SourceFile,
    capacity: u64,
    grain: u64,
    /// Entries of a grain table.
    table_entries: u64,
    directory_offset: u64,
    tables_offset: u64,
    grains_offset: u64,
    directory: PagedTable<8>,
    /// All tables, as one.
    tables: PagedTable<8>,
}

/// What the constant header says, in bytes.
pub(super) struct Places {
    pub(super) capacity: u64,
    pub(super) volatile: Range<u64>,
    pub(super) directory: Range<u64>,
    pub(super) tables: Range<u64>,
    pub(super) grains: Range<u64>,
    /// Journal, its header, free bitmap and back map, which reading does not need.
    pub(super) others: [(&'static str, Range<u64>); 4],
}

impl Places {
    /// Entries of a grain table.
    pub(super) const TABLE_ENTRIES: u64 = TABLE_SECTORS * SECTOR / 8;
    /// Bytes of a grain.
    pub(super) const GRAIN: u64 = GRAIN_SECTORS * SECTOR;

    /// Reads and checks the header.
    pub(super) fn read(file: &SourceFile) -> Result<Self> {
        let bytes = file.read_table(0, size_of::<SeSparseHeader>() as u64, "the header")?;
        let wrong = |rule: &'static str, at: usize| file.error(ErrorKind::Corrupt, rule).at(at as u64);
        let header = SeSparseHeader::read_from_bytes(&bytes).map_err(|_| wrong("no seSparse header", 0))?;
        if header.magic.get() != SESPARSE_MAGIC {
            return Err(wrong("no seSparse signature", 0));
        }
        if header.version.get() != 0x2_0000_0001 || header.flags.get() != 0 {
            return Err(file.error(ErrorKind::Unsupported, "an unknown version of seSparse").at(8));
        }
        let capacity = header.capacity.get();
        if capacity == 0 || capacity > i64::MAX as u64 / SECTOR {
            return Err(wrong("the capacity is zero or absurd", offset_of!(SeSparseHeader, capacity)));
        }
        if header.grain_sectors.get() != GRAIN_SECTORS || header.table_sectors.get() != TABLE_SECTORS {
            let at = offset_of!(SeSparseHeader, grain_sectors);
            return Err(wrong("seSparse grains must have 8 sectors and tables 64", at));
        }
        let range = |place: [U64<LE>; 2], at: usize| {
            let end = place[0].get().checked_add(place[1].get()).and_then(|sectors| sectors.checked_mul(SECTOR));
            let end = end.ok_or_else(|| wrong("a region ends past the largest offset", at))?;
            Ok::<_, Error>(place[0].get() * SECTOR..end)
        };
        Ok(Self {
            capacity: capacity * SECTOR,
            volatile: range(header.volatile, offset_of!(SeSparseHeader, volatile))?,
            directory: range(header.directory, offset_of!(SeSparseHeader, directory))?,
            tables: range(header.tables, offset_of!(SeSparseHeader, tables))?,
            grains: range(header.grains, offset_of!(SeSparseHeader, grains))?,
            others: [
                ("the journal's header", range(header.journal_header, offset_of!(SeSparseHeader, journal_header))?),
                ("the journal", range(header.journal, offset_of!(SeSparseHeader, journal))?),
                ("the free bitmap", range(header.free_bitmap, offset_of!(SeSparseHeader, free_bitmap))?),
                ("the back map", range(header.back_map, offset_of!(SeSparseHeader, back_map))?),
            ],
        })
    }

    /// Tables that the disk needs, which is the number of entries of the directory.
    pub(super) fn table_count(&self) -> u64 {
        self.capacity.div_ceil(Self::GRAIN * Self::TABLE_ENTRIES)
    }
}

/// Returns the table that a directory entry names; `None` for none.
pub(super) fn table_of(entry: u64) -> Result<Option<u64>, &'static str> {
    match entry {
        0 => Ok(None),
        entry if entry >> 32 == DIRECTORY_ALLOCATED >> 32 => Ok(Some(entry & 0xffff_ffff)),
        _ => Err("a grain directory entry has an unknown kind"),
    }
}

/// What a table entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    Unallocated,
    Zero,
    /// The number of a grain in the file.
    Stored(u64),
}

impl Grain {
    pub(super) fn of(entry: u64) -> Result<Self, &'static str> {
        match entry >> KIND_SHIFT {
            0 => Ok(Self::Unallocated),
            // 1 was unmapped by the guest, 2 written as zeroes.
            1 | 2 => Ok(Self::Zero),
            3 => Ok(Self::Stored((entry & (0x0fff << 48)) >> 48 | (entry & 0xffff_ffff_ffff) << 12)),
            _ => Err("a grain table entry has an unknown kind"),
        }
    }
}

impl SeSparseExtent {
    pub(crate) fn open(file: SourceFile) -> Result<Self> {
        let places = Places::read(&file)?;
        check_volatile(&file, places.volatile.start)?;
        let tables = (places.tables.end - places.tables.start) / 8;
        Ok(Self {
            capacity: places.capacity,
            grain: Places::GRAIN,
            table_entries: Places::TABLE_ENTRIES,
            directory_offset: places.directory.start,
            tables_offset: places.tables.start,
            grains_offset: places.grains.start,
            directory: PagedTable::new(&file, places.directory.start, places.table_count(), "the grain directory")?,
            tables: PagedTable::new(&file, places.tables.start, tables, "the grain tables")?,
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
        let wrong = |rule: &'static str, at: u64| self.file.error(ErrorKind::Corrupt, rule).at(at);
        let entry = u64::from_le_bytes(self.directory.get(&self.file, offset / span)?);
        let table = table_of(entry).map_err(|rule| wrong(rule, self.directory_offset + offset / span * 8))?;
        let Some(table) = table else { return Ok((Place::Unallocated, span - offset % span)) };
        let index = table * self.table_entries + offset % span / self.grain;
        let at = self.tables_offset.saturating_add(index * 8);
        let entry = u64::from_le_bytes(self.tables.get(&self.file, index)?);
        let place = match Grain::of(entry).map_err(|rule| wrong(rule, at))? {
            Grain::Unallocated => Place::Unallocated,
            Grain::Zero => Place::Zero,
            Grain::Stored(grain) => {
                let place = grain.checked_mul(self.grain).and_then(|offset| offset.checked_add(self.grains_offset));
                Place::Stored(place.ok_or_else(|| wrong("a grain is past the largest offset", at))?)
            }
        };
        Ok((place, self.grain - offset % self.grain))
    }

    pub(crate) fn read_stored(&self, stored: u64, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_data_at(stored + offset % self.grain, buf, "a grain")
    }
}

/// Refuses an extent whose journal was not replayed.
pub(super) fn check_volatile(file: &SourceFile, offset: u64) -> Result<()> {
    let bytes = file.read_table(offset, SECTOR, "the volatile header")?;
    let words = <[U64<LE>]>::ref_from_bytes(&bytes)
        .map_err(|_| file.error(ErrorKind::Corrupt, "the volatile header").at(offset))?;
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
