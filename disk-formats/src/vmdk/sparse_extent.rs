//! A sparse extent file: hosted (plain or stream-optimized) or ESX's older COWD.

use std::sync::Arc;

use zerocopy::FromBytes;
use zerocopy::byteorder::{LE, U32};

use super::descriptor_parser::{MAX_DESCRIPTOR, ParsedDescriptor};
use super::layout::{
    COMPRESSION_DEFLATE, COMPRESSION_NONE, COWD_MAGIC, CowdHeader, DIRECTORY_AT_END, Flags, GrainMarker, MAGIC, SECTOR,
    SparseHeader,
};
use crate::error::{Error, ErrorKind, Result};
use crate::reading::cache::Cache;
use crate::reading::mapping::Place;
use crate::reading::source_file::SourceFile;

/// Largest grain directory in bytes: that of a 64 TiB disk with 64 KiB grains is 8 MiB.
const MAX_DIRECTORY: u64 = 64 << 20;
/// Sectors of a grain that make sense (qemu's limit is 1 GiB, nobody writes more than 64 KiB).
const MAX_GRAIN_SECTORS: u64 = 4096;
/// Grain tables kept in memory.
const TABLES: u64 = 256;
/// Inflated grains kept in memory, for reads smaller than a grain.
const GRAINS: u64 = 64;

/// An opened sparse extent.
pub(crate) struct SparseExtent {
    file: SourceFile,
    /// Guest bytes of this extent.
    capacity: u64,
    /// Bytes of a grain.
    grain: u64,
    table_entries: u64,
    directory: Vec<U32<LE>>,
    tables: Cache<Vec<U32<LE>>>,
    compressed: bool,
    /// Table entry 1 means zeroes.
    zeroed_grains: bool,
    grains: Cache<Vec<u8>>,
}

/// The numbers of either header.
pub(super) struct Geometry {
    pub(super) capacity_sectors: u64,
    pub(super) grain_sectors: u64,
    pub(super) table_entries: u64,
    pub(super) directory_sector: u64,
    pub(super) compressed: bool,
    /// Table entry 1 means zeroes.
    pub(super) zeroed_grains: bool,
    pub(super) fields: Fields,
}

/// Where in the file the numbers stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) capacity: u64,
    pub(super) grain_sectors: u64,
    pub(super) table_entries: u64,
    pub(super) directory: u64,
}

impl Geometry {
    /// Reads the header of a hosted sparse file, or its footer where that counts; returns which was read, too.
    pub(super) fn hosted(file: &SourceFile) -> Result<(Self, SparseHeader)> {
        let (mut header, mut at) = (read_header(file, 0)?, 0);
        if header.directory.get() == DIRECTORY_AT_END {
            (header, at) = read_footer(file)?;
        }
        let flags = header.flags.get();
        let known = 0xffff | Flags::COMPRESSED | Flags::MARKERS;
        if flags & !known != 0 {
            let rule = format!("unknown incompatible flags {:#x}", flags & !known);
            return Err(file.error(ErrorKind::Unsupported, rule).at(at + 8));
        }
        let compressed = match header.compression.get() {
            COMPRESSION_NONE => false,
            COMPRESSION_DEFLATE if flags & Flags::MARKERS != 0 => true,
            COMPRESSION_DEFLATE => {
                return Err(file.error(ErrorKind::Unsupported, "compressed grains without markers").at(at + 8));
            }
            other => {
                let rule = format!("compression algorithm {other}");
                return Err(file.error(ErrorKind::Unsupported, rule).at(at + 77));
            }
        };
        let geometry = Self {
            capacity_sectors: header.capacity.get(),
            grain_sectors: header.grain_sectors.get(),
            table_entries: u64::from(header.table_entries.get()),
            directory_sector: header.directory.get(),
            compressed,
            zeroed_grains: flags & Flags::ZEROED_GRAINS != 0,
            fields: Fields { capacity: at + 12, grain_sectors: at + 20, table_entries: at + 44, directory: at + 56 },
        };
        Ok((geometry, header))
    }

    /// Reads the header of ESX's copy-on-write file.
    pub(super) fn cowd(file: &SourceFile) -> Result<Self> {
        let bytes = file.read_table(0, size_of::<CowdHeader>() as u64, "the header")?;
        let header = CowdHeader::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no COWD header"))?;
        if header.magic != COWD_MAGIC {
            return Err(file.error(ErrorKind::Corrupt, "no COWD signature").at(0));
        }
        Ok(Self {
            capacity_sectors: u64::from(header.sectors.get()),
            grain_sectors: u64::from(header.grain_sectors.get()),
            table_entries: 4096,
            directory_sector: u64::from(header.directory.get()),
            compressed: false,
            zeroed_grains: false,
            fields: Fields { capacity: 12, grain_sectors: 16, table_entries: 16, directory: 20 },
        })
    }

