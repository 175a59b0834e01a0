//! The hardware of a machine: plain values that mean the same to every backend.

use std::fmt;
use std::path::PathBuf;

use crate::words::words;

/// Processors and how they are laid out; `None` where the template says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Topology {
    /// Number of processors.
    pub cpus: Option<u32>,
    /// Sockets.
    pub sockets: Option<u32>,
    /// Cores in a socket.
    pub cores: Option<u32>,
    /// Threads in a core.
    pub threads: Option<u32>,
}

impl Topology {
    /// From Packer's options, where 0 means unset.
    pub fn from_options(cpus: u32, sockets: u32, cores: u32, threads: u32) -> Self {
        let set = |value: u32| (value > 0).then_some(value);
        Self { cpus: set(cpus), sockets: set(sockets), cores: set(cores), threads: set(threads) }
    }

    /// Number of processors the guest gets: `cpus`, but the product of the other three when that is smaller, or `cpus` is unset.
    pub fn processors(&self) -> u32 {
        let terms = [self.sockets, self.cores, self.threads];
        if terms.iter().all(Option::is_none) {
            return self.cpus.unwrap_or(1);
        }
        let product = terms.iter().flatten().fold(1_u32, |product, term| product.saturating_mul(*term));
        self.cpus.map_or(product, |cpus| cpus.min(product))
    }
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// The image.
    pub path: PathBuf,
    /// Its format; never guessed.
    pub format: DiskFormat,
    /// How the guest sees it.
    pub interface: DiskInterface,
    /// Blocks the guest discards are given back to the host; `None`: yes.
    pub discard: Option<bool>,
}

impl DiskSpec {
    /// A disk with the defaults for building.
    pub fn new(path: impl Into<PathBuf>, format: DiskFormat, interface: DiskInterface) -> Self {
        Self { path: path.into(), format, interface, discard: None }
    }
}

words! {
    /// Format of a disk image.
    DiskFormat {
        /// QEMU's own.
        Qcow2 = "qcow2",
        /// The disk's bytes.
        Raw = "raw",
        /// VMware's.
        Vmdk = "vmdk",
        /// VirtualBox's.
        Vdi = "vdi",
        /// Microsoft's old one.
        Vpc = "vpc",
        /// Microsoft's new one.
        Vhdx = "vhdx",
    }
}

words! {
    /// How a guest sees a disk.
    DiskInterface {
        /// IDE.
        Ide = "ide",
        /// SATA.
        Sata = "sata",
        /// SCSI on the machine's default adapter.
        Scsi = "scsi",
        /// virtio-blk.
        Virtio = "virtio",
        /// virtio-scsi.
        VirtioScsi = "virtio-scsi",
        /// SD card.
        Sd = "sd",
    }
}

/// A CD-ROM drive with a disc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdromSpec {
    /// The ISO image: a path, or a URL that the hypervisor reads itself.
    pub path: PathBuf,
    /// `ide`, `sata`, `scsi`, `virtio`, `virtio-scsi`, …; `None`: the machine's default.
    pub interface: Option<String>,
}

impl CdromSpec {
    /// The disc's URL, where it is no file. It may let its owner in, so it is shown nowhere.
    pub fn url(&self) -> Option<&str> {
        let text = self.path.to_str()?;
        ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)).then_some(text)
    }
}

/// The network adapter and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The adapter's model as the backend names it; `None`: the one that is best for guests in general.
    pub device: Option<String>,
    /// Where it leads.
    pub mode: NetworkMode,
}

/// Where a network adapter leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// To the outside through the hypervisor, unreachable from there except for `forward`.
    User {
        /// A port of the guest made reachable on the host's loopback address.
        forward: Option<PortForward>,
    },
    /// To a bridge of the host.
    Bridge {
        /// The bridge's interface.
        bridge: String,
    },
}

/// A port of the guest that is reachable on the host's loopback address, on the first free port of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortForward {
    /// The guest's port.
    pub guest_port: u16,
    /// Lowest port of the host.
    pub host_min: u16,
    /// Highest port of the host.
    pub host_max: u16,
}

/// What runs before the boot loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// The hypervisor's own BIOS.
    Default,
    /// This BIOS.
    Bios(PathBuf),
    /// This image as flash memory, read-only.
    Flash(PathBuf),
    /// UEFI.
    Efi {
        /// The firmware, read-only.
        code: PathBuf,
        /// Its variables: this machine's own copy, written by the guest.
        vars: PathBuf,
    },
}

/// A TPM, by the version of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TpmVersion {
    /// 1.2.
    V1,
    /// 2.0.
    V2,
}

/// What is booted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOrder {
    /// The CD-ROM, the first time only.
    CdromOnce,
    /// The first disk.
    Disk,
}

/// A VNC server.
#[derive(Clone, PartialEq, Eq)]
pub struct VncSpec {
    /// Listening address.
    pub bind: String,
    /// Lowest port, at least 5900.
    pub port_min: u16,
    /// Highest port.
    pub port_max: u16,
    /// What viewers must know, at most 8 characters.
    pub password: Option<String>,
}

impl fmt::Debug for VncSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VncSpec")
            .field("bind", &self.bind)
            .field("port_min", &self.port_min)
            .field("port_max", &self.port_max)
            .field("password", &self.password.as_ref().map(|_| "********"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_follow_packers_rule() {
        let cases = [
            ((0, 0, 0, 0), 1),
            ((4, 0, 0, 0), 4),
            ((0, 2, 2, 0), 4),
            ((8, 2, 2, 1), 4),
            ((2, 2, 2, 2), 2),
            ((0, 0, 3, 2), 6),
        ];
        for ((cpus, sockets, cores, threads), expected) in cases {
            assert_eq!(Topology::from_options(cpus, sockets, cores, threads).processors(), expected);
        }
    }

    #[test]
    fn a_vnc_password_is_never_shown() {
        let spec = VncSpec {
            bind: "127.0.0.1".to_owned(),
            port_min: 5900,
            port_max: 6000,
            password: Some("hunter22".to_owned()),
        };
        assert!(!format!("{spec:?}").contains("hunter22"));
    }
}
