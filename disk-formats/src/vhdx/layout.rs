//! The bytes of a VHDX (MS-VHDX sections 2.2 to 2.6).

use zerocopy::byteorder::{LE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of the file.
pub(crate) const FILE_SIGNATURE: [u8; 8] = *b"vhdxfile";
/// First four bytes of a header.
pub(crate) const HEADER_SIGNATURE: [u8; 4] = *b"head";
/// First four bytes of a region table.
pub(crate) const REGION_SIGNATURE: [u8; 4] = *b"regi";
/// First eight bytes of the metadata table.
pub(crate) const METADATA_SIGNATURE: [u8; 8] = *b"metadata";

/// Unit of placement in the file in bytes.
pub(crate) const MIB: u64 = 1 << 20;
/// Offsets of the two headers.
pub(crate) const HEADER_OFFSETS: [u64; 2] = [64 << 10, 128 << 10];
/// Bytes of a header that its checksum covers.
pub(crate) const HEADER_SIZE: u64 = 4096;
/// Offsets of the two region tables.
pub(crate) const REGION_OFFSETS: [u64; 2] = [192 << 10, 256 << 10];
/// Bytes of a region table that its checksum covers.
pub(crate) const REGION_SIZE: u64 = 64 << 10;
/// Most entries of a region table.
pub(crate) const MAX_REGIONS: u32 = 2047;
/// Bytes of the metadata table; items come behind it.
pub(crate) const METADATA_TABLE_SIZE: u64 = 64 << 10;
/// Most entries of the metadata table.
pub(crate) const MAX_ITEMS: u16 = 2047;
/// Largest guest disk in bytes.
pub(crate) const MAX_SIZE: u64 = 64 << 40;
/// Block sizes in bytes.
pub(crate) const MIN_BLOCK: u64 = 1 << 20;
/// See [`MIN_BLOCK`].
pub(crate) const MAX_BLOCK: u64 = 256 << 20;
/// Largest log that is replayed in bytes (practice: 1 MiB; the format allows 4 GiB).
pub(crate) const MAX_LOG: u64 = 64 << 20;

/// Parses a UUID's text into its mixed-endian bytes.
const fn guid(text: &[u8; 36]) -> [u8; 16] {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            _ => c - b'a' + 10,
        }
    }
    // Where each byte of the text goes on disk: the first three groups are reversed.
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut bytes = [0; 16];
    let mut at = 0;
    let mut index = 0;
    while index < 16 {
        if text[at] == b'-' {
            at += 1;
        }
        bytes[order[index]] = digit(text[at]) << 4 | digit(text[at + 1]);
        at += 2;
        index += 1;
    }
    bytes
}

/// Parses a UUID's text, which comes from a file, in the same way.
pub(super) fn guid_from_text(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let is_right = |(at, c): (usize, &u8)| match at {
        8 | 13 | 18 | 23 => *c == b'-',
        _ => c.is_ascii_hexdigit(),
    };
    text.iter().enumerate().all(is_right).then(|| guid(&text.map(|c| c.to_ascii_lowercase())))
}

/// Region: block allocation table.
pub(crate) const REGION_BAT: [u8; 16] = guid(b"2dc27766-f623-4200-9d64-115e9bfd4a08");
/// Region: metadata.
pub(crate) const REGION_METADATA: [u8; 16] = guid(b"8b7ca206-4790-4b9a-b8fe-575f050f886e");
/// Item: block size and flags.
pub(crate) const ITEM_FILE_PARAMETERS: [u8; 16] = guid(b"caa16737-fa36-4d43-b3b6-33f0aa44e76b");
/// Item: size of the guest disk.
pub(crate) const ITEM_DISK_SIZE: [u8; 16] = guid(b"2fa54224-cd1b-4876-b211-5dbed83bf4b8");
/// Item: the disk's identity as the guest sees it.
pub(crate) const ITEM_PAGE_83: [u8; 16] = guid(b"beca12ab-b2e6-4523-93ef-c309e000c746");
/// Item: logical sector size.
pub(crate) const ITEM_LOGICAL_SECTOR: [u8; 16] = guid(b"8141bf1d-a96f-4709-ba47-f233a8faab5f");
/// Item: physical sector size.
pub(crate) const ITEM_PHYSICAL_SECTOR: [u8; 16] = guid(b"cda348c7-445d-4471-9cc9-e9885251c556");
/// Item: where the parent is.
pub(crate) const ITEM_PARENT_LOCATOR: [u8; 16] = guid(b"a8d35f2d-b30b-454d-abf7-d3d84834ab0c");

