//! What a machine holds, and how it is given back: once, in order, whoever asks for it and however often.

mod home;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::NAME;
use super::changes::Changes;
use super::claim::{Borrowing, Claim};
use super::facts::State;
use super::give_back::{self, Ended, OFF_LIMIT, Terms};
use super::identity::{Borrowed, Identity, Moment};
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use super::serial;
use crate::error::StartError;
use crate::ledger::{Resource, ResourceLedger};
use crate::machine::{ExitReport, GivenBack};
use crate::port_lease::PortLease;
use crate::process::Stranger;
use crate::process_stat::ProcessStat;

/// What a machine holds.
pub(super) struct Holdings {
    pub(super) program: VBoxManage,
    /// The machine's own directory: screens, serial output and, unless it is to stay, its settings.
    pub(super) directory: PathBuf,
    ledger: Arc<dyn ResourceLedger>,
    held: Mutex<Held>,
    /// One gives back at a time; true when there is nothing left.
    done: tokio::sync::Mutex<bool>,
    /// How the guest ended.
    pub(super) report: watch::Sender<Option<ExitReport>>,
    /// This process has asked for the end.
    pub(super) killed: AtomicBool,
    /// The machine is to stay.
    kept: AtomicBool,
    /// It stays in our directory, because it could not be moved to where it belongs.
    kept_inside: AtomicBool,
}

#[derive(Default)]
struct Held {
    identity: Option<Identity>,
    /// It was told to run then, in clock ticks since boot.
    told_to_run: Option<u64>,
    /// We have put it on another snapshot, and nobody else was seen to use it since.
    restores: bool,
    process: Option<Arc<Stranger>>,
    /// How the ledger knows the process.
    noted_process: Option<Resource>,
    /// Keeps other builds off a machine of others.
    borrowing: Option<Borrowing>,
    ports: Vec<PortLease>,
    /// The folder among its user's machines that it is moved to, which was not there before or empty.
    moves_to: Option<PathBuf>,
    /// Where the logs of a machine are that lies elsewhere.
    logs: Option<PathBuf>,
    /// What is changed in a machine that was there before.
    changes: Option<Changes>,
    /// How it was when it was seen off.
    ended: Option<Ended>,
    /// What the guest wrote to its serial port, read before the file goes.
    serial: Vec<u8>,
}

