//! The bytes of a qcow2 file: header, extensions and limits. **spec** is QEMU's docs/interop/qcow2.rst, **qemu** its practice.

use zerocopy::byteorder::{BE, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First four bytes (spec).
pub(crate) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// The header up to and including the fields that version 3 added (spec). Version 2 ends at `incompatible`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// [`MAGIC`].
    pub(crate) magic: [u8; 4],
    /// 2 or 3.
    pub(crate) version: U32<BE>,
    /// Offset of the backing file's name in this file; 0 for none. Not terminated by a zero byte.
    pub(crate) backing_offset: U64<BE>,
    /// Length of that name in bytes, at most [`MAX_BACKING_NAME`].
    pub(crate) backing_length: U32<BE>,
    /// Log2 of the cluster size in bytes: 9 to 21.
    pub(crate) cluster_bits: U32<BE>,
    /// Size of the guest disk in bytes.
    pub(crate) size: U64<BE>,
    /// 0 none, 1 AES, 2 LUKS.
    pub(crate) encryption: U32<BE>,
    /// Entries of the L1 table.
    pub(crate) l1_entries: U32<BE>,
    /// Offset of the L1 table; a multiple of the cluster size.
    pub(crate) l1_offset: U64<BE>,
    /// Offset of the reference count table; a multiple of the cluster size.
    pub(crate) refcount_table_offset: U64<BE>,
    /// Clusters of the reference count table.
    pub(crate) refcount_table_clusters: U32<BE>,
    /// Internal snapshots.
    pub(crate) snapshots: U32<BE>,
    /// Offset of the snapshot table.
    pub(crate) snapshots_offset: U64<BE>,
    /// Feature bits that a reader must know, see [`Incompatible`].
    pub(crate) incompatible: U64<BE>,
    /// Feature bits that may be ignored.
    pub(crate) compatible: U64<BE>,
    /// Feature bits that a writer must clear when it does not know them.
    pub(crate) autoclear: U64<BE>,
    /// Log2 of the width of a reference count in bits: 0 to 6; 4 in version 2.
    pub(crate) refcount_order: U32<BE>,
    /// Length of the header in bytes; extensions follow.
    pub(crate) header_length: U32<BE>,
}

const _: () = assert!(size_of::<Header>() == 104);

/// Length of the version 2 header in bytes (spec).
pub(crate) const V2_HEADER_LENGTH: usize = 72;

/// Offset of the compression type byte, present when the header is longer than this (spec).
pub(crate) const COMPRESSION_TYPE_OFFSET: usize = 104;

/// Incompatible feature bits (spec).
pub(crate) struct Incompatible;

impl Incompatible {
    /// Reference counts may be wrong; irrelevant to readers.
    pub(crate) const DIRTY: u64 = 1 << 0;
    /// Some structure is damaged; only reading is allowed.
    pub(crate) const CORRUPT: u64 = 1 << 1;
    /// Guest data is in another file.
    pub(crate) const EXTERNAL_DATA: u64 = 1 << 2;
    /// The header has a compression type.
    pub(crate) const COMPRESSION_TYPE: u64 = 1 << 3;
    /// L2 entries are 128 bits wide and describe 32 sub-clusters each.
    pub(crate) const EXTENDED_L2: u64 = 1 << 4;
}

/// Compatible feature bits (spec).
pub(crate) struct Compatible;

impl Compatible {
    /// Reference counts are written late, and may be wrong while [`Incompatible::DIRTY`] is set.
    pub(crate) const LAZY_REFCOUNTS: u64 = 1 << 0;
}

/// A header extension's first eight bytes (spec); its data follows, padded to a multiple of 8.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct ExtensionHeader {
    /// One of the `EXTENSION_` constants, or unknown.
    pub(crate) kind: U32<BE>,
    /// Length of the data in bytes, without padding.
    pub(crate) length: U32<BE>,
}

/// End of the extensions (spec).
pub(crate) const EXTENSION_END: u32 = 0;
/// Name of the backing file's format (spec).
pub(crate) const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
/// Name of the external data file (spec).
pub(crate) const EXTENSION_DATA_FILE: u32 = 0x4441_5441;

/// Longest backing file name in bytes (spec).
pub(crate) const MAX_BACKING_NAME: u32 = 1023;
/// Largest L1 table in bytes (qemu's QCOW_MAX_L1_SIZE).
pub(crate) const MAX_L1_BYTES: u64 = 32 << 20;
/// Cluster sizes in bits (spec for the minimum, qemu for the maximum).
pub(crate) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Cluster bits below which extended L2 entries make no sense (spec: sub-clusters of at least 512 bytes).
pub(crate) const MIN_EXTENDED_CLUSTER_BITS: u32 = 14;
/// Most internal snapshots (qemu's QCOW_MAX_SNAPSHOTS).
pub(crate) const MAX_SNAPSHOTS: u32 = 65536;
