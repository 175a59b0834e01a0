//! LZ4's frame: blocks that do not refer to each other, each with a checksum of its own, so that all of it is worked out in pieces.

use std::io;

use lz4::block::{CompressionMode, compress};

use super::chunk::Level;

/// Bytes in a block, the most the format has.
pub(super) const BLOCK: usize = 4 << 20;

/// No block has length zero.
pub(super) const END: [u8; 4] = [0; 4];

/// A block that is stored as it is.
const STORED: u32 = 1 << 31;

/// The signature, the description (version 1, independent blocks with checksums, of 4 MiB) and its checksum.
pub(super) fn head() -> Vec<u8> {
    let description = [0b0111_0000, 0x70];
    let check = xxh32(&description).to_le_bytes()[1];
    let mut head = 0x184D_2204_u32.to_le_bytes().to_vec();
    head.extend_from_slice(&description);
    head.push(check);
    head
}

/// Packs one block; of nothing, nothing.
pub(super) fn pack(bytes: &[u8], level: Level) -> io::Result<Vec<u8>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    // As lz4's own program counts: from 3 on it looks harder.
    let mode = match level {
        None | Some(0..=2) => CompressionMode::DEFAULT,
        Some(level) => CompressionMode::HIGHCOMPRESSION(i32::from(level)),
    };
    let data = compress(bytes, Some(mode), false)?;
    let (data, mark) = if data.len() < bytes.len() { (&*data, 0) } else { (bytes, STORED) };
    let length = u32::try_from(data.len()).map_err(io::Error::other)?;
    let mut packed = Vec::with_capacity(data.len() + 8);
    packed.extend_from_slice(&(length | mark).to_le_bytes());
    packed.extend_from_slice(data);
    packed.extend_from_slice(&xxh32(data).to_le_bytes());
    Ok(packed)
}

const PRIME_1: u32 = 2_654_435_761;
const PRIME_2: u32 = 2_246_822_519;
const PRIME_3: u32 = 3_266_489_917;
const PRIME_4: u32 = 668_265_263;
const PRIME_5: u32 = 374_761_393;

/// XXH32 with seed 0 (the xxHash specification): the frame's checksum.
fn xxh32(bytes: &[u8]) -> u32 {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let round =
        |sum: u32, word: u32| sum.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(13).wrapping_mul(PRIME_1);
    let mut stripes = bytes.chunks_exact(16);
    let mut hash = PRIME_5;
    if bytes.len() >= 16 {
        let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0_u32.wrapping_sub(PRIME_1)];
        for stripe in &mut stripes {
            for (lane, part) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                *lane = round(*lane, word(part));
            }
        }
        let turned = lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
        hash = turned.fold(0, u32::wrapping_add);
    }
    // The length in 32 bits, as the specification has it.
    hash = hash.wrapping_add(bytes.len() as u32);
    let mut words = stripes.remainder().chunks_exact(4);
    for part in &mut words {
        hash = hash.wrapping_add(word(part).wrapping_mul(PRIME_3)).rotate_left(17).wrapping_mul(PRIME_4);
    }
    for byte in words.remainder() {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 13).wrapping_mul(PRIME_3);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(xxh32(b""), 0x02CC_5D05);
        assert_eq!(xxh32(b"a"), 0x550D_7456);
        assert_eq!(xxh32(b"abc"), 0x32D1_53FF);
        assert_eq!(xxh32(b"Nobody inspects the spammish repetition"), 0xE229_3B2F);
    }
}
