//! The qemu builder: the recipe from a plan to an image.

mod disks;
mod machine;
pub(crate) mod options;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::Communicator;
use kiln_communicators::none::NoCommunicator;
use kiln_disk_formats::OutputKind;
use kiln_disk_formats::package::MachineDescription;
use kiln_hypervisors::Machine;

use self::disks::GuestDisks;
pub(crate) use self::machine::check_host;
use crate::artifact::{Artifact, Ownership};
use crate::backends::Backends;
use crate::build_data::{BuildData, HttpAddress};
use crate::context::BuildContext;
use crate::error::{BuildError, StepError};
use crate::export;
use crate::generated::{self, Renderer};
use crate::ledger::Resource;
use crate::plan::QemuPlan;
use crate::post_processors::export as export_post_processor;
use crate::provisioners::ProvisionContext;
use crate::records::Output;
use crate::run::{Built, PlannedBuild, base_data};
use crate::step::Step;
use crate::steps::access::Access;
use crate::steps::output_directory::OutputDirectory;
use crate::steps::{boot, connect, image, media, output_directory, provision, serve, shut_down};

/// What the steps before the start made for the machine.
#[derive(Debug, Default)]
struct Prepared {
    image: PathBuf,
    floppy: Option<PathBuf>,
    cd: Option<PathBuf>,
    efi_vars: Option<PathBuf>,
    http_port: Option<u16>,
    /// The host as the guest sees it.
    host: String,
}

