//! What is wrong with a build for VMware, found before anything is made: what this host lacks, and what the machine's file cannot be.

use std::path::{Path, PathBuf};

use kiln_disk_formats::package::vmx::Vmx;
use kiln_hypervisors::MachineSpec;
use kiln_hypervisors::vmware::{OVFTOOL_HINT, VmwareSpec, VmxProblem, find_ovftool, inspect, preview};

use super::package::Package;
use super::{leading_out, machine, places, settled};
use crate::backends::Backends;
use crate::error::StepError;
use crate::machine_build::Media;
use crate::plan::{VmwareOrigin, VmwarePlan};
use crate::plan_reader::PlanReader;

/// Complains about what this host lacks for the machine. Nothing is started.
pub(super) fn check(plan: &VmwarePlan, reader: &mut PlanReader<'_>, backends: &Backends) {
    if let Ok(hypervisor) = backends.hypervisor(machine::HYPERVISOR) {
        // What cannot be read of its files is said below; the rest of it can be looked at all the same.
        let spec = machine::spec(plan, &media(plan)).unwrap_or_else(|_| {
            let mut spec = MachineSpec::new(&plan.vm_name, ".", VmwareSpec::default());
            spec.network = machine::network(plan);
            spec
        });
        for problem in hypervisor.check(&spec).err().into_iter().flatten() {
            reader.not_here(problem.setting, "This machine cannot be run here", problem.problem, problem.hint);
        }
    }
    if plan.exports_with_ovftool() && find_ovftool().is_none() {
        let detail = "ovftool_options are arguments of ovftool, which is not in PATH.";
        reader.not_here("ovftool_options", "ovftool cannot be found", detail, Some(OVFTOOL_HINT.to_owned()));
    }
    let original = match &plan.origin {
        VmwareOrigin::Vmx { source, .. } => Vmx::read(source).ok(),
        VmwareOrigin::Iso { .. } | VmwareOrigin::Package { .. } => None,
    };
    let original = original.iter().flat_map(|vmx| vmx.disks().unwrap_or_default()).map(|(_, file)| file.to_owned());
    let disks: Vec<String> = original.chain(places::made_disks(plan)).collect();
    if let Some(disk) = places::disk_in_the_way(plan, &disks) {
        let error = in_the_way(&disk);
        reader.error_with_hint("format", "Two files of one name", format!("{error}."), error.hint());
    }
    match &plan.origin {
        VmwareOrigin::Iso { .. } => check_file(plan, reader),
        VmwareOrigin::Vmx { source, linked, snapshot } => {
            check_original(plan, source, *linked, snapshot.as_deref(), reader);
        }
        VmwareOrigin::Package { .. } => check_package(plan, reader),
    }
}

/// Says that a package and its machine cannot lie beside each other.
pub(super) fn in_the_way(disk: &str) -> StepError {
    StepError::new(format!("the OVF's disk {disk} would have the name of the machine's own, beside which it is to lie"))
        .with_hint("choose another vm_name, or format = \"ova\", which is one file")
}

/// Complains about the package that the machine is made of.
fn check_package(plan: &VmwarePlan, reader: &mut PlanReader<'_>) {
    let read = Package::of(plan).and_then(|package| {
        let Some(package) = package else { return Ok(Vec::new()) };
        package.disks()?;
        package.vmx()?;
        Ok(package.left_out().iter().chain(&package.replaced).cloned().collect())
    });
    match read {
        Ok(differences) => {
            if !differences.is_empty() {
                let detail =
                    format!("The machine of the package differs from that which is built: {}.", differences.join("; "));
                reader.warning("source_path", "Not all of the package is carried over", detail);
            }
            check_file(plan, reader);
        }
        Err(error) => {
            let detail = format!("source_path cannot be used: {error}.");
            reader.not_here("source_path", "No such machine", detail, error.hint().map(str::to_owned));
        }
    }
}

/// Complains about the machine that is cloned.
fn check_original(plan: &VmwarePlan, source: &Path, linked: bool, snapshot: Option<&str>, reader: &mut PlanReader<'_>) {
    let shown = source.display();
    let vmx = match Vmx::read(source) {
        Ok(vmx) => vmx,
        Err(error) => {
            let detail = format!("source_path {shown} cannot be read as a VMX file: {error}.");
            reader.not_here("source_path", "No such machine", detail, error.hint().map(str::to_owned));
            return;
        }
    };
    check_file(plan, reader);
    let directory = source.parent().unwrap_or(source);
    for (_, file) in vmx.disks().unwrap_or_default() {
        let path = directory.join(file);
        if !path.is_file() {
            let detail = format!("{shown} has a disk {file:?}, but there is no file {}.", path.display());
            reader.not_here("source_path", "A disk is missing", detail, None);
        }
    }
    for way in leading_out::of(&vmx, directory).into_iter().filter(|way| !way.is_said(&plan.data)) {
        let detail = format!("{shown} leads out of its directory: {way}.");
        reader.not_here("source_path", "The machine reaches files of this host", detail, Some(way.hint()));
    }
    if let Some(wanted) = snapshot {
        let there = inspect::snapshots(source).unwrap_or_default();
        if !there.iter().any(|name| name == wanted) {
            let list =
                if there.is_empty() { "it has none".to_owned() } else { format!("there are: {}", there.join(", ")) };
            let detail = format!("{shown} has no snapshot called {wanted:?}; {list}.");
            reader.not_here("attach_snapshot", "No such snapshot", detail, None);
        }
    } else if linked && inspect::snapshots(source).is_none_or(|there| there.is_empty()) {
        let detail = format!("A linked clone lies over a snapshot of its original, and {shown} has none.");
        let hint = "take one in VMware, or leave linked out: a full clone needs none".to_owned();
        reader.not_here("linked", "No snapshot to link to", detail, Some(hint));
    }
}

/// Complains about the machine's file as it would be, and as it would be left.
fn check_file(plan: &VmwarePlan, reader: &mut PlanReader<'_>) {
    let spec = match machine::spec(plan, &media(plan)) {
        Ok(spec) => spec,
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            reader.error_with_hint(template_option(plan), "No such machine", format!("{error}."), hint);
            return;
        }
    };
    match preview(&spec) {
        Ok(Some(vmx)) => {
            if let Err(problem) = settled::machine(plan, vmx) {
                complain(reader, "vmx_data_post", &problem);
            }
        }
        // Said by the hypervisor's own check.
        Ok(None) => {}
        Err(problem) => complain(reader, option_of(&problem), &problem),
    }
}

/// The option that names what a spec is made of.
fn template_option(plan: &VmwarePlan) -> &'static str {
    match &plan.origin {
        VmwareOrigin::Iso { machine, .. } if machine.template.is_some() => "vmx_template_path",
        VmwareOrigin::Iso { .. } => "vmx_disk_template_path",
        VmwareOrigin::Vmx { .. } | VmwareOrigin::Package { .. } => "source_path",
    }
}

/// The option that can bring about such a problem.
fn option_of(problem: &VmxProblem) -> &'static str {
    match problem {
        VmxProblem::Full(_) => "disk_additional_size",
        VmxProblem::NotText(_) => "output_directory",
        VmxProblem::File(_)
        | VmxProblem::Replaced { .. }
        | VmxProblem::Added { .. }
        | VmxProblem::Twice { .. }
        | VmxProblem::NoController { .. } => "vmx_data",
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
