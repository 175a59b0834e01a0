//! What happens after the guest has stopped: disks are written anew without their waste, the machine's file is cleaned, a snapshot is
//! taken, and all of it is moved into the output directory at once.
//!
//! It is put together in `unfinished`, which becomes `finished` when it is whole; the machine's file is moved last. Each part can be done
//! again after a failure.

use std::ffi::OsStr;
use std::path::Path;

use kiln_disk_formats::package::vmx::Vmx;
use kiln_disk_formats::{Format, Output, OutputKind, VmdkOptions, VmdkSubformat, open};
use kiln_hypervisors::vmware::{VmxProblem, export_with_ovftool, take_snapshot};

use super::{disks, places, settled};
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::{self, GuestDisk};
use crate::plan::VmwarePlan;
use crate::steps::output_directory::OutputDirectory;

/// What is kept of the files beside the machine's own and its disks; the rest is VMware's own doing.
const KEPT: [&str; 3] = ["nvram", "vmsd", "vmxf"];

/// Finishes the machine.
pub(super) async fn finish(
    plan: &VmwarePlan,
    output: &OutputDirectory,
    context: &BuildContext,
) -> Result<(), StepError> {
    let (work, unfinished, finished) = (places::work(plan), places::unfinished(plan), places::finished(plan));
    let gone = |error: std::io::Error| StepError::new(format!("cannot remove {}", work.display())).with_source(error);
    // An earlier try has moved it.
    if !places::work_vmx(plan).exists() && places::final_vmx(plan).exists() {
        return match tokio::fs::remove_dir_all(&work).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(gone(error)),
            _ => Ok(()),
        };
    }
    if !finished.exists() {
        let failed = |error: std::io::Error| {
            StepError::new(format!("cannot finish the machine in {}", unfinished.display())).with_source(error)
        };
        // Of an earlier try that failed. It holds nothing that is not in `work`, too.
        match std::fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => std::fs::create_dir(&unfinished).map_err(failed)?,
        }
        let vmx = Vmx::read(&places::work_vmx(plan)).map_err(StepError::wrap)?;
        let settled = settled::machine(plan, vmx).map_err(failed_to_settle)?;
        std::fs::write(unfinished.join(places::vmx_name(plan)), settled.to_string()).map_err(failed)?;
        for name in files_with(&work, |end| KEPT.contains(&end)).map_err(failed)? {
            std::fs::copy(work.join(&name), unfinished.join(&name)).map_err(failed)?;
        }
        if plan.skip_compaction {
            for name in files_with(&work, |end| end == "vmdk").map_err(failed)? {
                let (from, to) = (work.join(&name), unfinished.join(&name));
                let shared = blocking("putting a disk beside the machine", move |_| {
                    share(&from, &to, |from, to| std::fs::hard_link(from, to))
                });
                shared.await.map_err(failed)?;
            }
        } else {
            context.say("Compacting all attached virtual disks...");
            // A disk elsewhere is not the build's to write anew; the machine's file still names it.
            for disk in disks::readable(plan).into_iter().filter(|disk| disk.path.parent() == Some(&*work)) {
                compact(&disk, &unfinished, context).await?;
            }
        }
        if let Some(name) = &plan.snapshot {
            context.say(format!("Creating snapshot of virtual machine {name:?}..."));
            let vmx = unfinished.canonicalize().map_err(failed)?.join(places::vmx_name(plan));
            take_snapshot(&vmx, name).await?;
        }
        if plan.exports_with_ovftool() {
            context.say("Exporting virtual machine with ovftool...");
            let target = unfinished.join(format!("{}.{}", plan.vm_name, plan.format));
            export_with_ovftool(&unfinished.join(places::vmx_name(plan)), &target, &plan.ovftool_options).await?;
        }
        std::fs::rename(&unfinished, &finished).map_err(failed)?;
    }
    let (last, target) = (places::vmx_name(plan), plan.output_directory.clone());
    note_all(&finished, &target, output)?;
    let from = finished.clone();
    let moving = move |_: &_| move_all(&from, &target, OsStr::new(&last));
    blocking("moving the machine", moving).await.map_err(|error: std::io::Error| {
        let (from, to) = (finished.display(), plan.output_directory.display());
        StepError::new(format!("cannot move the machine from {from} to {to}")).with_source(error)
    })?;
    // Its file first: whoever looks for the machine from here on finds the one that is moved, not what is left of this.
    std::fs::remove_file(places::work_vmx(plan)).map_err(gone)?;
    tokio::fs::remove_dir_all(&work).await.map_err(gone)
}

