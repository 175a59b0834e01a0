//! What the builders for VMware will do, as a plain value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::communicator::CommunicatorPlan;
use super::guest::{BootPlan, HttpPlan, ImagePlan, MediaPlan, ShutdownPlan};

/// What one of the two builders for VMware will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VmwarePlan {
    /// Where the machine comes from.
    pub origin: VmwareOrigin,
    /// Its name, and that of its VMX file.
    pub vm_name: String,
    /// Its name in VMware's windows; `None`: the same.
    pub display_name: Option<String>,
    /// Where the image goes.
    pub output_directory: PathBuf,
    /// Name of the main disk's file, without extension; further ones have a number behind it.
    pub disk_name: String,
    /// What disks hang on.
    pub disk_adapter: String,
    /// vmware-vdiskmanager's number of a disk's shape.
    pub disk_kind: String,
    /// Sizes of further disks in MiB.
    pub additional_disks: Vec<u64>,
    /// What CD drives hang on; `None`: it depends on the disks.
    pub cdrom_adapter: Option<String>,
    /// Entries of the VMX file before the start.
    pub data: BTreeMap<String, String>,
    /// Entries of the VMX file when the machine is off.
    pub data_after: BTreeMap<String, String>,
    /// The network cards are taken out at the end.
    pub without_network: bool,
    /// A snapshot that is taken at the end.
    pub snapshot: Option<String>,
    /// `vmx`, `ovf` or `ova`.
    pub format: String,
    /// Arguments of ovftool, which exports when there are any.
    pub ovftool_options: Vec<String>,
    /// No OVF or OVA is made.
    pub skip_export: bool,
    /// Leave the disks as the guest wrote them.
    pub skip_compaction: bool,
    /// No window.
    pub headless: bool,
    /// The screen; `None`: it cannot be watched or typed on.
    pub vnc: Option<VmwareVncPlan>,
    /// How the guest gets VMware's tools.
    pub tools: VmwareToolsPlan,
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
}

impl VmwarePlan {
    /// Whether an OVF or OVA is made.
    pub(crate) fn exports(&self) -> bool {
        !self.skip_export && self.format != "vmx"
    }

    /// Whether ovftool makes it: templates that have arguments for it know it.
    pub(crate) fn exports_with_ovftool(&self) -> bool {
        self.exports() && !self.ovftool_options.is_empty()
    }
}

/// Where a machine comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VmwareOrigin {
    /// It is made new, for an installer.
    Iso {
        /// The installer.
        image: ImagePlan,
        /// The hardware.
        machine: Box<VmwareMachinePlan>,
    },
    /// It is a copy of another one.
    Vmx {
        /// The other one's file.
        source: PathBuf,
        /// It shares its disks.
        linked: bool,
        /// One of its snapshots.
        snapshot: Option<String>,
    },
    /// It is made of an OVF or OVA.
    Package {
        /// The package.
        source: PathBuf,
        /// VMware's name of the guest's system; `None`: what the package says.
        guest_os: Option<String>,
        /// Highest version of the virtual hardware.
        hardware_version: u32,
    },
}

/// The hardware of a new machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VmwareMachinePlan {
    /// VMware's name of the guest's system.
    pub guest_os: String,
    /// Version of the virtual hardware.
    pub hardware_version: u32,
    /// Virtual CPUs; 0: VMware's choice.
    pub cpus: u32,
    /// Cores of a socket; 0: VMware's choice.
    pub cores: u32,
    /// MiB.
    pub memory: u64,
    /// MiB.
    pub disk_size: u64,
    /// `bios`, `efi`, `efi-secure`; `None`: VMware's choice.
    pub firmware: Option<String>,
    /// Network as written.
    pub network: String,
    /// Network adapter.
    pub network_adapter: String,
    /// A sound card.
    pub sound: bool,
    /// Version of USB, when there is any.
    pub usb: Option<String>,
    /// Serial port as written.
    pub serial: String,
    /// Parallel port as written.
    pub parallel: String,
    /// The guest may run machines of its own.
    pub nested: bool,
    /// A Go template of the VMX file.
    pub template: Option<PathBuf>,
    /// A Go template of the part of each further disk.
    pub disk_template: Option<PathBuf>,
}

/// VNC, through which VMware's machines are typed on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VmwareVncPlan {
    /// Listening address.
    pub bind: String,
    /// Lowest and highest port.
    pub ports: (u16, u16),
    /// Viewers need a password, made up for each start.
    pub password: bool,
}

/// How a guest gets VMware's tools.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct VmwareToolsPlan {
    /// `upload`, `attach`; `None`: not at all.
    pub mode: Option<String>,
    /// The template's own CD.
    pub source: Option<PathBuf>,
    /// Which of VMware's CDs.
    pub flavor: Option<String>,
    /// Where it is uploaded to, as written.
    pub path: String,
}
