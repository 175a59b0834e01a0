//! What a machine is made of: hardware that is the same for every backend, how the machine comes to be, and one part for the hypervisor that
//! is to run it.

mod backend;
mod hardware;
mod origin;

use std::path::PathBuf;

use crate::error::Unsupported;
use crate::keyboard::KeyPacing;
pub use backend::BackendSpec;
pub use hardware::{
    BootOrder, CdromSpec, DiskFormat, DiskInterface, DiskSpec, Firmware, NetworkMode, NetworkSpec, PortForward,
    Topology, TpmVersion, VncSpec,
};
pub use origin::{Origin, SavedState};

/// Describes a machine to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The machine's name, shown in window titles and process lists.
    pub name: String,
    /// An existing directory for short-lived files, owned by the caller. What is made in it is removed at the end.
    pub runtime_dir: PathBuf,
    /// How the machine comes to be.
    pub origin: Origin,
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
    pub tpm: Option<TpmVersion>,
    /// What is booted first.
    pub boot: BootOrder,
    /// The screen is shown in a window on the host's desktop.
    pub window: bool,
    /// A VNC server for people to watch; `None`: none.
    pub vnc: Option<VncSpec>,
    /// How fast keys are pressed.
    pub key_pacing: KeyPacing,
    /// What only the hypervisor that is to run it understands.
    pub backend: BackendSpec,
}

impl MachineSpec {
    /// A new machine of Packer's defaults: 512 MiB, one processor, no disks, a network adapter without forwarding, no window.
    pub fn new(name: impl Into<String>, runtime_dir: impl Into<PathBuf>, backend: impl Into<BackendSpec>) -> Self {
        Self {
            name: name.into(),
            runtime_dir: runtime_dir.into(),
            origin: Origin::New,
            topology: Topology::default(),
            memory_mib: 512,
            disks: Vec::new(),
            cdroms: Vec::new(),
            floppy: None,
            network: NetworkSpec { device: None, mode: NetworkMode::User { forward: None } },
            firmware: Firmware::Default,
            tpm: None,
            boot: BootOrder::Disk,
            window: false,
            vnc: None,
            key_pacing: KeyPacing::Adaptive,
            backend: backend.into(),
        }
    }

    /// Says what of this machine belongs to another hypervisor than the one called `hypervisor`: its own part, or the saved state it is
    /// to go on from.
    pub fn foreign_to(&self, hypervisor: &str) -> Vec<Unsupported> {
        let mut complaints = Vec::new();
        let made_for = self.backend.hypervisor();
        if made_for != hypervisor {
            complaints.push(Unsupported {
                setting: "backend",
                problem: format!(
                    "the machine {} is described for {made_for}, and {hypervisor} was asked to run it",
                    self.name
                ),
                hint: Some(format!("run it with {made_for}, or describe it for {hypervisor}")),
            });
        }
        if let Origin::SavedState(state) = &self.origin
            && state.hypervisor != hypervisor
        {
            complaints.push(Unsupported {
                setting: "origin",
                problem: format!(
                    "the saved state {} was made by {}, and {hypervisor} cannot go on from it",
                    state.path.display(),
                    state.hypervisor
                ),
                hint: Some("start the machine anew; the saved state is left as it is".to_owned()),
            });
        }
        complaints
    }
}
