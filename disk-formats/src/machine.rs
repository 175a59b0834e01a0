//! A machine as packages describe it, independent of any vendor's words.

use std::fmt;
use std::sync::Arc;

use crate::output_options::{Compression, DiskAdapter, VmdkOptions};
use crate::writing::file_digest::DigestAlgorithm;

/// A virtual machine for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineDescription {
    /// Name of the machine; also the base of the names of files inside the package.
    pub name: String,
    /// Virtual processors, at least 1.
    pub cpus: u32,
    /// Processors that share a socket; `None` leaves it to the hypervisor.
    pub cores_per_socket: Option<u32>,
    /// The guest may run machines of its own.
    pub nested_virtualization: bool,
    /// Memory in MiB, at least 4.
    pub memory_mib: u64,
    /// BIOS or UEFI.
    pub firmware: Firmware,
    /// The guest operating system, translated to each vendor's words.
    pub guest_os: GuestOs,
    /// Vendors' words for the guest in the place of those of `guest_os`, which knows fewer.
    pub guest_words: VendorGuestWords,
    /// The disks, in the order of the readers given to [`crate::convert_disks`]. Fewer entries than disks are filled up with
    /// [`MachineDisk::default`].
    pub disks: Vec<MachineDisk>,
    /// Network cards; none by default.
    pub nics: Vec<MachineNic>,
    /// VMware's virtual hardware version (the number in `vmx-14`); higher ones are refused by older hosts.
    pub hardware_version: u8,
    /// A virtual TPM; needs UEFI and hardware version 14.
    pub tpm: bool,
    /// What the firmware keeps between starts.
    pub nvram: Option<Nvram>,
    /// The machine in VirtualBox's own words, which it takes instead of all the rest; others do not heed it.
    pub virtualbox_settings: Option<VirtualBoxSettings>,
    /// Settings that VMware alone has, by their keys in a VMX; none names a file of the host.
    pub vmware_settings: Vec<(String, String)>,
    /// Free text shown to whoever imports the machine.
    pub annotation: Option<String>,
    /// Product name, vendor and version shown by importers.
    pub product: Option<ProductInfo>,
    /// Licence text to be accepted at import.
    pub eula: Option<String>,
    /// How hard the package's disks are compressed (OVF and OVA).
    pub compression: Compression,
    /// What the package's manifest holds: SHA-256, or SHA-1 for ESXi before 6.5, or SHA-512.
    pub manifest: DigestAlgorithm,
}

impl Default for MachineDescription {
    /// One processor, 512 MiB, BIOS, 64-bit Linux, hardware version 14 (ESXi 6.7, Workstation 14).
    fn default() -> Self {
        Self {
            name: "machine".to_owned(),
            cpus: 1,
            cores_per_socket: None,
            nested_virtualization: false,
            memory_mib: 512,
            firmware: Firmware::Bios,
            guest_os: GuestOs::Linux64,
            guest_words: VendorGuestWords::default(),
            disks: Vec::new(),
            nics: Vec::new(),
            hardware_version: 14,
            tpm: false,
            nvram: None,
            virtualbox_settings: None,
            vmware_settings: Vec::new(),
            annotation: None,
            product: None,
            eula: None,
            compression: Compression::default(),
            manifest: DigestAlgorithm::default(),
        }
    }
}

/// What starts the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Firmware {
    /// PC BIOS.
    #[default]
    Bios,
    /// UEFI.
    Uefi {
        /// Starts signed boot loaders only.
        secure_boot: bool,
    },
}

/// A disk's place in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MachineDisk {
    /// The controller it hangs on; disks of one kind without a slot share a controller, in order.
    pub controller: DiskController,
    /// Its place among the controllers of its kind; `None` means the next one that is free.
    pub slot: Option<DiskSlot>,
    /// File name inside the package; `None` means `NAME-diskN.vmdk`.
    pub file: Option<String>,
}

/// A place on a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskSlot {
    /// Which controller of the kind, from 0.
    pub controller: u32,
    /// Unit on it, from 0.
    pub unit: u32,
}

/// What a firmware keeps between starts: the order of boot entries, and the keys of secure boot. Its format is the maker's own: as it is it
/// goes only to what the same maker reads, and of what means the same to another one such a file is made.
#[derive(Clone, PartialEq, Eq)]
pub struct Nvram {
    /// Whose firmware wrote it.
    pub maker: NvramMaker,
    /// The content of its file.
    pub bytes: Arc<[u8]>,
    /// File name inside the package; `None` means `NAME.nvram`.
    pub file: Option<String>,
}

impl fmt::Debug for Nvram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nvram({:?}, {} bytes)", self.maker, self.bytes.len())
    }
}

/// A machine in VirtualBox's own words: what its settings file says of the machine, without what only its host has.
#[derive(Clone, PartialEq, Eq)]
pub struct VirtualBoxSettings {
    /// The version of the settings' format: `1.19-linux`.
    pub(crate) version: String,
    /// The elements inside `Machine`, as they are written.
    pub(crate) elements: Arc<str>,
    /// The UUIDs by which they name the disks, in the order of the description's.
    pub(crate) disks: Vec<String>,
}

impl fmt::Debug for VirtualBoxSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VirtualBoxSettings({}, {} disks)", self.version, self.disks.len())
    }
}

