//! The formats by name, and recognising one from its first and last bytes.

use std::fmt;

/// A virtual disk format that can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The guest's bytes as they are; holes are zeroes.
    Raw,
    /// QEMU's copy-on-write format, versions 2 and 3.
    Qcow2,
    /// VMware's virtual machine disk, all sub-formats.
    Vmdk,
    /// VirtualBox's disk image.
    Vdi,
    /// Microsoft's older virtual hard disk (also called vpc).
    Vhd,
    /// Microsoft's newer virtual hard disk.
    Vhdx,
}

impl Format {
    /// All formats, in the order in which they are documented.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vdi, Self::Vhd, Self::Vhdx];

    /// Returns the name that users type, which is qemu-img's where that is sensible.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }

    /// Returns the format for a name; `vpc` (qemu-img's word for VHD) and `img` are understood too.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "raw" | "img" => Some(Self::Raw),
            "qcow2" => Some(Self::Qcow2),
            "vmdk" => Some(Self::Vmdk),
            "vdi" => Some(Self::Vdi),
            "vhd" | "vpc" => Some(Self::Vhd),
            "vhdx" => Some(Self::Vhdx),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
