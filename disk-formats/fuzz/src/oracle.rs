//! What must hold for every image that opens, and for every error.

use std::sync::atomic::AtomicBool;

use kiln_disk_formats::{DiskReader, Error, ErrorKind, Extent, ExtentKind};

/// Most guest bytes read in one call.
const READ: u64 = 16 << 10;
/// Most extents whose content is read.
const EXTENTS: usize = 48;
/// Most guest bytes read in all.
const BUDGET: u64 = 512 << 10;
/// Guest bytes for which extents are asked at once.
const WINDOW: u64 = 256 << 20;
/// Most calls for extents: a disk of 64 TiB with an extent per cluster would never end.
const CALLS: usize = 16;

/// Fails unless the error names what it is about.
pub fn check_error(error: &Error) {
    assert!(error.path().is_some(), "{error} names no file");
    // What the system refuses is about a file that could not be opened; it never gets to see absurd offsets or lengths.
    let refused_by_system = error.kind() == ErrorKind::Io;
    assert!(!refused_by_system || error.operation() == kiln_disk_formats::Operation::Open, "{error:?}");
}

/// Asks an opened image everything, and fails where the answers break the contract of [`DiskReader`].
pub fn examine(reader: &dyn DiskReader) {
    let size = reader.virtual_size();
    assert_eq!(reader.info().virtual_size, size);
    let (mut offset, mut budget, mut examined) = (0, BUDGET, 0);
    for _ in 0..CALLS {
        let Some(extents) = extents(reader, offset, size) else { break };
        for extent in &extents {
            if examined < EXTENTS && budget > 0 {
                budget = budget.saturating_sub(examine_extent(reader, *extent));
                examined += 1;
            }
        }
        match extents.last() {
            Some(last) => offset = last.end(),
            None => break,
        }
    }
    examine_end(reader, size);
    examine_map(reader, size);
    if let Err(error) = reader.refuse_overlaps(&AtomicBool::new(false)) {
        check_error(&error);
    }
}

/// Looks at a map's front: it covers what was asked in order, and says nothing that cannot be.
fn examine_map(reader: &dyn DiskReader, size: u64) {
    let range = 0..size.min(WINDOW);
    let entries = match reader.map(range.clone()) {
        Ok(entries) => entries,
        Err(error) => return check_error(&error),
    };
    assert_eq!(entries.is_empty(), range.is_empty());
    let mut next = 0;
    for entry in &entries {
        assert!(entry.start == next && entry.length > 0, "{entries:?}");
        next = entry.start.checked_add(entry.length).expect("an entry ends inside the disk");
        assert!(entry.present || entry.zero, "{entry:?}");
        assert!(!(entry.compressed && entry.offset.is_some()), "{entry:?}");
    }
    assert!(next <= range.end, "{entries:?}");
}

/// Returns the extents from `offset` on; `None` at the end, and when there is an error.
fn extents(reader: &dyn DiskReader, offset: u64, size: u64) -> Option<Vec<Extent>> {
    let end = size.min(offset.saturating_add(WINDOW));
    let answer = reader.extents(offset..end);
    match (&answer, reader.extents(offset..end)) {
        (Ok(first), Ok(second)) => assert_eq!(first, &second, "asked twice"),
        (Err(first), Err(second)) => {
            assert_eq!(first.kind(), second.kind());
            check_error(first);
        }
        (first, second) => panic!("asked twice: {first:?}, {second:?}"),
    }
    let extents = answer.ok()?;
    if offset >= size {
        assert!(extents.is_empty());
        return None;
    }
    assert!(!extents.is_empty(), "no extents at {offset:#x} of {size:#x}");
    let mut next = offset;
    for extent in &extents {
        assert_eq!(extent.offset, next, "{extents:?}");
        assert!(extent.len > 0, "{extents:?}");
        next = extent.offset.checked_add(extent.len).expect("an extent ends inside the disk");
    }
    assert!(next <= end, "{extents:?}");
    Some(extents)
}

/// Reads an extent's front, or all of it; returns how much.
fn examine_extent(reader: &dyn DiskReader, extent: Extent) -> u64 {
    let len = extent.len.min(READ);
    let Some(bytes) = read(reader, extent.offset, len as usize) else {
        assert_eq!(extent.kind, ExtentKind::Data, "what is not stored can always be read");
        return len;
    };
    if extent.kind != ExtentKind::Data {
        assert!(bytes.iter().all(|byte| *byte == 0), "{extent:?} is not zero");
    }
    // Pieces that end in the middle of clusters are the same bytes.
    let split = len / 3 + 1;
    if split < len {
        let front = read(reader, extent.offset, split as usize).expect("a part of what can be read");
        let back = read(reader, extent.offset + split, (len - split) as usize).expect("a part of what can be read");
        assert!(bytes == [front, back].concat(), "{extent:?} read in two pieces");
    }
    len
}

/// Reads twice, into buffers that hold different bytes.
fn read(reader: &dyn DiskReader, offset: u64, len: usize) -> Option<Vec<u8>> {
    let (mut first, mut second) = (vec![0xaa; len], vec![0x55; len]);
    match (reader.read_at(offset, &mut first), reader.read_at(offset, &mut second)) {
        (Ok(()), Ok(())) => {
            assert!(first == second, "read twice at {offset:#x}");
            Some(first)
        }
        (Err(first), Err(second)) => {
            assert_eq!(first.kind(), second.kind());
            check_error(&first);
            None
        }
        (first, second) => panic!("read twice at {offset:#x}: {first:?}, {second:?}"),
    }
}

/// Reads over the disk's end and behind it.
fn examine_end(reader: &dyn DiskReader, size: u64) {
    let start = size.saturating_sub(100);
    if let Some(bytes) = read(reader, start, 4096) {
        let inside = (size - start) as usize;
        assert!(bytes[inside..].iter().all(|byte| *byte == 0), "there is something behind the end");
    }
    let mut behind = [0xaa; 16];
    reader.read_at(size, &mut behind).expect("behind the end there are zeroes");
    assert_eq!(behind, [0; 16]);
    assert!(reader.extents(size..u64::MAX).is_ok_and(|extents| extents.is_empty()));
}

/// Fails unless both disks hold the same bytes; formats that count in sectors round a size up.
pub fn assert_same(reader: &dyn DiskReader, wanted: &dyn DiskReader) {
    let (size, wanted_size) = (reader.virtual_size(), wanted.virtual_size());
    assert!(size == wanted_size || size == wanted_size.next_multiple_of(512), "{size} bytes instead of {wanted_size}");
    let comparison =
        kiln_disk_formats::compare(reader, wanted, &kiln_disk_formats::NoProgress).expect("both can be read");
    assert!(comparison.first_difference.is_none(), "{comparison:?}");
}
