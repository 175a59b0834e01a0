//! The machine's directory and its disks, before there is a machine.

use std::os::unix::fs::DirBuilderExt as _;

use kiln_disk_formats::{Format, OpenPolicy};
use kiln_hypervisors::vmware::create_disk;

use super::package::Package;
use super::{places, settled};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::ledger::Resource;
use crate::plan::{VmwareOrigin, VmwarePlan};

/// Makes the directory and the disks in it.
pub(super) async fn create(plan: &VmwarePlan, context: &BuildContext) -> Result<(), StepError> {
    let work = places::work(plan);
    let failed = |what: &str, error: std::io::Error| {
        StepError::new(format!("cannot {what} {}", work.display())).with_source(error)
    };
    let absolute = std::path::absolute(&work).map_err(|error| failed("name", error))?;
    context.own_path("disk", Resource::Directory { path: absolute });
    // Of an earlier try that failed.
    match tokio::fs::remove_dir_all(&work).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("remove", error)),
        _ => {}
    }
    // The machine's file has a password in it.
    std::fs::DirBuilder::new().mode(0o700).create(&work).map_err(|error| failed("create", error))?;
    let main = match &plan.origin {
        VmwareOrigin::Iso { machine, .. } => Some(machine.disk_size),
        VmwareOrigin::Vmx { .. } | VmwareOrigin::Package { .. } => None,
    };
    if let Some(package) = Package::of(plan)? {
        package.import(plan, context).await?;
    }
    let sizes: Vec<u64> = main.into_iter().chain(plan.additional_disks.iter().copied()).collect();
    if !sizes.is_empty() {
        context.say("Creating virtual machine disks...");
    }
    for (name, megabytes) in places::made_disks(plan).iter().zip(sizes) {
        create_disk(&work.join(name), megabytes, &plan.disk_adapter, &plan.disk_kind).await?;
    }
    Ok(())
}

/// The disks that go into packages when the guest has stopped: those that the machine has in the end.
pub(super) fn exported(plan: &VmwarePlan) -> Vec<GuestDisk> {
    let Some(left) = settled::disks(plan) else { return readable(plan) };
    let is_left = |disk: &GuestDisk| left.iter().any(|file| disk.path.ends_with(file));
    readable(plan).into_iter().filter(is_left).collect()
}

/// All disks as they are to be read when the guest has stopped.
pub(super) fn readable(plan: &VmwarePlan) -> Vec<GuestDisk> {
    // Until the machine is finished they are in its directory, then beside its file.
    let directory = places::current(plan).and_then(|vmx| Some(vmx.parent()?.to_owned()));
    let directory = directory.unwrap_or_else(|| places::work(plan));
    let policy = match &plan.origin {
        // It lies over disks of a machine that the template names, and vouches for.
        VmwareOrigin::Vmx { linked: true, .. } => OpenPolicy::allow_any(),
        _ => OpenPolicy::allow_below(vec![directory.clone()]),
    };
    let disk = |name: String| GuestDisk { path: directory.join(name), format: Format::Vmdk, policy: policy.clone() };
    places::all_disks(plan).into_iter().map(disk).collect()
}
