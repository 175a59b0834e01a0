//! What only QEMU has of a machine: its program, its words and switches. The hardware every backend has is in
//! [`MachineSpec`](crate::MachineSpec).

use std::path::PathBuf;

use crate::words::words;

/// Stands for the forwarded host port in [`QemuSpec::arguments`]; replaced when the port is known.
///
/// A template's `{{ .SSHHostPort }}` is rendered to this, because the port is only known once QEMU has bound it.
pub const SSH_HOST_PORT: &str = "\u{1}KILN_SSH_HOST_PORT\u{1}";

/// QEMU's part of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuSpec {
    /// QEMU's program: a path, or a name looked up in `PATH`.
    pub binary: String,
    /// Machine type, as `pc` or `q35`; `None`: the one that guests of the program's architecture are run on.
    pub machine_type: Option<String>,
    /// What runs the guest's code.
    pub accelerator: Accelerator,
    /// CPU model; `None`: QEMU's default, and a 64-bit one on ARM.
    pub cpu_model: Option<String>,
    /// How the host caches disks; `None`: [`CacheMode::Unsafe`], because the disk of a build is disposable until it is exported.
    pub disk_cache: Option<CacheMode>,
    /// What is done with zeroes the guest writes; `None`: [`DetectZeroes::Unmap`], or [`DetectZeroes::On`] for a disk that does not
    /// discard.
    pub disk_detect_zeroes: Option<DetectZeroes>,
    /// The TPM's device, for a machine that has one: `tpm-tis`; `None`: the one that the machine has a bus for.
    pub tpm_device: Option<String>,
    /// The window's kind, for a machine that has one: `gtk`; `None`: what QEMU thinks best.
    pub display: Option<String>,
    /// Display adapter; `None`: QEMU's default.
    pub vga: Option<String>,
    /// Format of the code of a UEFI firmware; `false`: raw.
    pub firmware_is_qcow2: bool,
    /// The firmware's flash is kept from all code but the firmware's own (SMM), which x86 firmware with secure boot needs.
    pub secure_flash: bool,
    /// A boot loader that the machine's own firmware runs: U-Boot on RISC-V.
    pub boot_loader: Option<PathBuf>,
    /// Where other programs may attach to a QMP monitor of their own; gone with the machine.
    pub qmp_socket: Option<PathBuf>,
    /// Where this machine's agent is spoken to: a socket that leads to the guest's serial port `org.qemu.guest_agent.0`, gone with the
    /// machine; `None`: it has no such port.
    pub agent_socket: Option<PathBuf>,
    /// Packer's `qemuargs`, rendered: each a switch and its values, which are joined. They replace the defaults of the same switch.
    pub arguments: Vec<Vec<String>>,
}

impl Default for QemuSpec {
    /// Packer's defaults, on `qemu-system-x86_64`.
    fn default() -> Self {
        Self {
            binary: "qemu-system-x86_64".to_owned(),
            machine_type: None,
            accelerator: Accelerator::Auto,
            cpu_model: None,
            disk_cache: None,
            disk_detect_zeroes: None,
            tpm_device: None,
            display: None,
            vga: None,
            firmware_is_qcow2: false,
            secure_flash: false,
            boot_loader: None,
            qmp_socket: None,
            agent_socket: None,
            arguments: Vec::new(),
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
    /// Nothing is said to QEMU (Packer's `none`).
    None,
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
