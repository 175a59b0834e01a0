//! A piece of a stream, before and after it is packed.

use flate2::Crc;

/// 1 to 9; `None` is the format's own.
pub(crate) type Level = Option<u8>;

/// A piece of what is packed.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    /// What comes right before it, as far as the format looks back.
    pub(super) before: Vec<u8>,
    pub(super) is_last: bool,
}

/// What became of a piece.
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    /// Of the plain bytes, where the format wants it.
    pub(super) crc: Crc,
}
