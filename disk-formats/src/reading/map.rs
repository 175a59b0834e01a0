//! Where guest bytes are, in the words of `qemu-img map`.

use std::ops::Range;

use super::extent::{Extent, ExtentKind};

/// A run of guest bytes of one kind that lie one after the other in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapEntry {
    /// Guest offset in bytes.
    pub start: u64,
    /// Length in bytes; never 0.
    pub length: u64,
    /// Images between the one asked and the one that says what is here; 0 is the image itself.
    pub depth: u32,
    /// Whether an image of the chain says what is here; else nothing is allocated anywhere.
    pub present: bool,
    /// Whether it reads as zeroes.
    pub zero: bool,
    /// Whether there is room for it in a file.
    pub data: bool,
    /// Whether it is compressed.
    pub compressed: bool,
    /// Offset in the file, where the bytes lie there as they are.
    pub offset: Option<u64>,
}

impl MapEntry {
    /// Returns the guest offset just after the run.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.length
    }

    /// Stored bytes.
    pub(crate) fn data(range: &Range<u64>, offset: Option<u64>) -> Self {
        Self { present: true, data: true, offset, ..Self::hole(range) }.reading(false)
    }

    /// Zeroes, whatever lies below.
    pub(crate) fn zero(range: &Range<u64>) -> Self {
        Self { present: true, ..Self::hole(range) }
    }

    /// Nothing: allocated nowhere.
    pub(crate) fn hole(range: &Range<u64>) -> Self {
        Self {
            start: range.start,
            length: range.end - range.start,
            depth: 0,
            present: false,
            zero: true,
            data: false,
            compressed: false,
            offset: None,
        }
    }

    /// The same, reading as zeroes or not.
    pub(crate) fn reading(self, zero: bool) -> Self {
        Self { zero, ..self }
    }

    /// Returns whether `next`, which follows, goes on in the same way.
    #[must_use]
    pub fn joins(&self, next: &Self) -> bool {
        let follows = match (self.offset, next.offset) {
            (Some(offset), Some(next)) => offset.checked_add(self.length) == Some(next),
            (offset, next) => offset == next,
        };
        let kind = |entry: &Self| (entry.depth, entry.present, entry.zero, entry.data, entry.compressed);
        self.end() == next.start && kind(self) == kind(next) && follows
    }
}

/// Appends an entry, joined to the last one where it goes on with it.
pub(crate) fn push(entries: &mut Vec<MapEntry>, entry: MapEntry) {
    match entries.last_mut() {
        _ if entry.length == 0 => {}
        Some(last) if last.joins(&entry) => last.length += entry.length,
        _ => entries.push(entry),
    }
}

/// What can be said from an extent alone.
pub(crate) fn from_extent(extent: &Extent) -> MapEntry {
    let range = extent.offset..extent.end();
    match extent.kind {
        ExtentKind::Data => MapEntry::data(&range, None),
        ExtentKind::Zero => MapEntry::zero(&range),
        ExtentKind::Hole => MapEntry::hole(&range),
    }
}
