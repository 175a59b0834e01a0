//! The suite of promises finds what breaks them: fake machines with one fault each.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};

use super::{FakeHypervisor, FakeScript, FakeSpec};
use crate::conformance;
use crate::error::{MachineError, StartError, Unsupported};
use crate::guest_network::{Endpoint, GuestNetwork, HostSeenByGuest};
use crate::keyboard::Keyboard;
use crate::ledger::{Resource, ResourceLedger};
use crate::machine::{Availability, ExitReport, GivenBack, Hypervisor, Machine, MachineInfo};
use crate::screen::Screen;
use crate::spec::{MachineSpec, NetworkMode, Origin};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NotesNothing,
    NotesLate,
    NeverReleases,
    ReleasesEarly,
    StartsUnnoted,
    StaysRegistered,
    IsRegisteredElsewhere,
    LeavesAFile,
    RunsWhilePaused,
    EndsByItself,
    TellsTwoEnds,
    CannotBeReached,
    HasNoKeyboard,
    HasNoScreen,
    TakesNoKeys,
    HasNoPowerButton,
    TakesACrashForAnEnd,
    LivesOn,
    ForgetsWhatWasSaid,
    TakesWhatIsForeign,
    MakesSomethingOfNothing,
    HasWhatIsNotThere,
    LeavesTheDead,
    StaysInADroppedCall,
}

/// Each fault with words of the complaint.
const FAULTS: [(Fault, &str); 24] = [
    (Fault::NotesNothing, "resources are told to the ledger"),
    (Fault::NotesLate, "came to be before it was noted"),
    (Fault::NeverReleases, "kill gives everything back"),
    (Fault::ReleasesEarly, "was released and is there still"),
    (Fault::StartsUnnoted, "although it could not be noted"),
    (Fault::StaysRegistered, "was registered still"),
    (Fault::IsRegisteredElsewhere, "a sweep asks the hypervisor"),
    (Fault::LeavesAFile, "left behind in the runtime directory"),
    (Fault::RunsWhilePaused, "a paused guest has run nothing"),
    (Fault::EndsByItself, "a running machine has not exited"),
    (Fault::TellsTwoEnds, "everyone who waits is told the same"),
    (Fault::CannotBeReached, "can be reached"),
    (Fault::HasNoKeyboard, "a machine with a keyboard"),
    (Fault::HasNoScreen, "a machine with a screen"),
    (Fault::TakesNoKeys, "a running machine takes keys"),
    (Fault::HasNoPowerButton, "has a power button"),
    (Fault::TakesACrashForAnEnd, "a killed process is told as what it is"),
    (Fault::LivesOn, "a dead machine is gone"),
    (Fault::ForgetsWhatWasSaid, "what the guest wrote outlives it"),
    (Fault::TakesWhatIsForeign, "check refuses it"),
    (Fault::MakesSomethingOfNothing, "a machine came of nothing"),
    (Fault::HasWhatIsNotThere, "gone, which is no error"),
    (Fault::LeavesTheDead, "what a dead worker left is given back"),
    (Fault::StaysInADroppedCall, "can be reached after a call that was dropped"),
];

#[tokio::test]
async fn every_fault_is_found() {
    for (fault, words) in FAULTS {
        let runtime = tempfile::tempdir().unwrap();
        let spec = MachineSpec::new("fake", runtime.path(), FakeSpec { registered: true });
        let script = FakeScript {
            echoes: true,
            keyboard_error: (fault == Fault::TakesNoKeys).then(|| "no keys".to_owned()),
            ..FakeScript::default()
        };
        let broken = Broken { whole: FakeHypervisor::new(script), fault };
        let checked = tokio::spawn(async move { conformance::check(&broken, &spec).await }).await;
        let complaint = checked.expect_err("the suite finds it").into_panic();
        let complaint = complaint.downcast::<String>().map_or_else(
            |other| other.downcast_ref::<&str>().map_or_else(String::new, ToString::to_string),
            |text| *text,
        );
        assert!(complaint.contains(words), "{fault:?}: {complaint}");
    }
}

/// The fake hypervisor with a fault.
struct Broken {
    whole: FakeHypervisor,
    fault: Fault,
}

/// One of its machines.
struct BrokenMachine {
    whole: Box<dyn Machine>,
    info: MachineInfo,
    /// A process that stands for the hypervisor's.
    process: Option<tokio::sync::Mutex<tokio::process::Child>>,
    fault: Fault,
    killed: AtomicBool,
    told: AtomicBool,
    in_a_call: AtomicBool,
}

/// A ledger that is told the wrong things.
struct MisledLedger {
    ledger: Arc<dyn ResourceLedger>,
    fault: Fault,
}

impl ResourceLedger for MisledLedger {
    fn acquired(&self, resource: &Resource) -> io::Result<()> {
        match (self.fault, resource) {
            (Fault::NotesNothing, _) => Ok(()),
            (Fault::StartsUnnoted, _) => {
                let _ = self.ledger.acquired(resource);
                Ok(())
            }
            (Fault::IsRegisteredElsewhere, Resource::Registered { id, .. }) => {
                self.ledger.acquired(&Resource::Registered { hypervisor: "elsewhere".to_owned(), id: id.clone() })
            }
            _ => self.ledger.acquired(resource),
        }
    }

    fn released(&self, resource: &Resource) {
        match (self.fault, resource) {
            (Fault::NeverReleases | Fault::NotesNothing, _) => {}
            (Fault::IsRegisteredElsewhere, Resource::Registered { id, .. }) => {
                self.ledger.released(&Resource::Registered { hypervisor: "elsewhere".to_owned(), id: id.clone() });
            }
            _ => self.ledger.released(resource),
        }
    }
}

