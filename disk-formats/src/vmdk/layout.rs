//! The bytes of a sparse VMDK extent. **spec** is VMware's "Virtual Disk Format 5.0", **practice** what VMware's, VirtualBox's
//! and QEMU's readers accept in common.

use zerocopy::byteorder::{LE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Unit of all offsets and sizes in bytes (spec).
pub(crate) const SECTOR: u64 = 512;
/// First four bytes, `KDMV` in the file (spec).
pub(crate) const MAGIC: [u8; 4] = *b"KDMV";
/// Sectors of a grain that every reader supports (practice).
pub(crate) const GRAIN_SECTORS: u64 = 128;
/// Bytes of such a grain.
pub(crate) const GRAIN: u64 = GRAIN_SECTORS * SECTOR;
/// Entries of a grain table (spec).
pub(crate) const TABLE_ENTRIES: u64 = 512;
/// Guest bytes that one grain table covers: 32 MiB.
pub(crate) const TABLE_SPAN: u64 = TABLE_ENTRIES * GRAIN;
/// Sectors of a grain table.
pub(crate) const TABLE_SECTORS: u64 = TABLE_ENTRIES * 4 / SECTOR;
/// Sector of the embedded descriptor (practice).
pub(crate) const DESCRIPTOR_OFFSET: u64 = 1;
/// Sectors kept for the embedded descriptor, which VirtualBox extends in place (practice).
pub(crate) const DESCRIPTOR_SECTORS: u64 = 20;
/// `gdOffset` of a file whose grain directory is found through the footer (spec).
pub(crate) const DIRECTORY_AT_END: u64 = u64::MAX;
/// Largest file in bytes: tables hold 32-bit sector numbers (spec).
pub(crate) const MAX_FILE: u64 = (u32::MAX as u64) * SECTOR;

/// Largest disk in bytes, whatever its files could hold: VMware's configuration maximum since vSphere 5.5 (vendor).
pub(crate) const MAX_DISK: u64 = 62 << 40;

/// Header flags (spec).
pub(crate) struct Flags;

impl Flags {
    /// The newline bytes are valid.
    pub(crate) const NEWLINES: u32 = 1 << 0;
    /// There is a redundant grain directory.
    pub(crate) const REDUNDANT: u32 = 1 << 1;
    /// Table entry 1 stands for a grain of zeroes.
    pub(crate) const ZEROED_GRAINS: u32 = 1 << 2;
    /// Grains are compressed.
    pub(crate) const COMPRESSED: u32 = 1 << 16;
    /// Grains and tables are preceded by markers.
    pub(crate) const MARKERS: u32 = 1 << 17;
}

/// Compression algorithm: none (spec).
pub(crate) const COMPRESSION_NONE: u16 = 0;
/// Compression algorithm: deflate in zlib's frame (spec says RFC 1951, practice is RFC 1950).
pub(crate) const COMPRESSION_DEFLATE: u16 = 1;

/// Header of a sparse extent, and the footer of a stream-optimized one (spec).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SparseHeader {
    /// [`MAGIC`].
    pub(crate) magic: [u8; 4],
    /// 1 plain, 2 with zeroed grains, 3 stream-optimized. VirtualBox accepts 1 and 3 only.
    pub(crate) version: U32<LE>,
    /// See [`Flags`].
    pub(crate) flags: U32<LE>,
    /// Guest disk in sectors; 0 means that only the descriptor counts.
    pub(crate) capacity: U64<LE>,
    /// Sectors of a grain: a power of two.
    pub(crate) grain_sectors: U64<LE>,
    /// Sector of the embedded descriptor, 0 for none.
    pub(crate) descriptor_offset: U64<LE>,
    /// Sectors of the embedded descriptor.
    pub(crate) descriptor_sectors: U64<LE>,
    /// Entries of a grain table; 512 in practice.
    pub(crate) table_entries: U32<LE>,
    /// Sector of the redundant grain directory, 0 for none.
    pub(crate) redundant_directory: U64<LE>,
    /// Sector of the grain directory, or [`DIRECTORY_AT_END`].
    pub(crate) directory: U64<LE>,
    /// First sector of grains (plain) or of the first marker (stream).
    pub(crate) overhead: U64<LE>,
    /// 1 while a writer has the file open.
    pub(crate) unclean: u8,
    /// `\n \r\n`: damaged when the file went through a text-mode transfer.
    pub(crate) newlines: [u8; 4],
    /// See `COMPRESSION_`.
    pub(crate) compression: U16<LE>,
    /// Zero.
    pub(crate) padding: [u8; 433],
}

const _: () = assert!(size_of::<SparseHeader>() == SECTOR as usize);

