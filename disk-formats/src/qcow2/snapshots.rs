//! The table of internal snapshots.

use zerocopy::byteorder::{BE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::header::CheckedHeader;
use super::layout::Header;
use crate::error::{Error, ErrorKind, Result};
use crate::reading::format_facts::Snapshot;
use crate::reading::source_file::SourceFile;

/// Most extra data of a snapshot in bytes (qemu's QCOW_MAX_SNAPSHOT_EXTRA_DATA).
const MAX_EXTRA: u32 = 1024;

/// Snapshots named when one is not found.
const MAX_NAMES: usize = 20;

/// Where a snapshot's L1 table is.
#[derive(Debug, Clone, Copy)]
pub(super) struct SnapshotL1 {
    pub(super) offset: u64,
    pub(super) entries: u32,
    /// Guest bytes when it was taken, where it says so.
    pub(super) size: Option<u64>,
}

/// The fixed part of an entry (spec).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry {
    l1_offset: U64<BE>,
    l1_entries: U32<BE>,
    id_length: U16<BE>,
    name_length: U16<BE>,
    seconds: U32<BE>,
    nanoseconds: U32<BE>,
    vm_clock: U64<BE>,
    vm_state_size: U32<BE>,
    extra_length: U32<BE>,
}

const _: () = assert!(size_of::<Entry>() == 40);

/// Lists the snapshots of an image.
pub(crate) fn list(file: &SourceFile) -> Result<Vec<Snapshot>> {
    let header = CheckedHeader::read_encrypted_too(file)?;
    let mut snapshots = Vec::new();
    walk(file, table_offset(file)?, header.snapshots, |snapshot, _| snapshots.push(snapshot))?;
    Ok(snapshots)
}

/// Returns the header as it was when a snapshot was taken, found by its id or else by its name.
pub(super) fn header_of(file: &SourceFile, header: &CheckedHeader, wanted: &str) -> Result<CheckedHeader> {
    let start = table_offset(file)?;
    let (mut by_id, mut by_name, mut known) = (None, None, Vec::new());
    walk(file, start, header.snapshots, |snapshot, l1| {
        by_id = by_id.or_else(|| (snapshot.id == wanted).then_some(l1));
        by_name = by_name.or_else(|| (snapshot.name == wanted).then_some(l1));
        if known.len() < MAX_NAMES {
            known.push(format!("{:?}", snapshot.name));
        }
    })?;
    let Some(l1) = by_id.or(by_name) else {
        let error = file.error(ErrorKind::InvalidInput, format!("the image has no snapshot {wanted:?}")).at(start);
        return Err(match known.is_empty() {
            true => error.with_hint("it has none at all"),
            false => error.with_hint(format!("it has {}", known.join(", "))),
        });
    };
    let size = l1.size.unwrap_or(header.size);
    let taken = CheckedHeader { l1_offset: l1.offset, l1_entries: l1.entries, size, ..header.clone() };
    taken.check_l1(file)?;
    Ok(taken)
}

fn table_offset(file: &SourceFile) -> Result<u64> {
    let mut bytes = [0; size_of::<Header>()];
    file.read_padded_at(0, &mut bytes)?;
    let header = Header::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no qcow2 header"))?;
    Ok(header.snapshots_offset.get())
}

/// Visits `count` snapshots from `start` on; returns the table's length in bytes.
pub(super) fn walk(
    file: &SourceFile,
    start: u64,
    count: u32,
    mut visit: impl FnMut(Snapshot, SnapshotL1),
) -> Result<u64> {
    let mut at = start;
    for _ in 0..count {
        let bytes = file.read_table(at, size_of::<Entry>() as u64, "the snapshot table")?;
        let entry = Entry::read_from_bytes(&bytes).map_err(|_| Error::corrupt("the snapshot table").at(at))?;
        let extra_length = entry.extra_length.get();
        if extra_length > MAX_EXTRA {
            return Err(file.error(ErrorKind::Corrupt, "a snapshot's extra data is longer than 1024 bytes").at(at));
        }
        let (id, name) = (entry.id_length.get() as usize, entry.name_length.get() as usize);
        let tail_at = at + size_of::<Entry>() as u64;
        let tail = file.read_table(tail_at, u64::from(extra_length) + (id + name) as u64, "the snapshot table")?;
        let (extra, names) = tail.split_at(extra_length as usize);
        let field =
            |index: usize| extra.get(index * 8..index * 8 + 8).and_then(|bytes| U64::<BE>::read_from_bytes(bytes).ok());
        let snapshot = Snapshot {
            id: super::header::printable(&names[..id]),
            name: super::header::printable(&names[id..]),
            vm_state_size: field(0).map_or(u64::from(entry.vm_state_size.get()), U64::get),
            date: (entry.seconds.get(), entry.nanoseconds.get()),
            vm_clock: entry.vm_clock.get(),
            // All ones: not recorded (spec).
            icount: field(2).map(U64::get).filter(|count| *count != u64::MAX),
        };
        let (offset, entries) = (entry.l1_offset.get(), entry.l1_entries.get());
        visit(snapshot, SnapshotL1 { offset, entries, size: field(1).map(U64::get) });
        at = (tail_at + tail.len() as u64).next_multiple_of(8);
    }
    Ok(at - start)
}
