//! What to write: outputs, their formats, and each format's options.

use std::path::PathBuf;

use crate::machine::MachineDescription;
use crate::output_options::{Compression, DiskAdapter, Qcow2Options, VhdVariant, VmdkOptions, VmdkSubformat};

/// One thing to write. Some kinds make several files; the others are named after `path` (see [`OutputKind`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Final name of the main file; or `-`, `/dev/stdout`, a FIFO or the like, see [`crate::is_stream`].
    pub path: PathBuf,
    /// Format and options.
    pub kind: OutputKind,
}

impl Output {
    /// Describes an output.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, kind: OutputKind) -> Self {
        Self { path: path.into(), kind }
    }
}

/// The format of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputKind {
    /// Guest bytes with holes for zeroes.
    Raw,
    /// qcow2 version 3.
    Qcow2(Qcow2Options),
    /// VMDK. Sub-formats with several extents write them beside `path` (`disk-flat.vmdk`, `disk-s001.vmdk`).
    Vmdk(VmdkOptions),
    /// VDI, dynamic.
    Vdi,
    /// VHD; at most 2040 GiB.
    Vhd(VhdVariant),
    /// VHDX, dynamic; at most 64 TiB.
    Vhdx,
    /// Open Virtualization Format: `path` is the descriptor (`name.ovf`); `name.mf` and the disks are written beside it.
    Ovf(Box<MachineDescription>),
    /// The same in one tar archive, `path`.
    Ova(Box<MachineDescription>),
    /// A machine for VMware Workstation or Fusion: `path` is `name.vmx`; its disks are written beside it, as monolithicSparse.
    Vmx(Box<MachineDescription>),
}

impl OutputKind {
    /// Returns plain qcow2.
    #[must_use]
    pub fn qcow2() -> Self {
        Self::Qcow2(Qcow2Options::default())
    }

    /// Returns qcow2 with zlib-compressed clusters.
    #[must_use]
    pub fn qcow2_compressed() -> Self {
        Self::Qcow2(Qcow2Options { compression: Some(Compression::Auto), ..Qcow2Options::default() })
    }

    /// Returns a VMDK for upload and exchange: compressed, in one file.
    #[must_use]
    pub fn vmdk_stream_optimized(adapter: DiskAdapter) -> Self {
        Self::Vmdk(VmdkOptions { subformat: VmdkSubformat::StreamOptimized, adapter, ..VmdkOptions::default() })
    }

    /// Returns a VMDK to run from in Workstation: sparse, in one file.
    #[must_use]
    pub fn vmdk_monolithic_sparse(adapter: DiskAdapter) -> Self {
        Self::Vmdk(VmdkOptions { subformat: VmdkSubformat::MonolithicSparse, adapter, ..VmdkOptions::default() })
    }

    /// Returns an OVF package of this machine.
    #[must_use]
    pub fn ovf(machine: MachineDescription) -> Self {
        Self::Ovf(Box::new(machine))
    }

    /// Returns an OVA archive of this machine.
    #[must_use]
    pub fn ova(machine: MachineDescription) -> Self {
        Self::Ova(Box::new(machine))
    }

    /// Returns the machine of a package; `None` for a format that holds a disk only.
    #[must_use]
    pub fn machine_mut(&mut self) -> Option<&mut MachineDescription> {
        match self {
            Self::Ovf(machine) | Self::Ova(machine) | Self::Vmx(machine) => Some(machine),
            _ => None,
        }
    }

    /// Returns a bundle for VMware Workstation.
    #[must_use]
    pub fn vmx(machine: MachineDescription) -> Self {
        Self::Vmx(Box::new(machine))
    }
}
