//! Writing data in large blocks that are begun when their first byte comes: what VDI, VHD and VHDX have in common.

use super::output_file::OutputFile;
use crate::error::Result;
use crate::writing::pass::batch::Batch;

/// Keeps track of the block being filled.
pub(crate) struct Blocks {
    /// Guest bytes of a block; a multiple of a chunk.
    size: u64,
    /// Index of the present block and the offset of its data in the file.
    present: Option<(u64, u64)>,
    /// Blocks begun so far.
    pub(crate) allocated: u64,
}

impl Blocks {
    pub(crate) fn new(size: u64) -> Self {
        Self { size, present: None, allocated: 0 }
    }

    /// Writes a batch's data; `begin(file, index)` makes room for a new block at the file's position or later, and returns the
    /// offset of its data.
    pub(crate) fn write(
        &mut self,
        file: &mut OutputFile,
        batch: &Batch,
        mut begin: impl FnMut(&mut OutputFile, u64) -> Result<u64>,
    ) -> Result<()> {
        for (offset, bytes) in batch.data_runs() {
            let mut offset = offset;
            let mut bytes = bytes;
            while !bytes.is_empty() {
                let (index, within) = (offset / self.size, offset % self.size);
                let data = match self.present {
                    Some((present, data)) if present == index => data,
                    _ => {
                        self.end_block(file);
                        let data = begin(file, index)?;
                        self.present = Some((index, data));
                        self.allocated += 1;
                        data
                    }
                };
                let (part, rest) = bytes.split_at(bytes.len().min((self.size - within) as usize));
                file.skip_to(data + within);
                file.append(part)?;
                offset += part.len() as u64;
                bytes = rest;
            }
        }
        Ok(())
    }

    /// Moves the file's position behind the present block, which is as long as all others.
    pub(crate) fn end_block(&mut self, file: &mut OutputFile) {
        if let Some((_, data)) = self.present.take() {
            file.skip_to(data + self.size);
        }
    }
}