/// Builds the image.
pub(crate) async fn run(
    index: usize,
    plan: &QemuPlan,
    planned: &PlannedBuild,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Built, BuildError> {
    let files = |path: &PathBuf| Some(Output::Files { paths: vec![path.clone()] });
    let image = context.run_step(Step::prepare("fetch"), files, || image::fetch(&plan.image, context)).await?;
    let own = disks::names(plan);
    let output = context
        .step(Step::prepare("output"), || output_directory::prepare(&plan.output_directory, &own, context))
        .await?;
    let work = context.step(Step::prepare("work"), || work_directories(index, context)).await?;
    let mut prepared = Prepared { image, ..Prepared::default() };
    if let Some(floppy) = &plan.floppy {
        let made = context.run_step(Step::prepare("media"), files, || media::floppy(floppy, &work.files, context));
        prepared.floppy = Some(made.await?);
    }
    if let Some(cd) = &plan.cd {
        let made = context.run_step(Step::prepare("media"), files, || media::cd(cd, &work.files, context));
        prepared.cd = Some(made.await?);
    }
    let disk_files =
        |disks: &GuestDisks| Some(Output::Files { paths: disks.all().map(|disk| disk.path.clone()).collect() });
    let image = &prepared.image;
    let disks = context.run_step(Step::prepare("disk"), disk_files, || disks::create(plan, image, context)).await?;
    prepared.efi_vars = context.step(Step::prepare("firmware"), || machine::copy_efi_vars(plan)).await?;
    if let Some(http) = &plan.http {
        let port = |&port: &u16| Some(Output::HttpServer { port });
        prepared.http_port =
            Some(context.run_step(Step::prepare("serve"), port, || serve::start(http, context)).await?);
    }
    let hypervisor = backends.hypervisor(machine::HYPERVISOR).map_err(|error| BuildError::new("start", error))?;
    prepared.host = hypervisor.host_seen_by_guest(&machine::network(plan).mode);
    let access = Access::prepare(&plan.communicator, context).await?;
    let fields = Fields::new(plan, &prepared, access.public_key());
    let renderer = Renderer::new(&planned.build.source, &generated::values(&base_data(planned, context)));
    let machine = start(plan, &prepared, &disks, &work, &renderer, &fields, context, backends).await?;
    let keys = fields.list();
    let typing = || boot::type_commands(&plan.boot, &*machine, &renderer, &keys, context);
    context.step(Step::bring_up("boot"), typing).await?;
    let mut data = base_data(planned, context);
    data.machine_id = Some(machine.description().pid.map_or_else(String::new, |pid| pid.to_string()));
    data.http = prepared.http_port.map(|port| HttpAddress { host: prepared.host.clone(), port });
    let communicator = connect::connect(&access, Some(&*machine), &mut data, context, backends).await?;
    let communicator_or_none: Arc<dyn Communicator> = communicator.clone().unwrap_or_else(|| Arc::new(NoCommunicator));
    let provisioning = ProvisionContext {
        build: context.clone(),
        communicator: communicator_or_none.clone(),
        data: Arc::new(data.clone()),
    };
    let cleanup = planned.build.cleanup_provisioner.as_ref();
    provision::run(&provisioning, &planned.build.provisioners, cleanup, Some(&*machine)).await?;
    let shutting_down = || shut_down::run(&plan.shutdown, &*machine, communicator.as_deref(), context);
    context.step(Step::finish("shut-down").on(Some(&*machine)), shutting_down).await?;
    communicator_or_none.close().await;
    machine.kill().await;
    context.control.machine_gone(&context.build);
    let description = machine::describe(plan);
    let leaving = || leave(plan, &disks, &output.directory, planned, &data, &description, context);
    let left = |(files, exported): &(Vec<PathBuf>, Vec<PathBuf>)| {
        Some(Output::Files { paths: files.iter().chain(exported).cloned().collect() })
    };
    let (files, exported) = context.run_step(Step::finish("export"), left, leaving).await?;
    let held = Some(context.step(Step::finish("keep"), || output_directory::keep(&output, context)).await?);
    Ok(Built { artifact: artifact(plan, files), data, machine: Some(description), exported, held })
}

/// Directories that live as long as the build.
struct WorkDirectories {
    /// For files of any size.
    files: PathBuf,
    /// For sockets: a short path.
    sockets: PathBuf,
}

async fn work_directories(index: usize, context: &BuildContext) -> Result<WorkDirectories, StepError> {
    let work = WorkDirectories {
        files: context.settings.job_dir.join(format!("work-{index}")),
        sockets: context.settings.runtime_dir.join(index.to_string()),
    };
    for path in [&work.files, &work.sockets] {
        context.own_path("work", Resource::Directory { path: path.clone() });
        tokio::fs::create_dir_all(path)
            .await
            .map_err(|error| StepError::new(format!("cannot create {}", path.display())).with_source(error))?;
    }
    Ok(work)
}

/// Data of the boot command and of `qemuargs`.
struct Fields {
    host: String,
    http_port: String,
    name: String,
    output_directory: String,
    http_directory: String,
    public_key: String,
}

impl Fields {
    fn new(plan: &QemuPlan, prepared: &Prepared, public_key: Option<&str>) -> Self {
        Self {
            host: prepared.host.clone(),
            http_port: prepared.http_port.unwrap_or(0).to_string(),
            name: plan.vm_name.clone(),
            output_directory: plan.output_directory.display().to_string(),
            http_directory: plan
                .http
                .as_ref()
                .and_then(|http| http.directory.as_ref())
                .map_or_else(String::new, |directory| directory.display().to_string()),
            public_key: public_key.unwrap_or_default().to_owned(),
        }
    }

    fn list(&self) -> [(&str, &str); 7] {
        [
            ("HTTPIP", &self.host),
            ("HTTPPort", &self.http_port),
            ("HTTPDir", &self.http_directory),
            ("Name", &self.name),
            ("OutputDir", &self.output_directory),
            ("SSHPublicKey", &self.public_key),
            ("SSHHostPort", kiln_hypervisors::qemu::SSH_HOST_PORT),
        ]
    }
}

#[expect(clippy::too_many_arguments, reason = "the one place where everything prepared meets")]
async fn start(
    plan: &QemuPlan,
    prepared: &Prepared,
    disks: &GuestDisks,
    work: &WorkDirectories,
    renderer: &Renderer,
    fields: &Fields,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Arc<dyn Machine>, BuildError> {
    let starting = || async {
        let mut arguments = Vec::new();
        for argument in &plan.machine.qemuargs {
            let parts = argument.iter().map(|part| renderer.render(part, &fields.list()));
            arguments.push(parts.collect::<Result<Vec<_>, _>>()?);
        }
        if !arguments.is_empty() {
            context.say("Overriding default Qemu arguments with qemuargs template option...");
        }
        let spec = machine::spec(plan, prepared, disks, &work.sockets, arguments);
        machine::start(&spec, plan.disk_image, context, backends).await
    };
    let started = |machine: &Arc<dyn Machine>| {
        let id = machine.description().pid.map_or_else(String::new, |pid| pid.to_string());
        Some(Output::Machine { hypervisor: machine::HYPERVISOR.to_owned(), id })
    };
    context.run_step(Step::bring_up("start"), started, starting).await
}

/// Writes what the build leaves: its own format and, in the same pass, the exports that follow.
async fn leave(
    plan: &QemuPlan,
    disks: &GuestDisks,
    output: &OutputDirectory,
    planned: &PlannedBuild,
    data: &BuildData,
    machine: &MachineDescription,
    context: &BuildContext,
) -> Result<(Vec<PathBuf>, Vec<PathBuf>), StepError> {
    let directory = &plan.output_directory;
    let exports = export_post_processor::planned(&planned.build.post_processors, data, directory, machine);
    let exported: Vec<PathBuf> = exports.iter().map(|output| output.path.clone()).collect();
    let mut outputs = exports;
    // A disk that is left as it is only changes its name; everything else is written by our own writers.
    let rename = plan.skip_compaction && matches!(plan.format.as_str(), "qcow2" | "raw");
    let main = directory.join(&plan.vm_name);
    if !rename {
        outputs.insert(0, main_output(plan, directory, machine)?);
    }
    output.expect(outputs.iter().flat_map(|output| export::files(output, disks.all().count())))?;
    if !outputs.is_empty() {
        context.say("Exporting the disk...");
        let in_place = disks.main.path == main;
        export::write(context, disks.readable(), outputs.clone(), in_place || context.settings.force).await?;
    }
    disks::finish(plan, disks, rename, context).await?;
    let mut files = files_in(directory, plan)?;
    files.retain(|file| !belongs_to(file, &exported));
    Ok((files, exported))
}

fn main_output(
    plan: &QemuPlan,
    directory: &Path,
    machine: &MachineDescription,
) -> Result<kiln_disk_formats::Output, StepError> {
    // Packer's formats keep Packer's file name, which has no extension.
    let kind = match plan.format.as_str() {
        "qcow2" if plan.disk_compression => Some(OutputKind::qcow2_compressed()),
        "qcow2" => Some(OutputKind::qcow2()),
        "raw" => Some(OutputKind::Raw),
        _ => None,
    };
    match kind {
        Some(kind) => Ok(kiln_disk_formats::Output::new(directory.join(&plan.vm_name), kind)),
        None => export::output(&plan.format, directory, &plan.vm_name, machine)
            .ok_or_else(|| StepError::new(format!("there is no format named {:?}", plan.format))),
    }
}

/// True when `file` is an export's main file or one that belongs to it.
fn belongs_to(file: &Path, exported: &[PathBuf]) -> bool {
    exported.iter().any(|main| {
        let stem = main.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let package = main.extension().is_some_and(|extension| extension == "ovf");
        file == main || (package && (name == format!("{stem}.mf") || name.starts_with(&format!("{stem}-disk"))))
    })
}

fn files_in(directory: &Path, plan: &QemuPlan) -> Result<Vec<PathBuf>, StepError> {
    let failed =
        |error: std::io::Error| StepError::new(format!("cannot list {}", directory.display())).with_source(error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let dropped = plan.machine.drop_efivars && name == machine::EFI_VARS_NAME;
        if entry.file_type().map_err(failed)?.is_file() && name != output_directory::INCOMPLETE_MARK && !dropped {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn artifact(plan: &QemuPlan, files: Vec<PathBuf>) -> Artifact {
    let efi_vars = plan.output_directory.join(machine::EFI_VARS_NAME);
    let owned = files.iter().cloned().chain([efi_vars]).collect();
    Artifact {
        builder_id: "transcend.qemu".to_owned(),
        id: "VM".to_owned(),
        text: format!("VM files in directory: {}", plan.output_directory.display()),
        ownership: Ownership::Directory { path: plan.output_directory.clone(), files: owned },
        files,
    }
}
