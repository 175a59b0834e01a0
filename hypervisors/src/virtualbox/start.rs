//! The start of a machine: looked into, noted, made, set up, and let run. What fails or is dropped on the way leaves nothing.

use std::path::Path;
use std::sync::Arc;

use super::call::{Call, words};
use super::claim::Borrowing;
use super::end;
use super::explain::explain;
use super::facts::{self, Facts, Registered};
use super::give_back::find_in;
use super::holdings::{Holdings, Owner};
use super::identity::Identity;
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use super::retire;
use super::serial;
use super::settings;
use super::spec::{Hardware, VirtualBoxSpec};
use super::storage;
use crate::error::{MachineError, StartError};
use crate::ledger::ResourceLedger;
use crate::port_lease::PortRange;
use crate::spec::{MachineSpec, NetworkMode, Origin};

/// VirtualBox's graphics card where nothing is known of the guest's system; Packer's choice.
const DEFAULT_GRAPHICS: &str = "vboxsvga";

/// A machine that runs.
pub(super) struct Started {
    pub(super) owner: Owner,
    pub(super) uuid: String,
    /// The host's port that leads to the guest.
    pub(super) forwarded: Option<u16>,
    /// The port of the remote display.
    pub(super) display: Option<u16>,
    /// The call that let it run.
    pub(super) command_line: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Starts a machine.
pub(super) async fn start(
    spec: &MachineSpec,
    part: &VirtualBoxSpec,
    program: &VBoxManage,
    ledger: Arc<dyn ResourceLedger>,
) -> Result<Started, StartError> {
    let known = facts::machines(&program.run(&["list", "vms"]).await?);
    look_first(spec, &known)?;
    let parent = part.work_dir.as_deref().unwrap_or(&spec.runtime_dir);
    let holdings = Holdings::new(program.for_machine(), parent, ledger)?;
    // From here on what is dropped is given back.
    let owner = Owner(holdings.clone());
    let starting = Starting { spec, part, holdings: &holdings };
    let started = starting.run(&known).await;
    match started {
        Ok((uuid, ports)) => {
            let mut command_line = vec![program.path().display().to_string()];
            command_line.extend(starting.start_call(&uuid));
            Ok(Started {
                owner,
                uuid,
                forwarded: ports.forwarded,
                display: ports.display,
                command_line,
                warnings: Vec::new(),
            })
        }
        Err(failure) => {
            let error = match failure {
                Stop::Start(error) => error,
                Stop::Call(failure) => explain(&holdings.program, failure).await,
            };
            holdings.give_back().await;
            Err(error)
        }
    }
}

/// Refuses what cannot come to anything, before anything is made.
fn look_first(spec: &MachineSpec, known: &[Registered]) -> Result<(), StartError> {
    let names = || {
        let names: Vec<&str> = known.iter().map(|machine| machine.name.as_str()).collect();
        if names.is_empty() { "none is registered".to_owned() } else { format!("registered are: {}", names.join(", ")) }
    };
    let refused = |command: &str, problem: String, kind: Problem| {
        Err(StartError::Refused { command: command.to_owned(), problem, hint: kind.hint().map(ToOwned::to_owned) })
    };
    let has = |name: &str| known.iter().any(|machine| machine.name == name || machine.uuid == name);
    match &spec.origin {
        Origin::Existing { machine, .. } | Origin::Clone { machine, .. } if !has(machine) => {
            let problem = format!("there is no machine called {machine}; {}", names());
            return refused("VBoxManage list vms", problem, Problem::NoMachine);
        }
        Origin::Existing { .. } => return Ok(()),
        Origin::Import { package } => {
            std::fs::metadata(package).map_err(|source| StartError::Prepare { path: package.clone(), source })?;
        }
        _ => {}
    }
    if has(&spec.name) {
        let problem = format!("a machine called {} is there already; {}", spec.name, names());
        return refused("VBoxManage list vms", problem, Problem::InUse);
    }
    Ok(())
}

/// Why a start does not go on.
enum Stop {
    Start(StartError),
    /// A call failed; what there is instead is yet to be found out.
    Call(Failure),
}

impl From<StartError> for Stop {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Call(failure)
    }
}

struct Ports {
    forwarded: Option<u16>,
    display: Option<u16>,
}

struct Starting<'a> {
    spec: &'a MachineSpec,
    part: &'a VirtualBoxSpec,
    holdings: &'a Arc<Holdings>,
}

