//! Writes VMDKs that consist of a text descriptor and extent files: flat or sparse, one or many.

use std::path::{Path, PathBuf};

use super::descriptor::{Descriptor, DiskId, ExtentLine, check_extent_name, check_largest_disk};
use super::layout::SECTOR;
use super::sparse_writer::SparseExtentWriter;
use super::stream_writer::extent_name;
use crate::digest::CHUNK;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::output_options::{DiskAdapter, VmdkOptions, VmdkSubformat};
use crate::raw::writer::write_blocks;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Guest bytes of each file of a split disk: 2047 MiB, safe for 31-bit file offsets and a multiple of a grain (practice).
const SPLIT: u64 = 2047 << 20;
/// Most files of a split disk: extent numbers have three digits in VMware's own names, four are read too.
const MAX_SPLIT: u64 = 9999;
/// Largest split disk in bytes.
pub(super) const MAX_SPLIT_DISK: u64 = SPLIT * MAX_SPLIT;

/// Returns the names of all files, descriptor first.
pub(crate) fn file_names(path: &Path, virtual_size: u64, subformat: VmdkSubformat) -> Vec<PathBuf> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let beside = |name: String| path.with_file_name(name);
    let count = virtual_size.div_ceil(SPLIT).clamp(1, MAX_SPLIT);
    let mut names = vec![path.to_path_buf()];
    match subformat {
        VmdkSubformat::MonolithicFlat | VmdkSubformat::VmfsFlat => names.push(beside(format!("{stem}-flat.vmdk"))),
        VmdkSubformat::TwoGbMaxExtentFlat => {
            names.extend((1..=count).map(|number| beside(format!("{stem}-f{number:03}.vmdk"))));
        }
        VmdkSubformat::TwoGbMaxExtentSparse => {
            names.extend((1..=count).map(|number| beside(format!("{stem}-s{number:03}.vmdk"))));
        }
        VmdkSubformat::MonolithicSparse | VmdkSubformat::StreamOptimized => {}
    }
    names
}

/// One extent file.
struct ExtentFile {
    /// Guest bytes before it.
    start: u64,
    len: u64,
    content: Content,
}

enum Content {
    Flat(Box<OutputFile>),
    Sparse(Box<SparseExtentWriter>),
}

/// Writes one VMDK with a descriptor of its own.
pub(crate) struct SplitVmdkWriter {
    descriptor: OutputFile,
    lines: Vec<ExtentLine>,
    subformat: VmdkSubformat,
    adapter: DiskAdapter,
    hardware_version: Option<u8>,
    capacity_sectors: u64,
    extents: Vec<ExtentFile>,
    /// Index of the extent being written.
    present: usize,
}

impl SplitVmdkWriter {
    pub(crate) fn create(
        path: &Path,
        virtual_size: u64,
        options: &VmdkOptions,
        context: &mut WriterContext<'_>,
    ) -> Result<Self> {
        let subformat = options.subformat;
        check_largest_disk(virtual_size)?;
        let size = virtual_size.next_multiple_of(SECTOR);
        let names = file_names(path, size, subformat);
        let split = match subformat {
            VmdkSubformat::MonolithicFlat | VmdkSubformat::VmfsFlat => size.max(1),
            _ => SPLIT,
        };
        if size.div_ceil(split) > MAX_SPLIT {
            let rule = "a split vmdk can have at most 9999 files of 2047 MiB";
            let error = Error::new(ErrorKind::TooLarge, Operation::Create, rule);
            return Err(error.with_hint("write a monolithicFlat or streamOptimized vmdk"));
        }
        let kind = match subformat {
            VmdkSubformat::TwoGbMaxExtentSparse => "SPARSE",
            VmdkSubformat::VmfsFlat => "VMFS",
            _ => "FLAT",
        };
        let (mut lines, mut extents) = (Vec::new(), Vec::new());
        for (index, name) in (0u64..).zip(&names[1..]) {
            let start = index * split;
            let len = split.min(size - start);
            let file_name = extent_name(name)?;
            check_extent_name(file_name)?;
            lines.push(ExtentLine {
                sectors: len / SECTOR,
                kind,
                file: file_name.to_owned(),
                offset: (kind == "FLAT").then_some(0),
            });
            let content = match kind {
                "SPARSE" => Content::Sparse(Box::new(SparseExtentWriter::create(name, len, false, context)?)),
                _ => Content::Flat(Box::new(context.create(name, false)?)),
            };
            extents.push(ExtentFile { start, len, content });
        }
        Ok(Self {
            descriptor: context.create(path, false)?,
            lines,
            subformat,
            adapter: options.adapter,
            hardware_version: options.hardware_version,
            capacity_sectors: size / SECTOR,
            extents,
            present: 0,
        })
    }

    /// Completes the extents before the one that holds a guest offset.
    fn advance(&mut self, guest: u64) -> Result<()> {
        while self.extents.get(self.present).is_some_and(|extent| guest >= extent.start + extent.len) {
            self.extents[self.present].end()?;
            self.present += 1;
        }
        Ok(())
    }
}

impl ExtentFile {
    fn end(&mut self) -> Result<()> {
        match &mut self.content {
            Content::Flat(file) => {
                file.skip_to(self.len);
                Ok(())
            }
            Content::Sparse(writer) => writer.end(),
        }
    }
}

impl BatchWriter for SplitVmdkWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        // Extents start at multiples of a chunk, so a chunk lies in one.
        const { assert!(SPLIT.is_multiple_of(CHUNK as u64)) };
        for (offset, bytes) in batch.data_chunks() {
            self.advance(offset)?;
            let Some(extent) = self.extents.get_mut(self.present) else { break };
            let within = offset - extent.start;
            match &mut extent.content {
                Content::Flat(file) => {
                    let inside = (extent.len - within).min(bytes.len() as u64) as usize;
                    write_blocks(file, within, &bytes[..inside])?;
                }
                Content::Sparse(writer) => writer.write(within, bytes)?,
            }
        }
        Ok(())
    }
}

impl OutputWriter for SplitVmdkWriter {
    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.advance(u64::MAX)?;
        let text = Descriptor {
            id: DiskId::new(&pass.identity),
            create_type: self.subformat.name().to_owned(),
            extents: std::mem::take(&mut self.lines),
            adapter: self.adapter,
            capacity_sectors: self.capacity_sectors,
            hardware_version: self.hardware_version,
        };
        self.descriptor.append(text.to_string().as_bytes())
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        let mut files = vec![self.descriptor.finish()?];
        for extent in self.extents {
            files.push(match extent.content {
                Content::Flat(file) => file.finish()?,
                Content::Sparse(writer) => writer.finish()?,
            });
        }
        Ok(files)
    }
}
