//! A machine as this backend reads it: hardware and VMware's own part side by side.

use super::spec::VmwareSpec;
use crate::error::Unsupported;
use crate::spec::{BackendSpec, MachineSpec, Origin};

/// Name of this backend.
pub(super) const NAME: &str = "vmware";

/// A machine for VMware.
#[derive(Debug, Clone, Copy)]
pub(super) struct VmwareMachineSpec<'a> {
    pub(super) hardware: &'a MachineSpec,
    pub(super) vmware: &'a VmwareSpec,
}

impl<'a> VmwareMachineSpec<'a> {
    /// Reads `spec`, or says all that makes it no machine that VMware can start.
    pub(super) fn of(spec: &'a MachineSpec) -> Result<Self, Vec<Unsupported>> {
        let mut complaints = spec.foreign_to(NAME);
        complaints.extend(unsupported_origin(&spec.origin));
        match &spec.backend {
            BackendSpec::Vmware(vmware) if complaints.is_empty() => Ok(Self { hardware: spec, vmware }),
            _ => Err(complaints),
        }
    }
}

/// What is wrong with a machine that is neither new nor a clone; a foreign saved state has been complained about already.
fn unsupported_origin(origin: &Origin) -> Option<Unsupported> {
    let problem = match origin {
        Origin::New | Origin::Clone { .. } => return None,
        Origin::SavedState(state) if state.hypervisor != NAME => return None,
        Origin::Import { package } => {
            format!("this version cannot import the package {} into VMware", package.display())
        }
        Origin::Existing { machine, .. } => {
            format!("VMware machines are copied, never worked on themselves, so {machine} is not")
        }
        Origin::SavedState(state) => {
            format!("this version cannot go on from the saved state {} with VMware", state.path.display())
        }
    };
    let hint = "name a .vmx file to clone, or let the machine start new".to_owned();
    Some(Unsupported { setting: "origin", problem, hint: Some(hint) })
}
