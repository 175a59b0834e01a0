//! Reference counts for a file that is written front to back: blocks are written as soon as they are complete.

use std::collections::VecDeque;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{BE, U16, U64};

use crate::error::Result;
use crate::writing::output_file::OutputFile;

/// Counts uses of the file's clusters, in entries of 16 bits.
pub(crate) struct Refcounts {
    cluster_size: u64,
    /// Offsets of the blocks written so far.
    written: Vec<U64<BE>>,
    /// Blocks that may still change; the first belongs behind the written ones.
    open: VecDeque<Vec<U16<BE>>>,
}

/// Where the table that lists the blocks ended up.
pub(crate) struct RefcountTable {
    pub(crate) offset: u64,
    pub(crate) clusters: u32,
}

impl Refcounts {
    pub(crate) fn new(cluster_size: u64) -> Self {
        Self { cluster_size, written: Vec::new(), open: VecDeque::new() }
    }

    /// Counts one use of every cluster that the range touches.
    pub(crate) fn add(&mut self, offset: u64, len: u64) {
        let last = (offset + len - 1) / self.cluster_size;
        for cluster in offset / self.cluster_size..=last {
            let entries = self.block_entries();
            let block = (cluster / entries) as usize - self.written.len();
            while self.open.len() <= block {
                self.open.push_back(vec![U16::ZERO; entries as usize]);
            }
            self.open[block][(cluster % entries) as usize] += 1;
        }
    }

    /// Appends the blocks whose clusters all lie before the file's position; may align the position to a cluster.
    pub(crate) fn spill(&mut self, file: &mut OutputFile) -> Result<()> {
        while file.position() >= (self.written.len() as u64 + 1) * self.block_entries() * self.cluster_size {
            file.align(self.cluster_size);
            let offset = file.position();
            self.add(offset, self.cluster_size);
            let Some(block) = self.open.pop_front() else { break };
            file.append(block.as_bytes())?;
            self.written.push(U64::new(offset));
        }
        Ok(())
    }

    /// Appends the table and the remaining blocks; nothing may be appended after that.
    pub(crate) fn finish(mut self, file: &mut OutputFile) -> Result<RefcountTable> {
        file.align(self.cluster_size);
        self.spill(file)?;
        let table_offset = file.position();
        let used = table_offset / self.cluster_size;
        // More blocks need more clusters, which may need another block.
        let mut blocks = self.written.len() as u64 + 1;
        let table_clusters = |blocks: u64| (blocks * 8).div_ceil(self.cluster_size);
        while blocks * self.block_entries() < used + table_clusters(blocks) + blocks - self.written.len() as u64 {
            blocks += 1;
        }
        let table_clusters = table_clusters(blocks);
        let first_block = table_offset + table_clusters * self.cluster_size;
        let remaining = blocks - self.written.len() as u64;
        self.add(table_offset, (table_clusters + remaining) * self.cluster_size);

        let entries = self.block_entries() as usize;
        self.open.resize_with(remaining as usize, || vec![U16::ZERO; entries]);
        let offsets = (0..remaining).map(|block| U64::new(first_block + block * self.cluster_size));
        self.written.extend(offsets);
        file.append(self.written.as_bytes())?;
        file.align(self.cluster_size);
        for block in &self.open {
            file.append(block.as_bytes())?;
        }
        Ok(RefcountTable { offset: table_offset, clusters: table_clusters as u32 })
    }

    /// Entries of a block: a cluster of 16-bit counts.
    fn block_entries(&self) -> u64 {
        self.cluster_size / 2
    }
}
