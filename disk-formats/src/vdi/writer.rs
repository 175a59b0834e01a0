//! Writes a dynamic VDI: the header and the map are filled in behind the blocks, which are written in guest order.

use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{LE, U32, U64};

use super::layout::{BLOCK, FREE, HEADER_LENGTH, Header, ImageType, MAGIC, TEXT, VERSION_1_1};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::writing::ascending_table::AscendingTable;
use crate::writing::blocks::Blocks;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Where VirtualBox puts the map, and the unit to which it aligns the first block.
const ALIGNMENT: u64 = 1 << 20;

/// Largest disk in bytes: the offset of the first block must fit into 32 bits, and so must the map before it.
pub(super) const MAX_DISK: u64 = (MAX_DATA_OFFSET - ALIGNMENT) / 4 * BLOCK;
/// The largest offset of 32 bits that a block may have.
const MAX_DATA_OFFSET: u64 = u32::MAX as u64 / ALIGNMENT * ALIGNMENT;

/// Writes one VDI.
pub(crate) struct VdiWriter {
    file: OutputFile,
    virtual_size: u64,
    blocks: u32,
    data_offset: u64,
    map: AscendingTable<4>,
    data: Blocks,
}

impl VdiWriter {
    pub(crate) fn create(path: &Path, virtual_size: u64, context: &WriterContext<'_>) -> Result<Self> {
        let virtual_size = virtual_size.checked_next_multiple_of(512).unwrap_or(u64::MAX);
        if virtual_size > MAX_DISK {
            let rule = "a vdi with blocks of 1 MiB can hold at most 1023.5 TiB";
            let error = Error::new(ErrorKind::TooLarge, Operation::Create, rule);
            return Err(error.with_hint("write a qcow2 or raw image"));
        }
        let blocks = virtual_size.div_ceil(BLOCK) as u32;
        let data_offset = (ALIGNMENT + u64::from(blocks) * 4).next_multiple_of(ALIGNMENT);
        let mut file = context.create(path, true)?;
        file.skip_to(data_offset);
        let map = AscendingTable::new(ALIGNMENT, u64::from(blocks), FREE.to_le_bytes());
        Ok(Self { file, virtual_size, blocks, data_offset, map, data: Blocks::new(BLOCK) })
    }
}

impl BatchWriter for VdiWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let (map, data_offset) = (&mut self.map, self.data_offset);
        self.data.write(&mut self.file, batch, |file, index| {
            let position = file.position();
            let number = ((position - data_offset) / BLOCK) as u32;
            map.set(file, index, number.to_le_bytes())?;
            Ok(position)
        })
    }
}

impl OutputWriter for VdiWriter {
    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.data.end_block(&mut self.file);
        self.map.finish(&mut self.file)?;
        let mut text = [0; 64];
        text[..TEXT.len()].copy_from_slice(TEXT);
        let header = Header {
            text,
            magic: U32::new(MAGIC),
            version: U32::new(VERSION_1_1),
            length: U32::new(HEADER_LENGTH),
            image_type: U32::new(ImageType::DYNAMIC),
            flags: U32::ZERO,
            comment: [0; 256],
            map_offset: U32::new(ALIGNMENT as u32),
            data_offset: U32::new(self.data_offset as u32),
            old_geometry: [U32::ZERO; 3],
            sector_size: U32::new(512),
            unused: U32::ZERO,
            disk_size: U64::new(self.virtual_size),
            block_size: U32::new(BLOCK as u32),
            block_extra: U32::ZERO,
            blocks: U32::new(self.blocks),
            allocated: U32::<LE>::new(self.data.allocated as u32),
            uuid: pass.identity.uuid("vdi"),
            modification_uuid: pass.identity.uuid("vdi modification"),
            parent_uuid: [0; 16],
            parent_modification_uuid: [0; 16],
            // VirtualBox refuses any other sector size; it works the rest out itself.
            logical_geometry: [U32::ZERO, U32::ZERO, U32::ZERO, U32::new(512)],
        };
        self.file.correct(0, header.as_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}
