//! The bytes of a VDI header. **vendor** is VirtualBox's src/VBox/Storage/VDICore.h, **practice** what it and QEMU write.

use zerocopy::byteorder::{LE, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Text at the front of the file; nobody checks it (vendor).
pub(crate) const TEXT: &[u8] = b"<<< Oracle VM VirtualBox Disk Image >>>\n";
/// Offset of the signature (vendor).
pub(crate) const MAGIC_OFFSET: usize = 0x40;
/// Signature (vendor).
pub(crate) const MAGIC: u32 = 0xbeda_107f;
/// Version 1.1 (vendor).
pub(crate) const VERSION_1_1: u32 = 0x0001_0001;
/// Length of the header behind the version, with the logical geometry (vendor).
pub(crate) const HEADER_LENGTH: u32 = 0x190;
/// Unit of allocation that everybody uses in bytes (practice).
pub(crate) const BLOCK: u64 = 1 << 20;
/// Map entry: not allocated (vendor).
pub(crate) const FREE: u32 = 0xffff_ffff;
/// Map entry: zeroes (vendor).
pub(crate) const ZERO: u32 = 0xffff_fffe;
/// Most blocks of a disk (qemu's VDI_BLOCKS_IN_IMAGE_MAX).
pub(crate) const MAX_BLOCKS: u32 = 0x3fff_ffff;

/// Image types (vendor).
pub(crate) struct ImageType;

impl ImageType {
    /// Grows as it is written.
    pub(crate) const DYNAMIC: u32 = 1;
    /// All blocks allocated.
    pub(crate) const FIXED: u32 = 2;
    /// Made anew at each start.
    pub(crate) const UNDO: u32 = 3;
    /// Holds what differs from a parent.
    pub(crate) const DIFFERENCING: u32 = 4;
}

/// Everything from the front of the file on (vendor).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`TEXT`], zero-padded.
    pub(crate) text: [u8; 64],
    /// [`MAGIC`].
    pub(crate) magic: U32<LE>,
    /// [`VERSION_1_1`].
    pub(crate) version: U32<LE>,
    /// [`HEADER_LENGTH`], or 0x180 from QEMU.
    pub(crate) length: U32<LE>,
    /// See [`ImageType`].
    pub(crate) image_type: U32<LE>,
    /// 0.
    pub(crate) flags: U32<LE>,
    /// For people.
    pub(crate) comment: [u8; 256],
    /// Offset of the block map in bytes.
    pub(crate) map_offset: U32<LE>,
    /// Offset of the first block in bytes.
    pub(crate) data_offset: U32<LE>,
    /// Cylinders, heads, sectors, unused since 1.1.
    pub(crate) old_geometry: [U32<LE>; 3],
    /// 512.
    pub(crate) sector_size: U32<LE>,
    /// 0.
    pub(crate) unused: U32<LE>,
    /// Guest disk in bytes.
    pub(crate) disk_size: U64<LE>,
    /// Bytes of a block.
    pub(crate) block_size: U32<LE>,
    /// Bytes before each block's data, 0 in practice.
    pub(crate) block_extra: U32<LE>,
    /// Entries of the block map.
    pub(crate) blocks: U32<LE>,
    /// Blocks in the file.
    pub(crate) allocated: U32<LE>,
    /// Identifies the image; VirtualBox refuses two with the same.
    pub(crate) uuid: [u8; 16],
    /// Changes with the content.
    pub(crate) modification_uuid: [u8; 16],
    /// The parent, zero for none.
    pub(crate) parent_uuid: [u8; 16],
    /// The parent's modification, zero for none.
    pub(crate) parent_modification_uuid: [u8; 16],
    /// Logical cylinders, heads, sectors, sector size.
    pub(crate) logical_geometry: [U32<LE>; 4],
}

const _: () = assert!(size_of::<Header>() == 0x1d8);
const _: () = assert!(std::mem::offset_of!(Header, map_offset) == 0x154);
const _: () = assert!(std::mem::offset_of!(Header, disk_size) == 0x170);
const _: () = assert!(std::mem::offset_of!(Header, uuid) == 0x188);
