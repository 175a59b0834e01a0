//! Finish: the guest shuts down, its disks are read once and written in every format, and the output directory is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use futures_util::FutureExt as _;
use kiln_disk_formats::Output as DiskOutput;
use kiln_disk_formats::package::MachineDescription;
use kiln_hypervisors::Machine;

use super::bring_up::Guest;
use super::prepare::Prepared;
use super::recipe::Recipe;
use crate::built::Built;
use crate::cleanup::CleanupId;
use crate::context::{BuildContext, OnError};
use crate::error::{BuildError, StepError};
use crate::export::{self, Exported, GuestDisk, Written};
use crate::ledger::Resource;
use crate::post_processors::export as export_post_processor;
use crate::records::Output;
use crate::step::Step;
use crate::steps::output_directory::{self, OutputDirectory};
use crate::steps::{clear_key, shut_down};

/// What is known of earlier tries to write what the build leaves.
#[derive(Default)]
struct Tries {
    /// There was one, which may have written some of it.
    tried: AtomicBool,
    /// The exports that are whole.
    exported: Mutex<Vec<PathBuf>>,
    /// What is to be written is whole: these are the exports.
    whole: OnceLock<Vec<Exported>>,
    /// Files elsewhere than in the output directory: they go with a build that fails before it is whole.
    owned: Mutex<BTreeMap<PathBuf, CleanupId>>,
}

impl Tries {
    /// Has a file that is about to come to be removed, should the build fail.
    fn own(&self, file: &Path, context: &BuildContext) -> Result<(), StepError> {
        let path = absolute(file)?;
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        owned.entry(path).or_insert_with_key(|path| context.own_path("export", Resource::File { path: path.clone() }));
        Ok(())
    }

    /// The build is whole: its files stay, those too that an earlier process of it has written.
    fn keep(&self, left: &Left, context: &BuildContext) -> Result<(), StepError> {
        let owned = std::mem::take(&mut *self.owned.lock().unwrap_or_else(PoisonError::into_inner));
        let mut files: BTreeSet<PathBuf> = owned.keys().cloned().collect();
        owned.into_values().for_each(|cleanup| context.disarm(cleanup));
        for file in left.exported.iter().flat_map(|exported| &exported.files) {
            files.insert(absolute(file)?);
        }
        files.into_iter().for_each(|path| context.ledger.released(&Resource::File { path }));
        Ok(())
    }
}

fn absolute(file: &Path) -> Result<PathBuf, StepError> {
    std::path::absolute(file)
        .map_err(|error| StepError::new(format!("cannot name {}", file.display())).with_source(error))
}

/// The files that the build leaves.
struct Left {
    /// The artifact's.
    files: Vec<PathBuf>,
    /// The exports that follow.
    exported: Vec<Exported>,
}

/// What the images are read from.
struct Read<'a> {
    disks: &'a [GuestDisk],
    /// The machine whose own the disks are, and which others might run meanwhile.
    machine: Option<&'a dyn Machine>,
}

impl Read<'_> {
    /// Sees that what has been read is of one moment.
    async fn holds(&self) -> Result<(), StepError> {
        match self.machine {
            Some(machine) => machine.still_retired().await.map_err(StepError::wrap),
            None => Ok(()),
        }
    }
}

