//! Writes a dynamic VHDX with an empty log: the block table and the headers are filled in behind the blocks.
//!
//! ```text
//! signature | headers | region tables | 1 MiB: log | 2 MiB: metadata | 3 MiB: block table | blocks in guest order
//! ```

use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{U16, U32, U64};

use super::crc32c::crc32c;
use super::layout::{
    BlockState, FILE_SIGNATURE, HEADER_OFFSETS, HEADER_SIGNATURE, HEADER_SIZE, Header, ITEM_DISK_SIZE,
    ITEM_FILE_PARAMETERS, ITEM_LOGICAL_SECTOR, ITEM_PAGE_83, ITEM_PHYSICAL_SECTOR, ItemFlags, MAX_BLOCK, MAX_SIZE,
    METADATA_SIGNATURE, METADATA_TABLE_SIZE, MIB, MetadataEntry, MetadataTableHeader, REGION_BAT, REGION_METADATA,
    REGION_OFFSETS, REGION_SIGNATURE, REGION_SIZE, RegionEntry, RegionTableHeader, chunk_ratio,
};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::writing::ascending_table::AscendingTable;
use crate::writing::blocks::Blocks;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::pass::identity::Identity;
use crate::writing::writer::{OutputWriter, WriterContext};

const LOG_OFFSET: u64 = MIB;
const METADATA_OFFSET: u64 = 2 * MIB;
const BAT_OFFSET: u64 = 3 * MIB;
/// Logical sectors: what every guest can boot from.
const LOGICAL_SECTOR: u64 = 512;
/// Physical sectors: today's disks.
const PHYSICAL_SECTOR: u64 = 4096;
/// Smallest block written in bytes: keeps files small, and is the format's own default.
const SMALL_BLOCK: u64 = 2 * MIB;
/// Blocks grow with the disk so that the table has at most about this many entries.
const ENTRIES_WANTED: u64 = 1 << 18;

/// Writes one VHDX.
pub(crate) struct VhdxWriter {
    file: OutputFile,
    size: u64,
    block: u64,
    bat_length: u64,
    bat: AscendingTable<8>,
    data: Blocks,
}

impl VhdxWriter {
    pub(crate) fn create(path: &Path, virtual_size: u64, context: &WriterContext<'_>) -> Result<Self> {
        if virtual_size > MAX_SIZE {
            let error = Error::new(ErrorKind::TooLarge, Operation::Create, "a vhdx can hold at most 64 TiB");
            return Err(error.with_hint("write a qcow2 or raw image"));
        }
        let size = virtual_size.next_multiple_of(LOGICAL_SECTOR);
        let block = size.div_ceil(ENTRIES_WANTED).next_power_of_two().clamp(SMALL_BLOCK, MAX_BLOCK);
        let blocks = size.div_ceil(block);
        let entries = blocks + blocks.saturating_sub(1) / chunk_ratio(block, LOGICAL_SECTOR);
        let bat_length = (entries * 8).max(1).next_multiple_of(MIB);
        let mut file = context.create(path, true)?;
        file.skip_to(BAT_OFFSET + bat_length);
        let bat = AscendingTable::new(BAT_OFFSET, entries, [0; 8]);
        Ok(Self { file, size, block, bat_length, bat, data: Blocks::new(block) })
    }

    fn write_front(&mut self, identity: &Identity) -> Result<()> {
        let creator: Vec<u8> = "kiln".encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.file.correct(0, &[FILE_SIGNATURE.as_slice(), &creator].concat())?;
        for (sequence, offset) in HEADER_OFFSETS.into_iter().enumerate() {
            let header = Header {
                signature: HEADER_SIGNATURE,
                checksum: U32::ZERO,
                sequence: U64::new(sequence as u64),
                file_write_guid: identity.uuid("vhdx file"),
                data_write_guid: identity.uuid("vhdx data"),
                log_guid: [0; 16],
                log_version: U16::ZERO,
                version: U16::new(1),
                log_length: U32::new(MIB as u32),
                log_offset: U64::new(LOG_OFFSET),
            };
            self.file.correct(offset, &sealed(header.as_bytes(), HEADER_SIZE))?;
        }
        let region = |guid, offset, length: u64| RegionEntry {
            guid,
            offset: U64::new(offset),
            length: U32::new(length as u32),
            required: U32::new(1),
        };
        let table = RegionTableHeader {
            signature: REGION_SIGNATURE,
            checksum: U32::ZERO,
            entries: U32::new(2),
            reserved: U32::ZERO,
        };
        let regions = [region(REGION_BAT, BAT_OFFSET, self.bat_length), region(REGION_METADATA, METADATA_OFFSET, MIB)];
        let bytes = sealed(&[table.as_bytes(), regions.as_bytes()].concat(), REGION_SIZE);
        for offset in REGION_OFFSETS {
            self.file.correct(offset, &bytes)?;
        }
        self.write_metadata(identity)
    }

    fn write_metadata(&mut self, identity: &Identity) -> Result<()> {
        let disk = ItemFlags::VIRTUAL_DISK | ItemFlags::REQUIRED;
        let items: [([u8; 16], u32, Vec<u8>); 5] = [
            (ITEM_FILE_PARAMETERS, ItemFlags::REQUIRED, [self.block as u32, 0].map(u32::to_le_bytes).concat()),
            (ITEM_DISK_SIZE, disk, self.size.to_le_bytes().to_vec()),
            (ITEM_PAGE_83, disk, identity.uuid("vhdx disk").to_vec()),
            (ITEM_LOGICAL_SECTOR, disk, (LOGICAL_SECTOR as u32).to_le_bytes().to_vec()),
            (ITEM_PHYSICAL_SECTOR, disk, (PHYSICAL_SECTOR as u32).to_le_bytes().to_vec()),
        ];
        let header = MetadataTableHeader {
            signature: METADATA_SIGNATURE,
            reserved: U16::ZERO,
            entries: U16::new(items.len() as u16),
            padding: [0; 20],
        };
        let (mut table, mut values) = (header.as_bytes().to_vec(), Vec::new());
        for (guid, flags, value) in items {
            let entry = MetadataEntry {
                guid,
                offset: U32::new(METADATA_TABLE_SIZE as u32 + values.len() as u32),
                length: U32::new(value.len() as u32),
                flags: U32::new(flags),
                reserved: U32::ZERO,
            };
            table.extend_from_slice(entry.as_bytes());
            values.extend_from_slice(&value);
        }
        self.file.correct(METADATA_OFFSET, &table)?;
        self.file.correct(METADATA_OFFSET + METADATA_TABLE_SIZE, &values)
    }
}

/// Pads a structure and fills in its checksum at bytes 4 to 7.
fn sealed(bytes: &[u8], size: u64) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    sealed.resize(size as usize, 0);
    let checksum = crc32c(&sealed);
    sealed[4..8].copy_from_slice(&checksum.to_le_bytes());
    sealed
}

impl BatchWriter for VhdxWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let bat = &mut self.bat;
        let ratio = chunk_ratio(self.block, LOGICAL_SECTOR);
        self.data.write(&mut self.file, batch, |file, block| {
            let position = file.position();
            let entry = position | BlockState::FULLY_PRESENT;
            bat.set(file, block + block / ratio, entry.to_le_bytes())?;
            Ok(position)
        })
    }
}

impl OutputWriter for VhdxWriter {
    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.data.end_block(&mut self.file);
        self.bat.finish(&mut self.file)?;
        self.write_front(&pass.identity)
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}
