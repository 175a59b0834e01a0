//! The builders for VirtualBox: what only their machines have. How a build goes is in [`crate::machine_build`].

mod additions;
mod disks;
mod machine;
mod notes;
pub(crate) mod options;
mod package;
mod reaching;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::{BoxFuture, Communicator};
use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{FormatOptions, Output};
use kiln_hypervisors::{Hypervisor, MachineSpec, NetworkMode};

use crate::artifact::{Artifact, Ownership};
use crate::backends::Backends;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::{self, GuestDisk};
use crate::machine_build::{GuestPlan, MachineBuilder, Media, Render};
use crate::plan::{AdditionsMode, OutputPlan, VirtualBoxOrigin, VirtualBoxPlan};
use crate::plan_reader::PlanReader;
use crate::steps::output_directory::OutputDirectory;

impl MachineBuilder for VirtualBoxPlan {
    fn hypervisor(&self) -> &'static str {
        machine::HYPERVISOR
    }

    fn check_host(&self, reader: &mut PlanReader<'_>, backends: &Backends) {
        package::check_host(self, reader);
        machine::check_host(self, reader, backends);
    }

    fn draft(&self) -> Option<MachineSpec> {
        Some(machine::draft(self))
    }

    fn guest(&self) -> GuestPlan<'_> {
        let (image, image_noun) = match &self.origin {
            VirtualBoxOrigin::Iso { image, .. } => (Some(image), "ISO"),
            VirtualBoxOrigin::Ovf { package, .. } => (Some(package), "OVF/OVA"),
            VirtualBoxOrigin::Vm { .. } => (None, ""),
        };
        GuestPlan {
            vm_name: &self.vm_name,
            output_directory: self.output.named(),
            leaves_files: matches!(self.output, OutputPlan::Directory(_)),
            image,
            image_noun,
            boots_disk: false,
            http: self.http.as_ref(),
            floppy: self.floppy.as_ref(),
            cd: self.cd.as_ref(),
            boot: &self.boot,
            shutdown: &self.shutdown,
            communicator: &self.communicator,
        }
    }

    fn looks_at_output_early(&self) -> bool {
        false
    }

    fn files(&self) -> Vec<String> {
        disks::file_names(self)
    }

    fn check_image<'a>(
        &'a self,
        image: &'a Path,
        context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<(), StepError>>> {
        let is_package = matches!(self.origin, VirtualBoxOrigin::Ovf { .. });
        is_package.then(|| Box::pin(package::check(image, &self.commands, context)) as BoxFuture<'a, _>)
    }

    fn make_disks<'a>(
        &'a self,
        _image: Option<&'a Path>,
        _context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(disks::create(self))
    }

    fn disks(&self) -> Vec<GuestDisk> {
        disks::readable(self)
    }

    fn network(&self) -> NetworkMode {
        machine::network(self).mode
    }

    fn find_tools<'a>(
        &'a self,
        hypervisor: &'a dyn Hypervisor,
        context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<Option<PathBuf>, StepError>>> {
        let wanted = self.additions.mode != AdditionsMode::Disable;
        wanted.then(|| Box::pin(additions::find(self, hypervisor, context)) as BoxFuture<'a, _>)
    }

    fn upload_tools<'a>(
        &'a self,
        media: &'a Media,
        hypervisor: &'a dyn Hypervisor,
        communicator: Arc<dyn Communicator>,
        context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<(), StepError>>> {
        let tools = media.tools.as_deref();
        additions::are_uploaded(self)
            .then(|| Box::pin(additions::upload(self, tools, hypervisor, communicator, context)) as BoxFuture<'a, _>)
    }

    fn spec(&self, media: &Media, render: &Render<'_>, context: &BuildContext) -> Result<MachineSpec, StepError> {
        let (before, after) =
            (machine::commands(&self.commands, render)?, machine::commands(&self.commands_after, render)?);
        if !before.is_empty() || !after.is_empty() {
            context.say("Executing custom VBoxManage commands...");
            before.iter().for_each(|command| context.say(format!("Executing: {}", command.join(" "))));
            after.iter().for_each(|command| context.say(format!("Executing when it is off: {}", command.join(" "))));
        }
        Ok(machine::spec(self, media, before, after))
    }

    fn retires_machine(&self) -> bool {
        true
    }

    fn keeps_machine(&self) -> bool {
        self.keep_registered
    }

    fn reads_disks_of_machine(&self) -> bool {
        // Those of a new machine lie in the output directory.
        disks::exported_by_us(self) && !matches!(self.origin, VirtualBoxOrigin::Iso { .. })
    }

    fn exported_by_hypervisor(&self) -> Option<PathBuf> {
        disks::exported_by_virtualbox(self)
    }

    fn describe(&self) -> MachineDescription {
        machine::describe(self)
    }

    fn output(&self, machine: &MachineDescription) -> Result<Option<Output>, StepError> {
        if !disks::exported_by_us(self) || notes::left_to_virtualbox(self).is_some() {
            return Ok(None);
        }
        let options = &mut FormatOptions::default();
        export::output(&self.format, self.output.named(), &self.output_filename, machine, options).map(Some)
    }

    fn finish_disks<'a>(
        &'a self,
        _output: &'a OutputDirectory,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async {
            if let Some(why) = notes::left_to_virtualbox(self).filter(|_| disks::exported_by_us(self)) {
                context.say(format!("VirtualBox has exported the machine itself: {why}"));
            }
            disks::finish(self)
        })
    }

    fn leaves_out(&self, _name: &OsStr) -> bool {
        false
    }

    fn artifact(&self, files: Vec<PathBuf>) -> Artifact {
        Artifact {
            builder_id: "mitchellh.virtualbox".to_owned(),
            id: "VM".to_owned(),
            text: match &self.output {
                OutputPlan::NoFiles(_) => {
                    format!("The machine {} in VirtualBox; no files were exported", self.vm_name)
                }
                OutputPlan::Directory(directory) => format!("VM files in directory: {}", directory.display()),
            },
            ownership: match &self.output {
                OutputPlan::NoFiles(_) => Ownership::Nothing,
                OutputPlan::Directory(path) => Ownership::Directory { path: path.clone(), files: files.clone() },
            },
            files,
        }
    }
}
