//! Each vendor's words for guests, controllers and network cards.

use super::machine::{DiskController, GuestOs, NicModel};

/// What a guest system is called.
pub(crate) struct GuestWords {
    /// CIM's number, which VirtualBox requires (DSP0004's CIM_OperatingSystem.OSType).
    pub(crate) cim: &'static str,
    /// vSphere's identifier.
    pub(crate) vmware: &'static str,
    /// VirtualBox's identifier.
    pub(crate) virtualbox: &'static str,
    /// For people.
    pub(crate) title: &'static str,
}

impl GuestOs {
    pub(crate) fn words(self) -> GuestWords {
        let words = |cim, vmware, virtualbox, title| GuestWords { cim, vmware, virtualbox, title };
        match self {
            Self::Linux64 => words("101", "other4xLinux64Guest", "Linux_64", "Linux (64-bit)"),
            Self::Debian64 => words("96", "debian10_64Guest", "Debian_64", "Debian (64-bit)"),
            Self::Ubuntu64 => words("94", "ubuntu64Guest", "Ubuntu_64", "Ubuntu (64-bit)"),
            Self::RedHat64 => words("80", "rhel7_64Guest", "RedHat_64", "Red Hat Enterprise Linux (64-bit)"),
            Self::CentOs64 => words("107", "centos7_64Guest", "RedHat_64", "CentOS (64-bit)"),
            Self::Suse64 => words("85", "sles12_64Guest", "OpenSUSE_64", "SUSE Linux Enterprise (64-bit)"),
            Self::FreeBsd64 => words("78", "freebsd64Guest", "FreeBSD_64", "FreeBSD (64-bit)"),
            Self::Windows10 => words("121", "windows9_64Guest", "Windows10_64", "Windows 10 and later (64-bit)"),
            Self::WindowsServer => {
                words("116", "windows9Server64Guest", "Windows2019_64", "Windows Server 2016 and later (64-bit)")
            }
            Self::Other => words("1", "otherGuest", "Other", "Other (32-bit)"),
            Self::Other64 => words("102", "otherGuest64", "Other_64", "Other (64-bit)"),
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

    /// Returns the unit number of the `index`th disk on a controller: SCSI's 7 is the controller itself.
    pub(crate) fn unit(self, index: u32) -> u32 {
        match self {
            Self::LsiLogic | Self::LsiLogicSas | Self::BusLogic | Self::ParavirtualScsi if index >= 7 => index + 1,
            _ => index,
        }
    }
}

impl NicModel {
    /// Returns the OVF sub-type.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::E1000 => "E1000",
            Self::E1000e => "E1000e",
            Self::Vmxnet3 => "VmxNet3",
            Self::PcNet32 => "PCNet32",
            Self::Virtio => "virtio",
        }
    }
}
