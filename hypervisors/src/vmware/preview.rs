//! The VMX file of a machine that nobody has started: what is wrong with it is told before anything is made.

use std::path::Path;

use kiln_disk_formats::package::vmx::Vmx;

use super::draft::VmxProblem;
use super::machine_file::{configured, new_machine};
use super::machine_spec::VmwareMachineSpec;
use crate::spec::{MachineSpec, Origin};

/// The file as a machine of `spec` would have it, without its display; of a clone, with the original's disks. `None`: VMware does not
/// start such a machine, which [`check`](crate::Hypervisor::check) tells.
///
/// # Errors
///
/// There can be no such file.
pub fn preview(spec: &MachineSpec) -> Result<Option<Vmx>, VmxProblem> {
    let Ok(read) = VmwareMachineSpec::of(spec) else { return Ok(None) };
    let base = match &spec.origin {
        Origin::Clone { machine, .. } => Vmx::read(Path::new(machine))?,
        _ => new_machine(read)?,
    };
    let directory = read.vmware.vmx.as_deref().and_then(Path::parent).unwrap_or(Path::new("."));
    configured(base, read, directory, None).map(Some)
}
