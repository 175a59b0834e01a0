//! The qemu builder: what only its machines have. How a build goes is in [`crate::machine_build`].

mod disks;
pub(crate) mod firmware;
pub(crate) mod image_arguments;
mod image_tool;
mod leaving;
mod local_image;
mod machine;
pub(crate) mod options;
#[cfg(test)]
mod tests;

pub(crate) use local_image::can_begin_with;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_communicators::BoxFuture;
use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{FormatOptions, Output};
use kiln_hypervisors::qemu::{Architecture, SSH_HOST_PORT};
use kiln_hypervisors::{MachineSpec, NetworkMode};

use crate::artifact::{Artifact, Ownership};
use crate::backends::Backends;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::{self, GuestDisk};
use crate::machine_build::{GuestPlan, MachineBuilder, Media, Render};
use crate::plan::QemuPlan;
use crate::plan_reader::PlanReader;
use crate::steps::output_directory::OutputDirectory;

impl MachineBuilder for QemuPlan {
    fn hypervisor(&self) -> &'static str {
        machine::HYPERVISOR
    }

    fn check_host(&self, reader: &mut PlanReader<'_>, backends: &Backends) {
        machine::check_host(self, reader, backends);
    }

    fn draft(&self) -> Option<MachineSpec> {
        Some(machine::draft(self))
    }

    fn guest(&self) -> GuestPlan<'_> {
        GuestPlan {
            vm_name: &self.vm_name,
            output_directory: &self.output_directory,
            leaves_files: true,
            image: Some(&self.image),
            image_noun: "ISO",
            boots_disk: self.disk_image,
            http: self.http.as_ref(),
            floppy: self.floppy.as_ref(),
            cd: self.cd.as_ref(),
            boot: &self.boot,
            shutdown: &self.shutdown,
            communicator: &self.communicator,
        }
    }

    fn files(&self) -> Vec<String> {
        leaving::names(self)
    }

    fn make_disks<'a>(
        &'a self,
        image: Option<&'a Path>,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(disks::create(self, image.unwrap_or(Path::new("")), context))
    }

    fn disks(&self) -> Vec<GuestDisk> {
        disks::GuestDisks::of(self).readable()
    }

    fn copy_firmware(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(firmware::copy_efi_vars(self))
    }

    fn network(&self) -> NetworkMode {
        machine::network(self).mode
    }

    fn fields(&self) -> Vec<(&'static str, &'static str)> {
        // QEMU's part of the machine puts the port in its place, which is known when QEMU is started.
        vec![("SSHHostPort", SSH_HOST_PORT)]
    }

    fn spec(&self, media: &Media, render: &Render<'_>, context: &BuildContext) -> Result<MachineSpec, StepError> {
        let mut arguments = Vec::new();
        for argument in &self.machine.qemuargs {
            arguments.push(argument.iter().map(|part| render(part)).collect::<Result<Vec<_>, _>>()?);
        }
        if !arguments.is_empty() {
            context.say("Overriding default Qemu arguments with qemuargs template option...");
        }
        if let Some(socket) = &self.machine.qmp_socket {
            context.say(format!("Other programs may speak QMP on {}", socket.display()));
        }
        Ok(machine::spec(self, media, arguments))
    }

    fn tells_command_line(&self) -> bool {
        !self.machine.qemuargs.is_empty()
    }

    fn is_pc(&self) -> bool {
        Architecture::of_program(&self.machine.binary) == Architecture::X86
    }

    fn describe(&self) -> MachineDescription {
        machine::describe(self)
    }

    fn output(&self, machine: &MachineDescription) -> Result<Option<Output>, StepError> {
        if leaving::stay_as_they_are(self) || image_tool::converts(self) {
            return Ok(None);
        }
        match leaving::packers_output(self, &disks::GuestDisks::of(self).main) {
            Some(output) => Ok(Some(output)),
            None => {
                let options = &mut FormatOptions::default();
                export::output(&self.format, &self.output_directory, &self.vm_name, machine, options).map(Some)
            }
        }
    }

    fn finish_disks<'a>(
        &'a self,
        output: &'a OutputDirectory,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(leaving::finish(self, output, context))
    }

    fn leaves_out(&self, name: &OsStr) -> bool {
        self.machine.drop_efivars && name == firmware::EFI_VARS_NAME
    }

    fn artifact(&self, files: Vec<PathBuf>) -> Artifact {
        let efi_vars = self.output_directory.join(firmware::EFI_VARS_NAME);
        let owned = files.iter().cloned().chain([efi_vars]).collect();
        Artifact {
            builder_id: "transcend.qemu".to_owned(),
            id: "VM".to_owned(),
            text: format!("VM files in directory: {}", self.output_directory.display()),
            ownership: Ownership::Directory { path: self.output_directory.clone(), files: owned },
            files,
        }
    }
}
