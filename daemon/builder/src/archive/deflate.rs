//! DEFLATE in pieces that are packed at the same time and are one stream all the same, and gzip's head and tail around it.
//!
//! Each piece begins with what came before it as its dictionary and, but for the last, ends at a whole byte (an empty stored block, as a
//! "sync flush" writes it). So any reader of gzip takes it, also those that know one member only.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::chunk::{Chunk, Level};

/// How far DEFLATE looks back.
pub(super) const WINDOW: usize = 32 << 10;

/// No name, no time: the same bytes whenever it is written. 3: made on Unix.
pub(super) fn gzip_head(level: Level) -> Vec<u8> {
    let effort = match level {
        Some(9) => 2,
        Some(1) => 4,
        _ => 0,
    };
    vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, effort, 3]
}

/// The checksum, and the length (in 32 bits, as the format has it).
pub(super) fn gzip_tail(crc: &Crc) -> Vec<u8> {
    [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat()
}

pub(super) fn pack(chunk: &Chunk, level: Compression) -> io::Result<Vec<u8>> {
    let mut stream = Compress::new(level, false);
    if !chunk.before.is_empty() {
        stream.set_dictionary(&chunk.before).map_err(io::Error::other)?;
    }
    let flush = if chunk.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    // Room for bytes that cannot be packed, so that one call does it nearly always.
    let mut packed = Vec::with_capacity(chunk.bytes.len() + chunk.bytes.len() / 512 + 64);
    loop {
        let taken = usize::try_from(stream.total_in()).map_err(io::Error::other)?;
        let status = stream.compress_vec(&chunk.bytes[taken..], &mut packed, flush).map_err(io::Error::other)?;
        let all = stream.total_in() == chunk.bytes.len() as u64;
        match status {
            Status::StreamEnd => return Ok(packed),
            // What is left in the stream comes out as long as it fills the room it is given.
            Status::Ok | Status::BufError if all && !chunk.is_last && packed.len() < packed.capacity() => {
                return Ok(packed);
            }
            _ => packed.reserve(64 << 10),
        }
    }
}
