//! The backend itself: VMware's tools, and the start of machines.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::{oneshot, watch};

use super::address::Finder;
use super::check::{INSTALL_HINT, check};
use super::keeper::{Keeper, Registered, put_down};
use super::keyboard::{Console, VncKeyboard, VncScreen};
use super::machine::VmwareMachine;
use super::machine_file::connection;
use super::machine_spec::{NAME, VmwareMachineSpec};
use super::networks::{CONFIGURATION, Networks};
use super::serial::SERIAL_TAIL_BYTES;
use super::vmrun::{PROGRAM, Vmrun, find_tool};
use super::{disk_manager, holder, ports};
use crate::error::{MachineError, StartError, Unsupported};
use crate::guest_network::HostSeenByGuest;
use crate::ledger::ResourceLedger;
use crate::machine::{Availability, ChosenAccelerator, GivenBack, Hypervisor, Machine, MachineInfo};
use crate::private_dir::PrivateDir;
use crate::process::{Tail, run_tool};
use crate::spec::{MachineSpec, NetworkMode};

/// Where an installed VMware keeps its CDs for guests.
const GUEST_TOOLS: &str = "/usr/lib/vmware/isoimages";

/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// Runs machines with VMware Workstation.
#[derive(Debug, Clone)]
pub struct VmwareHypervisor {
    /// Where its tools are; `None`: in `PATH`.
    tools: Option<PathBuf>,
    networks: Networks,
    /// Longest time for any call of `vmrun`; `None`: each has its own. A test's.
    pub(super) limit: Option<Duration>,
}

impl Default for VmwareHypervisor {
    /// The VMware that is installed here.
    fn default() -> Self {
        Self { tools: None, networks: Networks::new(CONFIGURATION.into()), limit: None }
    }
}

impl VmwareHypervisor {
    /// A VMware whose tools are in one directory and whose configuration is in another.
    #[cfg(test)]
    pub(super) fn in_places(tools: PathBuf, etc: PathBuf) -> Self {
        Self { tools: Some(tools), networks: Networks::new(etc), limit: None }
    }

    fn vmrun(&self) -> Option<Vmrun> {
        let vmrun = Vmrun::find(self.tools.as_deref())?;
        Some(match self.limit {
            Some(limit) => vmrun.with_limit(limit),
            None => vmrun,
        })
    }

    fn needed(&self) -> Result<Vmrun, StartError> {
        let missing = || StartError::ProgramMissing { program: PROGRAM.to_owned(), hint: INSTALL_HINT.to_owned() };
        self.vmrun().ok_or_else(missing)
    }