/// One of the two headers; the valid one with the higher sequence number counts.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`HEADER_SIGNATURE`].
    pub(crate) signature: [u8; 4],
    /// CRC-32C of 4 KiB with this field zero.
    pub(crate) checksum: U32<LE>,
    /// Grows with every change of the header.
    pub(crate) sequence: U64<LE>,
    /// Changes with every opening for writing.
    pub(crate) file_write_guid: [u8; 16],
    /// Changes with the guest's content.
    pub(crate) data_write_guid: [u8; 16],
    /// Names the log's valid entries; zero when there is nothing to replay.
    pub(crate) log_guid: [u8; 16],
    /// 0.
    pub(crate) log_version: U16<LE>,
    /// 1.
    pub(crate) version: U16<LE>,
    /// Bytes of the log, a multiple of 1 MiB.
    pub(crate) log_length: U32<LE>,
    /// Offset of the log, a multiple of 1 MiB.
    pub(crate) log_offset: U64<LE>,
}

const _: () = assert!(size_of::<Header>() == 80);

/// Front of a region table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RegionTableHeader {
    /// [`REGION_SIGNATURE`].
    pub(crate) signature: [u8; 4],
    /// CRC-32C of 64 KiB with this field zero.
    pub(crate) checksum: U32<LE>,
    /// Entries that follow.
    pub(crate) entries: U32<LE>,
    /// 0.
    pub(crate) reserved: U32<LE>,
}

/// One region.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct RegionEntry {
    /// One of the `REGION_` identifiers.
    pub(crate) guid: [u8; 16],
    /// Offset, a multiple of 1 MiB.
    pub(crate) offset: U64<LE>,
    /// Length, a multiple of 1 MiB.
    pub(crate) length: U32<LE>,
    /// 1: a reader that does not know the region must refuse the file.
    pub(crate) required: U32<LE>,
}

/// Front of the metadata table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct MetadataTableHeader {
    /// [`METADATA_SIGNATURE`].
    pub(crate) signature: [u8; 8],
    /// 0.
    pub(crate) reserved: U16<LE>,
    /// Entries that follow.
    pub(crate) entries: U16<LE>,
    /// Zero.
    pub(crate) padding: [u8; 20],
}

/// One metadata item.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct MetadataEntry {
    /// One of the `ITEM_` identifiers.
    pub(crate) guid: [u8; 16],
    /// Offset from the region's front, at least 64 KiB.
    pub(crate) offset: U32<LE>,
    /// Length in bytes.
    pub(crate) length: U32<LE>,
    /// See [`ItemFlags`].
    pub(crate) flags: U32<LE>,
    /// 0.
    pub(crate) reserved: U32<LE>,
}

/// Flags of a metadata item.
pub(crate) struct ItemFlags;

impl ItemFlags {
    /// Made by users, not by the system.
    pub(crate) const USER: u32 = 1;
    /// Describes the disk rather than the file.
    pub(crate) const VIRTUAL_DISK: u32 = 2;
    /// A reader that does not know it must refuse the file.
    pub(crate) const REQUIRED: u32 = 4;
}

/// States of a block, the low three bits of a table entry.
pub(crate) struct BlockState;

impl BlockState {
    /// The bits of an entry that hold the state.
    pub(crate) const MASK: u64 = 7;
    /// Never written: zeroes, or the parent's.
    pub(crate) const NOT_PRESENT: u64 = 0;
    /// Contents undefined; read as zeroes.
    pub(crate) const UNDEFINED: u64 = 1;
    /// Zeroes.
    pub(crate) const ZERO: u64 = 2;
    /// Unmapped by the guest: zeroes.
    pub(crate) const UNMAPPED: u64 = 3;
    /// In the file.
    pub(crate) const FULLY_PRESENT: u64 = 6;
    /// Partly in the file, partly the parent's.
    pub(crate) const PARTIALLY_PRESENT: u64 = 7;
}

/// The bits of a table entry that hold the offset: a multiple of 1 MiB.
pub(crate) const BLOCK_OFFSET_MASK: u64 = !(MIB - 1);

/// Returns how many payload blocks come between two bitmap entries of the table.
pub(crate) fn chunk_ratio(block: u64, logical_sector: u64) -> u64 {
    (1 << 23) * logical_sector / block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_mixed_endian() {
        assert_eq!(REGION_BAT[..8], [0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42]);
        assert_eq!(REGION_BAT[8..], [0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08]);
    }
}