impl Holdings {
    /// Makes a directory for a machine in `parent`.
    pub(super) fn new(
        program: VBoxManage,
        parent: &Path,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Arc<Self>, StartError> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let directory = parent.join(format!("virtualbox-{}", &unique[..8]));
        let resource = Resource::Directory { path: directory.clone() };
        let failed = |source| StartError::Prepare { path: directory.clone(), source };
        ledger.acquired(&resource).map_err(failed)?;
        if let Err(error) = std::fs::create_dir(&directory) {
            ledger.released(&resource);
            return Err(failed(error));
        }
        Ok(Arc::new(Self {
            program,
            directory,
            ledger,
            held: Mutex::default(),
            done: tokio::sync::Mutex::new(false),
            report: watch::Sender::new(None),
            killed: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            kept_inside: AtomicBool::new(false),
        }))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a machine before it comes to be, or before it is worked on.
    pub(super) fn note(&self, identity: Identity) -> Result<(), StartError> {
        let resource = registered(&identity);
        let before = self.held().identity.replace(identity);
        if let Err(source) = self.ledger.acquired(&resource) {
            // What could not be noted does not come to be.
            self.held().identity = before;
            return Err(StartError::Prepare { path: self.directory.clone(), source });
        }
        if let Some(before) = before {
            self.ledger.released(&registered(&before));
        }
        Ok(())
    }

    /// Keeps other builds off a machine of others until it is given back.
    pub(super) fn borrow(&self, borrowing: Borrowing) {
        self.held().borrowing = Some(borrowing);
    }

    /// Notes that the machine is about to be told to run.
    pub(super) fn starts(&self) -> Result<(), StartError> {
        let now = ProcessStat::now().and_then(|ticks| Ok((ticks, Moment::of_this_boot(ticks)?)));
        let (ticks, moment) = now.map_err(|source| StartError::Prepare { path: "/proc".into(), source })?;
        self.note_told_to_run(Some(moment))?;
        self.held().told_to_run = Some(ticks);
        Ok(())
    }

    /// Notes that it was not: somebody else uses it.
    pub(super) fn did_not_start(&self) {
        self.held().told_to_run = None;
        if let Err(error) = self.note_told_to_run(None) {
            tracing::warn!(%error, "it stays noted that a machine was told to run");
        }
    }

    /// Changes what the ledger knows of a machine of others.
    fn note_told_to_run(&self, moment: Option<Moment>) -> Result<(), StartError> {
        self.note_again(|borrowed| borrowed.told_to_run = moment)
    }

    fn note_again(&self, change: impl FnOnce(&mut Borrowed)) -> Result<(), StartError> {
        let identity = self.held().identity.clone();
        let Some(Identity::Borrowed(before)) = identity else { return Ok(()) };
        let mut borrowed = before.clone();
        change(&mut borrowed);
        if borrowed == before { Ok(()) } else { self.note(Identity::Borrowed(borrowed)) }
    }

    /// The snapshot on which a machine of others stood before.
    pub(super) fn stood_on(&self) -> Option<String> {
        match &self.held().identity {
            Some(Identity::Borrowed(borrowed)) => borrowed.snapshot.clone(),
            _ => None,
        }
    }

    /// That one has made room for another, which a machine of others is to stand on in the end.
    pub(super) fn stands_on_instead(&self, snapshot: String) -> Result<(), StartError> {
        self.note_again(|borrowed| borrowed.snapshot = Some(snapshot))
    }

    /// Notes that the machine was put on another snapshot.
    pub(super) fn restored(&self) {
        self.held().restores = true;
    }

    /// What was done in it since is to stay.
    pub(super) fn does_not_restore(&self) {
        self.held().restores = false;
    }

    pub(super) fn was_told_to_run(&self) -> bool {
        self.held().told_to_run.is_some()
    }

    fn claim(&self) -> Claim {
        let held = self.held();
        match (held.told_to_run, &held.process) {
            (None, _) => Claim::NotStarted,
            (Some(since), None) => Claim::ToldToRun { since },
            (Some(_), Some(process)) => Claim::Started(process.pid()),
        }
    }

    pub(super) fn keep_ports(&self, ports: Vec<PortLease>) {
        self.held().ports = ports;
    }

    /// Notes what is changed next in a machine that was there before.
    pub(super) fn changes(&self, changes: Changes) {
        self.held().changes = Some(changes);
    }

    /// Takes our media out of a machine that was there before, and puts those back that were in it.
    pub(super) async fn put_media_back(&self, uuid: &str) -> Result<(), Failure> {
        let changes = self.held().changes.clone();
        let Some(changes) = changes.filter(Changes::have_media) else { return Ok(()) };
        let Some(now) = give_back::look(&self.program, uuid).await? else { return Ok(()) };
        for call in changes.undo_media(uuid, &now) {
            self.program.run(&call).await?;
        }
        Ok(())
    }

    /// Notes where the machine's logs are, when it lies elsewhere.
    pub(super) fn logs_are_in(&self, folder: Option<&str>) {
        self.held().logs = folder.map(PathBuf::from);
    }

    /// Where they are, as far as that is noted.
    pub(super) fn logs(&self) -> Option<PathBuf> {
        self.held().logs.clone()
    }

    /// Puts the settings back that a machine of others had.
    pub(super) async fn put_settings_back(&self, uuid: &str) -> Result<(), Failure> {
        let Some(changes) = self.held().changes.clone() else { return Ok(()) };
        let Some(now) = give_back::look(&self.program, uuid).await? else { return Ok(()) };
        for call in changes.undo_settings(uuid, &now) {
            self.program.run(&call).await?;
        }
        Ok(())
    }

    /// Lets VirtualBox bind the ports.
    pub(super) fn hand_over_ports(&self) {
        self.held().ports.iter_mut().for_each(PortLease::hand_over);
    }

    /// Notes the process that runs the machine: a sweep ends that one, and no other.
    pub(super) fn watch(&self, process: Arc<Stranger>) {
        // One that has ended already needs no note.
        let noted = match Resource::process(process.pid()) {
            Ok(resource) => self.ledger.acquired(&resource).map(|()| Some(resource)),
            Err(_) => Ok(None),
        };
        let noted = noted.and_then(|resource| {
            self.held().noted_process = resource;
            self.note_told_to_run(None).map_err(io::Error::other)
        });
        if let Err(error) = noted {
            // The moment at which it was told to run stays noted instead.
            tracing::warn!(%error, pid = process.pid(), "a machine's process cannot be noted");
        }
        self.held().process = Some(process);
    }

    /// Takes the process off the ledger, once it has ended: VirtualBox calls a machine off a moment before that.
    async fn forget_process(&self) {
        if let Some(process) = self.process() {
            let _ = tokio::time::timeout(OFF_LIMIT, process.ended()).await;
        }
        let noted = self.held().noted_process.take();
        if let Some(noted) = noted {
            self.ledger.released(&noted);
        }
    }

    pub(super) fn process(&self) -> Option<Arc<Stranger>> {
        self.held().process.clone()
    }

    /// Notes how the machine was seen off, and tells the way.
    pub(super) fn was_seen_off(&self, ended: Ended) -> State {
        let state = ended.state;
        self.held().ended = Some(ended);
        state
    }

    pub(super) fn is_alive(&self) -> bool {
        self.report.borrow().is_none()
    }

    /// Notes how the guest ended; the first word counts.
    pub(super) fn tell(&self, report: ExitReport) {
        self.report.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(report);
            }
            first
        });
    }

    /// Switches the guest off, and waits until it is and its end is known.
    pub(super) async fn power_off(&self, uuid: &str) {
        if !self.is_alive() {
            return;
        }
        self.killed.store(true, Ordering::Release);
        if let Err(failure) = self.program.run(&["controlvm", uuid, "poweroff"]).await {
            tracing::debug!(%failure, "a machine cannot be switched off");
        }
        let mut report = self.report.subscribe();
        if tokio::time::timeout(OFF_LIMIT, report.wait_for(Option::is_some)).await.is_err() {
            if let Some(process) = self.process() {
                process.kill();
            }
            self.tell(ExitReport::Killed);
        }
    }

    /// Leaves a machine that may still run on the ledger, with all that it uses: a sweep gives it back, and nobody here does.
    pub(super) async fn leave_to_a_sweep(&self) {
        *self.done.lock().await = true;
        self.killed.store(true, Ordering::Release);
        self.tell(ExitReport::Killed);
    }

    /// Whether nothing of the machine is on the ledger any more.
    pub(super) fn is_given_back(&self) -> bool {
        self.held().identity.is_none()
    }

    /// Gives everything back. Any number of times.
    pub(super) async fn give_back(&self) {
        let mut done = self.done.lock().await;
        if *done {
            return;
        }
        self.killed.store(true, Ordering::Release);
        // A call that was given up may still write into the directory.
        self.program.settled().await;
        if !self.kept.load(Ordering::Acquire) {
            let identity = self.held().identity.clone();
            if let Some(identity) = identity {
                let (restores, changes, ended) = {
                    let mut held = self.held();
                    (held.restores, held.changes.clone(), held.ended.take())
                };
                let seen_off = ended.filter(|ended| ended.calls == self.program.calls()).and_then(|ended| ended.facts);
                let terms = Terms { claim: self.claim(), restores, changes: changes.as_ref(), seen_off };
                match give_back::give_back(&self.program, &identity, terms).await {
                    Ok(given_back) => {
                        if let GivenBack::LeftOn { snapshot } = given_back {
                            tracing::warn!(%identity, snapshot, "the machine stays as it is; before the build it stood on that snapshot");
                        }
                        self.ledger.released(&registered(&identity));
                        self.held().identity = None;
                    }
                    Err(error) => {
                        // Whoever else used it has done so for good: what they did is not undone, also when it is off.
                        if error.is(Problem::UsedByOthers) {
                            self.held().restores = false;
                        }
                        // With its directory and its ports, which it may still use, it stays in the ledger: a sweep tries again.
                        let directory = self.directory.display();
                        tracing::error!(%error, %identity, %directory, "a machine cannot be given back yet, and stays with its files");
                        self.tell(ExitReport::Killed);
                        return;
                    }
                }
            }
        }
        self.tell(ExitReport::Killed);
        self.forget_process().await;
        self.forget_move();
        self.remove_directory();
        let mut held = self.held();
        held.ports.clear();
        held.borrowing = None;
        drop(held);
        *done = true;
    }

    fn remove_directory(&self) {
        let serial = serial::tail(&self.directory, serial::KEPT);
        self.held().serial = serial;
        if self.kept_inside.load(Ordering::Acquire) {
            return self.ledger.released(&Resource::Directory { path: self.directory.clone() });
        }
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.directory.display(), "a machine's directory cannot be removed");
            }
            _ => self.ledger.released(&Resource::Directory { path: self.directory.clone() }),
        }
    }

    /// The last bytes of the serial port, also when everything is given back.
    pub(super) fn serial_tail(&self, max: usize) -> Vec<u8> {
        let now = serial::tail(&self.directory, max);
        if !now.is_empty() {
            return now;
        }
        let held = self.held();
        held.serial[held.serial.len().saturating_sub(max)..].to_vec()
    }
}

fn registered(identity: &Identity) -> Resource {
    Resource::Registered { hypervisor: NAME.to_owned(), id: identity.to_string() }
}

/// Gives everything back when it goes, without blocking.
pub(super) struct Owner(pub(super) Arc<Holdings>);

impl Drop for Owner {
    fn drop(&mut self) {
        let holdings = self.0.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { holdings.give_back().await })),
            // The ledger has it: a sweep gives it back.
            Err(_) => tracing::warn!("a machine is left to the next sweep"),
        }
    }
}
