//! The fake hypervisor: does what its script says and remembers what was asked of it.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::machine::FakeMachine;
use super::saved_state;
use super::script::{FakeScript, FakeStart};
use super::state::{State, end_once};
use crate::error::{MachineError, StartError, Unsupported};
use crate::guest_network::HostSeenByGuest;
use crate::keyboard::KeyEvent;
use crate::ledger::{Resource, ResourceLedger};
use crate::machine::{AcceleratorAvailability, Availability, ExitReport, GivenBack, Hypervisor, Machine};
use crate::processor::{Occupant, ProcessorUse};
use crate::spec::{MachineSpec, NetworkMode, Origin, SavedState};

/// How long a machine whose start was given up takes to be given back.
const GIVING_BACK: Duration = Duration::from_millis(200);

/// The fake hypervisor. Clones share script and memory, so a test keeps one and gives one away.
#[derive(Clone)]
pub struct FakeHypervisor {
    name: &'static str,
    state: Arc<State>,
}

impl Default for FakeHypervisor {
    fn default() -> Self {
        Self::new(FakeScript::default())
    }
}

impl FakeHypervisor {
    /// A hypervisor called `fake` that does what `script` says.
    pub fn new(script: FakeScript) -> Self {
        Self::in_place_of("fake", script)
    }

    /// A hypervisor that has the name of another, and takes the machines described for that.
    pub fn in_place_of(name: &'static str, script: FakeScript) -> Self {
        Self { name, state: Arc::new(State::new(script)) }
    }

    /// Changes the script, also of machines that run.
    pub fn change(&self, change: impl FnOnce(&mut FakeScript)) {
        change(&mut self.state.script());
    }

    /// What was asked of the hypervisor and its machines, in order: `start` (or `import`, `clone`, `restore`), `resume`, `press`,
    /// `power_button`, `kill`, `drop`, `give_back`, ….
    pub fn calls(&self) -> Vec<String> {
        self.state.log().calls.clone()
    }

    /// Every key event so far.
    pub fn typed(&self) -> Vec<KeyEvent> {
        self.state.log().typed.clone()
    }

    /// The specs of the machines started so far.
    pub fn specs(&self) -> Vec<MachineSpec> {
        self.state.log().specs.clone()
    }

    /// Number of machines that have not come to their end.
    pub fn running(&self) -> usize {
        self.state.log().running.iter().filter(|end| end.borrow().is_none()).count()
    }

    /// Ends all machines as if the guests had done it: what a shutdown command in the guest does.
    pub fn end_guests(&self, report: &ExitReport) {
        for end in &self.state.log().running {
            end_once(end, report.clone());
        }
    }

    /// Registers a machine that others can be cloned from, or that a dead process has left.
    pub fn register(&self, id: impl Into<String>) {
        self.state.registered().insert(id.into());
    }

    /// Names of the registered machines.
    pub fn registered(&self) -> Vec<String> {
        self.state.registered().iter().cloned().collect()
    }

    /// Writes to `path` the saved state of a machine of this hypervisor.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save_state(&self, path: &Path) -> io::Result<SavedState> {
        saved_state::write(path, self.name)
    }

    /// Sees that there is what the machine is to be made of.
    fn look_for_origin(&self, origin: &Origin) -> Result<(), StartError> {
        let missing = |path: &Path, source| StartError::Prepare { path: path.to_owned(), source };
        match origin {
            Origin::New => Ok(()),
            Origin::Import { package } => {
                std::fs::metadata(package).map(drop).map_err(|source| missing(package, source))
            }
            Origin::Clone { machine, .. } | Origin::Existing { machine, .. }
                if self.state.registered().contains(machine) =>
            {
                Ok(())
            }
            Origin::Clone { machine, .. } | Origin::Existing { machine, .. } => {
                let message = format!("there is no machine called {machine}");
                Err(StartError::Setup(MachineError::Refused { command: "clone".to_owned(), message }))
            }
            Origin::SavedState(state) => {
                saved_state::read(&state.path, self.name).map_err(|source| missing(&state.path, source))
            }
        }
    }

    async fn start_machine(
        &self,
        spec: &MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Box<dyn Machine>, StartError> {
        self.state.note(match spec.origin {
            Origin::New => "start",
            Origin::Import { .. } => "import",
            Origin::Clone { .. } => "clone",
            Origin::Existing { .. } => "borrow",
            Origin::SavedState(_) => "restore",
        });
        let foreign = spec.foreign_to(self.name);
        if !foreign.is_empty() {
            return Err(StartError::Unsupported(foreign));
        }
        let start = self.state.script().start.clone();
        match start {
            FakeStart::Works => {}
            FakeStart::Hangs => {
                let _given_back = HalfMade::register(self, spec, ledger)?;
                return std::future::pending().await;
            }
            FakeStart::Fails(stderr) => {
                let status = "exit status 1".to_owned();
                return Err(StartError::EndedEarly { program: "fake".to_owned(), status, stderr });
            }
        }
        self.look_for_origin(&spec.origin)?;
        Ok(Box::new(FakeMachine::start(spec, self.name, &self.state, ledger)?))
    }
}

