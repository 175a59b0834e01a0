//! Runs of guest bytes of one kind, and clipping what is asked to the disk.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Operation, Result};

/// What a run of guest bytes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Stored bytes; they may still all be zero.
    Data,
    /// Recorded as zeroes; reads as zeroes whatever is below it.
    Zero,
    /// Not allocated anywhere in the chain; reads as zeroes.
    Hole,
}

/// A run of guest bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Guest offset in bytes.
    pub offset: u64,
    /// Length in bytes; never 0.
    pub len: u64,
    /// What the run holds.
    pub kind: ExtentKind,
}

impl Extent {
    /// Returns the guest offset just after the run.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// Checks the asked range against the disk and clips it; `None` when nothing of it lies inside.
pub(crate) fn clip(range: &Range<u64>, virtual_size: u64) -> Option<Range<u64>> {
    let end = range.end.min(virtual_size);
    (range.start < end).then_some(range.start..end)
}

/// Splits a read at the end of the disk: zero-fills what lies behind it and returns the part to be read.
pub(crate) fn clip_read(offset: u64, buf: &mut [u8], virtual_size: u64) -> Result<&mut [u8]> {
    let end = offset
        .checked_add(buf.len() as u64)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, Operation::Read, "the range is past the largest offset"))?;
    if end <= virtual_size {
        return Ok(buf);
    }
    let inside = usize::try_from(virtual_size.saturating_sub(offset)).unwrap_or(buf.len()).min(buf.len());
    let (inside, outside) = buf.split_at_mut(inside);
    outside.fill(0);
    Ok(inside)
}

/// Appends an extent, joining it to the last one when both are of one kind.
pub(crate) fn push_extent(extents: &mut Vec<Extent>, extent: Extent) {
    if extent.len == 0 {
        return;
    }
    match extents.last_mut() {
        Some(last) if last.kind == extent.kind && last.end() == extent.offset => last.len += extent.len,
        _ => extents.push(extent),
    }
}
