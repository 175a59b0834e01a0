//! `-on-error=abort`: the machine ends, what it has written stays and belongs to the person, who is told where it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use kiln_communicators::{Communicator, CommunicatorKind, DiscardedOutput};
use kiln_hypervisors::{LeftMachine, Machine};

use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::ledger::Resource;
use crate::plan_key::PlanKey;
use crate::steps::output_directory;

/// How long a guest may take to write out what it has in memory.
const SYNC_LIMIT: Duration = Duration::from_secs(60);

/// Says whether a source can begin with a disk.
type Judge = fn(&Path, &PlanKey) -> Result<(), StepError>;

/// How many files are named.
const NAMED: usize = 10;

/// Has the guest write out what it has in memory: its disk is to be kept as it is, and the machine ends as if its power was cut.
pub(crate) async fn settle(
    communicator: &dyn Communicator,
    kind: CommunicatorKind,
    machine: &dyn Machine,
    context: &BuildContext,
) {
    if kind != CommunicatorKind::Ssh || machine.exited().now_or_never().is_some() {
        return;
    }
    context.say("Having the guest write what it has in memory to its disk (sync)...");
    let _wait = context.waiting("the guest to write to its disk", Some(SYNC_LIMIT));
    tokio::select! {
        ended = tokio::time::timeout(SYNC_LIMIT, communicator.execute("sync", &DiscardedOutput)) => {
            if !matches!(ended, Ok(Ok(kiln_communicators::Exit::Code(0)))) {
                context.error("Warning: the guest did not do that; its last files may be missing on its disk.");
            }
        }
        _ = machine.exited() => {}
        () = context.cancel().cancelled() => {}
    }
}

/// Ends the machine, and hands over to the person what the build has made. `disks` are the builder's. Returns the end of the sentence that
/// says where it is; `None`: nothing is left.
pub(crate) async fn abandon(disks: &[GuestDisk], can_begin_with: Judge, context: &BuildContext) -> Option<String> {
    let files = context.files_to_give_back();
    let outputs: Vec<(&Path, &str)> = files.iter().filter_map(output_directory_of).collect();
    // A machine would outlive this process where its hypervisor keeps it, and be nobody's. It goes before what it has a claim to is given up,
    // but may not take the disks along.
    let machine = context.control.machine(&context.build);
    let mut left = None;
    if let Some(machine) = &machine {
        machine.power_off().await;
        left = machine.leave().await;
        outputs.iter().for_each(|(path, _)| output_directory::hold_disks(path));
        // Nothing, where it was left.
        machine.kill().await;
        context.control.machine_gone(&context.build);
    }
    let mut kept = Vec::new();
    let mut directories = Vec::new();
    for (path, id) in outputs {
        match output_directory::leave(path, id) {
            Ok(left) => {
                kept.extend(left.files);
                directories.extend(left.directory);
            }
            Err(error) => {
                context.error(format!("Cannot name what is kept in {}: {error}", path.display()));
                directories.push(path.to_owned());
            }
        }
    }
    // What lies elsewhere, such as an export.
    kept.extend(files.iter().filter_map(|resource| match resource {
        Resource::File { path } if path.exists() => Some(path.clone()),
        _ => None,
    }));
    context.abandon();
    if let Some(left) = left {
        remove_work(&left, &files, context);
        return Some(tell_of_machine(&left, &kept, context));
    }
    if kept.is_empty() && directories.is_empty() {
        if machine.is_some() {
            // One that its hypervisor has made of a package, in a directory of its own.
            context.error(
                "The machine has ended, and its disks with it: nothing is kept. With -on-error=ask the guest stays up.",
            );
        }
        return None;
    }
    let main =
        disks.iter().filter_map(|disk| absolute(&output_directory::shown(&disk.path))).find(|path| path.exists());
    let key = &context.settings.plan_key;
    let main = main.as_deref().map(|disk| (disk, way_on(disk, |disk| can_begin_with(disk, key))));
    Some(tell(&kept, &directories, main, context))
}

fn output_directory_of(resource: &Resource) -> Option<(&Path, &str)> {
    match resource {
        Resource::OutputDirectory { path, id } => Some((path, id)),
        _ => None,
    }
}

