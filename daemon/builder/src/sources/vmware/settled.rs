//! The machine's file as it is left for good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_disk_formats::package::vmx::Vmx;
use kiln_hypervisors::vmware::{Settling, VmxProblem, inspect, settle};

use super::places;
use crate::plan::{VmwareOrigin, VmwarePlan};

/// Where the build has put its floppy, as far as the machine's file names it.
const FLOPPY: &str = "floppy0.fileName";

/// The names of the disks' files of the machine as it is left for good: `vmx_data_post` may take some out.
pub(super) fn disks(plan: &VmwarePlan) -> Option<Vec<String>> {
    let vmx = Vmx::read(&places::current(plan)?).ok()?;
    let settled = machine(plan, vmx).ok()?;
    Some(settled.disks().ok()?.into_iter().map(|(_, file)| file.to_owned()).collect())
}

/// The machine's file without what the build has put into it, and with what the template wants in it afterwards.
pub(super) fn machine(plan: &VmwarePlan, vmx: Vmx) -> Result<Vmx, VmxProblem> {
    let discs = put_in(plan, &vmx);
    let paths: Vec<&Path> = discs.iter().map(PathBuf::as_path).collect();
    // The installer's drive is the machine's; the others were the build's.
    let own = usize::from(matches!(plan.origin, VmwareOrigin::Iso { .. })).min(paths.len());
    let (installers, discs) = paths.split_at(own);
    let settling = Settling {
        installers,
        discs,
        floppy: plan.floppy.is_some() && vmx.get(FLOPPY).is_some(),
        without_network: plan.without_network,
        data: plan.data_after.clone(),
        disks: BTreeMap::new(),
    };
    settle(vmx, &settling)
}

/// The discs that the build has put in, in the order in which it has: of a clone, those that the original does not have.
fn put_in(plan: &VmwarePlan, vmx: &Vmx) -> Vec<PathBuf> {
    let mut before: Vec<String> = match &plan.origin {
        // Discs are no part of a package.
        VmwareOrigin::Iso { .. } | VmwareOrigin::Package { .. } => Vec::new(),
        VmwareOrigin::Vmx { source, .. } => Vmx::read(source).map(|vmx| inspect::discs(&vmx)).unwrap_or_default(),
    };
    // What the template puts in itself stays.
    before.extend(plan.data.values().cloned());
    inspect::discs(vmx).into_iter().filter(|disc| !before.contains(disc)).map(PathBuf::from).collect()
}
