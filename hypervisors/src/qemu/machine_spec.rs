//! A machine as this backend reads it: hardware and QEMU's own part side by side.

use super::architecture::Architecture;
use super::overrides::Overrides;
use super::spec::QemuSpec;
use crate::error::Unsupported;
use crate::spec::{BackendSpec, MachineSpec, Origin};

/// Name of this backend.
pub(super) const NAME: &str = "qemu";

/// Stands for no network adapter.
const NO_NET_DEVICE: &str = "none";

/// The adapter of a machine that names none; Packer's default.
const DEFAULT_NET_DEVICE: &str = "virtio-net";

/// A machine for QEMU.
#[derive(Debug, Clone, Copy)]
pub(super) struct QemuMachineSpec<'a> {
    pub(super) hardware: &'a MachineSpec,
    pub(super) qemu: &'a QemuSpec,
}

impl<'a> QemuMachineSpec<'a> {
    /// Reads `spec`, or says all that makes it no machine that QEMU can start: it is for another hypervisor, or does not start new.
    pub(super) fn of(spec: &'a MachineSpec) -> Result<Self, Vec<Unsupported>> {
        let mut complaints = spec.foreign_to(NAME);
        complaints.extend(unsupported_origin(&spec.origin));
        match &spec.backend {
            BackendSpec::Qemu(qemu) if complaints.is_empty() => Ok(Self { hardware: spec, qemu }),
            _ => Err(complaints),
        }
    }

    /// What the guest's code is for.
    pub(super) fn architecture(&self) -> Architecture {
        Architecture::of_program(&self.qemu.binary)
    }

    /// The machine type, with what the template adds to it behind commas.
    pub(super) fn machine_type(&self) -> &'a str {
        self.qemu.machine_type.as_deref().unwrap_or_else(|| self.architecture().default_machine())
    }

    /// The machine that is really started: `qemuargs` may name another.
    pub(super) fn board(&self) -> String {
        let own = Overrides::new(&self.qemu.arguments).machine();
        own.unwrap_or_else(|| self.machine_type().split(',').next().unwrap_or_default().to_owned())
    }

    /// Tells whether it is the machine of ARM or RISC-V that is made for guests: it has PCI, and nothing else of a PC.
    pub(super) fn is_virt(&self) -> bool {
        let board = self.board();
        matches!(self.architecture(), Architecture::Aarch64 | Architecture::Riscv64)
            && (board == "virt" || board.starts_with("virt-"))
    }

    /// Tells whether it is one of the PC types, which have no SCSI of their own.
    pub(super) fn is_pc(&self) -> bool {
        let board = self.board();
        board == "pc" || board == "q35" || board == "ubuntu" || board.starts_with("pc-")
    }

    /// Tells whether it has the mode in which x86 firmware guards its flash.
    pub(super) fn has_smm(&self) -> bool {
        let board = self.board();
        board == "q35" || board.starts_with("pc-q35-")
    }

    /// The TPM's device.
    pub(super) fn tpm_device(&self) -> &'a str {
        self.qemu.tpm_device.as_deref().unwrap_or_else(|| self.architecture().default_tpm_device())
    }

    /// Whether the guest has a network adapter at all.
    pub(super) fn has_adapter(&self) -> bool {
        self.net_device() != NO_NET_DEVICE
    }

    /// The network adapter's model.
    pub(super) fn net_device(&self) -> &'a str {
        self.hardware.network.device.as_deref().unwrap_or(DEFAULT_NET_DEVICE)
    }
}

/// What is wrong with a machine that does not start new; a foreign saved state has been complained about already.
fn unsupported_origin(origin: &Origin) -> Option<Unsupported> {
    let problem = match origin {
        Origin::New => return None,
        Origin::SavedState(state) if state.hypervisor != NAME => return None,
        Origin::Import { package } => format!("QEMU machines cannot be made of the package {}", package.display()),
        Origin::Clone { machine, .. } | Origin::Existing { machine, .. } => {
            format!("QEMU keeps no machines, so not {machine}")
        }
        Origin::SavedState(state) => {
            format!("this version cannot go on from the saved state {} with QEMU", state.path.display())
        }
    };
    let hint = "use a disk image (disk_image = true), or let the machine start new".to_owned();
    Some(Unsupported { setting: "origin", problem, hint: Some(hint) })
}
