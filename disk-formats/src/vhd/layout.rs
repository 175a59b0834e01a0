//! The bytes of a VHD: footer and dynamic header (spec: "Hard Disk Footer Format", "Dynamic Disk Header Format").

use zerocopy::byteorder::{BE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of the footer (spec).
pub(crate) const COOKIE: [u8; 8] = *b"conectix";
/// First eight bytes of the dynamic header (spec).
pub(crate) const DYNAMIC_COOKIE: [u8; 8] = *b"cxsparse";
/// Table entry of a block that is not there (spec).
pub(crate) const UNUSED: u32 = 0xffff_ffff;
/// Unit of offsets in the table in bytes (spec).
pub(crate) const SECTOR: u64 = 512;
/// Guest bytes of a block that everybody uses (spec's default).
pub(crate) const BLOCK: u64 = 2 << 20;
/// Largest guest disk in bytes: 2040 GiB (Hyper-V's and Virtual PC's limit).
pub(crate) const MAX_SIZE: u64 = 2040 << 30;

/// Disk types (spec).
pub(crate) struct DiskType;

impl DiskType {
    /// All bytes in the file.
    pub(crate) const FIXED: u32 = 2;
    /// Grows as it is written.
    pub(crate) const DYNAMIC: u32 = 3;
    /// Holds what differs from a parent.
    pub(crate) const DIFFERENCING: u32 = 4;
}

/// Ends every file; a copy starts dynamic ones (spec).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Footer {
    /// [`COOKIE`].
    pub(crate) cookie: [u8; 8],
    /// 2: a bit that is always set.
    pub(crate) features: U32<BE>,
    /// 1.0.
    pub(crate) version: U32<BE>,
    /// Offset of the dynamic header, all ones for fixed disks.
    pub(crate) data_offset: U64<BE>,
    /// Seconds since 2000-01-01 UTC.
    pub(crate) timestamp: U32<BE>,
    /// The tool that wrote it; readers decide by it which size counts.
    pub(crate) creator: [u8; 4],
    /// The tool's version.
    pub(crate) creator_version: U32<BE>,
    /// `Wi2k` or `Mac `.
    pub(crate) creator_host: [u8; 4],
    /// Guest disk in bytes when made.
    pub(crate) original_size: U64<BE>,
    /// Guest disk in bytes now.
    pub(crate) current_size: U64<BE>,
    /// Cylinders.
    pub(crate) cylinders: U16<BE>,
    /// Heads.
    pub(crate) heads: u8,
    /// Sectors per track.
    pub(crate) sectors: u8,
    /// See [`DiskType`].
    pub(crate) disk_type: U32<BE>,
    /// Ones' complement of the sum of all other bytes.
    pub(crate) checksum: U32<BE>,
    /// Identifies the disk.
    pub(crate) uuid: [u8; 16],
    /// 1 when a machine's state is saved with it.
    pub(crate) saved_state: u8,
    /// Zero.
    pub(crate) padding: [u8; 427],
}

const _: () = assert!(size_of::<Footer>() == SECTOR as usize);

/// Follows the footer's copy in dynamic disks (spec).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct DynamicHeader {
    /// [`DYNAMIC_COOKIE`].
    pub(crate) cookie: [u8; 8],
    /// All ones.
    pub(crate) data_offset: U64<BE>,
    /// Offset of the block table.
    pub(crate) table_offset: U64<BE>,
    /// 1.0.
    pub(crate) version: U32<BE>,
    /// Entries of the table.
    pub(crate) entries: U32<BE>,
    /// Guest bytes of a block.
    pub(crate) block_size: U32<BE>,
    /// Ones' complement of the sum of all other bytes.
    pub(crate) checksum: U32<BE>,
    /// The parent's identity.
    pub(crate) parent_uuid: [u8; 16],
    /// When the parent was changed last.
    pub(crate) parent_timestamp: U32<BE>,
    /// Zero.
    pub(crate) reserved: U32<BE>,
    /// The parent's file name, UTF-16 big-endian.
    pub(crate) parent_name: [u8; 512],
    /// Where the parent may be found.
    pub(crate) parent_locators: [ParentLocator; 8],
    /// Zero.
    pub(crate) padding: [u8; 256],
}

const _: () = assert!(size_of::<DynamicHeader>() == 1024);

/// One way to find the parent (spec).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ParentLocator {
    /// `W2ru`: relative path in UTF-16 little-endian; `W2ku`: absolute.
    pub(crate) platform: [u8; 4],
    /// Bytes kept for it (some tools: sectors).
    pub(crate) space: U32<BE>,
    /// Bytes of it.
    pub(crate) length: U32<BE>,
    /// 0.
    pub(crate) reserved: U32<BE>,
    /// Offset in the file.
    pub(crate) offset: U64<BE>,
}

/// Version 1.0 of footer and header (spec).
pub(crate) const VERSION: u32 = 0x0001_0000;

/// Returns the checksum of a structure whose checksum field is zero.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)))
}
