//! How the guest's disks leave: what each is written to, and their names for good.

use std::path::Path;

use kiln_disk_formats::{FormatOptions, Output, OutputKind};

use super::disks::{GuestDisks, WorkDisk, remove, work_name};
use super::{firmware, image_tool, machine};
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::{self, GuestDisk};
use crate::plan::QemuPlan;
use crate::steps::output_directory::OutputDirectory;

/// Names in the output directory of the files that a machine of this plan has: its disks, and its UEFI variables.
pub(crate) fn names(plan: &QemuPlan) -> Vec<String> {
    let additional = (1..=plan.additional_disks.len()).map(|number| format!("{}-{number}", plan.vm_name));
    let disks = std::iter::once(plan.vm_name.clone()).chain(additional);
    let efi_vars = firmware::efi_vars(plan).is_some().then(|| firmware::EFI_VARS_NAME.to_owned());
    let converted = image_tool::converts(plan).then(|| image_tool::unfinished_name(plan));
    let own = disks.flat_map(|name| [work_name(&name), name]);
    own.chain(exported_names(plan)).chain(efi_vars).chain(converted).collect()
}

/// Names of the files that further disks become, where they are not those of the disks themselves.
fn exported_names(plan: &QemuPlan) -> Vec<String> {
    let disks = GuestDisks::of(plan).additional;
    let files = disks.iter().zip(&plan.additional_disks).filter_map(|(disk, size)| match leaving(plan, disk) {
        Ok(Leaving::Written(output)) => Some(output.files(&[*size])),
        _ => None,
    });
    files.flatten().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}

/// Whether the main disk is left as the guest has written it, and only changes its name.
pub(crate) fn stay_as_they_are(plan: &QemuPlan) -> bool {
    plan.skip_compaction && !plan.disk_compression && is_packers_format(plan)
}

/// Packer's formats keep Packer's file names, which have no ending.
fn is_packers_format(plan: &QemuPlan) -> bool {
    matches!(plan.format.as_str(), "qcow2" | "raw")
}

/// What `disk` is written to in a format of Packer's.
pub(crate) fn packers_output(plan: &QemuPlan, disk: &WorkDisk) -> Option<Output> {
    let kind = match plan.format.as_str() {
        "qcow2" if plan.disk_compression => OutputKind::qcow2_compressed(),
        "qcow2" => OutputKind::qcow2(),
        "raw" => OutputKind::Raw,
        _ => return None,
    };
    Some(Output::new(&disk.final_path, kind))
}

/// What becomes of a further disk when the guest has stopped.
enum Leaving {
    /// It only gets its name.
    Renamed,
    /// It is written anew, as the main disk is.
    Written(Output),
    /// It is part of the main disk's package.
    Packed,
}

/// What becomes of `disk`, one of the further ones.
fn leaving(plan: &QemuPlan, disk: &WorkDisk) -> Result<Leaving, StepError> {
    // Zeroes of a raw disk are holes already.
    if plan.format == "raw" || stay_as_they_are(plan) {
        return Ok(Leaving::Renamed);
    }
    if let Some(output) = packers_output(plan, disk) {
        return Ok(Leaving::Written(output));
    }
    let name = disk.final_path.file_name().unwrap_or_default().to_string_lossy();
    let machine = machine::describe(plan);
    let output = export::output(&plan.format, &plan.output_directory, &name, &machine, &mut FormatOptions::default())?;
    Ok(if output.kind.row().is_package { Leaving::Packed } else { Leaving::Written(output) })
}

/// Writes further disks as the main one has been, and gives all their final names. What an earlier try has done is left.
pub(crate) async fn finish(
    plan: &QemuPlan,
    output_directory: &OutputDirectory,
    context: &BuildContext,
) -> Result<(), StepError> {
    let disks = GuestDisks::of(plan);
    let mut done_for = Vec::new();
    for disk in &disks.additional {
        match leaving(plan, disk)? {
            Leaving::Renamed => rename(disk).await?,
            Leaving::Packed => done_for.push(disk.path.clone()),
            Leaving::Written(output) => {
                // Where an earlier try has done all of it there is nothing at that path.
                let mut source = GuestDisk { path: disk.path.clone(), ..disk.readable() };
                if source.path == output.path {
                    output_directory.set_aside(&mut source)?;
                }
                let path = source.path.clone();
                if path.exists() {
                    export::write(context, vec![source], vec![output], &[], true).await?;
                }
                done_for.push(path);
            }
        }
    }
    if image_tool::converts(plan) {
        convert(plan, &disks.main, output_directory, context).await?;
    }
    if stay_as_they_are(plan) {
        rename(&disks.main).await?;
    } else if disks.main.path != disks.main.final_path || !is_packers_format(plan) {
        done_for.push(disks.main.path.clone());
    }
    // Only now: until all are written, another try may need them.
    done_for.iter().try_for_each(|path| remove(path))?;
    tracing::debug!(build = %context.build, "the disks have their final names");
    Ok(())
}

/// Has `qemu-img` write the main disk to its place. What an earlier try has left is replaced; where that has come to its end, nothing is done.
async fn convert(
    plan: &QemuPlan,
    disk: &WorkDisk,
    output: &OutputDirectory,
    context: &BuildContext,
) -> Result<(), StepError> {
    if disk.is_renamed() {
        return Ok(());
    }
    context.say("Converting hard drive...");
    let unfinished = plan.output_directory.join(image_tool::unfinished_name(plan));
    output.expect([unfinished.clone()])?;
    remove(&unfinished)?;
    image_tool::convert(&disk.path, disk.format, &unfinished, plan).await?;
    sync_and_rename(&unfinished, &disk.final_path).await
}

async fn rename(disk: &WorkDisk) -> Result<(), StepError> {
    if disk.path == disk.final_path || disk.is_renamed() {
        return Ok(());
    }
    sync_and_rename(&disk.path, &disk.final_path).await
}

async fn sync_and_rename(from: &Path, to: &Path) -> Result<(), StepError> {
    let failed = format!("cannot rename {} to {}", from.display(), to.display());
    let (from, to) = (from.to_owned(), to.to_owned());
    let work = move |_: &_| -> std::io::Result<()> {
        std::fs::File::open(&from)?.sync_all()?;
        std::fs::rename(&from, &to)?;
        match to.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
            _ => Ok(()),
        }
    };
    blocking("renaming a disk", work).await.map_err(|error| StepError::new(failed).with_source(error))
}
