//! Bring up: from a machine that is off, or was saved, to a guest that answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_communicators::Communicator;
use kiln_communicators::none::NoCommunicator;
use kiln_hypervisors::{Machine, MachineSpec, Origin, StartError};

use super::fields::Fields;
use super::prepare::Prepared;
use super::recipe::Recipe;
use crate::atomic_file;
use crate::build_data::{BuildData, HttpAddress};
use crate::cleanup::CleanupId;
use crate::context::BuildContext;
use crate::error::{BuildError, StepError};
use crate::generated::{self, Renderer};
use crate::ledger::Resource;
use crate::plan::CommunicatorPlan;
use crate::records::Output;
use crate::step::Step;
use crate::steps::{boot, connect, follow, processor};

/// The file in the directory of the build that has the password of the VNC server.
const VNC_PASSWORD: &str = "vnc-password";

/// A guest that runs.
pub(super) struct Guest {
    pub(super) machine: Arc<dyn Machine>,
    /// Keeps the processor for the machine until it is dropped, which is due once the machine is gone.
    pub(super) processor: Option<CleanupId>,
    /// `None`: nobody speaks to it.
    pub(super) communicator: Option<Arc<dyn Communicator>>,
    /// What provisioners are told.
    pub(super) data: Arc<BuildData>,
}

impl Guest {
    pub(super) fn communicator_or_none(&self) -> Arc<dyn Communicator> {
        self.communicator.clone().unwrap_or_else(|| Arc::new(NoCommunicator))
    }
}

impl Recipe<'_> {
    pub(super) async fn bring_up(&self, prepared: &Prepared) -> Result<Guest, BuildError> {
        let (context, plan) = (self.context, &self.plan);
        let mut data = self.planned.base_data(context);
        let renderer = Renderer::new(&self.planned.build.source, &generated::values(&data));
        let fields = Fields::new(self, prepared, renderer);
        let started = |(machine, _): &(Arc<dyn Machine>, _)| {
            let hypervisor = self.builder.hypervisor().to_owned();
            Some(Output::Machine { hypervisor, id: id_of(&**machine) })
        };
        let starting = || self.start(prepared, &fields);
        let (machine, processor) = context.run_step(Step::bring_up("start"), started, starting).await?;
        // What was typed at a guest's boot is behind it when it is restored.
        if !context.chain.pass_over() {
            let render = |text: &str| fields.render(text);
            let nobody_connects = matches!(plan.communicator, CommunicatorPlan::None);
            let nothing_else_waits = nobody_connects && plan.shutdown.ends_unseen_guest();
            let typing = || boot::type_commands(plan.boot, nothing_else_waits, &*machine, &render, context);
            context.step(Step::bring_up("boot"), typing).await?;
        }
        data.machine_id = Some(id_of(&*machine));
        data.http = prepared.http_port.map(|port| HttpAddress { host: prepared.host.clone(), port });
        let access = &prepared.access;
        let communicator = connect::connect(access, Some(&*machine), &mut data, context, self.backends).await?;
        if let Some(communicator) = &communicator {
            self.upload_tools(prepared, communicator, &*machine).await?;
        }
        Ok(Guest { machine, processor, communicator, data: Arc::new(data) })
    }

    async fn upload_tools(
        &self,
        prepared: &Prepared,
        communicator: &Arc<dyn Communicator>,
        machine: &dyn Machine,
    ) -> Result<(), BuildError> {
        let (context, hypervisor) = (self.context, self.hypervisor()?);
        let uploading = || self.builder.upload_tools(&prepared.media, hypervisor, communicator.clone(), context);
        if uploading().is_none() || context.chain.pass_over() {
            return Ok(());
        }
        let uploads = || async { if let Some(uploading) = uploading() { uploading.await } else { Ok(()) } };
        context.step(Step::bring_up("tools").on(Some(machine)), uploads).await
    }

    async fn start(
        &self,
        prepared: &Prepared,
        fields: &Fields,
    ) -> Result<(Arc<dyn Machine>, Option<CleanupId>), StepError> {
        let render = |text: &str| fields.render_option(text);
        let mut spec = self.builder.spec(&prepared.media, &render, self.context)?;
        if let Some(state) = self.context.chain.saved_state() {
            spec.origin = Origin::SavedState(state.clone());
        }
        let words = match &spec.origin {
            Origin::SavedState(_) => "Restoring VM from its saved state",
            Origin::Import { package } => &format!("Importing VM: {}", package.display()),
            Origin::Existing { machine, .. } => &format!("Starting the VM {machine}"),
            _ if self.plan.boots_disk => "Starting VM, booting disk image",
            _ => "Starting VM, booting from CD-ROM",
        };
        let hypervisor = self.backends.hypervisor(self.builder.hypervisor())?;
        hypervisor.check(&spec).map_err(StartError::Unsupported)?;
        let claim = processor::claim(&spec, hypervisor, self.backends, self.context).await;
        // Given up after the machine, whose clean-up comes before this one.
        let processor = claim.map(|claim| {
            self.context.on_cleanup("start", "let others have the processor", move || async move {
                drop(claim);
                Ok(())
            })
        });
        self.context.say(words);
        // What is not moved out of it goes, whatever becomes of the build, but after the machine: it writes there.
        if let Some(path) = self.builder.exported_by_hypervisor() {
            self.context.own_path("start", Resource::Directory { path });
        }
        let registrations = self.context.registrations.clone();
        let given_up = self.context.on_cleanup("start", "give back the virtual machine", {
            let registrations = registrations.clone();
            move || async move { registrations.given_back().await }
        });
        let machine = hypervisor.start(&spec, registrations).await?;
        let machine: Arc<dyn Machine> = Arc::from(machine);
        self.context.disarm(given_up);
        own(&machine, self.context);
        let told = self.builder.tells_command_line() || self.context.settings.debug;
        let password = write_password(&spec, &prepared.media.work)?;
        tell(&*machine, told, password.as_deref(), self.context);
        self.context.control.machine_started(&self.context.build, machine.clone());
        machine.resume().await.map_err(StepError::wrap)?;
        follow::follow(&*machine, self.context);
        Ok((machine, processor))
    }
}

