//! What a worker does with one window: read, find zeroes, hash, compress.

use libdeflater::{CompressionLvl, Compressor};
use zstd::zstd_safe::CParameter;

use super::batch::{Buffers, Chunk, Compressed, Method, Recipe};
use crate::deflate::BalancedDeflate;
use crate::deflate::{FastDeflate, room_error};
use crate::digest::{CHUNK, Sha256Digest};
use crate::error::{Error, Operation, Result};
use crate::output_options::Compression;
use crate::reading::reader::DiskReader;
use crate::zeroes::is_zero;

/// A recipe's tool.
enum Encoder {
    Fast(FastDeflate),
    Balanced(Box<BalancedDeflate>),
    Best(Box<Compressor>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    fn deflate(compression: Compression) -> Self {
        match compression {
            Compression::Fast => Self::Fast(FastDeflate::new()),
            Compression::Best => Self::Best(Box::new(Compressor::new(CompressionLvl::best()))),
            Compression::Auto | Compression::Default => Self::Balanced(Box::new(BalancedDeflate::new())),
        }
    }

    /// Returns the room that a piece needs.
    fn bound(&mut self, piece: usize) -> usize {
        match self {
            Self::Fast(_) => FastDeflate::bound(piece),
            Self::Balanced(encoder) => encoder.bound(piece),
            Self::Best(compressor) => compressor.deflate_compress_bound(piece),
            Self::Zstd(_) => zstd::zstd_safe::compress_bound(piece),
        }
    }

    fn compress(&mut self, input: &[u8], room: &mut [u8]) -> Result<usize> {
        match self {
            Self::Fast(encoder) => Ok(encoder.compress(input, room)),
            Self::Balanced(encoder) => encoder.compress(input, room),
            Self::Best(compressor) => compressor.deflate_compress(input, room).map_err(|_| room_error()),
            Self::Zstd(compressor) => {
                compressor.compress_to_buffer(input, room).map_err(|error| Error::io(Operation::Convert, error))
            }
        }
    }
}

/// Most entries of the best level's tables, as a power of two: 4 MiB each. Unbounded they take 33 MiB for pieces of 2 MiB.
const ZSTD_TABLE_BITS: u32 = 20;

fn zstd_encoder(compression: Compression) -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut encoder = zstd::bulk::Compressor::new(zstd_level(compression))?;
    if compression == Compression::Best {
        encoder.set_parameter(CParameter::HashLog(ZSTD_TABLE_BITS))?;
        encoder.set_parameter(CParameter::ChainLog(ZSTD_TABLE_BITS))?;
    }
    Ok(encoder)
}

fn zstd_level(compression: Compression) -> i32 {
    match compression {
        Compression::Fast => 1,
        Compression::Auto | Compression::Default => 3,
        Compression::Best => 19,
    }
}

/// One worker's tools.
pub(crate) struct Processor<'a> {
    reader: &'a dyn DiskReader,
    recipes: &'a [Recipe],
    encoders: Vec<Encoder>,
    content_digest: bool,
    batch_size: usize,
}

impl<'a> Processor<'a> {
    pub(crate) fn new(
        reader: &'a dyn DiskReader,
        recipes: &'a [Recipe],
        content_digest: bool,
        batch_size: usize,
    ) -> Result<Self> {
        let encoders = recipes
            .iter()
            .map(|recipe| match recipe.method {
                Method::Deflate(compression) => Ok(Encoder::deflate(compression)),
                Method::Zstd(compression) => {
                    zstd_encoder(compression).map(Encoder::Zstd).map_err(|error| Error::io(Operation::Convert, error))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { reader, recipes, encoders, content_digest, batch_size })
    }

    /// Fills the buffers for the window at `offset`; `wanted` has a bit per chunk that may hold data.
    pub(crate) fn run(&mut self, offset: u64, wanted: u64, buffers: &mut Buffers) -> Result<()> {
        let count = self.batch_size / CHUNK;
        buffers.data.resize(self.batch_size, 0);
        buffers.chunks.clear();
        buffers.chunks.resize(count, Chunk { zero: true, ..Chunk::default() });
        self.read(offset, wanted, buffers)?;
        for index in (0..count).filter(|index| wanted & (1 << index) != 0) {
            let bytes = &buffers.data[index * CHUNK..(index + 1) * CHUNK];
            let chunk = &mut buffers.chunks[index];
            chunk.zero = is_zero(bytes);
            if !chunk.zero {
                chunk.crc32 = libdeflater::crc32(bytes);
                chunk.sha256 = self.content_digest.then(|| Sha256Digest::of(bytes));
            }
        }
        buffers.compressed.resize_with(self.recipes.len(), Compressed::default);
        for (index, recipe) in self.recipes.iter().enumerate() {
            compress(&mut self.encoders[index], recipe.piece, buffers, index)?;
        }
        Ok(())
    }

    /// Reads runs of wanted chunks with one call each, and clears the others where pieces reach over them.
    fn read(&self, offset: u64, wanted: u64, buffers: &mut Buffers) -> Result<()> {
        let count = self.batch_size / CHUNK;
        let clear_unwanted = self.recipes.iter().any(|recipe| recipe.piece > CHUNK);
        let mut index = 0;
        while index < count {
            let is_wanted = |index: usize| wanted & (1 << index) != 0;
            let run = (index..count).take_while(|other| is_wanted(*other) == is_wanted(index)).count();
            let bytes = &mut buffers.data[index * CHUNK..(index + run) * CHUNK];
            if is_wanted(index) {
                self.reader.read_at(offset + (index * CHUNK) as u64, bytes)?;
            } else if clear_unwanted {
                bytes.fill(0);
            }
            index += run;
        }
        Ok(())
    }
}

fn compress(encoder: &mut Encoder, piece: usize, buffers: &mut Buffers, index: usize) -> Result<()> {
    let Buffers { data, chunks, compressed } = buffers;
    let Compressed { pieces, bytes } = &mut compressed[index];
    pieces.clear();
    let mut used = 0;
    for (number, input) in data.chunks_exact(piece).enumerate() {
        // A piece smaller than a chunk can be zero in a chunk that is not.
        let start = number * piece;
        let zero = chunks[start / CHUNK..=(start + piece - 1) / CHUNK].iter().all(|chunk| chunk.zero)
            || (piece < CHUNK && is_zero(input));
        if zero {
            pieces.push(None);
            continue;
        }
        let bound = encoder.bound(piece);
        if bytes.len() < used + bound {
            bytes.resize(used + bound, 0);
        }
        let room = &mut bytes[used..used + bound];
        let length = encoder.compress(input, room)?;
        pieces.push(Some(used..used + length));
        used += length;
    }
    Ok(())
}
