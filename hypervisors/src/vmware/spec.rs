//! What only VMware has of a machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::words::words;

/// VMware's part of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmwareSpec {
    /// The VMX file that is written, in a directory of the machine's own that whoever asks makes and removes. `None`: in a directory
    /// below the runtime directory, which goes with the machine.
    pub vmx: Option<PathBuf>,
    /// The text of a VMX file that takes the place of the usual one; `None`: the usual one.
    pub template: Option<String>,
    /// The text of a VMX file with the places of further disks, put over the file of a new machine.
    pub disk_template: Option<String>,
    /// VMware's name of the guest's system: `other-64`.
    pub guest_os: String,
    /// Version of the virtual hardware.
    pub hardware_version: u32,
    /// The name in VMware's windows; `None`: the machine's.
    pub display_name: Option<String>,
    /// What runs before the boot loader; `None`: VMware's BIOS.
    pub firmware: Option<VmwareFirmware>,
    /// What disks hang on: `ide`, `sata`, `nvme`, or a model of SCSI adapter, as `lsilogic`.
    pub disk_adapter: String,
    /// The guest may run machines of its own.
    pub nested: bool,
    /// A sound card.
    pub sound: bool,
    /// USB, with its version.
    pub usb: Option<UsbVersion>,
    /// A serial port.
    pub serial: SerialPort,
    /// A parallel port.
    pub parallel: ParallelPort,
    /// A clone shares its disks with the original.
    pub linked: bool,
    /// Entries of the VMX file, put over all others.
    pub data: BTreeMap<String, String>,
}

impl Default for VmwareSpec {
    /// Packer's defaults.
    fn default() -> Self {
        Self {
            vmx: None,
            template: None,
            disk_template: None,
            guest_os: "other-64".to_owned(),
            hardware_version: 21,
            display_name: None,
            firmware: None,
            disk_adapter: "lsilogic".to_owned(),
            nested: false,
            sound: false,
            usb: None,
            serial: SerialPort::Heard,
            parallel: ParallelPort::None,
            linked: false,
            data: BTreeMap::new(),
        }
    }
}

words! {
    /// What runs before the boot loader.
    VmwareFirmware {
        /// VMware's BIOS.
        Bios = "bios",
        /// VMware's UEFI.
        Efi = "efi",
        /// The same, for signed boot loaders only.
        EfiSecure = "efi-secure",
    }
}

words! {
    /// Version of USB.
    UsbVersion {
        /// 2.0.
        V2 = "2.0",
        /// 3.1.
        V31 = "3.1",
        /// 3.2.
        V32 = "3.2",
    }
}

/// The first serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerialPort {
    /// None.
    None,
    /// One whose output is kept for explaining failures.
    Heard,
    /// Into a file.
    File {
        /// The file; a relative path is the machine directory's.
        path: String,
        /// The guest gives up the processor while it waits.
        yields: bool,
    },
    /// A port of the host.
    Device {
        /// The port; empty: found by VMware.
        path: String,
        /// As above.
        yields: bool,
    },
    /// A named pipe.
    Pipe {
        /// The pipe.
        path: String,
        /// This end: `client` or `server`.
        end: String,
        /// The far end is a program (`app`), else a machine (`vm`).
        app: bool,
        /// As above.
        yields: bool,
    },
    /// A port of the host that VMware finds.
    Auto {
        /// As above.
        yields: bool,
    },
}

/// The first parallel port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParallelPort {
    /// None.
    None,
    /// Into a file.
    File {
        /// The file.
        path: String,
    },
    /// A port of the host.
    Device {
        /// The port.
        path: String,
        /// Both ways.
        bidirectional: bool,
    },
    /// A port of the host that VMware finds.
    Auto {
        /// Both ways.
        bidirectional: bool,
    },
}

/// A disk's or drive's bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bus {
    /// IDE: two channels of two.
    Ide,
    /// SATA.
    Sata,
    /// SCSI.
    Scsi,
    /// NVM Express.
    Nvme,
}

impl Bus {
    /// The bus of a disk adapter as templates name it.
    pub fn of_adapter(adapter: &str) -> Self {
        Self::parse(adapter).unwrap_or(Self::Scsi)
    }

    /// Reads a bus's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "ide" => Some(Self::Ide),
            "sata" => Some(Self::Sata),
            "scsi" => Some(Self::Scsi),
            "nvme" => Some(Self::Nvme),
            _ => None,
        }
    }

    /// How it is called in a VMX file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ide => "ide",
            Self::Sata => "sata",
            Self::Scsi => "scsi",
            Self::Nvme => "nvme",
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
