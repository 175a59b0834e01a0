//! The machine's file before anything is made: what would be wrong with it, and with what is done to it at the end, is told at once.

use std::path::PathBuf;

use kiln_hypervisors::vmware::{VmxProblem, preview};

use super::{finish, machine, places};
use crate::machine_build::Media;
use crate::plan::{VmwareOrigin, VmwarePlan};
use crate::plan_reader::PlanReader;

/// Complains about the machine's file.
pub(super) fn check(plan: &VmwarePlan, reader: &mut PlanReader<'_>) {
    let spec = machine::spec(plan, &media(plan));
    match preview(&spec) {
        Ok(Some(vmx)) => {
            if let Err(problem) = finish::settle_machine(plan, vmx) {
                complain(reader, "vmx_data_post", &problem);
            }
        }
        // Said by the hypervisor's own check.
        Ok(None) => {}
        Err(problem) => complain(reader, option_of(&problem), &problem),
    }
}

/// The option that can bring about such a problem.
fn option_of(problem: &VmxProblem) -> &'static str {
    match problem {
        VmxProblem::Full(_) => "disk_additional_size",
        VmxProblem::NotText(_) => "output_directory",
        VmxProblem::File(_) | VmxProblem::Replaced { .. } | VmxProblem::Added { .. } => "vmx_data",
    }
}

fn complain(reader: &mut PlanReader<'_>, option: &str, problem: &VmxProblem) {
    let detail = format!("The VMX file that comes of it cannot be: {problem}.");
    reader.error_with_hint(option, "No such machine", detail, problem.hint());
}

/// Files by their places; they are not there yet.
fn media(plan: &VmwarePlan) -> Media {
    let file = |name: &str| places::work(plan).join(name);
    let wanted = |wanted: bool, name: &str| wanted.then(|| file(name));
    Media {
        image: wanted(matches!(plan.origin, VmwareOrigin::Iso { .. }), "installer.iso"),
        floppy: wanted(plan.floppy.is_some(), "floppy.img"),
        cd: wanted(plan.cd.is_some(), "cd.iso"),
        tools: wanted(plan.tools.mode.is_some(), "tools.iso"),
        work: PathBuf::new(),
        sockets: PathBuf::new(),
    }
}
