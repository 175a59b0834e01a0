//! A second builder with a guest, for tests alone: what a builder for another hypervisor is made of, and proof that the recipe
//! needs nothing that only QEMU has.

pub(crate) mod options;
mod tests;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_communicators::BoxFuture;
use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{Format, OpenPolicy, Output, create_raw};
use kiln_hypervisors::fake::FakeSpec;
use kiln_hypervisors::{DiskFormat, DiskInterface, DiskSpec, MachineSpec, NetworkMode};

use crate::artifact::{Artifact, Ownership};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::machine_build::{GuestPlan, MachineBuilder, Media, Render};
use crate::plan::FakePlan;
use crate::steps::output_directory::OutputDirectory;

impl FakePlan {
    fn disk(&self) -> PathBuf {
        self.output_directory.join(format!("{}.img", self.vm_name))
    }
}

impl MachineBuilder for FakePlan {
    fn hypervisor(&self) -> &'static str {
        "fake"
    }

    fn guest(&self) -> GuestPlan<'_> {
        GuestPlan {
            vm_name: &self.vm_name,
            output_directory: &self.output_directory,
            leaves_files: true,
            image: Some(&self.image),
            image_noun: "ISO",
            boots_disk: false,
            http: None,
            floppy: None,
            cd: None,
            boot: &self.boot,
            shutdown: &self.shutdown,
            communicator: &self.communicator,
        }
    }

    fn files(&self) -> Vec<String> {
        vec![format!("{}.img", self.vm_name)]
    }

    fn make_disks<'a>(
        &'a self,
        _image: Option<&'a Path>,
        _context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(create_raw(&self.disk(), self.disk_size)?) })
    }

    fn disks(&self) -> Vec<GuestDisk> {
        vec![GuestDisk { path: self.disk(), format: Format::Raw, policy: OpenPolicy::deny() }]
    }

    fn network(&self) -> NetworkMode {
        NetworkMode::User { forward: None }
    }

    fn spec(&self, media: &Media, _render: &Render<'_>, _context: &BuildContext) -> Result<MachineSpec, StepError> {
        let own = FakeSpec { registered: self.registered };
        let mut spec = MachineSpec::new(&self.vm_name, &media.sockets, own);
        let interface = DiskInterface::Virtio;
        spec.disks = vec![DiskSpec { path: self.disk(), format: DiskFormat::Raw, interface, discard: None }];
        Ok(spec)
    }

    /// A machine in a registry may be run by others.
    fn reads_disks_of_machine(&self) -> bool {
        self.registered
    }

    fn describe(&self) -> MachineDescription {
        MachineDescription { name: self.vm_name.clone(), ..MachineDescription::default() }
    }

    fn output(&self, _machine: &MachineDescription) -> Result<Option<Output>, StepError> {
        Ok(None)
    }

    fn finish_disks<'a>(
        &'a self,
        _output: &'a OutputDirectory,
        _context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }

    fn leaves_out(&self, _name: &OsStr) -> bool {
        false
    }

    fn artifact(&self, files: Vec<PathBuf>) -> Artifact {
        Artifact {
            builder_id: "kiln.fake".to_owned(),
            id: self.vm_name.clone(),
            text: format!("VM files in directory: {}", self.output_directory.display()),
            ownership: Ownership::Directory { path: self.output_directory.clone(), files: files.clone() },
            files,
        }
    }
}
