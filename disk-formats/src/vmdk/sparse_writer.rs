//! Writes a hosted sparse extent: all tables in front, filled in as their ranges are done, grains in order behind them.
//!
//! ```text
//! header | descriptor | redundant directory | its tables | directory | its tables | pad | grains
//! ```

use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{LE, U32, U64};

use super::descriptor::{Descriptor, DiskId, ExtentLine, check_extent_name};
use super::layout::{
    DESCRIPTOR_OFFSET, DESCRIPTOR_SECTORS, Flags, GRAIN, GRAIN_SECTORS, SECTOR, SparseHeader, TABLE_ENTRIES,
    TABLE_SECTORS, TABLE_SPAN,
};
use super::stream_writer::extent_name;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::output_options::{DiskAdapter, VmdkOptions};
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Largest disk of this format (qemu, VMware): its tables hold 32-bit numbers of sectors in the file.
pub(crate) const MAX_SPARSE_DISK: u64 = 2 << 40;
const LARGER_DISKS: &str = "write a streamOptimized or monolithicFlat vmdk, or a vhdx";

/// Grains are written as they come in batches.
const _: () = assert!(GRAIN as usize == crate::digest::CHUNK);

/// Writes one sparse file.
pub(crate) struct SparseExtentWriter {
    file: OutputFile,
    places: Places,
    table: Vec<U32<LE>>,
    /// Index of the table being filled.
    table_index: Option<u64>,
}

/// Where the tables are, in sectors. VirtualBox compares both copies, so each directory has tables of its own.
#[derive(Debug, Clone, Copy)]
struct Places {
    tables: u64,
    redundant_directory: u64,
    directory: u64,
    grains: u64,
}

impl Places {
    fn new(size: u64) -> Self {
        let tables = size.div_ceil(TABLE_SPAN);
        let directory_sectors = (tables * 4).div_ceil(SECTOR);
        let redundant_directory = DESCRIPTOR_OFFSET + DESCRIPTOR_SECTORS;
        let directory = redundant_directory + directory_sectors + tables * TABLE_SECTORS;
        let end = directory + directory_sectors + tables * TABLE_SECTORS;
        Self { tables, redundant_directory, directory, grains: end.next_multiple_of(GRAIN_SECTORS) }
    }

    fn first_table(&self, directory: u64) -> u64 {
        directory + (self.tables * 4).div_ceil(SECTOR)
    }
}

impl SparseExtentWriter {
    /// Begins an extent of `size` guest bytes, with room for an embedded descriptor or without.
    pub(crate) fn create(path: &Path, size: u64, with_descriptor: bool, context: &WriterContext<'_>) -> Result<Self> {
        if size > MAX_SPARSE_DISK {
            let rule = "a monolithicSparse vmdk can hold at most 2 TiB";
            return Err(Error::new(ErrorKind::TooLarge, Operation::Create, rule).with_hint(LARGER_DISKS));
        }
        let places = Places::new(size);
        let mut header = SparseHeader {
            flags: U32::new(Flags::NEWLINES | Flags::REDUNDANT),
            redundant_directory: U64::new(places.redundant_directory),
            directory: U64::new(places.directory),
            overhead: U64::new(places.grains),
            ..SparseHeader::new(size.div_ceil(SECTOR))
        };
        if !with_descriptor {
            (header.descriptor_offset, header.descriptor_sectors) = (U64::ZERO, U64::ZERO);
        }
        let mut file = context.create(path, true)?;
        file.append(header.as_bytes())?;
        for directory in [places.redundant_directory, places.directory] {
            file.skip_to(directory * SECTOR);
            let first = places.first_table(directory);
            let entries: Vec<U32<LE>> =
                (0..places.tables).map(|table| U32::new((first + table * TABLE_SECTORS) as u32)).collect();
            file.append(entries.as_bytes())?;
        }
        file.skip_to(places.grains * SECTOR);
        Ok(Self { file, places, table: vec![U32::ZERO; TABLE_ENTRIES as usize], table_index: None })
    }

    /// Writes one grain; offsets ascend.
    pub(crate) fn write(&mut self, offset: u64, grain: &[u8]) -> Result<()> {
        self.place(offset, self.file.position() / SECTOR)?;
        self.file.append(grain)
    }

    /// Enters the grain at `offset` into its table.
    fn place(&mut self, offset: u64, sector: u64) -> Result<()> {
        let index = offset / TABLE_SPAN;
        if self.table_index.is_some_and(|open| open != index) {
            self.write_table()?;
        }
        self.table_index = Some(index);
        let Ok(sector) = u32::try_from(sector) else {
            let rule = "the file of a monolithicSparse vmdk can have at most 2 TiB, and its tables need some of that";
            return Err(Error::new(ErrorKind::TooLarge, Operation::Write, rule).at(offset).with_hint(LARGER_DISKS));
        };
        self.table[(offset % TABLE_SPAN / GRAIN) as usize] = U32::new(sector);
        Ok(())
    }

    /// Writes several grains that follow each other with one call.
    fn write_run(&mut self, offset: u64, grains: &[u8]) -> Result<()> {
        let first = self.file.position() / SECTOR;
        for index in 0..grains.len() as u64 / GRAIN {
            self.place(offset + index * GRAIN, first + index * GRAIN_SECTORS)?;
        }
        self.file.append(grains)
    }

    fn write_table(&mut self) -> Result<()> {
        if let Some(index) = self.table_index.take() {
            for directory in [self.places.redundant_directory, self.places.directory] {
                let sector = self.places.first_table(directory) + index * TABLE_SECTORS;
                self.file.correct(sector * SECTOR, self.table.as_bytes())?;
            }
            self.table.fill(U32::ZERO);
        }
        Ok(())
    }

    /// Fills in the embedded descriptor.
    fn describe(&mut self, descriptor: &Descriptor) -> Result<()> {
        self.file.correct(DESCRIPTOR_OFFSET * SECTOR, &descriptor.embedded()?)
    }

    /// Completes the tables.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.write_table()
    }

    pub(crate) fn finish(self) -> Result<FinishedFile> {
        self.file.finish()
    }
}

/// Writes one monolithicSparse disk.
pub(crate) struct SparseVmdkWriter {
    extent: SparseExtentWriter,
    name: String,
    capacity_sectors: u64,
    adapter: DiskAdapter,
    hardware_version: Option<u8>,
}

impl SparseVmdkWriter {
    pub(crate) fn create(
        path: &Path,
        virtual_size: u64,
        options: &VmdkOptions,
        context: &WriterContext<'_>,
    ) -> Result<Self> {
        let name = extent_name(path)?;
        check_extent_name(name)?;
        Ok(Self {
            extent: SparseExtentWriter::create(path, virtual_size, true, context)?,
            name: name.to_owned(),
            capacity_sectors: virtual_size.div_ceil(SECTOR),
            adapter: options.adapter,
            hardware_version: options.hardware_version,
        })
    }
}

impl BatchWriter for SparseVmdkWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        batch.data_runs().try_for_each(|(offset, grains)| self.extent.write_run(offset, grains))
    }
}

impl OutputWriter for SparseVmdkWriter {
    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.extent.end()?;
        self.extent.describe(&Descriptor {
            id: DiskId::new(&pass.identity),
            create_type: "monolithicSparse".to_owned(),
            extents: vec![ExtentLine {
                sectors: self.capacity_sectors,
                kind: "SPARSE",
                file: self.name.clone(),
                offset: None,
            }],
            adapter: self.adapter,
            capacity_sectors: self.capacity_sectors,
            hardware_version: self.hardware_version,
        })
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.extent.finish()?])
    }
}