/// Whose firmware wrote an NVRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NvramMaker {
    /// VMware's Workstation, Fusion or ESXi.
    VMware,
    /// VirtualBox.
    VirtualBox,
    /// EDK II's firmware under QEMU (OVMF, AAVMF), whose file no package holds.
    Qemu,
}

impl fmt::Display for NvramMaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VMware => "VMware",
            Self::VirtualBox => "VirtualBox",
            Self::Qemu => "QEMU",
        })
    }
}

/// What vendors call a guest operating system; `None` where the word of [`GuestOs`] is right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VendorGuestWords {
    /// vSphere's, in an OVF: `debian12_64Guest`.
    pub vsphere: Option<String>,
    /// Workstation's, in a VMX: `debian12-64`.
    pub workstation: Option<String>,
    /// VirtualBox's: `Debian12_64`.
    pub virtualbox: Option<String>,
}

/// Kinds of disk controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DiskController {
    /// IDE, at most four disks.
    Ide,
    /// SATA AHCI: boots everywhere.
    #[default]
    Sata,
    /// Parallel SCSI by LSI Logic.
    LsiLogic,
    /// SAS by LSI Logic.
    LsiLogicSas,
    /// Parallel SCSI by BusLogic; 32-bit guests only.
    BusLogic,
    /// VMware paravirtual SCSI; VirtualBox has none.
    ParavirtualScsi,
    /// NVM Express.
    Nvme,
}

impl MachineDescription {
    /// Returns the options of a package's stream-optimized disks.
    pub(crate) fn disk_options(&self, controller: DiskController) -> VmdkOptions {
        VmdkOptions { adapter: controller.vmdk_adapter(), compression: self.compression, ..VmdkOptions::default() }
    }
}

impl DiskController {
    /// Returns the adapter type that fits in a VMDK descriptor.
    #[must_use]
    pub fn vmdk_adapter(self) -> DiskAdapter {
        match self {
            Self::Ide => DiskAdapter::Ide,
            Self::BusLogic => DiskAdapter::BusLogic,
            _ => DiskAdapter::LsiLogic,
        }
    }
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineNic {
    /// The emulated hardware.
    pub model: NicModel,
    /// Name of the network it is connected to; VirtualBox takes a word of its own (`NAT`, `Bridged`, `Internal`, `HostOnly`) for
    /// that kind of network, and any other name for `Bridged`.
    pub network: String,
    /// Which network of VirtualBox's of that kind: the name of an internal network, or of the host's interface.
    pub virtualbox_network: Option<String>,
    /// Its address; `None` lets the importer choose.
    pub mac: Option<MacAddress>,
}

/// An Ethernet address of a single station (neither multicast nor zero); displays as `00:50:56:01:02:03`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// Reads twelve hexadecimal digits, plain or in pairs with `:` or `-` between them; `None` for anything else and for
    /// addresses that no card can have.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
        let separators = text.len() - digits.len();
        if digits.len() != 12 || !digits.is_ascii() || !matches!(separators, 0 | 5) {
            return None;
        }
        let value = u64::from_str_radix(&digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        let bytes = value.to_be_bytes();
        let mac = [bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]];
        (mac[0] & 1 == 0 && value != 0).then_some(Self(mac))
    }

    /// Returns twelve digits without separators, as VirtualBox writes them.
    pub(crate) fn plain(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02X}")).collect()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&pairs.join(":"))
    }
}

impl Default for MachineNic {
    fn default() -> Self {
        Self { model: NicModel::default(), network: "nat".to_owned(), virtualbox_network: None, mac: None }
    }
}

/// Kinds of network cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum NicModel {
    /// Intel 82545EM: works everywhere.
    #[default]
    E1000,
    /// Intel 82574L.
    E1000e,
    /// VMware paravirtual.
    Vmxnet3,
    /// AMD PCnet.
    PcNet32,
    /// Virtio (VirtualBox).
    Virtio,
}

/// Product section of an OVF.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProductInfo {
    /// Product name.
    pub product: String,
    /// Vendor.
    pub vendor: Option<String>,
    /// Version for people.
    pub version: Option<String>,
    /// Product's address on the web.
    pub product_url: Option<String>,
    /// Vendor's address on the web.
    pub vendor_url: Option<String>,
}

/// The guest operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum GuestOs {
    /// Any 64-bit Linux.
    #[default]
    Linux64,
    /// Debian, 64 bits.
    Debian64,
    /// Debian 12, 64 bits; hardware version 20.
    Debian12,
    /// Ubuntu, 64 bits.
    Ubuntu64,
    /// Red Hat Enterprise Linux, 64 bits.
    RedHat64,
    /// Red Hat Enterprise Linux 8 and its relatives.
    RedHat8,
    /// Red Hat Enterprise Linux 9 and its relatives; hardware version 18.
    RedHat9,
    /// CentOS and its successors, 64 bits.
    CentOs64,
    /// Fedora, 64 bits.
    Fedora64,
    /// SUSE Linux Enterprise, 64 bits.
    Suse64,
    /// FreeBSD, 64 bits.
    FreeBsd64,
    /// Windows 10 and 11.
    Windows10,
    /// Windows 11, which wants UEFI and a TPM; hardware version 18.
    Windows11,
    /// Windows Server 2019 and later.
    WindowsServer,
    /// Something else, 32 bits.
    Other,
    /// Something else, 64 bits.
    Other64,
}
