//! The guest's disks: made before the start, read for the export, removed or named for good after it.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{Format, OpenPolicy, create_vdi};

use super::notes;
use crate::blocking::blocking;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::plan::{VirtualBoxOrigin, VirtualBoxPlan};

const MIB: u64 = 1 << 20;

/// The disks of a new machine, while it runs. They have hidden names until the build is over, unless the machine stays, or its
/// commands name a disk: then it must lie where Packer has it.
pub(super) fn all(plan: &VirtualBoxPlan) -> Vec<PathBuf> {
    let hidden = !plan.keep_registered && !commands_name_disks(plan);
    let place = |name: String| plan.output.named().join(if hidden { format!(".{name}") } else { name });
    names(plan).into_iter().map(place).collect()
}

/// Packer's names: a single disk has the machine's, of more each has a number.
fn names(plan: &VirtualBoxPlan) -> Vec<String> {
    let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin else { return Vec::new() };
    match machine.disks.len() {
        1 => vec![format!("{}.vdi", plan.vm_name)],
        count => (0..count).map(|number| format!("{}-{number}.vdi", plan.vm_name)).collect(),
    }
}

fn commands_name_disks(plan: &VirtualBoxPlan) -> bool {
    plan.commands.iter().chain(&plan.commands_after).flatten().any(|word| word.contains(".vdi"))
}

/// Names in the output directory of the files that the machine has.
pub(super) fn file_names(plan: &VirtualBoxPlan) -> Vec<String> {
    let noted = exported_by_us(plan).then(|| notes::names(plan));
    names(plan).into_iter().flat_map(|name| [format!(".{name}"), name]).chain(noted.into_iter().flatten()).collect()
}

/// Makes them, empty; of an earlier try nothing stays.
pub(super) async fn create(plan: &VirtualBoxPlan) -> Result<(), StepError> {
    notes::all(plan).iter().try_for_each(|path| remove(path))?;
    let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin else { return Ok(()) };
    let disks: Vec<(PathBuf, u64)> = all(plan).into_iter().zip(machine.disks.iter().copied()).collect();
    blocking("making the disks", move |_| {
        for (path, size) in disks {
            // Of an earlier try that failed.
            remove(&path)?;
            create_vdi(&path, size.saturating_mul(MIB))?;
        }
        Ok(())
    })
    .await
}

/// Whether our own writers are to export the machine: what they cannot read of it is left to VirtualBox all the same.
pub(super) fn exported_by_us(plan: &VirtualBoxPlan) -> bool {
    let bundles = matches!(&plan.origin, VirtualBoxOrigin::Iso { machine, .. } if machine.bundle_iso);
    !plan.skip_export && plan.export_options.is_empty() && !bundles
}

/// Where, in the output directory, VirtualBox exports to, if it does.
pub(super) fn exported_by_virtualbox(plan: &VirtualBoxPlan) -> Option<PathBuf> {
    let directory = plan.output.named().join(format!(".{}.export", plan.output_filename));
    (!plan.skip_export).then(|| std::path::absolute(&directory).unwrap_or(directory))
}

/// The disks as they are to be read when the guest is off.
pub(super) fn readable(plan: &VirtualBoxPlan) -> Vec<GuestDisk> {
    if exported_by_us(plan) && notes::are_made(plan) {
        return notes::disks(plan);
    }
    if !(exported_by_us(plan) || plan.skip_export) {
        return Vec::new();
    }
    let disk = |path| GuestDisk { path, format: Format::Vdi, policy: OpenPolicy::deny() };
    all(plan).into_iter().map(disk).collect()
}

/// Removes the disks of a machine that is gone; those of one that stays are part of the artifact. What an earlier try has removed is
/// left.
pub(super) fn finish(plan: &VirtualBoxPlan) -> Result<(), StepError> {
    if exported_by_us(plan) {
        notes::all(plan).iter().try_for_each(|path| remove(path))?;
    }
    if plan.keep_registered {
        return Ok(());
    }
    all(plan).iter().try_for_each(|path| remove(path))
}

fn remove(path: &Path) -> Result<(), StepError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StepError::new(format!("cannot remove {}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}