impl Broken {
    async fn start_machine(
        &self,
        spec: &MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Box<dyn Machine>, StartError> {
        let fault = self.fault;
        let path = spec.runtime_dir.join("file");
        if matches!(fault, Fault::NotesLate | Fault::LeavesAFile) {
            std::fs::write(&path, "").map_err(|source| StartError::Prepare { path: path.clone(), source })?;
        }
        if fault == Fault::NotesLate {
            let file = Resource::File { path: path.clone() };
            let _ = ledger.acquired(&file);
            let _ = std::fs::remove_file(&path);
            ledger.released(&file);
        }
        let mut spec = spec.clone();
        if fault == Fault::MakesSomethingOfNothing && matches!(spec.origin, Origin::Import { .. }) {
            spec.origin = Origin::New;
        }
        let misled = Arc::new(MisledLedger { ledger: ledger.clone(), fault });
        let whole = self.whole.start(&spec, misled).await?;
        if fault == Fault::ReleasesEarly {
            ledger.released(&Resource::File { path: spec.runtime_dir.join("fake.fake-machine") });
        }
        let [killed, told, in_a_call] = std::array::from_fn(|_| AtomicBool::new(false));
        let mut info = whole.description().clone();
        let mut process = None;
        if fault == Fault::TakesACrashForAnEnd {
            let spawned = tokio::process::Command::new("sleep").arg("1000").kill_on_drop(true).spawn();
            let child = spawned.map_err(|source| StartError::Spawn { program: "sleep".into(), source })?;
            info.pid = child.id();
            process = Some(tokio::sync::Mutex::new(child));
        }
        Ok(Box::new(BrokenMachine { whole, info, process, fault, killed, told, in_a_call }))
    }
}

impl Hypervisor for Broken {
    fn name(&self) -> &'static str {
        self.whole.name()
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        self.whole.probe()
    }

    fn check(&self, spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        if self.fault == Fault::TakesWhatIsForeign { Ok(()) } else { self.whole.check(spec) }
    }

    fn starts_paused(&self) -> bool {
        self.whole.starts_paused()
    }

    fn host_seen_by_guest(&self, network: &NetworkMode) -> Option<HostSeenByGuest> {
        self.whole.host_seen_by_guest(network)
    }

    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>> {
        self.start_machine(spec, ledger).boxed()
    }

    fn give_back<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<GivenBack, MachineError>> {
        match self.fault {
            Fault::StaysRegistered if id == "fake" => async { Ok(GivenBack::Removed) }.boxed(),
            Fault::HasWhatIsNotThere if id != "fake" => async { Ok(GivenBack::Removed) }.boxed(),
            Fault::LeavesTheDead => async { Ok(GivenBack::WasGone) }.boxed(),
            _ => self.whole.give_back(id),
        }
    }
}

impl Machine for BrokenMachine {
    fn description(&self) -> &MachineInfo {
        &self.info
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async {
            let resumed = self.whole.resume().await;
            if self.fault == Fault::LivesOn { Ok(()) } else { resumed }
        }
        .boxed()
    }

    fn exited(&self) -> BoxFuture<'_, ExitReport> {
        match self.fault {
            Fault::EndsByItself => async { ExitReport::GuestShutdown }.boxed(),
            Fault::TellsTwoEnds => async {
                let end = self.whole.exited().await;
                if self.told.swap(true, Ordering::AcqRel) { end } else { ExitReport::GuestShutdown }
            }
            .boxed(),
            Fault::TakesACrashForAnEnd => async {
                let Some(process) = &self.process else { return self.whole.exited().await };
                let mut process = process.lock().await;
                tokio::select! {
                    report = self.whole.exited() => report,
                    _ = process.wait() => ExitReport::GuestShutdown,
                }
            }
            .boxed(),
            _ => self.whole.exited(),
        }
    }

    fn power_button(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        if self.fault == Fault::HasNoPowerButton {
            async { Err(MachineError::Gone) }.boxed()
        } else {
            self.whole.power_button()
        }
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        self.killed.store(true, Ordering::Release);
        self.whole.kill()
    }

    fn keyboard(&self) -> Option<&dyn Keyboard> {
        self.whole.keyboard().filter(|_| self.fault != Fault::HasNoKeyboard)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        self.whole.screen().filter(|_| self.fault != Fault::HasNoScreen)
    }

    fn serial_tail(&self, max_bytes: usize) -> Vec<u8> {
        match self.fault {
            Fault::RunsWhilePaused => b"x"[..max_bytes.min(1)].to_vec(),
            Fault::ForgetsWhatWasSaid if self.killed.load(Ordering::Acquire) => Vec::new(),
            _ => self.whole.serial_tail(max_bytes),
        }
    }

    fn network(&self) -> BoxFuture<'_, GuestNetwork> {
        self.whole.network()
    }

    fn endpoint(&self, guest_port: u16) -> BoxFuture<'_, Option<Endpoint>> {
        match self.fault {
            Fault::CannotBeReached => async { None }.boxed(),
            Fault::StaysInADroppedCall => async move {
                if self.in_a_call.swap(true, Ordering::AcqRel) {
                    return None;
                }
                // As long as a hypervisor may take to answer.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                let endpoint = self.whole.endpoint(guest_port).await;
                self.in_a_call.store(false, Ordering::Release);
                endpoint
            }
            .boxed(),
            _ => self.whole.endpoint(guest_port),
        }
    }
}
