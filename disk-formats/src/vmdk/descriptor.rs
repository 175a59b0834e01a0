//! The text descriptor: which extents make up the disk, and hints about the virtual hardware.

use std::fmt;

use super::layout::{DESCRIPTOR_SECTORS, MAX_DISK, SECTOR};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::output_options::DiskAdapter;
use crate::writing::pass::identity::Identity;

/// The hardware version that every product reads; obsolete since ESX 3 (practice).
const HARDWARE_VERSION: u8 = 4;

/// What tells one disk from another, for VMware and for VirtualBox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskId {
    /// Changes with the content; matters between a disk and its snapshots.
    pub(crate) content_id: u32,
    /// VirtualBox's name for the image; without it, it makes up one each time it opens the file read-only.
    pub(crate) uuid: [u8; 16],
}

impl DiskId {
    /// Derives both from the disk's content.
    pub(crate) fn new(identity: &Identity) -> Self {
        let uuid = identity.uuid("vmdk");
        let id = u32::from_be_bytes([uuid[0], uuid[1], uuid[2], uuid[3]]);
        // ffffffff means "no parent" and fffffffe "use the long identifier".
        Self { content_id: if id >= 0xffff_fffe { 1 } else { id }, uuid }
    }
}

/// One line of the extent section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtentLine {
    /// Guest sectors.
    pub(crate) sectors: u64,
    /// `SPARSE`, `FLAT`, …
    pub(crate) kind: &'static str,
    /// File name without directory.
    pub(crate) file: String,
    /// Sector in the file where the extent starts; flat extents only.
    pub(crate) offset: Option<u64>,
}

/// A descriptor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) id: DiskId,
    pub(crate) create_type: String,
    pub(crate) extents: Vec<ExtentLine>,
    pub(crate) adapter: DiskAdapter,
    pub(crate) capacity_sectors: u64,
    /// VMware's virtual hardware version; `None` is [`HARDWARE_VERSION`].
    pub(crate) hardware_version: Option<u8>,
}

impl Descriptor {
    /// Returns the text padded with zero bytes to the size of an embedded descriptor.
    pub(crate) fn embedded(&self) -> Result<Vec<u8>> {
        let mut text = self.to_string().into_bytes();
        let room = (DESCRIPTOR_SECTORS * SECTOR) as usize;
        if text.len() > room {
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Create, "the descriptor is too long"));
        }
        text.resize(room, 0);
        Ok(text)
    }
}

/// Checks that VMware's products take a disk of this size.
pub(crate) fn check_largest_disk(virtual_size: u64) -> Result<()> {
    match virtual_size <= MAX_DISK {
        true => Ok(()),
        false => {
            let error = Error::new(ErrorKind::TooLarge, Operation::Create, "a vmdk can hold at most 62 TiB");
            Err(error.with_hint("write a vhdx, which can hold 64 TiB, or a qcow2 or raw image"))
        }
    }
}

/// Checks that a name can stand in an extent line, which has no escapes.
pub(crate) fn check_extent_name(name: &str) -> Result<()> {
    if name.contains('"') || name.chars().any(char::is_control) || name.len() > 511 {
        let rule =
            "a file name in a vmdk descriptor must be shorter than 512 bytes, without quotes or control characters";
        return Err(Error::new(ErrorKind::InvalidInput, Operation::Create, rule));
    }
    Ok(())
}

/// Heads and sectors that VMware derives from adapter and size; advisory on all current products.
fn geometry(adapter: DiskAdapter, capacity_sectors: u64) -> (u64, u64, u64) {
    const GIB_SECTORS: u64 = (1 << 30) / SECTOR;
    let (heads, sectors) = match adapter {
        DiskAdapter::Ide => (16, 63),
        _ if capacity_sectors < GIB_SECTORS => (64, 32),
        _ if capacity_sectors < 2 * GIB_SECTORS => (128, 32),
        _ => (255, 63),
    };
    let most = if adapter == DiskAdapter::Ide { 16383 } else { 65535 };
    ((capacity_sectors / (heads * sectors)).min(most), heads, sectors)
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Readers want exactly this first line, single blanks in extent lines, and the sections in this order.
        writeln!(f, "# Disk DescriptorFile")?;
        writeln!(f, "version=1")?;
        writeln!(f, "encoding=\"UTF-8\"")?;
        writeln!(f, "CID={:08x}", self.id.content_id)?;
        writeln!(f, "parentCID=ffffffff")?;
        writeln!(f, "createType=\"{}\"", self.create_type)?;
        writeln!(f)?;
        writeln!(f, "# Extent description")?;
        for extent in &self.extents {
            write!(f, "RW {} {} \"{}\"", extent.sectors, extent.kind, extent.file)?;
            match extent.offset {
                Some(offset) => writeln!(f, " {offset}")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f)?;
        writeln!(f, "# The Disk Data Base")?;
        writeln!(f, "#DDB")?;
        writeln!(f)?;
        let (cylinders, heads, sectors) = geometry(self.adapter, self.capacity_sectors);
        writeln!(f, "ddb.adapterType = \"{}\"", self.adapter.name())?;
        writeln!(f, "ddb.geometry.cylinders = \"{cylinders}\"")?;
        writeln!(f, "ddb.geometry.heads = \"{heads}\"")?;
        writeln!(f, "ddb.geometry.sectors = \"{sectors}\"")?;
        let uuid = |bytes: &[u8; 16]| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
        };
        writeln!(f, "ddb.uuid.image = \"{}\"", uuid(&self.id.uuid))?;
        writeln!(f, "ddb.uuid.parent = \"{}\"", uuid(&[0; 16]))?;
        let version = self.hardware_version.unwrap_or(HARDWARE_VERSION);
        writeln!(f, "ddb.virtualHWVersion = \"{version}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_has_the_order_and_spacing_that_strict_readers_want() {
        let descriptor = Descriptor {
            id: DiskId { content_id: 0x1234_abcd, uuid: [0xab; 16] },
            create_type: "streamOptimized".to_owned(),
            extents: vec![ExtentLine { sectors: 2048, kind: "SPARSE", file: "a b.vmdk".to_owned(), offset: None }],
            adapter: DiskAdapter::LsiLogic,
            capacity_sectors: 2048,
            hardware_version: None,
        };
        let text = descriptor.to_string();
        assert!(text.starts_with("# Disk DescriptorFile\nversion=1\n"));
        assert!(text.contains("\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"streamOptimized\"\n"));
        assert!(text.contains("\nRW 2048 SPARSE \"a b.vmdk\"\n"));
        assert!(text.contains("ddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"1\"\n"));
        assert!(text.contains("ddb.uuid.image = \"abababab-abab-abab-abab-abababababab\"\n"));
        assert_eq!(descriptor.embedded().unwrap().len(), 10240);
    }

    #[test]
    fn names_that_cannot_be_quoted_are_refused() {
        assert!(check_extent_name("disk-s001.vmdk").is_ok());
        assert!(check_extent_name("a\"b").is_err());
        assert!(check_extent_name("a\nb").is_err());
    }

    #[test]
    fn ide_geometry_is_capped() {
        assert_eq!(geometry(DiskAdapter::Ide, 1 << 40), (16383, 16, 63));
        assert_eq!(geometry(DiskAdapter::LsiLogic, 20 << 21), (2610, 255, 63));
    }
}
