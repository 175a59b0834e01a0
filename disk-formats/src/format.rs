//! The formats of disks by name. All else that is known of them stands in the table of formats, above.

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
    /// All formats, in the order of the table.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vhdx, Self::Vdi, Self::Vhd];

    /// Returns the names that users type, which are suffixes too; qemu-img's is one of them, and the usual one is the first.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Raw => &["raw", "img"],
            Self::Qcow2 => &["qcow2"],
            Self::Vmdk => &["vmdk"],
            Self::Vdi => &["vdi"],
            Self::Vhd => &["vhd", "vpc"],
            Self::Vhdx => &["vhdx"],
        }
    }

    /// Returns the usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.names()[0]
    }

    /// Returns the format of a name in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is_named = |format: &Self| format.names().iter().any(|known| known.eq_ignore_ascii_case(name));
        Self::ALL.into_iter().find(is_named)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