/// A registered machine whose start hangs.
struct HalfMade {
    state: Arc<State>,
    ledger: Arc<dyn ResourceLedger>,
    resource: Resource,
    name: String,
}

impl HalfMade {
    fn register(
        hypervisor: &FakeHypervisor,
        spec: &MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Self, StartError> {
        let name = spec.name.clone();
        let resource = Resource::Registered { hypervisor: hypervisor.name.to_owned(), id: name.clone() };
        let failed = |source| StartError::Prepare { path: spec.runtime_dir.clone(), source };
        ledger.acquired(&resource).map_err(failed)?;
        hypervisor.state.registered().insert(name.clone());
        Ok(Self { state: hypervisor.state.clone(), ledger, resource, name })
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        let (state, ledger) = (self.state.clone(), self.ledger.clone());
        let (resource, name) = (self.resource.clone(), self.name.clone());
        tokio::spawn(async move {
            tokio::time::sleep(GIVING_BACK).await;
            state.registered().remove(&name);
            ledger.released(&resource);
        });
    }
}

impl Hypervisor for FakeHypervisor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        let reason = self.state.script().unavailable.clone();
        let accelerator = AcceleratorAvailability {
            name: "fake".to_owned(),
            usable: reason.is_none(),
            reason: "nothing is run".to_owned(),
        };
        let version = reason.is_none().then(|| "1.0".to_owned());
        async move { Availability { version, accelerators: vec![accelerator], reason, ..Availability::default() } }
            .boxed()
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        let mut complaints = spec.foreign_to(self.name);
        complaints.extend(self.state.script().unsupported.iter().cloned());
        if complaints.is_empty() { Ok(()) } else { Err(complaints) }
    }

    fn processor_use<'a>(&'a self, _spec: &'a MachineSpec) -> BoxFuture<'a, Option<ProcessorUse>> {
        let wanted = self.state.script().processor_use.clone();
        async move { wanted }.boxed()
    }

    fn look_first<'a>(&'a self, _spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), StartError>> {
        let refused = |problem| StartError::Refused { command: "look".to_owned(), problem, hint: None };
        let looked = self.state.script().look_error.clone().map_or(Ok(()), |problem| Err(refused(problem)));
        async { looked }.boxed()
    }

    fn unclaimed_machine(&self) -> Option<Occupant> {
        self.state.script().unclaimed_machine.clone()
    }

    fn starts_paused(&self) -> bool {
        self.state.script().starts_paused
    }

    fn host_seen_by_guest(&self, _: &NetworkMode) -> Option<HostSeenByGuest> {
        let name = self.state.script().host_seen_by_guest.clone()?;
        Some(HostSeenByGuest { name, listen: Ipv4Addr::LOCALHOST.into() })
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
            self.state.note("give_back");
            if let Some(message) = self.state.script().give_back_error.clone() {
                return Err(MachineError::Refused { command: format!("give_back {id}"), message });
            }
            let was_there = self.state.registered().remove(id);
            Ok(if was_there { GivenBack::Removed } else { GivenBack::WasGone })
        }
        .boxed()
    }
}
