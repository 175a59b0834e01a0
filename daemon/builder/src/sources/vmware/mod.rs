//! The builders for VMware: what only their machines have. How a build goes is in [`crate::machine_build`].

mod check;
mod disks;
mod finish;
mod leading_out;
mod machine;
pub(crate) mod options;
pub(crate) mod package;
mod places;
pub(crate) mod ports;
mod settled;
#[cfg(test)]
mod tests;
mod tools;
mod vmx_template;

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
use crate::plan::{VmwareOrigin, VmwarePlan};
use crate::plan_reader::PlanReader;
use crate::steps::output_directory::OutputDirectory;

impl MachineBuilder for VmwarePlan {
    fn hypervisor(&self) -> &'static str {
        machine::HYPERVISOR
    }

    fn check_host(&self, reader: &mut PlanReader<'_>, backends: &Backends) {
        check::check(self, reader, backends);
    }

    fn guest(&self) -> GuestPlan<'_> {
        let image = match &self.origin {
            VmwareOrigin::Iso { image, .. } => Some(image),
            VmwareOrigin::Vmx { .. } | VmwareOrigin::Package { .. } => None,
        };
        GuestPlan {
            vm_name: &self.vm_name,
            output_directory: &self.output_directory,
            leaves_files: true,
            image,
            image_noun: "ISO",
            boots_disk: image.is_none(),
            http: self.http.as_ref(),
            floppy: self.floppy.as_ref(),
            cd: self.cd.as_ref(),
            boot: &self.boot,
            shutdown: &self.shutdown,
            communicator: &self.communicator,
        }
    }

    fn files(&self) -> Vec<String> {
        let beside = ["vmx", "nvram", "vmsd", "vmxf"].map(|end| format!("{}.{end}", self.vm_name));
        beside.into_iter().chain(places::made_disks(self)).collect()
    }

    fn make_disks<'a>(
        &'a self,
        _image: Option<&'a Path>,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(disks::create(self, context))
    }

    fn disks(&self) -> Vec<GuestDisk> {
        disks::exported(self)
    }

    fn network(&self) -> NetworkMode {
        machine::network(self).mode
    }

    fn find_tools<'a>(
        &'a self,
        hypervisor: &'a dyn Hypervisor,
        _context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<Option<PathBuf>, StepError>>> {
        self.tools.mode.as_ref().map(|_| Box::pin(tools::find(self, hypervisor)) as BoxFuture<'a, _>)
    }

    fn upload_tools<'a>(
        &'a self,
        media: &'a Media,
        _hypervisor: &'a dyn Hypervisor,
        communicator: Arc<dyn Communicator>,
        context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<(), StepError>>> {
        let disc = media.tools.as_deref().filter(|_| self.tools.mode.as_deref() == Some("upload"))?;
        Some(Box::pin(tools::upload(self, disc, communicator, context)))
    }

    fn spec(&self, media: &Media, _render: &Render<'_>, _context: &BuildContext) -> Result<MachineSpec, StepError> {
        machine::spec(self, media)
    }

    fn describe(&self) -> MachineDescription {
        machine::describe(self)
    }

    fn output(&self, machine: &MachineDescription) -> Result<Option<Output>, StepError> {
        if let Some(disk) = places::disk_in_the_way(self, &places::all_disks(self)) {
            return Err(check::in_the_way(&disk));
        }
        if !self.exports() || self.exports_with_ovftool() {
            return Ok(None);
        }
        let options = &mut FormatOptions::default();
        export::output(&self.format, &self.output_directory, &self.vm_name, machine, options).map(Some)
    }

    fn finish_disks<'a>(
        &'a self,
        output: &'a OutputDirectory,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(finish::finish(self, output, context))
    }

    fn leaves_out(&self, _name: &OsStr) -> bool {
        false
    }

    fn artifact(&self, files: Vec<PathBuf>) -> Artifact {
        Artifact {
            builder_id: "vmware.desktop".to_owned(),
            id: self.vm_name.clone(),
            text: format!("VM files in directory: {}", self.output_directory.display()),
            ownership: Ownership::Directory { path: self.output_directory.clone(), files: files.clone() },
            files,
        }
    }
}
