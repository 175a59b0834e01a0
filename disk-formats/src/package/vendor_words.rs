//! Each vendor's words for guests, controllers and network cards.

use crate::machine::{DiskController, GuestOs, NicModel};

/// What a guest system is called.
pub(crate) struct GuestWords {
    /// Our own name, which users type.
    pub(crate) name: &'static str,
    /// CIM's number, which VirtualBox requires (DSP0004's CIM_OperatingSystem.OSType).
    pub(crate) cim: &'static str,
    /// vSphere's identifier.
    pub(crate) vmware: &'static str,
    /// Workstation's identifier in a VMX, which differs from vSphere's.
    pub(crate) workstation: &'static str,
    /// VirtualBox's identifier.
    pub(crate) virtualbox: &'static str,
    /// For people.
    pub(crate) title: &'static str,
}

impl GuestOs {
    /// All guest systems.
    pub const ALL: [Self; 16] = [
        Self::Linux64,
        Self::Debian64,
        Self::Debian12,
        Self::Ubuntu64,
        Self::RedHat64,
        Self::RedHat8,
        Self::RedHat9,
        Self::CentOs64,
        Self::Fedora64,
        Self::Suse64,
        Self::FreeBsd64,
        Self::Windows10,
        Self::Windows11,
        Self::WindowsServer,
        Self::Other,
        Self::Other64,
    ];

    /// Returns the name that users type, such as `debian12-64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.words().name
    }

    /// Returns the guest system for one of our names, or for any vendor's name of it, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let is = |word: &str| word.eq_ignore_ascii_case(name);
        let ours = Self::ALL.into_iter().find(|guest| is(guest.name()));
        ours.or_else(|| {
            Self::ALL.into_iter().find(|guest| {
                let words = guest.words();
                is(words.vmware) || is(words.workstation) || is(words.virtualbox)
            })
        })
    }

    pub(crate) fn words(self) -> GuestWords {
        let words = |name, cim, vmware, workstation, virtualbox, title| GuestWords {
            name,
            cim,
            vmware,
            workstation,
            virtualbox,
            title,
        };
        match self {
            Self::Linux64 => {
                words("linux-64", "101", "other4xLinux64Guest", "other4xlinux-64", "Linux_64", "Linux (64-bit)")
            }
            Self::Debian64 => {
                words("debian-64", "96", "debian10_64Guest", "debian10-64", "Debian_64", "Debian (64-bit)")
            }
            Self::Debian12 => {
                words("debian12-64", "96", "debian12_64Guest", "debian12-64", "Debian12_64", "Debian 12 (64-bit)")
            }
            Self::Ubuntu64 => words("ubuntu-64", "94", "ubuntu64Guest", "ubuntu-64", "Ubuntu_64", "Ubuntu (64-bit)"),
            Self::RedHat64 => {
                words("rhel-64", "80", "rhel7_64Guest", "rhel7-64", "RedHat_64", "Red Hat Enterprise Linux (64-bit)")
            }
            Self::RedHat8 => words(
                "rhel8-64",
                "80",
                "rhel8_64Guest",
                "rhel8-64",
                "RedHat8_64",
                "Red Hat Enterprise Linux 8 (64-bit)",
            ),
            Self::RedHat9 => words(
                "rhel9-64",
                "80",
                "rhel9_64Guest",
                "rhel9-64",
                "RedHat9_64",
                "Red Hat Enterprise Linux 9 (64-bit)",
            ),
            Self::CentOs64 => {
                words("centos-64", "107", "centos7_64Guest", "centos7-64", "RedHat_64", "CentOS (64-bit)")
            }
            Self::Fedora64 => words("fedora-64", "101", "fedora64Guest", "fedora-64", "Fedora_64", "Fedora (64-bit)"),
            Self::Suse64 => {
                words("sles-64", "85", "sles12_64Guest", "sles12-64", "OpenSUSE_64", "SUSE Linux Enterprise (64-bit)")
            }
            Self::FreeBsd64 => {
                words("freebsd-64", "78", "freebsd64Guest", "freebsd-64", "FreeBSD_64", "FreeBSD (64-bit)")
            }
            Self::Windows10 => words(
                "windows10-64",
                "121",
                "windows9_64Guest",
                "windows9-64",
                "Windows10_64",
                "Windows 10 and later (64-bit)",
            ),
            Self::Windows11 => {
                words("windows11-64", "121", "windows11_64Guest", "windows11-64", "Windows11_64", "Windows 11 (64-bit)")
            }
            Self::WindowsServer => words(
                "windows-server-64",
                "116",
                "windows9Server64Guest",
                "windows9srv-64",
                "Windows2019_64",
                "Windows Server 2016 and later (64-bit)",
            ),
            Self::Other => words("other", "1", "otherGuest", "other", "Other", "Other (32-bit)"),
            Self::Other64 => words("other-64", "102", "otherGuest64", "other-64", "Other_64", "Other (64-bit)"),
        }
    }
}

/// A controller as an OVF item.
pub(crate) struct ControllerWords {
    /// CIM's resource type.
    pub(crate) resource_type: &'static str,
    /// The sub-type, in the spelling that both VMware and VirtualBox take.
    pub(crate) sub_type: &'static str,
    pub(crate) title: &'static str,
    /// Disks that one controller carries.
    pub(crate) slots: u32,
}

