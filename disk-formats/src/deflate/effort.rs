//! Chooses how hard a piece is tried, from a sample of its bytes: noise is stored, text-like pieces get a deeper search.
//!
//! Deeper search saves most where few byte values are frequent; for noise every search is in vain and takes as long as any other.
//! Measured on file systems of real files: a sixteenth of the pieces is noise that the sample tells in 5 µs instead of 900, and
//! together they are smaller than zlib's level 6 makes them at libdeflate's level 5 speed.

use libdeflater::{CompressionLvl, Compressor};

use super::fast::{FastDeflate, room_error};
use crate::error::Result;

/// libdeflate's levels for ordinary pieces and for those that are worth more.
const ORDINARY: i32 = 5;
const THOROUGH: i32 = 6;
/// One of sixteen parts of each stretch is sampled.
const STRETCH: usize = 4096;
const SAMPLED: std::ops::Range<usize> = 1024..1280;
/// What the fast encoder must save of noise, as a share, for a real search to be worth a try.
const HOPE: usize = 32;

/// What a sample says of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texture {
    /// All byte values are about equally frequent: compressed, encrypted or random.
    Noise,
    Ordinary,
    /// Some values are much more frequent than others, as in text; not nearly all bytes are equal, where any search does.
    Uneven,
}

impl Texture {
    fn of(piece: &[u8]) -> Self {
        let mut counts = [[0u32; 256]; 2];
        let mut length = 0u64;
        for stretch in piece.chunks_exact(STRETCH) {
            // Two tables: equal bytes in a row do not wait for each other.
            for pair in stretch[SAMPLED].as_chunks::<2>().0 {
                counts[0][usize::from(pair[0])] += 1;
                counts[1][usize::from(pair[1])] += 1;
            }
            length += SAMPLED.len() as u64;
        }
        let [even, odd] = &counts;
        // How often two sampled bytes are equal: a 256th of all pairs for noise, a 25th for English text.
        let equal: u64 = even.iter().zip(odd).map(|(even, odd)| u64::from(even + odd).pow(2)).sum();
        let pairs = length * length;
        match equal * 1000 {
            _ if length == 0 => Self::Ordinary,
            // The pairs of a byte with itself count too: 1 in `length`.
            share if share < pairs * 9 / 2 + length * 1000 => Self::Noise,
            share if (pairs * 38..pairs * 120).contains(&share) => Self::Uneven,
            _ => Self::Ordinary,
        }
    }
}

/// The encoder of the default level.
pub(crate) struct BalancedDeflate {
    fast: FastDeflate,
    ordinary: Compressor,
    thorough: Compressor,
}

impl BalancedDeflate {
    pub(crate) fn new() -> Self {
        let level = |number| Compressor::new(CompressionLvl::new(number).unwrap_or_default());
        Self { fast: FastDeflate::new(), ordinary: level(ORDINARY), thorough: level(THOROUGH) }
    }

    /// Returns the room that [`BalancedDeflate::compress`] needs for `length` bytes.
    pub(crate) fn bound(&mut self, length: usize) -> usize {
        let search = self.ordinary.deflate_compress_bound(length).max(self.thorough.deflate_compress_bound(length));
        search.max(FastDeflate::bound(length))
    }

    /// Compresses `input` to the front of `out`, which has the room of [`BalancedDeflate::bound`]; returns the bytes used.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Result<usize> {
        let texture = Texture::of(input);
        if texture == Texture::Noise {
            let length = self.fast.compress(input, out);
            if length + input.len() / HOPE > input.len() {
                return Ok(length);
            }
        }
        let compressor = if texture == Texture::Uneven { &mut self.thorough } else { &mut self.ordinary };
        compressor.deflate_compress(input, out).map_err(|_| room_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes without a pattern, the same each time.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let step = |_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        (0..length).map(step).collect()
    }

    fn text(length: usize) -> Vec<u8> {
        b"The quick brown fox jumps over the lazy dog; nobody knows why it does so. "
            .iter()
            .copied()
            .cycle()
            .take(length)
            .collect()
    }

    fn compressed(input: &[u8]) -> Vec<u8> {
        let mut encoder = BalancedDeflate::new();
        let mut out = vec![0; encoder.bound(input.len())];
        let length = encoder.compress(input, &mut out).expect("the room is enough");
        out.truncate(length);
        out
    }

    #[test]
    fn textures_are_told_apart() {
        assert_eq!(Texture::of(&noise(65536)), Texture::Noise);
        assert_eq!(Texture::of(&noise(1 << 20)), Texture::Noise);
        assert_eq!(Texture::of(&text(65536)), Texture::Uneven);
        // Every value as often as the others, but half as many of them.
        let half: Vec<u8> = noise(65536).iter().map(|byte| byte & 0x7f).collect();
        assert_eq!(Texture::of(&half), Texture::Ordinary);
        // Nothing to sample.
        assert_eq!(Texture::of(&noise(STRETCH - 1)), Texture::Ordinary);
    }

    #[test]
    fn every_texture_comes_back() {
        // Repetitions that a sample of values does not see, and noise between text.
        let repeated = noise(8192).repeat(8);
        let mixed = [text(20_000), noise(25_000), text(20_536)].concat();
        for input in [noise(65536), text(65536), repeated.clone(), mixed, vec![7; 4096], Vec::new()] {
            let packed = compressed(&input);
            let mut back = vec![0; input.len()];
            let length =
                libdeflater::Decompressor::new().deflate_decompress(&packed, &mut back).expect("a whole stream");
            assert_eq!((length, &back), (input.len(), &input));
        }
        assert!(compressed(&repeated).len() < 9000, "noise that is repeated is searched after all");
        assert!(compressed(&noise(65536)).len() <= 65536 + 16, "noise is stored");
    }
}