    async fn start_machine(
        &self,
        spec: &MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Box<dyn Machine>, StartError> {
        let read = VmwareMachineSpec::of(spec).map_err(StartError::Unsupported)?;
        let vmrun = self.needed()?;
        // No wait from here to the task that looks after all of it.
        let (vmx, directory) = place(read, &ledger)?;
        let lease = spec.vnc.as_ref().map(ports::lease).transpose()?;
        let vnc = lease.as_ref().map(|lease| lease.address);
        let registered = Registered::note(ledger, &vmx)?;
        let (kill, kill_wanted) = watch::channel(false);
        let (report_sender, report) = watch::channel(None);
        let (finished_sender, finished) = watch::channel(false);
        let (ready, answer) = oneshot::channel();
        let serial = Arc::new(Tail::new(SERIAL_TAIL_BYTES));
        let keeper = Keeper {
            vmrun: vmrun.clone(),
            vmx: vmx.clone(),
            spec: spec.clone(),
            registered,
            directory,
            lease,
            serial: serial.clone(),
            kill: kill_wanted,
            report: report_sender,
            finished: finished_sender,
        };
        tokio::spawn(keeper.run(ready));
        let pid = answer.await.map_err(|_| StartError::Setup(MachineError::Gone))??;
        let console = vnc.map(|address| Console {
            address,
            password: spec.vnc.as_ref().and_then(|vnc| vnc.password.clone()),
            report: report.clone(),
        });
        let reason = "VMware runs guests its own way".to_owned();
        let info = MachineInfo {
            name: Some(vmx.to_string_lossy().into_owned()),
            pid,
            accelerator: ChosenAccelerator { name: NAME.to_owned(), reason },
            command_line: vmrun.start_line(&vmx, spec.window),
            vnc,
            ..MachineInfo::default()
        };
        Ok(Box::new(VmwareMachine {
            finder: Finder { vmrun: vmrun.clone(), networks: self.networks.clone() },
            vmrun,
            vmx,
            info,
            keyboard: console.clone().map(|console| VncKeyboard::new(console, spec.key_pacing)),
            screen: console.map(VncScreen),
            serial,
            tried: Mutex::default(),
            kill,
            report,
            finished,
        }))
    }

    async fn look(&self) -> Availability {
        let missing = |program: &str| Availability {
            reason: Some(format!("{program} is not in PATH")),
            hint: Some(INSTALL_HINT.to_owned()),
            ..Availability::default()
        };
        let Some(vmrun) = self.vmrun() else { return missing(PROGRAM) };
        if find_tool(self.tools.as_deref(), disk_manager::PROGRAM).is_none() {
            return missing(disk_manager::PROGRAM);
        }
        // Whether it works at all.
        if let Err(error) = vmrun.list().await {
            let (program, hint) = (vmrun.program().display(), INSTALL_HINT);
            return Availability {
                reason: Some(format!("{program} does not work: {error}")),
                hint: Some(format!("see what `{program} list` says; {hint}")),
                ..Availability::default()
            };
        }
        Availability { version: self.version().await, ..Availability::default() }
    }

    /// The version of VMware, from `VMware Workstation 17.6.3 build-24583834`.
    async fn version(&self) -> Option<String> {
        let program = find_tool(self.tools.as_deref(), "vmware")?;
        let output = run_tool(&program, vec!["-v".into()], VERSION_LIMIT).await.ok()?;
        let mut words = output.stdout.split_whitespace();
        words.find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.')).map(ToOwned::to_owned)
    }
}

/// Where the machine's file lies, as an absolute path without links, which is how VMware lists it; and the directory that goes with it.
fn place(
    spec: VmwareMachineSpec<'_>,
    ledger: &Arc<dyn ResourceLedger>,
) -> Result<(PathBuf, Option<PrivateDir>), StartError> {
    let prepare = |path: &Path, source| StartError::Prepare { path: path.to_owned(), source };
    if let Some(vmx) = &spec.vmware.vmx {
        let (Some(directory), Some(name)) = (vmx.parent(), vmx.file_name()) else {
            return Err(prepare(vmx, std::io::ErrorKind::InvalidInput.into()));
        };
        let directory = directory.canonicalize().map_err(|error| prepare(directory, error))?;
        return Ok((directory.join(name), None));
    }
    let directory = PrivateDir::create(&spec.hardware.runtime_dir, "vm", ledger.clone())
        .map_err(|(path, source)| StartError::Prepare { path, source })?;
    let path = directory.path().canonicalize().map_err(|error| prepare(directory.path(), error))?;
    Ok((path.join("machine.vmx"), Some(directory)))
}

impl Hypervisor for VmwareHypervisor {
    fn name(&self) -> &'static str {
        NAME
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        self.look().boxed()
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        check(spec, self.vmrun().as_ref(), &self.networks)
    }

    fn guest_tools<'a>(&'a self, flavour: &'a str) -> BoxFuture<'a, Option<PathBuf>> {
        let disc = Path::new(GUEST_TOOLS).join(format!("{flavour}.iso"));
        async move { disc.is_file().then_some(disc) }.boxed()
    }

    fn starts_paused(&self) -> bool {
        false
    }

    fn host_seen_by_guest(&self, network: &NetworkMode) -> Option<HostSeenByGuest> {
        let (kind, vnet) = connection(network);
        self.networks.host(vnet.unwrap_or(kind))
    }

    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>> {
        self.start_machine(spec, ledger).boxed()
    }

    fn give_back<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<GivenBack, MachineError>> {
        async move {
            let vmx = Path::new(id);
            let process = holder::find(vmx);
            let Some(vmrun) = self.vmrun() else {
                let Some(process) = process else { return Ok(GivenBack::WasGone) };
                process.kill();
                process.ended().await;
                return Ok(GivenBack::Removed);
            };
            let was_there = put_down(&vmrun, vmx, process).await?;
            Ok(if was_there { GivenBack::Removed } else { GivenBack::WasGone })
        }
        .boxed()
    }
}