fn failed_to_settle(problem: VmxProblem) -> StepError {
    let hint = problem.hint().map(str::to_owned);
    let error = StepError::wrap(problem);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// Writes a disk anew in its own shape, without what the guest has given up.
async fn compact(disk: &GuestDisk, directory: &Path, context: &BuildContext) -> Result<(), StepError> {
    let name = disk.path.file_name().unwrap_or_default();
    let (path, policy) = (disk.path.clone(), disk.policy.clone());
    let info = blocking("reading a disk", move |_| -> Result<_, StepError> {
        Ok(open(&path, Some(Format::Vmdk), &policy)?.info())
    })
    .await?;
    let subformat = VmdkSubformat::from_name(&info.variant).unwrap_or_default();
    let kind = OutputKind::Vmdk(VmdkOptions { subformat, ..VmdkOptions::default() });
    export::write(context, vec![disk.clone()], vec![Output::new(directory.join(name), kind)], &[], true).await.map(drop)
}

/// The names of the files in `directory` whose ending `wanted` takes.
fn files_with(directory: &Path, wanted: impl Fn(&str) -> bool) -> std::io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let end = Path::new(&entry.file_name()).extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        if entry.file_type()?.is_file() && end.is_some_and(|end| wanted(&end)) {
            names.push(entry.file_name());
        }
    }
    names.sort();
    Ok(names)
}

/// Puts the file `from` at `to`, too. The one at `from` stays what it is, so that another try finds it: as a `link`, or as a copy where
/// the file system has no links.
fn share(from: &Path, to: &Path, link: impl FnOnce(&Path, &Path) -> std::io::Result<()>) -> std::io::Result<()> {
    link(from, to).or_else(|_| std::fs::copy(from, to).map(drop))
}

/// Notes everything in `from` as the build's own in `target`, before it is moved there.
fn note_all(from: &Path, target: &Path, output: &OutputDirectory) -> Result<(), StepError> {
    let failed = |error: std::io::Error| StepError::new(format!("cannot list {}", from.display())).with_source(error);
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let place = target.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            output.expect_directory(&place)?;
        } else {
            output.expect([place])?;
        }
    }
    Ok(())
}

/// Moves everything in `from` to `target`, the file `last` after all others, and sees that it is on the disk.
fn move_all(from: &Path, target: &Path, last: &OsStr) -> std::io::Result<()> {
    let mut names =
        std::fs::read_dir(from)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()?;
    names.sort_by_key(|name| (name == last, name.clone()));
    for name in names {
        let (source, place) = (from.join(&name), target.join(&name));
        if source.is_file() {
            std::fs::File::open(&source)?.sync_all()?;
        }
        std::fs::rename(source, place)?;
    }
    std::fs::File::open(target)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_cannot_be_linked_stays_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("disk.vmdk"), directory.path().join("shared.vmdk"));
        std::fs::write(&from, "the guest's").unwrap();
        let without_links = |_: &Path, _: &Path| Err(std::io::ErrorKind::Unsupported.into());
        share(&from, &to, without_links).unwrap();
        for file in [&from, &to] {
            assert_eq!(std::fs::read_to_string(file).unwrap(), "the guest's");
        }
    }

    #[test]
    fn all_is_moved_and_a_second_time_too() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        std::fs::create_dir_all(from.join("a-snapshot-1")).unwrap();
        std::fs::create_dir(&to).unwrap();
        for name in ["a.vmx", "disk.vmdk", "a-snapshot-1/x", "a.log"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        assert_eq!(files_with(&from, |end| end == "vmdk").unwrap(), ["disk.vmdk"]);
        move_all(&from, &to, OsStr::new("a.vmx")).unwrap();
        move_all(&from, &to, OsStr::new("a.vmx")).unwrap();
        assert!(to.join("a.vmx").is_file() && to.join("a-snapshot-1/x").is_file());
        assert_eq!(std::fs::read_dir(&from).unwrap().count(), 0);
    }
}