impl DiskController {
    pub(crate) fn words(self) -> ControllerWords {
        let words = |resource_type, sub_type, title, slots| ControllerWords { resource_type, sub_type, title, slots };
        match self {
            Self::Ide => words("5", "PIIX4", "IDE Controller", 2),
            Self::Sata => words("20", "vmware.sata.ahci", "SATA Controller", 30),
            Self::LsiLogic => words("6", "lsilogic", "SCSI Controller", 15),
            Self::LsiLogicSas => words("6", "lsilogicsas", "SAS Controller", 15),
            Self::BusLogic => words("6", "buslogic", "SCSI Controller", 15),
            Self::ParavirtualScsi => words("6", "VirtualSCSI", "SCSI Controller", 15),
            Self::Nvme => words("20", "vmware.nvme.controller", "NVMe Controller", 15),
        }
    }

    /// Says whether one controller has this unit.
    pub(crate) fn has_unit(self, unit: u32) -> bool {
        (0..self.words().slots).any(|index| self.unit(index) == unit)
    }

    /// Returns what its bus is called in a VMX, and how many controllers of it a machine has.
    pub(crate) fn bus(self) -> (&'static str, usize) {
        match self {
            Self::Ide => ("ide", 2),
            Self::Sata => ("sata", 4),
            Self::LsiLogic | Self::LsiLogicSas | Self::BusLogic | Self::ParavirtualScsi => ("scsi", 4),
            Self::Nvme => ("nvme", 4),
        }
    }

    /// Returns the unit number of the `index`th disk on a controller: SCSI's 7 is the controller itself.
    pub(crate) fn unit(self, index: u32) -> u32 {
        match self {
            Self::LsiLogic | Self::LsiLogicSas | Self::BusLogic | Self::ParavirtualScsi if index >= 7 => index + 1,
            _ => index,
        }
    }
}

/// A kind of VirtualBox's networks.
pub(crate) struct NetworkWords {
    /// What the connection of an OVF item is called.
    pub(crate) word: &'static str,
    /// The element in VirtualBox's own description.
    pub(crate) element: &'static str,
    /// Whether there are several of the kind, which have names.
    pub(crate) has_name: bool,
}

const NETWORKS: [NetworkWords; 5] = [
    NetworkWords { word: "NAT", element: "NAT", has_name: false },
    NetworkWords { word: "Bridged", element: "BridgedInterface", has_name: true },
    NetworkWords { word: "Internal", element: "InternalNetwork", has_name: true },
    NetworkWords { word: "HostOnly", element: "HostOnlyInterface", has_name: true },
    NetworkWords { word: "NATNetwork", element: "NATNetwork", has_name: true },
];

/// Returns the kind of VirtualBox's networks that a connection, in any case, says.
pub(crate) fn network_of_word(word: &str) -> Option<&'static NetworkWords> {
    NETWORKS.iter().find(|network| network.word.eq_ignore_ascii_case(word))
}

/// Returns the kind of VirtualBox's networks that an element says.
pub(crate) fn network_of_element(element: &str) -> Option<&'static NetworkWords> {
    NETWORKS.iter().find(|network| network.element == element)
}

impl NicModel {
    /// All models.
    pub(crate) const ALL: [Self; 5] = [Self::E1000, Self::E1000e, Self::Vmxnet3, Self::PcNet32, Self::Virtio];

    /// Returns the OVF sub-type.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::E1000 => "E1000",
            Self::E1000e => "E1000e",
            Self::Vmxnet3 => "VmxNet3",
            Self::PcNet32 => "PCNet32",
            // Of VirtualBox's own spellings that which is in its settings, `virtio`, is none in an OVF.
            Self::Virtio => "virtio-net",
        }
    }

    /// Returns the model of an OVF sub-type, in any case and spelling.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        if ["virtio", "virtionet"].iter().any(|spelling| spelling.eq_ignore_ascii_case(word)) {
            return Some(Self::Virtio);
        }
        Self::ALL.into_iter().find(|model| model.word().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scsi_disks_leave_out_the_controllers_own_number() {
        assert_eq!(DiskController::LsiLogic.unit(6), 6);
        assert_eq!(DiskController::LsiLogic.unit(7), 8);
        assert_eq!(DiskController::Sata.unit(7), 7);
        assert!(!DiskController::LsiLogic.has_unit(7) && DiskController::LsiLogic.has_unit(15));
    }

    #[test]
    fn cards_are_found_by_all_spellings() {
        for model in NicModel::ALL {
            assert_eq!(NicModel::from_word(model.word()), Some(model));
        }
        for word in ["virtio", "Virtio-Net", "VirtioNet"] {
            assert_eq!(NicModel::from_word(word), Some(NicModel::Virtio), "{word}");
        }
        assert_eq!(NicModel::from_word("rtl8139"), None);
    }

    #[test]
    fn guests_are_found_by_our_and_the_vendors_names() {
        for guest in GuestOs::ALL {
            assert_eq!(GuestOs::from_name(guest.name()), Some(guest));
        }
        assert_eq!(GuestOs::from_name("Debian12_64"), Some(GuestOs::Debian12));
        assert_eq!(GuestOs::from_name("windows9srv-64"), Some(GuestOs::WindowsServer));
        assert_eq!(GuestOs::from_name("plan9"), None);
    }
}