impl Starting<'_> {
    async fn run(&self, known: &[Registered]) -> Result<(String, Ports), Stop> {
        let ports = self.take_ports()?;
        let uuid = match &self.spec.origin {
            Origin::New => self.make().await?,
            Origin::Import { package } => self.import(package, known).await?,
            Origin::Clone { machine, snapshot } => self.clone(machine, snapshot.as_deref()).await?,
            Origin::Existing { machine, snapshot } => {
                let found = known.iter().find(|one| one.uuid == *machine || one.name == *machine);
                let uuid = found.map_or_else(|| machine.clone(), |found| found.uuid.clone());
                self.borrow(&uuid, snapshot.as_deref()).await?;
                uuid
            }
            // `check` refuses it.
            Origin::SavedState(_) => return Err(StartError::Setup(MachineError::Gone).into()),
        };
        self.set_up(&uuid, &ports).await?;
        for command in &self.part.commands {
            // How long the template's own take is not for us to say: they may move whole disks.
            self.holdings.program.run_long(command).await?;
        }
        self.holdings.hand_over_ports();
        self.holdings.starts();
        self.call(&self.start_call(&uuid)).await?;
        if let Some(process) = end::find(&uuid).await {
            self.holdings.watch(process);
        }
        tokio::spawn(end::watch_over(self.holdings.clone(), uuid.clone()));
        Ok((uuid, ports))
    }

    async fn call(&self, call: &Call) -> Result<String, Failure> {
        self.holdings.program.run(call).await
    }

    fn base(&self) -> Option<String> {
        (!self.part.in_default_folder).then(|| self.holdings.directory.display().to_string())
    }

    fn take_ports(&self) -> Result<Ports, StartError> {
        let (mut taken, mut ports) = (Vec::new(), Ports { forwarded: None, display: None });
        if let NetworkMode::User { forward: Some(forward) } = self.spec.network.mode {
            let port = PortRange::new("the guest's forwarding", "127.0.0.1", (forward.host_min, forward.host_max))
                .next_free()?;
            ports.forwarded = Some(port.number());
            taken.push(port);
        }
        if let Some(display) = &self.part.remote_display {
            let port = PortRange::new("the remote display", &display.bind, display.ports).next_free()?;
            ports.display = Some(port.number());
            taken.push(port);
        }
        self.holdings.keep_ports(taken);
        Ok(ports)
    }

    /// A new machine.
    async fn make(&self) -> Result<String, Stop> {
        let default = Hardware::default();
        let hardware = self.part.hardware.as_ref().unwrap_or(&default);
        let graphics = match &hardware.graphics {
            Some(graphics) => graphics.clone(),
            None => self.recommended_graphics(hardware).await,
        };
        let uuid = uuid::Uuid::new_v4().to_string();
        self.holdings.note(Identity::Made(uuid.clone()))?;
        self.call(&settings::create(self.spec, hardware, &uuid, self.base().as_deref())).await?;
        for call in settings::new_machine(self.spec, hardware, &uuid, &graphics) {
            self.call(&call).await?;
        }
        for call in storage::attach_disks(self.spec, hardware, &uuid) {
            self.call(&call).await?;
        }
        Ok(uuid)
    }

    /// The graphics card that VirtualBox gives the guest's system: told by the settings of a machine that is never registered.
    async fn recommended_graphics(&self, hardware: &Hardware) -> String {
        let name = "recommended";
        let base = self.holdings.directory.join(name);
        let call = settings::recommend(hardware, name, &base.display().to_string());
        let written = self.call(&call).await;
        let file = base.join(name).join(format!("{name}.vbox"));
        let settings = written.ok().and_then(|_| std::fs::read_to_string(file).ok()).unwrap_or_default();
        graphics_in(&settings).unwrap_or_else(|| DEFAULT_GRAPHICS.to_owned())
    }

    async fn import(&self, package: &Path, known: &[Registered]) -> Result<String, Stop> {
        let name = &self.spec.name;
        // In a directory of ours every machine is ours; in the user's only the one in the file that VirtualBox makes for the name.
        let (base, place) = match self.base() {
            Some(base) => (base, self.holdings.directory.clone()),
            None => {
                let (base, name) = (self.default_folder().await?, file_name(name));
                let settings = Path::new(&base).join(&name).join(format!("{name}.vbox"));
                (base, settings)
            }
        };
        self.holdings.note(Identity::Importing(place.clone()))?;
        let mut call: Call = vec!["import".to_owned(), package.display().to_string()];
        call.extend(["--vsys".to_owned(), "0".to_owned(), "--vmname".to_owned(), name.clone()]);
        call.extend(["--basefolder".to_owned(), base]);
        call.extend(self.part.import.iter().cloned());
        self.holdings.program.run_long(&call).await?;
        let uuid = find_in(&self.holdings.program, &place, known).await?;
        let Some(uuid) = uuid else {
            let problem = format!("VirtualBox has no new machine with its settings in {}", place.display());
            let command = super::program::shown(&call);
            return Err(StartError::Setup(MachineError::Unexpected { command, problem }).into());
        };
        self.holdings.note(Identity::Made(uuid.clone()))?;
        Ok(uuid)
    }

    async fn default_folder(&self) -> Result<String, Stop> {
        let properties = self.holdings.program.run(&["list", "systemproperties"]).await?;
        let folder = property(&properties, "Default machine folder");
        folder.map(ToOwned::to_owned).ok_or_else(|| {
            let problem = "it does not tell its default machine folder".to_owned();
            let command = "VBoxManage list systemproperties".to_owned();
            StartError::Setup(MachineError::Unexpected { command, problem }).into()
        })
    }

    async fn clone(&self, machine: &str, snapshot: Option<&str>) -> Result<String, Stop> {
        let uuid = uuid::Uuid::new_v4().to_string();
        self.holdings.note(Identity::Made(uuid.clone()))?;
        let mut call: Call = ["clonevm", machine, "--name", &self.spec.name, "--uuid", &uuid, "--register"]
            .map(ToOwned::to_owned)
            .to_vec();
        if let Some(base) = self.base() {
            call.extend(["--basefolder".to_owned(), base]);
        }
        if let Some(snapshot) = snapshot {
            call.extend(["--snapshot".to_owned(), snapshot.to_owned()]);
        }
        self.holdings.program.run_long(&call).await?;
        Ok(uuid)
    }

    /// A machine of others, on one of its snapshots or as it is.
    async fn borrow(&self, uuid: &str, snapshot: Option<&str>) -> Result<(), Stop> {
        // Before the look, so that two builds never both see a machine that is off.
        let borrowing = Borrowing::take(uuid).map_err(|error| StartError::Refused {
            command: "vm_name".to_owned(),
            problem: match error.kind() {
                std::io::ErrorKind::AddrInUse => format!("another build works on the machine {}", self.spec.name),
                _ => format!("the machine {} cannot be held against other builds: {error}", self.spec.name),
            },
            hint: Some("wait until that build has ended, and build again".to_owned()),
        })?;
        self.holdings.borrow(borrowing);
        let facts = Facts::read(&self.holdings.program.run(&["showvminfo", uuid, "--machinereadable"]).await?);
        if facts.state() == Some(facts::State::Alive) {
            let problem = format!("the machine is {}", facts.get("VMState").unwrap_or("not off"));
            let command = format!("VBoxManage startvm {uuid}");
            return Err(StartError::Refused {
                command,
                problem,
                hint: Some("switch it off, and build again".to_owned()),
            }
            .into());
        }
        let snapshots = retire::snapshots(self.holdings, uuid).await?;
        if let Some(target) = &self.part.after.snapshot {
            check_target(&snapshots, snapshot, target)?;
        }
        let from = match snapshot {
            None => None,
            Some(name) => Some(only(&snapshots, name, "attach_snapshot")?.uuid.clone()),
        };
        let stood_on = from.as_ref().and(snapshots.current.clone()).filter(|_| !self.part.in_default_folder);
        self.holdings.note(Identity::Borrowed { uuid: uuid.to_owned(), snapshot: stood_on })?;
        if let Some(from) = from {
            self.holdings.program.run_long(&["snapshot", uuid, "restore", &from]).await?;
        }
        Ok(())
    }

    /// What every machine gets.
    async fn set_up(&self, uuid: &str, ports: &Ports) -> Result<(), Stop> {
        let borrowed = matches!(self.spec.origin, Origin::Existing { .. });
        if borrowed {
            self.holdings.undo_later(storage::remove_discs(&self.part.drives, uuid));
        }
        for call in storage::attach_discs(&self.part.drives, uuid) {
            self.call(&call).await?;
        }
        if let Some(image) = &self.spec.floppy {
            let in_the_way = match self.spec.origin {
                Origin::New => None,
                _ => self.floppy_controller(uuid).await?,
            };
            if borrowed {
                self.holdings.undo_later(vec![storage::remove_floppy(uuid)]);
            }
            for call in storage::attach_floppy(image, in_the_way.as_deref(), uuid) {
                self.call(&call).await?;
            }
        }
        let display = self.part.remote_display.as_ref().zip(ports.display);
        let forward = match (self.spec.network.mode.clone(), ports.forwarded) {
            (NetworkMode::User { forward: Some(forward) }, Some(host_port)) => Some((host_port, forward.guest_port)),
            _ => None,
        };
        if let Some(call) = settings::access(uuid, display, forward) {
            match self.call(&call).await {
                // An import may bring one of that name along.
                Err(failure) if failure.is(Problem::InUse) && forward.is_some() => {
                    self.call(&words(&format!("modifyvm {uuid} --natpf1 delete {}", settings::FORWARDING))).await?;
                    self.call(&call).await?;
                }
                other => drop(other?),
            }
        }
        if self.part.serial {
            self.call(&settings::serial(uuid, &serial::file(&self.holdings.directory).display().to_string())).await?;
        }
        Ok(())
    }

    async fn floppy_controller(&self, uuid: &str) -> Result<Option<String>, Failure> {
        let facts = Facts::read(&self.holdings.program.run(&["showvminfo", uuid, "--machinereadable"]).await?);
        let number = facts.all().find_map(|(name, value)| {
            (value == "I82078").then(|| name.strip_prefix("storagecontrollertype")).flatten()
        });
        Ok(number.and_then(|number| facts.get(&format!("storagecontrollername{number}"))).map(ToOwned::to_owned))
    }

    fn start_call(&self, uuid: &str) -> Call {
        words(&format!("startvm {uuid} --type {}", if self.spec.window { "gui" } else { "headless" }))
    }
}

