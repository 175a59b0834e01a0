//! Where a build's files are: in a directory of the machine's own below the output directory until all is done, then beside each other.

use std::path::PathBuf;

use kiln_disk_formats::package::vmx::Vmx;

use crate::plan::{VmwareOrigin, VmwarePlan};

/// The machine's directory while it is built; it has nothing in it that is not this build's.
pub(super) fn work(plan: &VmwarePlan) -> PathBuf {
    plan.output_directory.join(format!(".{}.work", plan.vm_name))
}

/// Where the finished machine is put together, in the same file system as the output directory.
pub(super) fn unfinished(plan: &VmwarePlan) -> PathBuf {
    work(plan).join("unfinished")
}

/// Where it lies when it is whole, until it has been moved.
pub(super) fn finished(plan: &VmwarePlan) -> PathBuf {
    work(plan).join("finished")
}

/// The machine's file while it is built.
pub(super) fn work_vmx(plan: &VmwarePlan) -> PathBuf {
    work(plan).join(vmx_name(plan))
}

/// The machine's file as it is imported from a package, beside the disks that come with it.
pub(super) fn imported_vmx(plan: &VmwarePlan) -> PathBuf {
    work(plan).join("imported.vmx")
}

/// The machine's file for good.
pub(super) fn final_vmx(plan: &VmwarePlan) -> PathBuf {
    plan.output_directory.join(vmx_name(plan))
}

/// The name of the machine's file.
pub(super) fn vmx_name(plan: &VmwarePlan) -> String {
    format!("{}.vmx", plan.vm_name)
}

/// The machine's file as it is now; `None`: there is none.
pub(super) fn current(plan: &VmwarePlan) -> Option<PathBuf> {
    let finished = finished(plan).join(vmx_name(plan));
    [work_vmx(plan), finished, final_vmx(plan)].into_iter().find(|path| path.exists())
}

/// The names of the disks that are made for the machine, the main one of a new machine first.
pub(super) fn made_disks(plan: &VmwarePlan) -> Vec<String> {
    let main = matches!(plan.origin, VmwareOrigin::Iso { .. }).then(|| format!("{}.vmdk", plan.disk_name));
    main.into_iter().chain(further_disks(plan).map(|number| format!("{}-{number}.vmdk", plan.disk_name))).collect()
}

/// The numbers of the disks that are made beside the main one. SCSI has no unit 7, and Packer no disk of that number.
pub(super) fn further_disks(plan: &VmwarePlan) -> impl Iterator<Item = u32> {
    (1..).filter(|number| *number != 7).take(plan.additional_disks.len())
}

/// The name of a disk of the machine's that a package of this build would have a file of the same name as, beside it; `None`: there is none.
pub(super) fn disk_in_the_way(plan: &VmwarePlan, disks: &[String]) -> Option<String> {
    // An OVA is one file, whose name ends otherwise.
    if !plan.exports() || plan.format != "ovf" {
        return None;
    }
    let packaged: Vec<String> = (1..=disks.len()).map(|number| format!("{}-disk{number}.vmdk", plan.vm_name)).collect();
    disks.iter().find(|disk| packaged.contains(disk)).cloned()
}

/// The names of all disks of the machine, in order; of a clone they are known when it is there.
pub(super) fn all_disks(plan: &VmwarePlan) -> Vec<String> {
    let named = |vmx: &Vmx| vmx.disks().map(|disks| disks.into_iter().map(|(_, file)| file.to_owned()).collect());
    // One with more disks than VMware takes is refused by whoever starts it.
    let there = current(plan).and_then(|path| named(&Vmx::read(&path).ok()?).ok());
    there.unwrap_or_else(|| made_disks(plan))
}