/// Has the machine killed on clean-up.
fn own(machine: &Arc<dyn Machine>, context: &BuildContext) {
    let (owned, control, build) = (machine.clone(), context.control.clone(), context.build.clone());
    let registrations = context.registrations.clone();
    context.on_cleanup("start", "stop the virtual machine", move || async move {
        owned.kill().await;
        control.machine_gone(&build);
        registrations.check()
    });
}

/// Writes the password of the machine's VNC server where only the job's owner can read it, for it is in no log; `None`: it has none.
fn write_password(spec: &MachineSpec, work: &Path) -> Result<Option<PathBuf>, StepError> {
    let Some(password) = spec.vnc.as_ref().and_then(|vnc| vnc.password.as_deref()) else { return Ok(None) };
    let path = work.join(VNC_PASSWORD);
    atomic_file::write(&path, format!("{password}\n").as_bytes(), 0o600)
        .map_err(|error| StepError::new(format!("cannot write {}", path.display())).with_source(error))?;
    Ok(Some(path))
}

fn tell(machine: &dyn Machine, command_line: bool, password: Option<&Path>, context: &BuildContext) {
    let info = machine.description();
    if command_line {
        context.say(format!("Command line: {}", shown(&info.command_line)));
    }
    context.say(format!("Accelerator: {} ({})", info.accelerator.name, info.accelerator.reason));
    for warning in &info.warnings {
        context.error(format!("Warning: {warning}"));
    }
    if let Some(address) = info.remote_desktop {
        context.say(format!(
            "The VM's screen can be watched with a remote desktop viewer, without a password, at rdp://{address}"
        ));
    }
    if let Some(vnc) = info.vnc {
        let password = password.map_or_else(String::new, |path| format!(", with the password in {}", path.display()));
        context.say(format!("The VM's screen can be watched with a VNC viewer at {vnc}{password}"));
    }
    if let Some(spice) = info.spice {
        context.say(format!("The VM's screen can be watched with a SPICE viewer at {spice}"));
    }
}

/// A command as a shell takes it.
fn shown(command: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,.:/+@%".contains(c);
    let quoted = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    command.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What templates are told as `build.ID`.
fn id_of(machine: &dyn Machine) -> String {
    let info = machine.description();
    let pid = || info.pid.map_or_else(String::new, |pid| pid.to_string());
    info.name.clone().unwrap_or_else(pid)
}