/// What VirtualBox calls the files of a machine: what may be trouble in a file name becomes `_`.
fn file_name(name: &str) -> String {
    let stays = |c: char| c.is_ascii_alphanumeric() || " ()-._".contains(c) || ('\u{a0}'..='\u{d7af}').contains(&c);
    name.chars().map(|c| if stays(c) { c } else { '_' }).collect()
}

/// The one snapshot called `name`.
fn only<'s>(snapshots: &'s facts::Snapshots, name: &str, option: &str) -> Result<&'s facts::Snapshot, StartError> {
    let found = snapshots.named(name);
    let problem = match found[..] {
        [one] => return Ok(one),
        [] => format!("the machine has no snapshot called {name}; {}", snapshots.listed()),
        _ => format!("the machine has {} snapshots called {name}", found.len()),
    };
    Err(StartError::Refused {
        command: option.to_owned(),
        problem,
        hint: Some("name one of the machine's snapshots; where two have one name, by its UUID".to_owned()),
    })
}

/// Refuses a target that is there already, unless it may be replaced and stands right on the snapshot that the build starts from.
fn check_target(
    snapshots: &facts::Snapshots,
    from: Option<&str>,
    target: &super::spec::TakeSnapshot,
) -> Result<(), StartError> {
    let existing = snapshots.named(&target.name);
    let refused = |problem: String, hint: &str| {
        let command = "target_snapshot".to_owned();
        Err(StartError::Refused { command, problem, hint: Some(hint.to_owned()) })
    };
    if existing.is_empty() {
        return Ok(());
    }
    if !target.replace {
        let problem = format!("the machine has a snapshot called {} already; {}", target.name, snapshots.listed());
        return refused(problem, "set target_snapshot to another name, or force_delete_snapshot = true");
    }
    let Some(from) = from else { return Ok(()) };
    let from = only(snapshots, from, "attach_snapshot")?;
    if existing.iter().all(|one| facts::Snapshots::is_child(one, from)) {
        return Ok(());
    }
    let problem = format!("the snapshot {} was not taken right on {}", target.name, from.name);
    refused(
        problem,
        "only a snapshot that was taken on attach_snapshot is replaced; set target_snapshot to another name",
    )
}

/// The value of a line `NAME:   VALUE` of `list systemproperties`.
pub(super) fn property<'t>(properties: &'t str, name: &str) -> Option<&'t str> {
    let value = properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?.trim();
    Some(value).filter(|value| !value.is_empty())
}

/// The graphics card in a machine's settings: `<Display controller="VMSVGA" …/>`; VirtualBox leaves out its own old default.
fn graphics_in(settings: &str) -> Option<String> {
    if !settings.contains("<Machine") {
        return None;
    }
    let display = settings.split_once("<Display").map_or("", |(_, rest)| rest);
    let display = display.split_once('>').map_or("", |(display, _)| display);
    let word = display.split_once("controller=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0));
    Some(word.unwrap_or("VBoxVGA").to_lowercase()).filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
