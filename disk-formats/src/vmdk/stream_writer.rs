//! Writes a stream-optimized VMDK strictly forward: it could go into a pipe.
//!
//! ```text
//! header (directory at end) | descriptor | pad | grains of 32 MiB | their table | … | directory | footer | end marker
//! ```
//!
//! Grains ascend, the last one is padded to full size, all-zero grains and empty tables are left out: what VirtualBox's and
//! VMware's sequential importers insist on.

use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{LE, U16, U32, U64};

use super::descriptor::{Descriptor, DiskId, ExtentLine, check_extent_name, check_largest_disk};
use super::layout::{
    COMPRESSION_DEFLATE, DESCRIPTOR_SECTORS, DIRECTORY_AT_END, Flags, GRAIN, GRAIN_SECTORS, GrainMarker,
    MARKER_DIRECTORY, MARKER_END, MARKER_FOOTER, MARKER_TABLE, MAX_FILE, MetadataMarker, SECTOR, SparseHeader,
    TABLE_ENTRIES, TABLE_SECTORS, TABLE_SPAN,
};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::output_options::{DiskAdapter, VmdkOptions};
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter, Method, Recipe};
use crate::writing::pass::collector::PassReport;
use crate::writing::pass::identity::Identity;
use crate::writing::pipe;
use crate::writing::writer::{OutputWriter, WriterContext};

/// First two bytes of a zlib stream: deflate with a 32 KiB window, no dictionary (RFC 1950).
const ZLIB_HEADER: [u8; 2] = [0x78, 0x9c];
/// Sector of the first marker: one grain into the file (practice).
const OVERHEAD: u64 = GRAIN_SECTORS;

/// The writer's state; the bytes go to a file that the caller holds, at whatever position it has.
pub(crate) struct StreamVmdk {
    name: String,
    adapter: DiskAdapter,
    hardware_version: Option<u8>,
    capacity_sectors: u64,
    /// Index of the compression results in batches.
    recipe: usize,
    /// Bytes written of this VMDK.
    length: u64,
    directory: Vec<U32<LE>>,
    table: Vec<U32<LE>>,
    /// Index of the table being filled.
    table_index: Option<usize>,
    /// Guest bytes in the grains written.
    populated: u64,
    /// Collects a batch's grains, so that they are written with one call.
    pending: Vec<u8>,
}

impl StreamVmdk {
    /// Describes a disk. `name` is what the descriptor calls its file.
    pub(crate) fn new(
        name: &str,
        virtual_size: u64,
        options: &VmdkOptions,
        context: &mut WriterContext<'_>,
    ) -> Result<Self> {
        check_extent_name(name)?;
        let tables = virtual_size.div_ceil(TABLE_SPAN);
        check_largest_disk(virtual_size)?;
        Ok(Self {
            name: name.to_owned(),
            adapter: options.adapter,
            hardware_version: options.hardware_version,
            capacity_sectors: virtual_size.div_ceil(SECTOR),
            recipe: context.recipe(Recipe { method: Method::Deflate(options.compression), piece: GRAIN as usize }),
            length: 0,
            directory: vec![U32::ZERO; tables as usize],
            table: vec![U32::ZERO; TABLE_ENTRIES as usize],
            table_index: None,
            populated: 0,
            pending: Vec::new(),
        })
    }

    /// Returns guest bytes in stored grains.
    pub(crate) fn populated(&self) -> u64 {
        self.populated
    }