    /// Checks the numbers; returns the entries of the grain directory.
    pub(super) fn directory_entries(&self, file: &SourceFile) -> Result<u64> {
        let wrong = |rule: &'static str, at: u64| Err(file.error(ErrorKind::Corrupt, rule).at(at));
        let Self { capacity_sectors, grain_sectors, table_entries, .. } = *self;
        if capacity_sectors == 0 || capacity_sectors > i64::MAX as u64 / SECTOR {
            return wrong("the capacity is zero or absurd", self.fields.capacity);
        }
        if !grain_sectors.is_power_of_two() || grain_sectors > MAX_GRAIN_SECTORS {
            return wrong("the grain size is not a power of two up to 2 MiB", self.fields.grain_sectors);
        }
        if table_entries == 0 || table_entries > 4096 {
            return wrong("a grain table must have 1 to 4096 entries", self.fields.table_entries);
        }
        let entries = capacity_sectors.div_ceil(grain_sectors * table_entries);
        if entries * 4 > MAX_DIRECTORY {
            return wrong("the grain directory is larger than 64 MiB", self.fields.capacity);
        }
        Ok(entries)
    }
}

impl SparseExtent {
    /// Opens a hosted sparse file; also returns its embedded descriptor.
    pub(crate) fn open_hosted(file: SourceFile) -> Result<(Self, Option<ParsedDescriptor>)> {
        let (geometry, header) = Geometry::hosted(&file)?;
        let descriptor = embedded_descriptor(&file, &header)?;
        Ok((Self::new(file, &geometry)?, descriptor))
    }

    /// Opens ESX's copy-on-write file.
    pub(crate) fn open_cowd(file: SourceFile) -> Result<Self> {
        let geometry = Geometry::cowd(&file)?;
        Self::new(file, &geometry)
    }

    fn new(file: SourceFile, geometry: &Geometry) -> Result<Self> {
        let entries = geometry.directory_entries(&file)?;
        let offset = sector_offset(&file, geometry.directory_sector, geometry.fields.directory)?;
        let bytes = file.read_table(offset, entries * 4, "the grain directory")?;
        let directory = <[U32<LE>]>::ref_from_bytes(&bytes).map_err(|_| Error::corrupt("the grain directory"))?;
        Ok(Self {
            capacity: geometry.capacity_sectors * SECTOR,
            grain: geometry.grain_sectors * SECTOR,
            table_entries: geometry.table_entries,
            directory: directory.to_vec(),
            tables: Cache::new(TABLES),
            compressed: geometry.compressed,
            zeroed_grains: geometry.zeroed_grains,
            grains: Cache::new(GRAINS),
            file,
        })
    }

    pub(crate) fn file(&self) -> &SourceFile {
        &self.file
    }

