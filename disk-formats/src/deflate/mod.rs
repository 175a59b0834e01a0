//! Deflate (RFC 1951) for the levels of compression: which encoder a piece gets, and an encoder of our own for `compression=fast`,
//! several times the speed of zlib's fastest level at a better ratio.
//!
//! ```text
//! piece ─► segments of 64 KiB ─(matcher)─► sequences: literals, then a match ─(huffman)─► codes ─(block)─► bits
//! ```
//!
//! Why not ISA-L, which is faster still: it is C and assembly that needs autotools and nasm to build, and its Rust bindings had
//! their last release in 2024. This one is integer arithmetic without tricks, the same on every processor: one probe of a table
//! of positions per byte, no search, one block with codes of its own per segment.

mod block;
mod effort;
mod huffman;
mod matcher;

pub(crate) use effort::BalancedDeflate;

use block::{BitWriter, write_segment};
use matcher::{Matcher, SEGMENT};

use crate::{Error, ErrorKind, Operation};

/// Bytes of a stored block at most (RFC 1951, 3.2.4).
const MAX_STORED: usize = 65535;
/// Bytes that a stored block adds at most: the block's type, padding, and its length twice.
const STORED_OVERHEAD: usize = 5;
/// Bytes that are written beyond the end before they are corrected.
const SLACK: usize = 8;

/// Whoever compresses gives the room that an encoder asked for, so this does not happen.
pub(crate) fn room_error() -> Error {
    Error::new(ErrorKind::Io, Operation::Convert, "a compressed piece is larger than its bound")
}

/// The encoder with its memory: about 400 KiB, reused for every piece.
pub(crate) struct FastDeflate {
    matcher: Matcher,
}

impl FastDeflate {
    pub(crate) fn new() -> Self {
        Self { matcher: Matcher::new() }
    }

    /// Returns the room that [`FastDeflate::compress`] needs for `length` bytes.
    pub(crate) fn bound(length: usize) -> usize {
        length + (length.div_ceil(MAX_STORED) + length.div_ceil(SEGMENT) + 1) * STORED_OVERHEAD + SLACK
    }

    /// Compresses `input` to the front of `out`, which has the room of [`FastDeflate::bound`]; returns the bytes used.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut [u8]) -> usize {
        debug_assert!(out.len() >= Self::bound(input.len()), "the caller asks for the bound");
        let mut writer = BitWriter::new(out);
        let mut segments = input.chunks(SEGMENT).peekable();
        if segments.peek().is_none() {
            write_segment(&mut writer, &[], &self.matcher.find(&[]), true);
        }
        while let Some(segment) = segments.next() {
            let found = self.matcher.find(segment);
            write_segment(&mut writer, segment, &found, segments.peek().is_none());
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests;
