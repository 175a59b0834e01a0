//! Reads the reference counts that an image records.

use crate::error::Result;
use crate::reading::cache::Cache;
use crate::reading::paged_table::PagedTable;
use crate::reading::source_file::SourceFile;

/// Bytes of a reference count block that are read at once, so that scattered look-ups cost little.
const PIECE: u64 = 4096;
/// Largest reference count table in bytes (qemu's QCOW_MAX_REFTABLE_SIZE).
pub(super) const MAX_REFCOUNT_TABLE: u64 = 8 << 20;

/// The reference counts in the image.
pub(super) struct StoredCounts {
    table: PagedTable<8>,
    /// Log2 of a count's width in bits.
    order: u32,
    cluster: u64,
    /// Pieces of blocks by their offset in the file.
    pieces: Cache<Vec<u8>>,
}

impl StoredCounts {
    /// Reads counts of `1 << order` bits through the table of their blocks.
    pub(super) fn new(table: PagedTable<8>, order: u32, cluster: u64) -> Self {
        Self { table, order, cluster, pieces: Cache::new((2 << 20) / PIECE) }
    }

    /// Returns the count of a cluster; 0 where there is no readable block.
    pub(super) fn get(&self, file: &SourceFile, index: u64) -> Result<u64> {
        let per_block = (self.cluster * 8) >> self.order;
        let block = u64::from_be_bytes(self.table.get(file, index / per_block)?) & !511;
        let readable = block != 0 && block.is_multiple_of(self.cluster);
        if !readable || file.check_range(block, self.cluster, "").is_err() {
            return Ok(0);
        }
        let bit = (index % per_block) << self.order;
        let size = self.cluster.min(PIECE);
        let piece = block + bit / 8 / size * size;
        let bytes = self.pieces.get(piece, || file.read_table(piece, size, "a reference count block"))?;
        let within = (bit / 8 % size) as usize;
        if self.order < 3 {
            // Counts narrower than a byte fill it from its low end (spec).
            return Ok(u64::from(bytes[within] >> (bit % 8)) & ((1 << (1 << self.order)) - 1));
        }
        let count = &bytes[within..within + (1 << (self.order - 3))];
        Ok(count.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}