    /// Returns guest bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.compressed
    }

    pub(crate) fn grain(&self) -> u64 {
        self.grain
    }

    /// Returns where a byte of this extent is; stored means the offset of its grain in the file.
    pub(crate) fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let span = self.grain * self.table_entries;
        let table = self.directory.get((offset / span) as usize).map_or(0, |entry| entry.get());
        if table == 0 {
            return Ok((Place::Unallocated, span - offset % span));
        }
        let table_offset = u64::from(table) * SECTOR;
        let entries = self.tables.get(table_offset, || {
            let bytes = self.file.read_table(table_offset, self.table_entries * 4, "a grain table")?;
            let table = <[U32<LE>]>::ref_from_bytes(&bytes).map_err(|_| Error::corrupt("a grain table"))?;
            Ok(table.to_vec())
        })?;
        let place = match entries[(offset % span / self.grain) as usize].get() {
            0 => Place::Unallocated,
            1 if self.zeroed_grains => Place::Zero,
            sector => Place::Stored(u64::from(sector) * SECTOR),
        };
        Ok((place, self.grain - offset % self.grain))
    }

    /// Reads from the grain at `stored`.
    pub(crate) fn read_stored(&self, stored: u64, offset: u64, buf: &mut [u8]) -> Result<()> {
        let within = offset % self.grain;
        if !self.compressed {
            return self.file.read_data_at(stored + within, buf, "a grain");
        }
        if buf.len() as u64 == self.grain {
            return self.inflate(stored, offset, buf);
        }
        let grain = self.inflated(stored, offset - within)?;
        buf.copy_from_slice(&grain[within as usize..within as usize + buf.len()]);
        Ok(())
    }

    fn inflated(&self, stored: u64, offset: u64) -> Result<Arc<Vec<u8>>> {
        self.grains.get(stored, || {
            let mut grain = vec![0; self.grain as usize];
            self.inflate(stored, offset, &mut grain)?;
            Ok(grain)
        })
    }

    /// Inflates a whole grain.
    fn inflate(&self, stored: u64, offset: u64, grain: &mut [u8]) -> Result<()> {
        let wrong = |rule: &'static str| self.file.error(ErrorKind::Corrupt, rule).at(stored);
        let mut marker = [0; size_of::<GrainMarker>()];
        self.file.check_range(stored, marker.len() as u64, "a grain")?;
        self.file.read_exact_at(stored, &mut marker)?;
        let marker = GrainMarker::read_from_bytes(&marker).map_err(|_| wrong("a grain marker"))?;
        if marker.sector.get() != offset / SECTOR {
            return Err(wrong("a grain belongs to another place of the disk"));
        }
        let size = u64::from(marker.size.get());
        if size == 0 || size > 2 * self.grain {
            return Err(wrong("a compressed grain's size is zero or absurd"));
        }
        let packed = self.file.read_table(stored + size_of::<GrainMarker>() as u64, size, "a grain")?;
        let length = libdeflater::Decompressor::new()
            .zlib_decompress(&packed, grain)
            .map_err(|_| wrong("a compressed grain cannot be unpacked"))?;
        // Some writers leave the last grain of the disk short.
        if length < grain.len() && offset + (length as u64) < self.capacity {
            return Err(wrong("a compressed grain is too short"));
        }
        grain[length..].fill(0);
        Ok(())
    }
}

pub(super) fn read_header(file: &SourceFile, offset: u64) -> Result<SparseHeader> {
    let bytes = file.read_table(offset, SECTOR, "the header")?;
    let header = SparseHeader::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no sparse header"))?;
    if header.magic != MAGIC {
        return Err(file.error(ErrorKind::Corrupt, "no sparse vmdk signature").at(offset));
    }
    if !(1..=3).contains(&header.version.get()) {
        let rule = format!("sparse vmdk version {}", header.version.get());
        return Err(file.error(ErrorKind::Unsupported, rule).at(offset + 4));
    }
    if header.flags.get() & Flags::NEWLINES != 0 && header.newlines != *b"\n \r\n" {
        let rule = "the file was damaged by a transfer in text mode";
        return Err(file.error(ErrorKind::Corrupt, rule).at(offset + 73));
    }
    Ok(header)
}

/// Reads the footer, and returns its offset: the last sector but one; an end marker follows.
fn read_footer(file: &SourceFile) -> Result<(SparseHeader, u64)> {
    let offset = file.len().checked_sub(2 * SECTOR).filter(|offset| *offset > SECTOR);
    let cut = || file.error(ErrorKind::Truncated, "the footer at the end of the stream is missing");
    let offset = offset.ok_or_else(|| cut().at(file.len()))? / SECTOR * SECTOR;
    let footer = read_header(file, offset).map_err(|_| cut().at(offset))?;
    match footer.directory.get() {
        DIRECTORY_AT_END => {
            Err(file.error(ErrorKind::Corrupt, "the footer does not say where the tables are").at(offset))
        }
        _ => Ok((footer, offset)),
    }
}

pub(super) fn embedded_descriptor(file: &SourceFile, header: &SparseHeader) -> Result<Option<ParsedDescriptor>> {
    if header.descriptor_offset.get() == 0 {
        return Ok(None);
    }
    let offset = sector_offset(file, header.descriptor_offset.get(), 28)?;
    let len = header.descriptor_sectors.get().saturating_mul(SECTOR);
    if len > MAX_DESCRIPTOR {
        return Err(file.error(ErrorKind::Corrupt, "the descriptor is larger than 1 MiB").at(36));
    }
    let bytes = file.read_table(offset, len, "the descriptor")?;
    ParsedDescriptor::parse(&bytes, offset, file).map(Some)
}

/// Returns the offset of a sector, whose number stands at `at`.
pub(super) fn sector_offset(file: &SourceFile, sector: u64, at: u64) -> Result<u64> {
    sector
        .checked_mul(SECTOR)
        .ok_or_else(|| file.error(ErrorKind::Corrupt, format!("sector {sector} is past the largest offset")).at(at))
}
