//! Writes fixed VHDs strictly forward, and dynamic ones with their table filled in behind the blocks.

use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{U16, U32, U64};

use super::geometry::geometry;
use super::layout::{
    BLOCK, COOKIE, DYNAMIC_COOKIE, DiskType, DynamicHeader, Footer, MAX_SIZE, SECTOR, UNUSED, VERSION, checksum,
};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::raw::writer::write_blocks;
use crate::writing::ascending_table::AscendingTable;
use crate::writing::blocks::Blocks;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Offset of the dynamic header: behind the footer's copy.
const DYNAMIC_HEADER_OFFSET: u64 = 512;
/// Offset of the block table: behind the dynamic header.
const TABLE_OFFSET: u64 = DYNAMIC_HEADER_OFFSET + 1024;
/// Bytes of a block's sector bitmap.
const BITMAP: u64 = BLOCK / SECTOR / 8;
/// Data starts at multiples of this, as Hyper-V recommends.
const DATA_ALIGNMENT: u64 = 4096;

/// Says who wrote it: the creator for which every reader takes the footer's size rather than the geometry.
const CREATOR: [u8; 4] = *b"win ";

fn footer(size: u64, disk_type: u32, uuid: [u8; 16]) -> Footer {
    let (cylinders, heads, sectors) = geometry(size);
    let dynamic = disk_type != DiskType::FIXED;
    let mut footer = Footer {
        cookie: COOKIE,
        features: U32::new(2),
        version: U32::new(VERSION),
        data_offset: U64::new(if dynamic { DYNAMIC_HEADER_OFFSET } else { u64::MAX }),
        timestamp: U32::ZERO,
        creator: CREATOR,
        creator_version: U32::new(0x000a_0000),
        creator_host: *b"Wi2k",
        original_size: U64::new(size),
        current_size: U64::new(size),
        cylinders: U16::new(cylinders),
        heads,
        sectors,
        disk_type: U32::new(disk_type),
        checksum: U32::ZERO,
        uuid,
        saved_state: 0,
        padding: [0; 427],
    };
    footer.checksum = U32::new(checksum(footer.as_bytes()));
    footer
}

/// Rounds to sectors and checks the format's limit.
fn checked_size(virtual_size: u64) -> Result<u64> {
    match virtual_size <= MAX_SIZE {
        true => Ok(virtual_size.next_multiple_of(SECTOR)),
        false => {
            let error = Error::new(ErrorKind::TooLarge, Operation::Create, "a vhd can hold at most 2040 GiB");
            Err(error.with_hint("write a vhdx, which can hold 64 TiB"))
        }
    }
}

/// Writes one fixed VHD: what Azure takes.
pub(crate) struct FixedVhdWriter {
    file: OutputFile,
    size: u64,
}

impl FixedVhdWriter {
    pub(crate) fn create(path: &Path, virtual_size: u64, context: &WriterContext<'_>) -> Result<Self> {
        let size = checked_size(virtual_size)?;
        Ok(Self { file: context.create(path, false)?, size })
    }
}

impl BatchWriter for FixedVhdWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        for (offset, bytes) in batch.data_runs() {
            let inside = (self.size - offset).min(bytes.len() as u64) as usize;
            write_blocks(&mut self.file, offset, &bytes[..inside])?;
        }
        Ok(())
    }
}

impl OutputWriter for FixedVhdWriter {
    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.file.skip_to(self.size);
        self.file.append(footer(self.size, DiskType::FIXED, pass.identity.uuid("vhd")).as_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}

/// Writes one dynamic VHD.
pub(crate) struct DynamicVhdWriter {
    file: OutputFile,
    size: u64,
    entries: u32,
    table: AscendingTable<4>,
    data: Blocks,
}

impl DynamicVhdWriter {
    pub(crate) fn create(path: &Path, virtual_size: u64, context: &WriterContext<'_>) -> Result<Self> {
        let size = checked_size(virtual_size)?;
        let entries = size.div_ceil(BLOCK) as u32;
        // The table is padded to whole sectors with unused entries.
        let padded = (u64::from(entries) * 4).next_multiple_of(SECTOR) / 4;
        let mut file = context.create(path, true)?;
        file.skip_to(TABLE_OFFSET + padded * 4);
        let table = AscendingTable::new(TABLE_OFFSET, padded, UNUSED.to_be_bytes());
        Ok(Self { file, size, entries, table, data: Blocks::new(BLOCK) })
    }
}

impl BatchWriter for DynamicVhdWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let table = &mut self.table;
        self.data.write(&mut self.file, batch, |file, index| {
            let data = (file.position() + BITMAP).next_multiple_of(DATA_ALIGNMENT);
            file.skip_to(data - BITMAP);
            table.set(file, index, ((file.position() / SECTOR) as u32).to_be_bytes())?;
            file.append(&[0xff; BITMAP as usize])?;
            Ok(data)
        })
    }
}

impl OutputWriter for DynamicVhdWriter {
    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.data.end_block(&mut self.file);
        self.table.finish(&mut self.file)?;
        let footer = footer(self.size, DiskType::DYNAMIC, pass.identity.uuid("vhd"));
        self.file.append(footer.as_bytes())?;
        let no_locator = super::layout::ParentLocator {
            platform: [0; 4],
            space: U32::ZERO,
            length: U32::ZERO,
            reserved: U32::ZERO,
            offset: U64::ZERO,
        };
        let mut header = DynamicHeader {
            cookie: DYNAMIC_COOKIE,
            data_offset: U64::new(u64::MAX),
            table_offset: U64::new(TABLE_OFFSET),
            version: U32::new(VERSION),
            entries: U32::new(self.entries),
            block_size: U32::new(BLOCK as u32),
            checksum: U32::ZERO,
            parent_uuid: [0; 16],
            parent_timestamp: U32::ZERO,
            reserved: U32::ZERO,
            parent_name: [0; 512],
            parent_locators: [no_locator; 8],
            padding: [0; 256],
        };
        header.checksum = U32::new(checksum(header.as_bytes()));
        self.file.correct(0, footer.as_bytes())?;
        self.file.correct(DYNAMIC_HEADER_OFFSET, header.as_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}
