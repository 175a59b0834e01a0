//! What a machine is made of: plain values, the same for every backend.

use std::fmt;
use std::path::PathBuf;

use crate::KeyPacing;

/// Stands for the forwarded host port in [`MachineSpec::extra_arguments`]; replaced when the port is known.
///
/// A template's `{{ .SSHHostPort }}` is rendered to this, because the port is only known once the hypervisor has bound it.
pub const SSH_HOST_PORT: &str = "\u{1}KILN_SSH_HOST_PORT\u{1}";

/// Describes a machine to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The machine's name, shown in window titles and process lists.
    pub name: String,
    /// An existing directory for short-lived files, owned by the caller. What is made in it is removed at the end.
    pub runtime_dir: PathBuf,
    /// The hypervisor's program: a path, or a name looked up in `PATH`.
    pub binary: String,
    /// Machine type, as `pc` or `q35`.
    pub machine_type: String,
    /// What runs the guest's code.
    pub accelerator: Accelerator,
    /// CPU model; `None`: the hypervisor's default.
    pub cpu_model: Option<String>,
    /// Processors.
    pub topology: Topology,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disks, the first one first in boot order.
    pub disks: Vec<DiskSpec>,
    /// CD-ROM drives.
    pub cdroms: Vec<CdromSpec>,
    /// A floppy image.
    pub floppy: Option<PathBuf>,
    /// The network adapter.
    pub network: NetworkSpec,
    /// What runs before the boot loader.
    pub firmware: Firmware,
    /// A TPM.
    pub tpm: Option<TpmSpec>,
    /// What is booted first.
    pub boot: BootOrder,
    /// A window on the host's desktop; `None`: none.
    pub display: Option<Gui>,
    /// A VNC server for people to watch; `None`: none.
    pub vnc: Option<VncSpec>,
    /// Display adapter; `None`: the hypervisor's default.
    pub vga: Option<String>,
    /// How fast keys are pressed.
    pub key_pacing: KeyPacing,
    /// Packer's `qemuargs`, rendered: each a switch and its values, which are joined. They replace the defaults of the same switch.
    pub extra_arguments: Vec<Vec<String>>,
}

impl MachineSpec {
    /// A machine of Packer's defaults: type `pc`, 512 MiB, one processor, no disks, a virtio network adapter without forwarding, no display.
    pub fn new(name: impl Into<String>, runtime_dir: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            runtime_dir: runtime_dir.into(),
            binary: "qemu-system-x86_64".to_owned(),
            machine_type: "pc".to_owned(),
            accelerator: Accelerator::Auto,
            cpu_model: None,
            topology: Topology::default(),
            memory_mib: 512,
            disks: Vec::new(),
            cdroms: Vec::new(),
            floppy: None,
            network: NetworkSpec { device: "virtio-net".to_owned(), mode: NetworkMode::User { forward: None } },
            firmware: Firmware::Default,
            tpm: None,
            boot: BootOrder::Disk,
            display: None,
            vnc: None,
            vga: None,
            key_pacing: KeyPacing::Adaptive,
            extra_arguments: Vec::new(),
        }
    }
}

/// What runs the guest's code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// The fastest one that was seen to run guest code.
    #[default]
    Auto,
    /// This one, as the template says: `kvm`, `tcg`, `xen`, ….
    Named(String),
    /// Nothing is said to the hypervisor (Packer's `none`).
    None,
}

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
    /// `None`: [`CacheMode::Unsafe`], because the disk of a build is disposable until it is exported.
    pub cache: Option<CacheMode>,
    /// Blocks the guest discards are given back to the host; `None`: yes.
    pub discard: Option<bool>,
    /// What is done with zeroes the guest writes; `None`: [`DetectZeroes::Unmap`], or [`DetectZeroes::On`] where `discard` is off.
    pub detect_zeroes: Option<DetectZeroes>,
}

impl DiskSpec {
    /// A disk with the defaults for building.
    pub fn new(path: impl Into<PathBuf>, format: DiskFormat, interface: DiskInterface) -> Self {
        Self { path: path.into(), format, interface, cache: None, discard: None, detect_zeroes: None }
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The spelling in templates.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Reads the spelling in templates.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
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

words! {
    /// How the host caches a disk.
    CacheMode {
        /// Every write reaches the disk before it is acknowledged.
        Writethrough = "writethrough",
        /// The host's page cache, flushed when the guest asks.
        Writeback = "writeback",
        /// No page cache.
        None = "none",
        /// The page cache; the guest's flushes are ignored.
        Unsafe = "unsafe",
        /// No page cache, every write reaches the disk.
        Directsync = "directsync",
    }
}

words! {
    /// What is done with zeroes that the guest writes.
    DetectZeroes {
        /// They are written.
        Off = "off",
        /// They are stored compactly.
        On = "on",
        /// They become holes.
        Unmap = "unmap",
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

/// The network adapter and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The adapter's model, as `virtio-net` or `e1000`.
    pub device: String,
    /// Where it leads.
    pub mode: NetworkMode,
}

/// Where a network adapter leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkMode {
    /// To the outside through the hypervisor, unreachable from there except for `forward`.
    User {
        /// A port of the guest made reachable on 127.0.0.1.
        forward: Option<PortForward>,
    },
    /// To a bridge of the host.
    Bridge {
        /// The bridge's interface.
        bridge: String,
    },
}

/// A port of the guest that is reachable on 127.0.0.1, on the first free port of a range.
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

/// A TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmSpec {
    /// Device, as `tpm-tis`.
    pub device: String,
    /// Version 1.2, not 2.0.
    pub version_1_2: bool,
}

/// What is booted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOrder {
    /// The CD-ROM, the first time only.
    CdromOnce,
    /// The first disk.
    Disk,
}

/// A window on the host's desktop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gui {
    /// Whatever the hypervisor thinks best.
    HypervisorChooses,
    /// This one, as `gtk`.
    Named(String),
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
