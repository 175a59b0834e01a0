//! What the builders for VirtualBox will do, as a plain value.

use std::time::Duration;

use serde::Serialize;

use super::communicator::CommunicatorPlan;
use super::guest::{BootPlan, HttpPlan, ImagePlan, MediaPlan, OutputPlan, ShutdownPlan};

/// What one of the three builders for VirtualBox will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VirtualBoxPlan {
    /// Where the machine comes from.
    pub origin: VirtualBoxOrigin,
    /// Its name.
    pub vm_name: String,
    /// Where the image goes.
    pub output: OutputPlan,
    /// Name of the exported file, without extension.
    pub output_filename: String,
    /// `ovf` or `ova`.
    pub format: String,
    /// Further arguments of VirtualBox's export; empty: our own writers export what they can.
    pub export_options: Vec<String>,
    /// No export.
    pub skip_export: bool,
    /// The machine stays registered.
    pub keep_registered: bool,
    /// The HTTP server.
    pub http: Option<HttpPlan>,
    /// The floppy.
    pub floppy: Option<MediaPlan>,
    /// The CD with seed files.
    pub cd: Option<MediaPlan>,
    /// What is typed.
    pub boot: BootPlan,
    /// Least time between two groups of keys.
    pub key_group_interval: Duration,
    /// How it ends.
    pub shutdown: ShutdownPlan,
    /// How the guest is reached.
    pub communicator: CommunicatorPlan,
    /// Host ports that may be forwarded to the guest.
    pub host_ports: (u16, u16),
    /// Use the guest's own port.
    pub skip_nat_mapping: bool,
    /// No window.
    pub headless: bool,
    /// The remote display.
    pub vrdp: VrdpPlan,
    /// Commands before the start, as written.
    pub commands: Vec<Vec<String>>,
    /// Commands when the guest is off, as written.
    pub commands_after: Vec<Vec<String>>,
    /// The file in the guest that gets VirtualBox's version.
    pub version_file: Option<String>,
    /// How the guest gets the guest additions.
    pub additions: AdditionsPlan,
}

/// Where a machine comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VirtualBoxOrigin {
    /// It is made new, for an installer.
    Iso {
        /// The installer.
        image: ImagePlan,
        /// The hardware.
        machine: Box<NewMachinePlan>,
    },
    /// It is imported.
    Ovf {
        /// The package.
        package: ImagePlan,
        /// Further arguments of the import.
        flags: Vec<String>,
    },
    /// It is there.
    Vm {
        /// The snapshot to start from.
        attach: Option<String>,
        /// The snapshot to take.
        target: Option<String>,
        /// A snapshot of that name goes first.
        replace: bool,
    },
}

/// The hardware of a new machine, in VirtualBox's words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NewMachinePlan {
    /// Guest system.
    pub os_type: String,
    /// Chipset.
    pub chipset: String,
    /// Firmware.
    pub firmware: String,
    /// Machines in the guest.
    pub nested: Option<bool>,
    /// `local` or `UTC`.
    pub clock: String,
    /// Sizes of the disks in MiB.
    pub disks: Vec<u64>,
    /// How disks are attached.
    pub disk_interface: String,
    /// How the installer is attached.
    pub iso_interface: String,
    /// Ports of the SATA and the NVMe controller.
    pub ports: (u32, u32),
    /// Pass TRIM on.
    pub discard: bool,
    /// Look like an SSD.
    pub non_rotational: bool,
    /// Network adapter.
    pub nic: String,
    /// Sound card and the host's driver.
    pub audio: (String, String),
    /// USB controller, when there is one.
    pub usb: Option<String>,
    /// Pointing device.
    pub mouse: String,
    /// Keyboard.
    pub keyboard: String,
    /// Graphics card; `None`: as VirtualBox recommends.
    pub graphics: Option<String>,
    /// Its memory in MiB.
    pub video_memory: u32,
    /// 3D acceleration.
    pub accelerate_3d: bool,
    /// UEFI's screen.
    pub efi_resolution: Option<String>,
    /// Processors.
    pub cpus: u32,
    /// MiB.
    pub memory: u64,
    /// The installer stays in its drive for the export.
    pub bundle_iso: bool,
}

/// The remote display.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VrdpPlan {
    /// Listening address.
    pub bind: String,
    /// Lowest and highest port.
    pub ports: (u16, u16),
    /// The template has options of it that are not the defaults.
    pub asked_for: bool,
}

/// How the guest gets the guest additions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AdditionsPlan {
    /// The way.
    pub mode: AdditionsMode,
    /// How their CD is attached.
    pub interface: String,
    /// Where they are uploaded to, as written.
    pub path: String,
    /// Where they come from, as written; `None`: VirtualBox's own.
    pub url: Option<String>,
    /// Their checksum.
    pub sha256: Option<String>,
}

/// A way in which the guest gets the guest additions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AdditionsMode {
    /// Not at all.
    Disable,
    /// In a drive.
    Attach,
    /// As a file.
    Upload,
}
