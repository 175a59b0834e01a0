//! What all formats with an allocation map share: a format says where each guest byte is, this says how to read and list it.

use std::ops::Range;

use super::extent::{Extent, ExtentKind, clip, clip_read, push_extent};
use super::map::{self, MapEntry};
use super::reader::DiskReader;
use crate::error::Result;

/// Extents returned at once.
const MAX_EXTENTS: usize = 4096;
/// Table entries looked at in one call: without a limit a hostile image, whose many tables are all one empty one, could keep
/// a call busy for hours.
pub(crate) const MAX_STEPS: usize = 1 << 16;

/// Where guest bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing here: the disk below decides, or it is zero.
    Unallocated,
    /// Zeroes, whatever is below.
    Zero,
    /// Stored; the number means something to the format only.
    Stored(u64),
    /// Stored in a hole of the file: it reads as zeroes without being looked at.
    Sparse(u64),
}

/// An image with an allocation map.
pub(crate) trait Mapped: Send + Sync {
    /// Returns where the byte at `guest` (inside the disk) is, and for how many bytes from there on (at least 1) that holds.
    fn place(&self, guest: u64) -> Result<(Place, u64)>;

    /// Reads bytes that are stored; `buf` does not reach past what `place` answered for.
    fn read_stored(&self, stored: u64, guest: u64, buf: &mut [u8]) -> Result<()>;

    /// Returns the disk below, whose bytes show through where nothing is allocated.
    fn below(&self) -> Option<&dyn DiskReader>;

    /// Returns the offset in the file of stored bytes, and whether they are compressed, in which case they have none.
    fn home(&self, stored: u64, guest: u64) -> (Option<u64>, bool);

    /// Says whether QEMU knows disks of this format that lie on another one: in those, nothing allocated is nothing said.
    fn may_have_below(&self) -> bool;
}

/// Implements [`DiskReader::map`].
pub(crate) fn map(image: &impl Mapped, size: u64, range: &Range<u64>) -> Result<Vec<MapEntry>> {
    let mut entries = Vec::new();
    let Some(range) = clip(range, size) else { return Ok(entries) };
    let mut offset = range.start;
    let mut steps = 0;
    while offset < range.end && entries.len() < MAX_EXTENTS && steps < MAX_STEPS {
        steps += 1;
        let (place, len) = image.place(offset)?;
        let part = offset..offset.saturating_add(len).min(range.end);
        let entry = match (place, image.below()) {
            (Place::Unallocated, Some(below)) => {
                let stopped = push_below(below, &part, &mut entries)?;
                if stopped == offset {
                    break;
                }
                offset = stopped;
                continue;
            }
            (Place::Unallocated, None) if image.may_have_below() => MapEntry::hole(&part),
            (Place::Unallocated, None) | (Place::Zero, _) => MapEntry::zero(&part),
            (Place::Stored(stored) | Place::Sparse(stored), _) => {
                let (at, compressed) = image.home(stored, offset);
                let zero = matches!(place, Place::Sparse(_));
                MapEntry { compressed, ..MapEntry::data(&part, at).reading(zero) }
            }
        };
        map::push(&mut entries, entry);
        offset = part.end;
    }
    Ok(entries)
}

/// Adds what the disk below has in `range`; behind its end there is nothing. Returns where it stopped.
pub(crate) fn push_below(below: &dyn DiskReader, range: &Range<u64>, entries: &mut Vec<MapEntry>) -> Result<u64> {
    let mut offset = range.start;
    for entry in below.map(range.clone())? {
        offset = entry.end();
        map::push(entries, MapEntry { depth: entry.depth + 1, ..entry });
    }
    if offset >= below.virtual_size() && offset < range.end {
        map::push(entries, MapEntry::hole(&(offset..range.end)));
        offset = range.end;
    }
    Ok(offset)
}

/// Implements [`DiskReader::extents`].
pub(crate) fn extents(image: &impl Mapped, size: u64, range: &Range<u64>) -> Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let Some(range) = clip(range, size) else { return Ok(extents) };
    let mut offset = range.start;
    let mut steps = 0;
    while offset < range.end && extents.len() < MAX_EXTENTS && steps < MAX_STEPS {
        steps += 1;
        let (place, len) = image.place(offset)?;
        let end = offset.saturating_add(len).min(range.end);
        let kind = match (place, image.below()) {
            (Place::Unallocated, Some(below)) => {
                let stopped = extents_below(below, offset..end, &mut extents)?;
                if stopped == offset {
                    break;
                }
                offset = stopped;
                continue;
            }
            (Place::Unallocated, None) => ExtentKind::Hole,
            (Place::Zero, _) => ExtentKind::Zero,
            (Place::Sparse(_), _) => ExtentKind::Hole,
            (Place::Stored(_), _) => ExtentKind::Data,
        };
        push_extent(&mut extents, Extent { offset, len: end - offset, kind });
        offset = end;
    }
    Ok(extents)
}

/// Adds what the disk below has in `range`; behind its end there is nothing. Returns where it stopped.
fn extents_below(below: &dyn DiskReader, range: Range<u64>, extents: &mut Vec<Extent>) -> Result<u64> {
    let mut offset = range.start;
    for extent in below.extents(range.clone())? {
        push_extent(extents, extent);
        offset = extent.end();
    }
    if offset >= below.virtual_size() && offset < range.end {
        push_extent(extents, Extent { offset, len: range.end - offset, kind: ExtentKind::Hole });
        offset = range.end;
    }
    Ok(offset)
}

/// Implements [`DiskReader::read_at`].
pub(crate) fn read_at(image: &impl Mapped, size: u64, offset: u64, buf: &mut [u8]) -> Result<()> {
    let mut rest = clip_read(offset, buf, size)?;
    let mut offset = offset;
    while !rest.is_empty() {
        let (place, len) = image.place(offset)?;
        let (part, behind) = rest.split_at_mut(len.min(rest.len() as u64) as usize);
        match (place, image.below()) {
            (Place::Zero | Place::Sparse(_), _) | (Place::Unallocated, None) => part.fill(0),
            (Place::Unallocated, Some(below)) => below.read_at(offset, part)?,
            (Place::Stored(stored), _) => image.read_stored(stored, offset, part)?,
        }
        offset += part.len() as u64;
        rest = behind;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk whose every byte has a table entry of its own.
    struct Endless;

    impl Mapped for Endless {
        fn place(&self, _guest: u64) -> Result<(Place, u64)> {
            Ok((Place::Zero, 1))
        }

        fn read_stored(&self, _stored: u64, _guest: u64, _buf: &mut [u8]) -> Result<()> {
            Ok(())
        }

        fn below(&self) -> Option<&dyn DiskReader> {
            None
        }

        fn home(&self, stored: u64, _guest: u64) -> (Option<u64>, bool) {
            (Some(stored), false)
        }

        fn may_have_below(&self) -> bool {
            false
        }
    }

    #[test]
    fn one_call_looks_at_a_bounded_number_of_entries() {
        let answer = extents(&Endless, 1 << 46, &(5..1 << 46)).unwrap();
        assert_eq!(answer, [Extent { offset: 5, len: MAX_STEPS as u64, kind: ExtentKind::Zero }]);
    }
}
