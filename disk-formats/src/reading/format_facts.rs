//! Facts about an image that only its format has; the names are those of `qemu-img info`.

use std::path::PathBuf;

/// What only one format has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatFacts {
    /// Of a qcow2 image.
    Qcow2(Qcow2Facts),
    /// Of a VMDK.
    Vmdk(VmdkFacts),
}

/// Facts about a qcow2 image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Qcow2Facts {
    /// 2 or 3.
    pub version: u32,
    /// How compressed clusters are packed: `zlib` or `zstd`.
    pub compression_type: &'static str,
    /// Whether reference counts are written late.
    pub lazy_refcounts: bool,
    /// Width of a reference count in bits.
    pub refcount_bits: u32,
    /// Whether some structure was found to be damaged.
    pub corrupt: bool,
    /// Whether clusters are divided into 32 parts.
    pub extended_l2: bool,
    /// How it is encrypted: `aes` or `luks`.
    pub encryption: Option<&'static str>,
    /// Name of the external data file.
    pub data_file: Option<String>,
    /// Whether the external data file is a raw disk by itself.
    pub data_file_raw: bool,
}

/// Facts about a VMDK; its type is [`crate::ImageInfo::variant`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmdkFacts {
    /// Changes with every opening for writing.
    pub content_id: u32,
    /// That of the parent; all ones without one.
    pub parent_content_id: u32,
    /// The stretches of the disk.
    pub extents: Vec<VmdkExtentFacts>,
}

/// Facts about a stretch of a VMDK.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VmdkExtentFacts {
    /// Its file, from the directory of the descriptor; empty when there is none.
    pub file: PathBuf,
    /// The word of its line in the descriptor, as `SPARSE`; empty for the file that holds the descriptor.
    pub kind: &'static str,
    /// Guest bytes.
    pub virtual_size: u64,
    /// Unit of allocation in bytes.
    pub cluster_size: Option<u64>,
    /// Whether its grains are compressed.
    pub compressed: bool,
}

/// An internal snapshot of a qcow2 image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Identifier, a number in practice.
    pub id: String,
    /// Name that the user gave.
    pub name: String,
    /// Size of the machine's saved state in bytes; 0 for a snapshot of the disk alone.
    pub vm_state_size: u64,
    /// When it was taken: seconds and nanoseconds since 1970-01-01 UTC.
    pub date: (u32, u32),
    /// The guest's clock in nanoseconds.
    pub vm_clock: u64,
    /// Instructions that the guest had executed, when recorded.
    pub icount: Option<u64>,
}