/// Removes the build's own directories, of which a machine that stays needs nothing; unless its disks are there, because its hypervisor could
/// not move them, or it could not be let go of and has their discs in it.
fn remove_work(left: &LeftMachine, files: &[Resource], context: &BuildContext) {
    if left.held.is_some() {
        return;
    }
    let ours = [&context.settings.job_dir, &context.settings.runtime_dir];
    for resource in files {
        let Resource::Directory { path } = resource else { continue };
        let is_needed = left.disks.is_empty() || left.disks.iter().any(|disk| disk.starts_with(path));
        if is_needed || !ours.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %path.display(), "a directory of an aborted build cannot be removed");
            }
            _ => {}
        }
    }
}

/// Tells of a machine that stays where its hypervisor keeps it, and of what was made beside it.
fn tell_of_machine(left: &LeftMachine, kept: &[PathBuf], context: &BuildContext) -> String {
    context.error(how_it_was_left(left));
    let files: Vec<PathBuf> = left.disks.iter().chain(kept).cloned().collect();
    named(&files).iter().for_each(|name| context.error(format!("    {name}")));
    left.hints.iter().for_each(|hint| context.error(format!("hint: {hint}")));
    left.disks.first().map_or_else(|| left.what.clone(), |disk| format!("{}, {}", left.what, disk.display()))
}

fn how_it_was_left(left: &LeftMachine) -> String {
    match &left.held {
        None => format!("The guest has ended. What it has written is kept: {} stays, switched off, with:", left.what),
        Some(why) => {
            format!("{} may still run: {why}. Kiln tries again, also when this job is over. It has:", upper(&left.what))
        }
    }
}

/// What begins a sentence.
fn upper(words: &str) -> String {
    let mut rest = words.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// A line for each file, up to a limit.
fn named(kept: &[PathBuf]) -> Vec<String> {
    let mut named: Vec<String> = kept.iter().take(NAMED).map(|path| with_size(path)).collect();
    if kept.len() > NAMED {
        named.push(format!("{} more", kept.len() - NAMED));
    }
    named
}

fn tell(kept: &[PathBuf], directories: &[PathBuf], disk: Option<(&Path, String)>, context: &BuildContext) -> String {
    context.error("The machine has ended. What was made is kept, and no later build takes it away without -force:");
    let mut named = named(kept);
    if named.is_empty() {
        named = directories.iter().map(|path| path.display().to_string()).collect();
    }
    named.iter().for_each(|name| context.error(format!("    {name}")));
    if let Some((_, way_on)) = &disk {
        context.error(format!("hint: {way_on}"));
    }
    for directory in directories {
        context.error(format!("hint: when you no longer need it, delete {}", directory.display()));
    }
    let first = disk.map(|(disk, _)| disk.to_owned()).or_else(|| kept.first().cloned());
    first.or_else(|| directories.first().cloned()).unwrap_or_default().display().to_string()
}

/// How a build goes on from a disk.
fn way_on(disk: &Path, can_begin_with: impl Fn(&Path) -> Result<(), StepError>) -> String {
    match can_begin_with(disk) {
        Ok(()) => format!(
            "a source \"qemu\" goes on from this disk with disk_image = true, iso_url = {:?} and iso_checksum = \"none\"",
            disk.display().to_string()
        ),
        Err(error) => {
            let hint = error.hint().map_or_else(String::new, |hint| format!(": {hint}"));
            format!("no source goes on from {} as it is ({error}){hint}", disk.display())
        }
    }
}

fn with_size(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    const MIB: u64 = 1 << 20;
    // What it takes up: a raw disk is mostly holes.
    match path.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.blocks() * 512) {
        Some(size) if size >= MIB => format!("{} ({} MiB)", path.display(), size / MIB),
        _ => path.display().to_string(),
    }
}

fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::output_directory::tests::Job;

    #[test]
    fn the_files_of_a_machine_that_may_still_run_stay_and_it_is_not_called_off() {
        let job = Job::new();
        let context = job.context(false);
        let work = context.settings.job_dir.join("work-0");
        let files = [Resource::Directory { path: work.clone() }];
        let left = |held: Option<&str>| LeftMachine {
            what: "the machine web".to_owned(),
            disks: vec!["/machines/web/web.vmdk".into()],
            hints: Vec::new(),
            held: held.map(ToOwned::to_owned),
        };
        std::fs::create_dir(&work).unwrap();
        let held = left(Some("VirtualBox does not answer"));
        remove_work(&held, &files, &context);
        assert!(work.exists());
        let said = how_it_was_left(&held);
        assert!(said.starts_with("The machine web may still run: VirtualBox does not answer."), "{said}");
        assert!(!said.contains("switched off"), "{said}");
        remove_work(&left(None), &files, &context);
        assert!(!work.exists());
        assert!(how_it_was_left(&left(None)).contains("the machine web stays, switched off"));
    }
}
