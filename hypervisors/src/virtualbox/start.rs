//! The start of a machine: looked into, noted, made, set up, and let run. What fails or is dropped on the way leaves nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_disk_formats::package::virtualbox_remote_display;

use super::ask;
use super::call::{Call, words};
use super::changes::{Changes, DisplayChange, delete_forwarding};
use super::claim::Borrowing;
use super::default_folder;
use super::display::{self, Served};
use super::end;
use super::explain::explain;
use super::facts::{Facts, State};
use super::holdings::{Holdings, Owner};
use super::identity::Identity;
use super::known::Known;
use super::look;
use super::places::{self, PlacedDisc, PlacedFloppy};
use super::problem::{Failure, Problem};
use super::program::{Patience, VBoxManage, shown};
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

/// How far times of files lag behind the clock.
const LOG_CLOCK: Duration = Duration::from_secs(1);

/// A machine that runs.
pub(super) struct Started {
    pub(super) owner: Owner,
    pub(super) uuid: String,
    /// The host's port that leads to the guest.
    pub(super) forwarded: Option<u16>,
    /// What came of the remote display, where there was to be one.
    pub(super) display: Option<Served>,
    /// The call that let it run.
    pub(super) command_line: Vec<String>,
}

/// Starts a machine.
pub(super) async fn start(
    spec: &MachineSpec,
    part: &VirtualBoxSpec,
    program: &VBoxManage,
    known: &Known,
    ledger: Arc<dyn ResourceLedger>,
) -> Result<Started, StartError> {
    let theirs = match &spec.origin {
        Origin::Existing { machine, .. } => match known.machine(machine) {
            // Whether it is that machine still is seen when it is held.
            Some(uuid) => uuid,
            None => {
                let registered = ask::machines(program).await?;
                look::names(spec, &registered)?;
                look::find(machine, &registered).map_or_else(|| machine.clone(), |found| found.uuid.clone())
            }
        },
        // A name may have been taken since the first look.
        _ => {
            look::names(spec, &ask::machines(program).await?)?;
            String::new()
        }
    };
    look::package(spec)?;
    let claim = claim_name(spec, program).await?;
    let parent = part.work_dir.as_deref().unwrap_or(&spec.runtime_dir);
    let holdings = Holdings::new(program.for_machine(), parent, ledger)?;
    // From here on what is dropped is given back.
    let owner = Owner(holdings.clone());
    if let Some(claim) = claim {
        holdings.borrow(claim);
    }
    let starting = Starting { spec, part, holdings: &holdings };
    let started = starting.run(&theirs).await;
    match started {
        Ok(Running { uuid, forwarded, display }) => {
            let mut command_line = vec![program.path().display().to_string()];
            command_line.extend(starting.start_call(&uuid));
            Ok(Started { owner, uuid, forwarded, display, command_line })
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

/// Keeps other builds from making a machine of that name, until this one is done with it.
async fn claim_name(spec: &MachineSpec, program: &VBoxManage) -> Result<Option<Borrowing>, StartError> {
    if matches!(spec.origin, Origin::Existing { .. }) {
        return Ok(None);
    }
    let claim = Borrowing::take_machine_name(program.path(), &spec.name).await;
    claim.map(Some).map_err(|error| StartError::Refused {
        command: "vm_name".to_owned(),
        problem: match error.kind() {
            io::ErrorKind::AddrInUse => format!("another build makes a machine called {}", spec.name),
            _ => format!("the name {} cannot be held against other builds: {error}", spec.name),
        },
        hint: Some("set vm_name to another name, or wait until that build has ended".to_owned()),
    })
}

/// Why a start does not go on.
pub(super) enum Stop {
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

/// What came of a start.
struct Running {
    uuid: String,
    forwarded: Option<u16>,
    display: Option<Served>,
}

struct Ports {
    forwarded: Option<u16>,
    display: Option<u16>,
}

pub(super) struct Starting<'a> {
    pub(super) spec: &'a MachineSpec,
    pub(super) part: &'a VirtualBoxSpec,
    pub(super) holdings: &'a Arc<Holdings>,
}

impl Starting<'_> {
    /// `theirs`: the UUID of the machine of others to work on.
    async fn run(&self, theirs: &str) -> Result<Running, Stop> {
        let ports = self.take_ports()?;
        let uuid = match &self.spec.origin {
            Origin::New => self.make().await?,
            Origin::Import { package } => self.import(package).await?,
            Origin::Clone { machine, snapshot } => self.clone(machine, snapshot.as_deref()).await?,
            Origin::Existing { machine, snapshot } => {
                self.borrow(theirs, machine, snapshot.as_deref(), ports.display).await?;
                theirs.to_owned()
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
        let told_to_run = SystemTime::now();
        self.let_run(&uuid).await?;
        let process = end::find(&uuid).await;
        let is_seen = process.is_some();
        if let Some(process) = process {
            self.holdings.watch(process);
        }
        let now = self.facts(&uuid).await;
        let log = self.log(now.as_ref().ok());
        if !is_seen && let Ok(now) = &now {
            self.refuse_unstarted(&uuid, now, log.as_deref(), told_to_run)?;
        }
        let display = match (ports.display, &now) {
            (None, _) => None,
            (Some(_), Ok(now)) => Some(display::served(now, log.as_deref(), &self.holdings.program).await),
            (Some(_), Err(failure)) => Some(Served::Not(format!("VirtualBox does not tell of it: {failure}"))),
        };
        tokio::spawn(end::watch_over(self.holdings.clone(), uuid.clone(), log));
        Ok(Running { uuid, forwarded: ports.forwarded, display })
    }

    /// Refuses a machine that is off, has no process, and has written no log since it was told to run: nothing has started it.
    fn refuse_unstarted(
        &self,
        uuid: &str,
        now: &Facts,
        log: Option<&Path>,
        told: SystemTime,
    ) -> Result<(), StartError> {
        let written = log.and_then(|log| log.metadata().ok()?.modified().ok());
        let has_run = written.is_some_and(|written| written + LOG_CLOCK >= told);
        if now.state() != Some(State::Off) || has_run {
            return Ok(());
        }
        Err(StartError::Refused {
            command: shown(&self.start_call(uuid)),
            problem: "it said that the machine was started, but nothing runs it, and it is off".to_owned(),
            hint: Some(
                "see whether VirtualBox starts any machine (`VBoxManage startvm`), and what its services say: \
                 ~/.config/VirtualBox/VBoxSVC.log"
                    .to_owned(),
            ),
        })
    }

    /// Tells the machine to run. While another session has it, it is not noted as told to: whoever has it may let it run.
    async fn let_run(&self, uuid: &str) -> Result<(), Stop> {
        let (call, mut patience) = (self.start_call(uuid), Patience::new());
        // An earlier try may have come through: what runs since then is ours, also when the next one finds it held.
        let mut may_run = false;
        loop {
            if !may_run {
                self.holdings.starts()?;
            }
            let Err(failure) = self.holdings.program.run_once(&call).await else { return Ok(()) };
            if !failure.is(Problem::Locked) {
                may_run = true;
            } else if !may_run {
                self.holdings.did_not_start();
            }
            patience.wait_out(failure).await?;
        }
    }

    /// Where VirtualBox writes the machine's log; `None`: it does not tell.
    fn log(&self, now: Option<&Facts>) -> Option<PathBuf> {
        let name = "VBox.log";
        let directories = std::fs::read_dir(&self.holdings.directory).into_iter().flatten().flatten();
        let own = directories.map(|entry| entry.path().join("Logs").join(name)).find(|log| log.exists());
        if own.is_some() {
            return own;
        }
        let elsewhere = match self.holdings.logs() {
            Some(folder) => folder,
            None => PathBuf::from(now?.get("LogFldr")?),
        };
        Some(elsewhere.join(name))
    }

    pub(super) async fn call(&self, call: &Call) -> Result<String, Failure> {
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
        self.refuse_taken_folder(&default_folder::made_by_createvm(&self.spec.name)).await?;
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

    async fn clone(&self, machine: &str, snapshot: Option<&str>) -> Result<String, Stop> {
        self.refuse_taken_folder(&default_folder::made_by_createvm(&self.spec.name)).await?;
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

    /// What every machine gets.
    async fn set_up(&self, uuid: &str, ports: &Ports) -> Result<(), Stop> {
        let display = self.part.remote_display.as_ref().zip(ports.display);
        let forward = match (self.spec.network.mode.clone(), ports.forwarded) {
            (NetworkMode::User { forward: Some(forward) }, Some(host_port)) => Some((host_port, forward.guest_port)),
            _ => None,
        };
        match self.spec.origin {
            Origin::New => {
                let discs = storage::attach_discs(&self.part.drives, uuid);
                let floppy = self.spec.floppy.as_ref().map(|image| storage::attach_floppy(image, uuid));
                for call in discs.into_iter().chain(floppy.into_iter().flatten()) {
                    self.call(&call).await?;
                }
            }
            _ => self.add_media(uuid, display.map(|(_, port)| port), forward.is_some()).await?,
        }
        if let Some(call) = settings::access(uuid, display, forward) {
            match self.call(&call).await {
                // An import may bring one of that name along.
                Err(failure) if failure.is(Problem::InUse) && forward.is_some() => {
                    self.call(&delete_forwarding(uuid)).await?;
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

    /// Puts our media into a machine that has its own, which are noted first. Of one of others all its settings that are ours to change are.
    async fn add_media(&self, uuid: &str, display: Option<u16>, network: bool) -> Result<(), Stop> {
        let existing = matches!(self.spec.origin, Origin::Existing { .. });
        if !existing && self.part.drives.is_empty() && self.spec.floppy.is_none() {
            return Ok(());
        }
        let before = self.facts(uuid).await?;
        let placed = places::of_discs(&self.part.drives, &before)?;
        let floppy = self.spec.floppy.as_ref().map(|image| places::of_floppy(image, &before));
        let mut calls: Vec<Call> = Vec::new();
        for PlacedDisc { slot, image } in &placed {
            calls.push(storage::insert_disc(uuid, slot, &image.display().to_string()));
        }
        if let Some(PlacedFloppy { slot, image, makes_controller }) = &floppy {
            calls.extend(makes_controller.then(|| storage::add_floppy_controller(uuid)));
            calls.push(storage::insert_floppy(uuid, slot, &image.display().to_string()));
        }
        let goes = self.part.drives.iter().map(|drive| !drive.stays);
        let discs = placed.into_iter().zip(goes).filter_map(|(disc, goes)| goes.then_some(disc)).collect();
        let mut changes = Changes { before, discs, floppy, ..Changes::default() };
        if existing {
            changes.network = network;
            if let Some(port) = display {
                changes.before = self.with_display(uuid, &changes).await?;
                changes.display = DisplayChange::Ours(port);
            }
        }
        self.holdings.changes(changes);
        for call in calls {
            self.call(&call).await?;
        }
        Ok(())
    }

    /// What the machine was like, with the settings of its remote display: VirtualBox tells those of one alone that is on, and keeps those of
    /// every one in the machine's file.
    async fn with_display(&self, uuid: &str, changes: &Changes) -> Result<Facts, Failure> {
        if changes.before.get("vrde") == Some("on") {
            return Ok(changes.before.clone());
        }
        let file = changes.before.settings_file();
        if let Some(kept) = file.and_then(|file| virtualbox_remote_display(&file).ok().flatten()) {
            let settings = [("vrdeauthtype", kept.auth), ("vrdeaddress", kept.address), ("vrdeports", kept.ports)];
            let before = changes.before.clone();
            return Ok(settings.iter().fold(before, |facts, (name, value)| facts.with(name, value)));
        }
        self.holdings.changes(Changes {
            before: changes.before.clone(),
            display: DisplayChange::LookedAt,
            ..Changes::default()
        });
        self.call(&words(&format!("modifyvm {uuid} --vrde on"))).await?;
        Ok(self.facts(uuid).await?.with("vrde", "off"))
    }

    async fn facts(&self, uuid: &str) -> Result<Facts, Failure> {
        ask::facts(&self.holdings.program, uuid).await
    }

    fn start_call(&self, uuid: &str) -> Call {
        settings::start(self.spec, uuid)
    }
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
