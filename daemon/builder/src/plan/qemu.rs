//! What the qemu builder will do, as a plain value.

use std::path::PathBuf;

use kiln_communicators::Secret;
use serde::Serialize;

use super::communicator::CommunicatorPlan;
use super::guest::{BootPlan, HttpPlan, ImagePlan, MediaPlan, ShutdownPlan};
use super::secret;

/// What the qemu builder will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QemuPlan {
    /// Name of the machine and its disk.
    pub vm_name: String,
    /// Where the image goes.
    pub output_directory: PathBuf,
    /// The installer or disk image.
    pub image: ImagePlan,
    /// `image` is a disk, not an installer.
    pub disk_image: bool,
    /// Write only what differs from the disk image.
    pub use_backing_file: bool,
    /// Keep the disk image's size.
    pub skip_resize_disk: bool,
    /// Leave the disk as the guest wrote it.
    pub skip_compaction: bool,
    /// What is left: `qcow2`, `raw`, `vmdk`, `vmdk-sparse`, `ovf`, `ova`.
    pub format: String,
    /// Compress the qcow2 image.
    pub disk_compression: bool,
    /// What `qemu-img` is told, where it makes the images.
    #[serde(skip_serializing_if = "ImageArguments::is_empty")]
    pub image_arguments: ImageArguments,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// Sizes of further disks in bytes.
    pub additional_disks: Vec<u64>,
    /// The HTTP server.
    pub http: Option<HttpPlan>,
    /// The floppy.
    pub floppy: Option<MediaPlan>,
    /// The CD with seed files.
    pub cd: Option<MediaPlan>,
    /// What is typed.
    pub boot: BootPlan,
    /// How it ends.
    pub shutdown: ShutdownPlan,
    /// How the guest is reached.
    pub communicator: CommunicatorPlan,
    /// The machine.
    pub machine: QemuMachinePlan,
}

/// The template's arguments for `qemu-img`; of a command that has none, Kiln does the work.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct ImageArguments {
    /// For making empty disks, and disks over others.
    pub create: Vec<String>,
    /// For giving a disk image another size.
    pub resize: Vec<String>,
    /// For writing the main disk when the guest is done.
    pub convert: Vec<String>,
}

impl ImageArguments {
    /// Whether `qemu-img` is not needed.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.create, &self.resize, &self.convert].iter().all(|arguments| arguments.is_empty())
    }
}

/// The hardware and how QEMU is run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QemuMachinePlan {
    /// The QEMU to run.
    pub binary: String,
    /// `-machine`; `None`: the one that the guest's processor is found in.
    pub machine_type: Option<String>,
    /// As written; `None`: probed.
    pub accelerator: Option<String>,
    /// `-cpu`.
    pub cpu_model: Option<String>,
    /// `cpus`, `sockets`, `cores`, `threads`; 0 where unset.
    pub topology: [u32; 4],
    /// MiB.
    pub memory: u64,
    /// Disk interface.
    pub disk_interface: String,
    /// CD interface.
    pub cdrom_interface: Option<String>,
    /// As written.
    pub disk_cache: String,
    /// As written.
    pub disk_discard: String,
    /// As written.
    pub disk_detect_zeroes: String,
    /// Network adapter.
    pub net_device: String,
    /// Bridge, instead of user networking.
    pub net_bridge: Option<String>,
    /// Host ports that may be forwarded to the guest.
    pub host_ports: (u16, u16),
    /// Use the guest's own port.
    pub skip_nat_mapping: bool,
    /// No window.
    pub headless: bool,
    /// Display as written.
    pub display: String,
    /// Let QEMU choose the display.
    pub use_default_display: bool,
    /// `-vga`.
    pub vga: Option<String>,
    /// Address, ports and password of VNC.
    pub vnc: Option<VncPlan>,
    /// Firmware.
    pub firmware: FirmwarePlan,
    /// Leave the UEFI variables out of the artifact.
    pub drop_efivars: bool,
    /// TPM device, where the template names it, and whether it is version 1.2.
    pub tpm: Option<(Option<String>, bool)>,
    /// Where other programs may speak QMP.
    pub qmp_socket: Option<PathBuf>,
    /// Switches as written, rendered when ports are known.
    pub qemuargs: Vec<Vec<String>>,
}

/// VNC for people to watch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VncPlan {
    /// Listening address.
    pub bind: String,
    /// Lowest and highest port.
    pub ports: (u16, u16),
    /// Password, when asked for; an empty one is made up.
    #[serde(serialize_with = "secret::serialize")]
    pub password: Option<Secret>,
}

/// A UEFI firmware.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct EfiPlan {
    /// The firmware.
    pub code: PathBuf,
    /// It is a qcow2 image, not a raw one.
    pub code_is_qcow2: bool,
    /// The template of its variables.
    pub vars: PathBuf,
    /// It is a qcow2 image, not a raw one.
    pub vars_is_qcow2: bool,
    /// Only what is signed may boot.
    pub secure_boot: bool,
    /// Its flash is kept from the guest's operating system.
    pub smm: bool,
}

/// Firmware.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FirmwarePlan {
    /// QEMU's own BIOS.
    Default,
    /// A BIOS image.
    Bios(PathBuf),
    /// An image loaded as flash.
    Flash(PathBuf),
    /// A boot loader that QEMU's own firmware runs.
    BootLoader(PathBuf),
    /// UEFI.
    Efi(EfiPlan),
}
