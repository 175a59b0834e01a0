//! A batch: one aligned window of the guest disk with everything the writers need to know about it.

use std::ops::Range;

use crossbeam_channel::Sender;

use crate::digest::{CHUNK, Sha256Digest};
use crate::error::Result;
use crate::output_options::Compression;

/// Usual bytes of guest disk per batch.
pub(super) const BATCH: usize = 1 << 20;
/// Bytes of guest disk handed to a writer as one run at most; no batch is smaller.
pub(crate) const RUN: usize = 256 << 10;

/// A way to compress that at least one output needs; compressed once, shared by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The method and level.
    pub(crate) method: Method,
    /// Bytes of guest disk compressed as one piece: a power of two, at most a batch.
    pub(crate) piece: usize,
}

/// A compression method with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Raw deflate (RFC 1951); VMDK adds zlib's frame.
    Deflate(Compression),
    /// One zstd frame.
    Zstd(Compression),
}

/// What is known of one 64 KiB chunk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Chunk {
    /// All bytes are zero; its bytes in the batch's buffer may then be anything.
    pub(crate) zero: bool,
    /// SHA-256, when the content digest is wanted.
    pub(crate) sha256: Option<Sha256Digest>,
    /// CRC-32, from which identifiers are derived.
    pub(crate) crc32: u32,
}

/// The result of one recipe for a batch.
#[derive(Debug, Default)]
pub(crate) struct Compressed {
    /// One entry per piece; `None` for an all-zero piece.
    pub(crate) pieces: Vec<Option<Range<usize>>>,
    /// The pieces' bytes.
    pub(crate) bytes: Vec<u8>,
}

/// The reusable memory of a batch.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) data: Vec<u8>,
    pub(crate) chunks: Vec<Chunk>,
    /// In the order of the conversion's recipes.
    pub(crate) compressed: Vec<Compressed>,
}

/// One processed window of the disk. Batches reach writers in ascending order; all-zero windows do not come at all.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Guest offset in bytes, a multiple of the batch size.
    pub(crate) offset: u64,
    buffers: Buffers,
    /// Where the memory goes when the last writer is done.
    home: Sender<Buffers>,
}

impl Batch {
    pub(crate) fn new(offset: u64, buffers: Buffers, home: Sender<Buffers>) -> Self {
        Self { offset, buffers, home }
    }

    /// Returns what is known of the chunks.
    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.buffers.chunks
    }

    /// Returns the guest offset and bytes of every chunk that is not all zero; the disk's last chunk is zero-padded.
    pub(crate) fn data_chunks(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.buffers.chunks.iter().enumerate().filter(|(_, chunk)| !chunk.zero).map(|(index, _)| {
            let start = index * CHUNK;
            (self.offset + start as u64, &self.buffers.data[start..start + CHUNK])
        })
    }

    /// Returns the guest offset and bytes of every run of chunks that are not all zero. Runs end at multiples of [`RUN`], so that
    /// what writers make of them does not depend on the size of batches.
    pub(crate) fn data_runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let chunks = &self.buffers.chunks;
        let mut index = 0;
        std::iter::from_fn(move || {
            index += chunks[index..].iter().take_while(|chunk| chunk.zero).count();
            let start = index;
            let most = RUN / CHUNK - start % (RUN / CHUNK);
            index += chunks[index..].iter().take(most).take_while(|chunk| !chunk.zero).count();
            let bytes = &self.buffers.data[start * CHUNK..index * CHUNK];
            (start < index).then_some((self.offset + (start * CHUNK) as u64, bytes))
        })
    }

    /// Returns the guest offset, bytes and compressed bytes of every piece of a recipe that is not all zero.
    pub(crate) fn pieces(&self, recipe: usize, piece: usize) -> impl Iterator<Item = (u64, &[u8], &[u8])> {
        let compressed = &self.buffers.compressed[recipe];
        compressed.pieces.iter().enumerate().filter_map(move |(index, range)| {
            let range = range.clone()?;
            let start = index * piece;
            Some((self.offset + start as u64, &self.buffers.data[start..start + piece], &compressed.bytes[range]))
        })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // The other end is gone only when the conversion is over; then the memory is simply freed.
        let _ = self.home.try_send(std::mem::take(&mut self.buffers));
    }
}

/// Consumes batches in ascending order.
pub(crate) trait BatchWriter: Send {
    /// Takes the next batch.
    fn write(&mut self, batch: &Batch) -> Result<()>;
}