    /// Returns bytes of the VMDK so far.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the size of the disk in bytes as the VMDK states it: whole sectors.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity_sectors * SECTOR
    }

    fn header(&self, directory: u64) -> SparseHeader {
        SparseHeader {
            // ESXi refuses version 1 with compressed grains.
            version: U32::new(3),
            flags: U32::new(Flags::NEWLINES | Flags::COMPRESSED | Flags::MARKERS),
            directory: U64::new(directory),
            overhead: U64::new(OVERHEAD),
            compression: U16::new(COMPRESSION_DEFLATE),
            ..SparseHeader::new(self.capacity_sectors)
        }
    }

    /// Writes what comes before the first grain.
    fn begin(&mut self, file: &mut OutputFile, first: Option<&Batch>) -> Result<()> {
        let descriptor = Descriptor {
            id: DiskId::new(&Identity::of_front(self.capacity(), first)),
            create_type: "streamOptimized".to_owned(),
            extents: vec![ExtentLine {
                sectors: self.capacity_sectors,
                kind: "SPARSE",
                file: self.name.clone(),
                offset: None,
            }],
            adapter: self.adapter,
            capacity_sectors: self.capacity_sectors,
            hardware_version: self.hardware_version,
        };
        self.push(self.header(DIRECTORY_AT_END).as_bytes());
        self.push(&descriptor.embedded()?);
        self.pad((OVERHEAD - 1 - DESCRIPTOR_SECTORS) * SECTOR);
        self.flush(file)
    }

    /// Writes a batch's grains.
    pub(crate) fn write(&mut self, file: &mut OutputFile, batch: &Batch) -> Result<()> {
        if self.length == 0 {
            // Zeroes that were read are no data: the header must not depend on how the source stores them.
            if batch.data_chunks().next().is_none() {
                return Ok(());
            }
            self.begin(file, Some(batch))?;
        }
        for (offset, bytes, packed) in batch.pieces(self.recipe, GRAIN as usize) {
            let index = (offset / TABLE_SPAN) as usize;
            if self.table_index.is_some_and(|open| open != index) {
                self.write_table()?;
            }
            self.table_index = Some(index);
            let slot = (offset % TABLE_SPAN / GRAIN) as usize;
            self.table[slot] = U32::new(self.sector()?);
            let size = ZLIB_HEADER.len() + packed.len() + size_of::<u32>();
            let marker = GrainMarker { sector: U64::new(offset / SECTOR), size: U32::new(size as u32) };
            self.push(marker.as_bytes());
            self.push(&ZLIB_HEADER);
            self.push(packed);
            self.push(&libdeflater::adler32(bytes).to_be_bytes());
            self.pad_to_sector();
            self.populated += GRAIN;
        }
        self.flush(file)
    }

    /// Writes what comes after the last grain.
    pub(crate) fn end(&mut self, file: &mut OutputFile) -> Result<()> {
        if self.length == 0 {
            self.begin(file, None)?;
        }
        self.write_table()?;
        let directory_sectors = (self.directory.len() as u64 * 4).div_ceil(SECTOR);
        self.push(MetadataMarker::new(MARKER_DIRECTORY, directory_sectors).as_bytes());
        let directory = u64::from(self.sector()?);
        let entries = std::mem::take(&mut self.directory);
        self.push(entries.as_bytes());
        self.pad_to_sector();
        self.push(MetadataMarker::new(MARKER_FOOTER, 1).as_bytes());
        self.push(self.header(directory).as_bytes());
        self.push(MetadataMarker::new(MARKER_END, 0).as_bytes());
        self.flush(file)
    }

    fn write_table(&mut self) -> Result<()> {
        if let Some(index) = self.table_index.take() {
            self.push(MetadataMarker::new(MARKER_TABLE, TABLE_SECTORS).as_bytes());
            self.directory[index] = U32::new(self.sector()?);
            let mut table = std::mem::take(&mut self.table);
            self.push(table.as_bytes());
            table.fill(U32::ZERO);
            self.table = table;
        }
        Ok(())
    }

    /// Returns the sector at which the next byte goes.
    fn sector(&self) -> Result<u32> {
        let offset = self.length + self.pending.len() as u64;
        if offset > MAX_FILE {
            let rule = "the file of a streamOptimized vmdk can have at most 2 TiB, and the compressed disk has more";
            let hint = "write a monolithicFlat vmdk, a vhdx or a qcow2";
            return Err(Error::new(ErrorKind::TooLarge, Operation::Write, rule).at(offset).with_hint(hint));
        }
        Ok((offset / SECTOR) as u32)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    fn pad(&mut self, bytes: u64) {
        self.pending.resize(self.pending.len() + bytes as usize, 0);
    }

    fn pad_to_sector(&mut self) {
        // `length` is a multiple of a sector whenever `pending` is empty.
        self.pending.resize(self.pending.len().next_multiple_of(SECTOR as usize), 0);
    }

    fn flush(&mut self, file: &mut OutputFile) -> Result<()> {
        file.append(&self.pending)?;
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// A stream-optimized VMDK in a file of its own.
pub(crate) struct StreamVmdkFile {
    file: OutputFile,
    vmdk: StreamVmdk,
}

impl StreamVmdkFile {
    pub(crate) fn create(
        path: &Path,
        virtual_size: u64,
        options: &VmdkOptions,
        context: &mut WriterContext<'_>,
    ) -> Result<Self> {
        let name = extent_name(path)?;
        let vmdk = StreamVmdk::new(name, virtual_size, options, context)?;
        Ok(Self { file: context.create(path, false)?, vmdk })
    }
}

/// Returns the file name that goes into the descriptor.
pub(crate) fn extent_name(path: &Path) -> Result<&str> {
    if pipe::is_standard_output(path) {
        return Ok("disk.vmdk");
    }
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, Operation::Create, "the name of a vmdk file must be UTF-8"))
}

impl BatchWriter for StreamVmdkFile {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.vmdk.write(&mut self.file, batch)
    }
}

impl OutputWriter for StreamVmdkFile {
    fn end_disk(&mut self, _pass: &PassReport) -> Result<()> {
        self.vmdk.end(&mut self.file)
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}
