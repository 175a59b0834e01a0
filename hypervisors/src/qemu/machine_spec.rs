//! A machine as this backend reads it: hardware and QEMU's own part side by side.

use super::spec::QemuSpec;
use crate::error::Unsupported;
use crate::spec::{BackendSpec, MachineSpec, Origin};

/// Name of this backend.
pub(super) const NAME: &str = "qemu";

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
        Origin::Clone { machine, .. } => format!("QEMU keeps no machines that could be cloned, so not {machine}"),
        Origin::SavedState(state) => {
            format!("this version cannot go on from the saved state {} with QEMU", state.path.display())
        }
    };
    let hint = "use a disk image (disk_image = true), or let the machine start new".to_owned();
    Some(Unsupported { setting: "origin", problem, hint: Some(hint) })
}
