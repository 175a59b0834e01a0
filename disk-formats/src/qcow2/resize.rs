//! Grows the guest disk of a qcow2 image in place.

use std::fs::OpenOptions;
use std::path::Path;

use zerocopy::byteorder::{BE, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use super::header::CheckedHeader;
use super::layout::{Header, Incompatible, MAX_L1_BYTES};
use super::medium::Medium;
use super::move_l1::move_l1;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::reading::source_file::SourceFile;

/// Sets the size in the header; an L1 table whose clusters have no room for the new entries is moved to the end of the file.
pub(crate) fn resize(path: &Path, new_size: u64) -> Result<()> {
    let source = SourceFile::open(path)?;
    let header = CheckedHeader::read(&source)?;
    let refuse = |kind, rule: &'static str| Error::new(kind, Operation::Resize, rule).with_path(path);
    if new_size < header.size {
        return Err(refuse(ErrorKind::InvalidInput, "the disk would shrink"));
    }
    if header.snapshots != 0 {
        return Err(refuse(ErrorKind::Unsupported, "the image has internal snapshots"));
    }
    if header.backing_name.is_some() {
        return Err(refuse(ErrorKind::Unsupported, "the image has a backing file")
            .with_hint("give the size when the overlay is made"));
    }
    if header.incompatible & (Incompatible::CORRUPT | Incompatible::DIRTY | Incompatible::EXTERNAL_DATA) != 0 {
        return Err(refuse(
            ErrorKind::Unsupported,
            "the image is marked dirty or damaged, or keeps its data elsewhere",
        ));
    }
    if header.autoclear != 0 {
        return Err(refuse(ErrorKind::Unsupported, "the image has bitmaps or other features that follow its size")
            .with_hint("resize it with `qemu-img resize`"));
    }
    if entries(&header, new_size) * 8 > MAX_L1_BYTES {
        return Err(refuse(ErrorKind::TooLarge, "the l1 table would be larger than 32 MiB"));
    }
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|error| Error::io(Operation::Resize, error).with_path(path))?;
    grow(&file, &header, new_size).map_err(|error| error.with_path(path))
}

/// Entries of the L1 table for a disk of `new_size` bytes, never fewer than it has.
fn entries(header: &CheckedHeader, new_size: u64) -> u64 {
    header.l1_entries_for(new_size).max(u64::from(header.l1_entries))
}

/// The header's fields that change when the table stays, which follow each other inside one sector: they change together.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ChangedFields {
    size: U64<BE>,
    encryption: U32<BE>,
    l1_entries: U32<BE>,
}

const _: () = assert!(std::mem::offset_of!(Header, l1_entries) - std::mem::offset_of!(Header, size) == 12);

pub(super) fn grow(file: &dyn Medium, header: &CheckedHeader, new_size: u64) -> Result<()> {
    let entries = entries(header, new_size);
    let room = (u64::from(header.l1_entries) * 8).next_multiple_of(header.cluster_size());
    if entries * 8 > room {
        return move_l1(file, header, entries, new_size);
    }
    let fail = |error| Error::io(Operation::Resize, error);
    let new_entries = vec![0; (entries * 8) as usize - header.l1_entries as usize * 8];
    let end_of_entries = header.l1_offset + u64::from(header.l1_entries) * 8;
    file.write_all_at(&new_entries, end_of_entries).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    // Entries first: a power loss before the header is written leaves zeroes behind a table that does not know them.
    let fields = ChangedFields {
        size: U64::new(new_size),
        encryption: U32::new(header.encryption),
        l1_entries: U32::new(entries as u32),
    };
    file.write_all_at(fields.as_bytes(), std::mem::offset_of!(Header, size) as u64).map_err(fail)?;
    file.sync_all().map_err(fail)
}