impl SparseHeader {
    /// Returns a plain extent's header without tables; the caller fills in the rest.
    pub(crate) fn new(capacity_sectors: u64) -> Self {
        Self {
            magic: MAGIC,
            version: U32::new(1),
            flags: U32::new(Flags::NEWLINES),
            capacity: U64::new(capacity_sectors),
            grain_sectors: U64::new(GRAIN_SECTORS),
            descriptor_offset: U64::new(DESCRIPTOR_OFFSET),
            descriptor_sectors: U64::new(DESCRIPTOR_SECTORS),
            table_entries: U32::new(TABLE_ENTRIES as u32),
            redundant_directory: U64::ZERO,
            directory: U64::ZERO,
            overhead: U64::ZERO,
            unclean: 0,
            newlines: *b"\n \r\n",
            compression: U16::new(COMPRESSION_NONE),
            padding: [0; 433],
        }
    }
}

/// What precedes a compressed grain (spec); the data follows at once, padded to a sector.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct GrainMarker {
    /// First guest sector of the grain.
    pub(crate) sector: U64<LE>,
    /// Bytes of compressed data; never 0, which is what tells it from other markers.
    pub(crate) size: U32<LE>,
}

const _: () = assert!(size_of::<GrainMarker>() == 12);

/// What precedes tables and the footer (spec); one sector.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct MetadataMarker {
    /// Sectors that follow, without the marker itself.
    pub(crate) sectors: U64<LE>,
    /// 0.
    pub(crate) size: U32<LE>,
    /// See `MARKER_`.
    pub(crate) kind: U32<LE>,
    /// Zero.
    pub(crate) padding: [u8; 496],
}

const _: () = assert!(size_of::<MetadataMarker>() == SECTOR as usize);

/// End of the stream (spec).
pub(crate) const MARKER_END: u32 = 0;
/// A grain table follows (spec).
pub(crate) const MARKER_TABLE: u32 = 1;
/// The grain directory follows (spec).
pub(crate) const MARKER_DIRECTORY: u32 = 2;
/// The footer follows (spec).
pub(crate) const MARKER_FOOTER: u32 = 3;

impl MetadataMarker {
    pub(crate) fn new(kind: u32, sectors: u64) -> Self {
        Self { sectors: U64::new(sectors), size: U32::ZERO, kind: U32::new(kind), padding: [0; 496] }
    }
}

/// First four bytes of ESX's copy-on-write file (practice).
pub(crate) const COWD_MAGIC: [u8; 4] = *b"COWD";

/// Header of ESX's copy-on-write file, as far as readers need it (practice).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct CowdHeader {
    /// [`COWD_MAGIC`].
    pub(crate) magic: [u8; 4],
    /// 1.
    pub(crate) version: U32<LE>,
    /// 3.
    pub(crate) flags: U32<LE>,
    /// Guest disk in sectors.
    pub(crate) sectors: U32<LE>,
    /// Sectors of a grain.
    pub(crate) grain_sectors: U32<LE>,
    /// Sector of the grain directory.
    pub(crate) directory: U32<LE>,
    /// Entries of the grain directory; each table has 4096.
    pub(crate) directory_entries: U32<LE>,
    /// Next free sector.
    pub(crate) free_sector: U32<LE>,
}

/// First eight bytes of ESX's space-efficient sparse file (practice).
pub(crate) const SESPARSE_MAGIC: u64 = 0xcafe_babe;

/// Constant header of ESX's space-efficient sparse file (practice: qemu's block/vmdk.c).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct SeSparseHeader {
    /// [`SESPARSE_MAGIC`].
    pub(crate) magic: U64<LE>,
    /// 0x2_0000_0001.
    pub(crate) version: U64<LE>,
    /// Guest disk in sectors.
    pub(crate) capacity: U64<LE>,
    /// Sectors of a grain: 8.
    pub(crate) grain_sectors: U64<LE>,
    /// Sectors of a grain table: 64.
    pub(crate) table_sectors: U64<LE>,
    /// 0.
    pub(crate) flags: U64<LE>,
    /// 0.
    pub(crate) reserved: [U64<LE>; 4],
    /// Sector and length of the volatile header.
    pub(crate) volatile: [U64<LE>; 2],
    /// Sector and length of the journal header.
    pub(crate) journal_header: [U64<LE>; 2],
    /// Sector and length of the journal.
    pub(crate) journal: [U64<LE>; 2],
    /// Sector and length of the grain directory.
    pub(crate) directory: [U64<LE>; 2],
    /// Sector and length of the grain tables.
    pub(crate) tables: [U64<LE>; 2],
    /// Sector and length of the free bitmap.
    pub(crate) free_bitmap: [U64<LE>; 2],
    /// Sector and length of the back map.
    pub(crate) back_map: [U64<LE>; 2],
    /// Sector and length of the grains.
    pub(crate) grains: [U64<LE>; 2],
}

/// First eight bytes of the volatile header (practice).
pub(crate) const SESPARSE_VOLATILE_MAGIC: u64 = 0xcafe_cafe;
