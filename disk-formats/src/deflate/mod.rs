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
mod fast;
mod huffman;
mod matcher;
#[cfg(test)]
mod tests;

pub(crate) use effort::BalancedDeflate;
pub(crate) use fast::{FastDeflate, room_error};
