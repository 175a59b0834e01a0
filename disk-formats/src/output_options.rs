//! The options of the formats that are written.

use std::fmt;

/// How hard to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// No larger than zlib's level 6, several times as fast.
    #[default]
    Default,
    /// Fastest; a few per cent larger.
    Fast,
    /// Smallest, slow.
    Best,
    /// Of zlib-compressed qcow2: what another output of the same pass is compressed with anyway, at no cost; else
    /// [`Compression::Fast`], which is smaller than `qemu-img -c` (its zlib looks back 4 KiB, ours 32). Elsewhere the default.
    Auto,
}

/// How qcow2 packs compressed clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Qcow2Method {
    /// Deflate: read by every version of QEMU.
    #[default]
    Zlib,
    /// Zstandard: much faster, needs QEMU 5.1.
    Zstd,
}

/// Options of a qcow2 output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qcow2Options {
    /// Compresses clusters when given.
    pub compression: Option<Compression>,
    /// The method used when compressing.
    pub method: Qcow2Method,
    /// Cluster size in bytes: a power of two from 512 to 2 MiB.
    pub cluster_size: u32,
}

impl Default for Qcow2Options {
    fn default() -> Self {
        Self { compression: None, method: Qcow2Method::default(), cluster_size: 65536 }
    }
}

/// The two kinds of VHD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VhdVariant {
    /// Grows as it is written.
    #[default]
    Dynamic,
    /// All bytes in the file, zeroes as holes; what Azure takes.
    Fixed,
}

/// The shapes a VMDK comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum VmdkSubformat {
    /// One file that grows; what VMware Workstation makes.
    #[default]
    MonolithicSparse,
    /// One compressed file for upload and exchange; what OVF packages hold.
    StreamOptimized,
    /// A text descriptor and one file with all bytes (`disk-flat.vmdk`), zeroes as holes.
    MonolithicFlat,
    /// A text descriptor and growing files for 2047 MiB each (`disk-s001.vmdk`, …).
    TwoGbMaxExtentSparse,
    /// A text descriptor and files of 2047 MiB with all bytes (`disk-f001.vmdk`, …).
    TwoGbMaxExtentFlat,
    /// As monolithicFlat, in the words of ESXi, which runs machines from it directly.
    VmfsFlat,
}

impl VmdkSubformat {
    /// All shapes.
    pub const ALL: [Self; 6] = [
        Self::MonolithicSparse,
        Self::StreamOptimized,
        Self::MonolithicFlat,
        Self::TwoGbMaxExtentSparse,
        Self::TwoGbMaxExtentFlat,
        Self::VmfsFlat,
    ];

    /// Returns the shape's `createType`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MonolithicSparse => "monolithicSparse",
            Self::StreamOptimized => "streamOptimized",
            Self::MonolithicFlat => "monolithicFlat",
            Self::TwoGbMaxExtentSparse => "twoGbMaxExtentSparse",
            Self::TwoGbMaxExtentFlat => "twoGbMaxExtentFlat",
            Self::VmfsFlat => "vmfs",
        }
    }

    /// Returns the shape for its `createType` in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for VmdkSubformat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The controller type noted in a VMDK's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DiskAdapter {
    /// IDE.
    Ide,
    /// SCSI by BusLogic.
    BusLogic,
    /// SCSI by LSI Logic; also right for SATA, NVMe and paravirtual SCSI disks.
    #[default]
    LsiLogic,
    /// What old ESX versions wrote.
    LegacyEsx,
}

impl DiskAdapter {
    /// Returns the word in the descriptor.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ide => "ide",
            Self::BusLogic => "buslogic",
            Self::LsiLogic => "lsilogic",
            Self::LegacyEsx => "legacyESX",
        }
    }

    /// Returns the adapter for a descriptor's word in any case; `pvscsi` and `lsisas1068` count as LSI Logic.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "ide" => Some(Self::Ide),
            "buslogic" => Some(Self::BusLogic),
            "lsilogic" | "lsisas1068" | "pvscsi" | "sata" | "nvme" | "scsi" => Some(Self::LsiLogic),
            "legacyesx" => Some(Self::LegacyEsx),
            _ => None,
        }
    }
}

/// Options of a VMDK output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VmdkOptions {
    /// The shape.
    pub subformat: VmdkSubformat,
    /// The controller noted in the descriptor.
    pub adapter: DiskAdapter,
    /// How hard to compress, where the shape compresses.
    pub compression: Compression,
    /// VMware's virtual hardware version noted in the descriptor; `None` is 4, which every product reads.
    pub hardware_version: Option<u8>,
}
