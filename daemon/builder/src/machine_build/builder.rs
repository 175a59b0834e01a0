//! What builders with a guest differ in: plan → machine and files, what happens after the guest has stopped, artifact.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::{BoxFuture, Communicator};
use kiln_disk_formats::Output;
use kiln_disk_formats::package::MachineDescription;
use kiln_hypervisors::{Hypervisor, MachineSpec, NetworkMode};

use crate::artifact::Artifact;
use crate::backends::Backends;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::plan::{BootPlan, CommunicatorPlan, HttpPlan, ImagePlan, MediaPlan, ShutdownPlan};
use crate::plan_reader::PlanReader;
use crate::steps::output_directory::OutputDirectory;

/// The part of a plan that all builders with a guest have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuestPlan<'a> {
    /// Name of the machine.
    pub(crate) vm_name: &'a str,
    /// Where the image goes.
    pub(crate) output_directory: &'a Path,
    /// Something goes there: without that the directory is neither made nor held.
    pub(crate) leaves_files: bool,
    /// What is fetched first; `None`: the machine is made of something that is here already.
    pub(crate) image: Option<&'a ImagePlan>,
    /// What people call it: `ISO`.
    pub(crate) image_noun: &'static str,
    /// It is a disk that is booted, not an installer.
    pub(crate) boots_disk: bool,
    /// The HTTP server.
    pub(crate) http: Option<&'a HttpPlan>,
    /// The floppy.
    pub(crate) floppy: Option<&'a MediaPlan>,
    /// The CD with seed files.
    pub(crate) cd: Option<&'a MediaPlan>,
    /// What is typed.
    pub(crate) boot: &'a BootPlan,
    /// How it ends.
    pub(crate) shutdown: &'a ShutdownPlan,
    /// How the guest is reached.
    pub(crate) communicator: &'a CommunicatorPlan,
}

/// Files that were made or fetched for the machine, and its directory for sockets.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    /// The installer, disk image or package, for builders that have one.
    pub(crate) image: Option<PathBuf>,
    /// The floppy.
    pub(crate) floppy: Option<PathBuf>,
    /// The CD with seed files.
    pub(crate) cd: Option<PathBuf>,
    /// The CD with the hypervisor's programs for its guests, for builders that want it.
    pub(crate) tools: Option<PathBuf>,
    /// For files of any size; lives as long as the build.
    pub(crate) work: PathBuf,
    /// Lives as long as the build; its path is short.
    pub(crate) sockets: PathBuf,
}

/// Renders a text of the template with what is known right before the start: `{{ .HTTPIP }}`.
pub(crate) type Render<'a> = dyn Fn(&str) -> Result<String, StepError> + Send + Sync + 'a;

/// A builder whose images are made in a machine. Its value is its plan: no method depends on another one having been called, so
/// that a build can go on in another process.
pub(crate) trait MachineBuilder: Send + Sync {
    /// The name of the hypervisor that runs its machines.
    fn hypervisor(&self) -> &'static str;

    /// Complains about what this host lacks for the machine: programs, mostly. Nothing is started.
    fn check_host(&self, _reader: &mut PlanReader<'_>, _backends: &Backends) {}

    /// The machine as far as it is known before anything is fetched or made, where the hypervisor can tell of it that it cannot come to
    /// anything ([`look_first`](Hypervisor::look_first)); `None`: it cannot.
    fn draft(&self) -> Option<MachineSpec> {
        None
    }

    /// What the recipe needs of the plan.
    fn guest(&self) -> GuestPlan<'_>;

    /// Whether Packer looks at the output directory already when it checks a template.
    fn looks_at_output_early(&self) -> bool {
        true
    }

    /// Names, in the output directory, of the files that the machine has: while it runs, and for good.
    fn files(&self) -> Vec<String>;

    /// Looks into what was fetched before anything is made of it, as a step of its own; `None`: there is nothing to look for in it.
    fn check_image<'a>(
        &'a self,
        _image: &'a Path,
        _context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<(), StepError>>> {
        None
    }

    /// Makes the disks, from `image` or empty. What an earlier try has left is replaced.
    fn make_disks<'a>(
        &'a self,
        image: Option<&'a Path>,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>>;

    /// The disks that [`make_disks`](Self::make_disks) makes, as they are to be read when the guest has stopped; the first is the main one.
    fn disks(&self) -> Vec<GuestDisk>;

    /// Copies what the firmware writes to into the output directory.
    fn copy_firmware(&self) -> BoxFuture<'_, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }

    /// How the machine gets to the network.
    fn network(&self) -> NetworkMode;

    /// What options that are rendered right before the start can refer to beside what boot commands can, too.
    fn fields(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// The machine. It comes to be [new](kiln_hypervisors::Origin::New), unless the recipe says otherwise.
    ///
    /// # Errors
    ///
    /// An option cannot be rendered.
    fn spec(&self, media: &Media, render: &Render<'_>, context: &BuildContext) -> Result<MachineSpec, StepError>;

    /// Whether the command line of the started machine is told, not only with `-debug`: the template has a hand in it.
    fn tells_command_line(&self) -> bool {
        false
    }

    /// Finds or fetches the CD with the hypervisor's programs for its guests, as a step of its own; `None`: this build wants none.
    fn find_tools<'a>(
        &'a self,
        _hypervisor: &'a dyn Hypervisor,
        _context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<Option<PathBuf>, StepError>>> {
        None
    }

    /// Puts the hypervisor's own files into the guest before anything else is done in it, as a step of its own; `None`: there are none.
    fn upload_tools<'a>(
        &'a self,
        _media: &'a Media,
        _hypervisor: &'a dyn Hypervisor,
        _communicator: Arc<dyn Communicator>,
        _context: &'a BuildContext,
    ) -> Option<BoxFuture<'a, Result<(), StepError>>> {
        None
    }

    /// Whether something is to be done with the machine when its guest is off ([`Machine::retire`](kiln_hypervisors::Machine::retire)).
    fn retires_machine(&self) -> bool {
        false
    }

    /// Whether the machine stays when the build has succeeded.
    fn keeps_machine(&self) -> bool {
        false
    }

    /// Whether [`disks`](Self::disks) are the machine's own, and go with it: it stays until they have been read.
    fn reads_disks_of_machine(&self) -> bool {
        false
    }

    /// Where, in the output directory, the hypervisor has put what it exported when the machine was retired; its files are
    /// moved into the output directory. `None`: it exports nothing.
    fn exported_by_hypervisor(&self) -> Option<PathBuf> {
        None
    }

    /// Whether a package can describe the machine: they are read for PCs.
    fn is_pc(&self) -> bool {
        true
    }

    /// The machine as packages describe it.
    fn describe(&self) -> MachineDescription;

    /// What the guest's disk is written to when the guest has stopped; `None`: it stays as the guest has written it.
    ///
    /// # Errors
    ///
    /// There is no such format.
    fn output(&self, machine: &MachineDescription) -> Result<Option<Output>, StepError>;

    /// Names the disks for good, or removes what has been written out; what comes to be in `output` that
    /// [`files`](Self::files) does not name is noted there first. May be called again after a failure.
    fn finish_disks<'a>(
        &'a self,
        output: &'a OutputDirectory,
        context: &'a BuildContext,
    ) -> BoxFuture<'a, Result<(), StepError>>;

    /// Whether the file called `name` in the output directory is no part of the artifact.
    fn leaves_out(&self, name: &OsStr) -> bool;

    /// What it leaves: `files`.
    fn artifact(&self, files: Vec<PathBuf>) -> Artifact;
}
