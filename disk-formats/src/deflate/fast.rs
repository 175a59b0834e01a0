//! The fast encoder: segments that get codes of their own, one after the other.

use super::block::{BitWriter, MAX_STORED, SLACK, write_segment};
use super::matcher::{Matcher, SEGMENT};
use crate::error::{Error, ErrorKind, Operation};

/// Bytes that a stored block adds at most: the block's type, padding, and its length twice.
const STORED_OVERHEAD: usize = 5;

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