impl Recipe<'_> {
    pub(super) async fn finish(&self, guest: Guest, prepared: Prepared) -> Result<Built, BuildError> {
        let (context, machine) = (self.context, &*guest.machine);
        let communicator = guest.communicator.as_deref();
        if let (Some(name), Some(communicator)) = (prepared.access.key_to_clear(), communicator) {
            let clearing = || async {
                clear_key::run(name, communicator, machine, context).await;
                Ok::<(), StepError>(())
            };
            context.step(Step::finish("clear-key").on(Some(machine)), clearing).await?;
        }
        let step = Step::finish("shut-down").on(Some(machine));
        context.step(step, || shut_down::run(self.plan.shutdown, machine, communicator, context)).await?;
        guest.communicator_or_none().close().await;
        if self.builder.retires_machine() {
            let retiring = || async { machine.retire().await.map_err(StepError::wrap) };
            context.step(Step::finish("retire"), retiring).await?;
        }
        let is_needed = self.builder.keeps_machine() || self.builder.reads_disks_of_machine();
        if !is_needed {
            self.give_back(machine).await?;
        }
        context.control.machine_gone(&context.build);
        // What follows needs files only.
        if let Some(processor) = guest.processor {
            context.disarm(processor);
        }
        let description = self.builder.describe();
        let tries = Tries::default();
        let output = prepared.output.as_ref();
        let leaving = || async {
            match output {
                Some(output) => self.leave(&output.directory, &guest, &description, &tries).await,
                None => Ok(Left { files: Vec::new(), exported: Vec::new() }),
            }
        };
        let left = |left: &Left| {
            let exported = left.exported.iter().flat_map(|exported| &exported.files);
            let paths = left.files.iter().chain(exported).cloned().collect();
            Some(Output::Files { paths })
        };
        let left = context.run_step(Step::finish("export"), left, leaving).await?;
        let keeping = || async {
            let held = match output {
                Some(output) => Some(output_directory::keep(output, context).await?),
                None => None,
            };
            tries.keep(&left, context).map(|()| held)
        };
        let held = context.step(Step::finish("keep"), keeping).await?;
        if held.is_some() && left.files.is_empty() && left.exported.is_empty() {
            // Nothing was to be made: an empty directory would only be in the way of the next build. One that is not empty stays.
            let _ = std::fs::remove_dir(self.plan.output_directory);
        }
        if self.builder.keeps_machine() {
            machine.keep().await;
        } else if is_needed {
            self.give_back(machine).await?;
        }
        let artifact = self.builder.artifact(left.files);
        let data = (*guest.data).clone();
        Ok(Built { artifact, data, machine: Some(description), exported: left.exported, held })
    }

    /// Gives the machine back, whose guest is off.
    async fn give_back(&self, machine: &dyn Machine) -> Result<(), BuildError> {
        let is_off = machine.exited().now_or_never().is_some();
        machine.kill().await;
        match self.context.registrations.check() {
            Ok(()) => Ok(()),
            // Nobody writes to its disks any more.
            Err(complaint) if is_off => {
                self.context.error(format!("Warning: {complaint}"));
                Ok(())
            }
            Err(complaint) => Err(BuildError::new("retire", StepError::new(complaint))),
        }
    }

    /// Writes what the build leaves: its own format and, in the same pass, the exports that follow.
    async fn leave(
        &self,
        output: &OutputDirectory,
        guest: &Guest,
        machine: &MachineDescription,
        tries: &Tries,
    ) -> Result<Left, StepError> {
        let (context, directory) = (self.context, self.plan.output_directory);
        let post_processors = &self.planned.build.post_processors;
        let planned = export_post_processor::planned(post_processors, &guest.data, directory, machine);
        let mut exports = planned.unwrap_or_else(|error| {
            context.error(format!("The image is written without the exports: {error}"));
            Vec::new()
        });
        let mut disks = self.builder.disks();
        if disks.is_empty() {
            // The hypervisor exports; what follows reads what that has made.
            exports.clear();
        }
        // A disk that is left as it is only changes its name; everything else is written by our own writers.
        let own = self.builder.output(machine)?;
        let in_place = disks.first_mut().filter(|disk| own.as_ref().is_some_and(|own| disk.path == own.path));
        let aside = match in_place {
            Some(disk) => Some(output.set_aside(disk)?),
            None => None,
        };
        let again = tries.tried.swap(true, Ordering::Relaxed);
        let overwrite = aside.is_some() || again || context.settings.force;
        if !exports.is_empty() || own.is_some() {
            context.say("Exporting the disk...");
        }
        let all: Vec<DiskOutput> = exports.iter().chain(&own).cloned().collect();
        for loss in export::losses(&all, machine).iter().filter(|_| !again) {
            context.error(format!("Warning: {loss}"));
        }
        let exported = match tries.whole.get() {
            // Nothing is read again of a machine that may have been moved since, and be another by that.
            Some(exported) if exported.iter().flat_map(|one| &one.files).all(|file| file.exists()) => exported.clone(),
            _ => {
                let read =
                    Read { disks: &disks, machine: self.builder.reads_disks_of_machine().then_some(&*guest.machine) };
                let exported = self.write_all(output, &read, (exports, own), overwrite, tries).await?;
                let _ = tries.whole.set(exported.clone());
                exported
            }
        };
        self.builder.finish_disks(output, context).await?;
        if let Some(aside) = aside {
            std::fs::remove_file(&aside)
                .map_err(|error| StepError::new(format!("cannot remove {}", aside.display())).with_source(error))?;
        }
        if let Some(exported) = self.builder.exported_by_hypervisor() {
            self.move_exported(&exported, output)?;
        }
        let mut files = self.files_in(directory)?;
        files.retain(|file| !exported.iter().any(|exported| exported.files.contains(file)));
        Ok(Left { files, exported })
    }

    /// Writes the exports and the build's own format; returns the exports that are whole.
    async fn write_all(
        &self,
        output: &OutputDirectory,
        read: &Read<'_>,
        (exports, own): (Vec<DiskOutput>, Option<DiskOutput>),
        overwrite: bool,
        tries: &Tries,
    ) -> Result<Vec<Exported>, StepError> {
        let mut exported = Vec::new();
        let mut own_is_written = false;
        let mut exports_failed = false;
        if !exports.is_empty() {
            let all: Vec<DiskOutput> = exports.iter().cloned().chain(own.clone()).collect();
            match self.write(output, read, &all, overwrite, tries).await {
                Ok(written) => {
                    own_is_written = true;
                    exported =
                        exports.into_iter().zip(written).map(|(output, files)| Exported { output, files }).collect();
                }
                // Nothing that is read of such a machine is an image.
                Err(_) if let Err(moved) = read.holds().await => return Err(moved),
                // Somebody is there who may take away what hinders it.
                Err(error) if self.context.settings.on_error == OnError::Ask => return Err(error),
                // The image does not go with an export. What follows the build tries it again, and fails by itself.
                Err(error) => {
                    exports_failed = true;
                    self.context.error(format!("The exports failed, the image is written without them: {error}"));
                }
            }
        }
        if let Some(own) = own.filter(|_| !own_is_written) {
            // The exports that failed may have left it.
            self.write(output, read, &[own], overwrite || exports_failed, tries).await?;
        }
        Ok(exported)
    }

    /// Writes `outputs` of the disks and returns the files of each. In the output directory every file is the build's; elsewhere only
    /// what an earlier try has written is replaced, or with `-force` what is there.
    async fn write(
        &self,
        output: &OutputDirectory,
        read: &Read<'_>,
        outputs: &[DiskOutput],
        overwrite: bool,
        tries: &Tries,
    ) -> Result<Vec<Written>, StepError> {
        let written = export::files(outputs, read.disks)?;
        output.expect(written.iter().flatten().cloned())?;
        let elsewhere = written.iter().flatten().filter(|file| !output.holds(file));
        let elsewhere: Vec<PathBuf> = elsewhere.cloned().collect();
        let ours = tries.exported.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.context.settings.force {
            export::refuse_existing(elsewhere.iter().filter(|file| !ours.contains(file)).map(PathBuf::as_path))?;
        }
        let is_new = |file: &&PathBuf| ours.contains(file) || !file.exists();
        let new: Vec<PathBuf> = elsewhere.iter().filter(is_new).cloned().collect();
        new.iter().try_for_each(|file| tries.own(file, self.context))?;
        let (disks, outputs) = (read.disks.to_vec(), outputs.to_vec());
        let holds = || read.holds();
        let result = export::write_what_holds(self.context, disks, outputs, &elsewhere, overwrite, holds).await;
        if result.is_ok() || self.context.settings.on_error == OnError::Ask {
            tries.exported.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
        } else {
            // A part of what was asked for is nobody's.
            new.iter().for_each(|file| drop(std::fs::remove_file(file)));
        }
        result.map(|_| written)
    }

    /// Moves what the hypervisor has exported into the output directory; the main file, whose name sorts behind none, comes last.
    fn move_exported(&self, from: &Path, output: &OutputDirectory) -> Result<(), StepError> {
        let failed = |error: std::io::Error| {
            StepError::new(format!("cannot move the export out of {}", from.display())).with_source(error)
        };
        let mut files = Vec::new();
        match std::fs::read_dir(from) {
            Ok(entries) => {
                for entry in entries {
                    files.push(entry.map_err(failed)?.path());
                }
            }
            // An earlier try has moved all of it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        // Whoever sees the description finds what it describes.
        files.sort_by_key(|file| (file.extension().is_some_and(|end| end == "ovf" || end == "ova"), file.clone()));
        let places = files.iter().filter_map(|file| Some(self.plan.output_directory.join(file.file_name()?)));
        let places: Vec<PathBuf> = places.collect();
        output.expect(places.clone())?;
        for (file, place) in files.iter().zip(&places) {
            std::fs::File::open(file).and_then(|file| file.sync_all()).map_err(failed)?;
            std::fs::rename(file, place).map_err(failed)?;
        }
        std::fs::remove_dir(from).map_err(failed)?;
        self.context.ledger.released(&Resource::Directory { path: from.to_owned() });
        Ok(())
    }

    /// The artifact's files, in a fixed order.
    fn files_in(&self, directory: &Path) -> Result<Vec<PathBuf>, StepError> {
        let failed =
            |error: std::io::Error| StepError::new(format!("cannot list {}", directory.display())).with_source(error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let left_out = name == output_directory::INCOMPLETE_MARK || self.builder.leaves_out(&name);
            if entry.file_type().map_err(failed)?.is_file() && !left_out {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }
}
