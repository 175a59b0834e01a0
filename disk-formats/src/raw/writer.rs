//! Writes a raw disk strictly forward; zeroes become holes.

use std::path::Path;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};
use crate::zeroes::is_zero;

/// Granularity of holes: the block size of the usual file systems.
const BLOCK: usize = 4096;

/// Writes one raw disk.
pub(crate) struct RawWriter {
    file: OutputFile,
    virtual_size: u64,
}

impl RawWriter {
    pub(crate) fn create(path: &Path, virtual_size: u64, context: &WriterContext<'_>) -> Result<Self> {
        if i64::try_from(virtual_size).is_err() {
            return Err(Error::new(ErrorKind::TooLarge, Operation::Create, "no file can be larger than 8 EiB"));
        }
        Ok(Self { file: context.create(path, false)?, virtual_size })
    }
}

/// Writes the non-zero blocks of a stretch at `offset`, each run with one call.
pub(crate) fn write_blocks(file: &mut OutputFile, offset: u64, bytes: &[u8]) -> Result<()> {
    let mut start = 0;
    while start < bytes.len() {
        let block = |at: usize| &bytes[at..bytes.len().min(at + BLOCK)];
        if is_zero(block(start)) {
            start += BLOCK;
            continue;
        }
        let mut end = start + BLOCK;
        while end < bytes.len() && !is_zero(block(end)) {
            end += BLOCK;
        }
        let end = end.min(bytes.len());
        file.skip_to(offset + start as u64);
        file.append(&bytes[start..end])?;
        start = end;
    }
    Ok(())
}

impl BatchWriter for RawWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        for (offset, bytes) in batch.data_runs() {
            let inside = (self.virtual_size - offset).min(bytes.len() as u64) as usize;
            write_blocks(&mut self.file, offset, &bytes[..inside])?;
        }
        Ok(())
    }
}

impl OutputWriter for RawWriter {
    fn end_disk(&mut self, _pass: &PassReport) -> Result<()> {
        self.file.skip_to(self.virtual_size);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}
