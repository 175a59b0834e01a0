//! A hypervisor that runs nothing: it does what a script says and remembers what was asked of it. For the tests of whatever uses
//! machines; it keeps the same promises as the real ones (see [`conformance`](crate::conformance)).

use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use crate::{
    AcceleratorAvailability, Availability, ChosenAccelerator, ExitReport, GuestNetwork, Hypervisor, KeyEvent, Keyboard,
    KeyboardError, Machine, MachineError, MachineInfo, MachineSpec, NetworkMode, NetworkSight, Resource,
    ResourceLedger, Screen, ScreenError, Screenshot, StartError, Unsupported,
};

/// What [`Hypervisor::start`] does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FakeStart {
    /// Starts the machine.
    #[default]
    Works,
    /// Fails with [`StartError::EndedEarly`] and these last words.
    Fails(String),
    /// Never returns.
    Hangs,
}

/// What the guest does by itself after [`Machine::resume`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FakeEnd {
    /// Shuts down when the power button is pressed.
    #[default]
    OnPowerButton,
    /// Ignores the power button and runs for ever.
    Never,
    /// Ends so after a while.
    After(Duration, ExitReport),
}

/// Something a test does when the guest starts to run, for example write its disk.
pub type OnResume = Arc<dyn Fn(&MachineSpec) + Send + Sync>;

/// What a fake machine does.
#[derive(Clone)]
pub struct FakeScript {
    /// Why machines are unavailable; `None`: they are available.
    pub unavailable: Option<String>,
    /// What [`Hypervisor::check`] complains about.
    pub unsupported: Vec<Unsupported>,
    /// How the start goes.
    pub start: FakeStart,
    /// [`Machine::resume`] fails with these words.
    pub resume_error: Option<String>,
    /// How the guest ends.
    pub end: FakeEnd,
    /// Called in [`Machine::resume`].
    pub on_resume: Option<OnResume>,
    /// What the guest wrote to its serial port.
    pub serial: Vec<u8>,
    /// What the network looks like.
    pub network: GuestNetwork,
    /// What is seen of the guest's network, when it can be watched.
    pub sight: Option<watch::Receiver<NetworkSight>>,
    /// The forwarded port; `None`: the lowest of the spec's range.
    pub forwarded_port: Option<u16>,
    /// Size of the one-coloured picture on the screen; `None`: there is no screen.
    pub screen: Option<(u32, u32)>,
    /// Pressing keys fails with these words.
    pub keyboard_error: Option<String>,
}

impl Default for FakeScript {
    fn default() -> Self {
        Self {
            unavailable: None,
            unsupported: Vec::new(),
            start: FakeStart::Works,
            resume_error: None,
            end: FakeEnd::OnPowerButton,
            on_resume: None,
            serial: b"fake guest\n".to_vec(),
            network: GuestNetwork::default(),
            sight: None,
            forwarded_port: None,
            screen: Some((4, 3)),
            keyboard_error: None,
        }
    }
}

#[derive(Default)]
struct Log {
    calls: Vec<String>,
    typed: Vec<KeyEvent>,
    specs: Vec<MachineSpec>,
    running: Vec<watch::Sender<Option<ExitReport>>>,
}

/// The fake hypervisor. Clones share script and memory, so a test keeps one and gives one away.
#[derive(Clone, Default)]
pub struct FakeHypervisor {
    script: Arc<Mutex<FakeScript>>,
    log: Arc<Mutex<Log>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FakeHypervisor {
    /// A hypervisor that does what `script` says.
    pub fn new(script: FakeScript) -> Self {
        Self { script: Arc::new(Mutex::new(script)), log: Arc::default() }
    }

    /// Changes the script, also of machines that run.
    pub fn change(&self, change: impl FnOnce(&mut FakeScript)) {
        change(&mut lock(&self.script));
    }

    /// What was asked of the hypervisor and its machines, in order: `start`, `resume`, `press`, `power_button`, `kill`, `drop`, ….
    pub fn calls(&self) -> Vec<String> {
        lock(&self.log).calls.clone()
    }

    /// Every key event so far.
    pub fn typed(&self) -> Vec<KeyEvent> {
        lock(&self.log).typed.clone()
    }

    /// The specs of the machines started so far.
    pub fn specs(&self) -> Vec<MachineSpec> {
        lock(&self.log).specs.clone()
    }

    /// Number of machines that have not come to their end.
    pub fn running(&self) -> usize {
        lock(&self.log).running.iter().filter(|end| end.borrow().is_none()).count()
    }

    /// Ends all machines as if the guests had done it: what a shutdown command in the guest does.
    pub fn end_guests(&self, report: &ExitReport) {
        for end in &lock(&self.log).running {
            end_once(end, report.clone());
        }
    }

    fn note(&self, call: &str) {
        lock(&self.log).calls.push(call.to_owned());
    }
}

fn end_once(end: &watch::Sender<Option<ExitReport>>, report: ExitReport) {
    end.send_if_modified(|current| {
        let first = current.is_none();
        if first {
            *current = Some(report);
        }
        first
    });
}

impl Hypervisor for FakeHypervisor {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        let reason = lock(&self.script).unavailable.clone();
        let accelerator = AcceleratorAvailability {
            name: "fake".to_owned(),
            usable: reason.is_none(),
            reason: "nothing is run".to_owned(),
        };
        let version = reason.is_none().then(|| "1.0".to_owned());
        async move { Availability { version, accelerators: vec![accelerator], reason, hint: None } }.boxed()
    }

    fn check(&self, _: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        let unsupported = lock(&self.script).unsupported.clone();
        if unsupported.is_empty() { Ok(()) } else { Err(unsupported) }
    }

    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>> {
        async move {
            self.note("start");
            let script = lock(&self.script).clone();
            match script.start {
                FakeStart::Works => {}
                FakeStart::Hangs => std::future::pending().await,
                FakeStart::Fails(stderr) => {
                    let status = "exit status 1".to_owned();
                    return Err(StartError::EndedEarly { program: "fake".to_owned(), status, stderr });
                }
            }
            let marker = spec.runtime_dir.join(format!("{}.fake-machine", spec.name));
            let resource = Resource::File(marker.clone());
            ledger.acquired(&resource);
            if let Err(source) = std::fs::write(&marker, "") {
                ledger.released(&resource);
                return Err(StartError::Prepare { path: marker, source });
            }
            let forwarded_port = match spec.network.mode {
                NetworkMode::User { forward: Some(forward) } => Some(script.forwarded_port.unwrap_or(forward.host_min)),
                _ => None,
            };
            let end = watch::Sender::new(None);
            let mut log = lock(&self.log);
            log.specs.push(spec.clone());
            log.running.push(end.clone());
            drop(log);
            let info = MachineInfo {
                accelerator: ChosenAccelerator { name: "fake".to_owned(), reason: "nothing is run".to_owned() },
                command_line: vec!["fake".to_owned(), spec.name.clone()],
                ..MachineInfo::default()
            };
            let machine = FakeMachine {
                hypervisor: self.clone(),
                spec: spec.clone(),
                info,
                forwarded_port,
                end,
                resource,
                ledger,
            };
            Ok(Box::new(machine) as Box<dyn Machine>)
        }
        .boxed()
    }
}

struct FakeMachine {
    hypervisor: FakeHypervisor,
    spec: MachineSpec,
    info: MachineInfo,
    forwarded_port: Option<u16>,
    end: watch::Sender<Option<ExitReport>>,
    resource: Resource,
    ledger: Arc<dyn ResourceLedger>,
}

impl FakeMachine {
    fn script(&self) -> FakeScript {
        lock(&self.hypervisor.script).clone()
    }

    fn alive(&self) -> Result<(), MachineError> {
        if self.end.borrow().is_some() { Err(MachineError::Gone) } else { Ok(()) }
    }

    fn clean_up(&self) {
        end_once(&self.end, ExitReport::Killed);
        if let Resource::File(path) = &self.resource
            && std::fs::remove_file(path).is_ok()
        {
            self.ledger.released(&self.resource);
        }
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        self.hypervisor.note("drop");
        self.clean_up();
    }
}

impl Machine for FakeMachine {
    fn description(&self) -> &MachineInfo {
        &self.info
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            self.hypervisor.note("resume");
            self.alive()?;
            let script = self.script();
            if let Some(message) = script.resume_error {
                return Err(MachineError::Refused { command: "resume".to_owned(), message });
            }
            if let Some(on_resume) = script.on_resume {
                on_resume(&self.spec);
            }
            if let FakeEnd::After(after, report) = script.end {
                let end = self.end.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    end_once(&end, report);
                });
            }
            Ok(())
        }
        .boxed()
    }

    fn exited(&self) -> BoxFuture<'_, ExitReport> {
        let mut end = self.end.subscribe();
        async move {
            let ended = end.wait_for(Option::is_some).await;
            // The sender lives in this machine, which outlives the future.
            ended.ok().and_then(|report| report.clone()).unwrap_or(ExitReport::Killed)
        }
        .boxed()
    }

    fn power_button(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            self.hypervisor.note("power_button");
            self.alive()?;
            if self.script().end == FakeEnd::OnPowerButton {
                end_once(&self.end, ExitReport::GuestShutdown);
            }
            Ok(())
        }
        .boxed()
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        async move {
            self.hypervisor.note("kill");
            self.clean_up();
        }
        .boxed()
    }

    fn keyboard(&self) -> Option<&dyn Keyboard> {
        Some(self)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        self.script().screen.map(|_| self as &dyn Screen)
    }

    fn serial_tail(&self, max_bytes: usize) -> Vec<u8> {
        let serial = self.script().serial;
        serial[serial.len().saturating_sub(max_bytes)..].to_vec()
    }

    fn watch_network(&self) -> Option<watch::Receiver<NetworkSight>> {
        self.script().sight
    }

    fn network(&self) -> BoxFuture<'_, GuestNetwork> {
        let network = if self.alive().is_ok() { self.script().network } else { GuestNetwork::default() };
        async move { network }.boxed()
    }

    fn forwarded_port(&self) -> Option<u16> {
        self.forwarded_port
    }
}

impl Keyboard for FakeMachine {
    fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>> {
        async move {
            self.hypervisor.note("press");
            self.alive()?;
            if let Some(message) = self.script().keyboard_error {
                return Err(MachineError::Refused { command: "press".to_owned(), message }.into());
            }
            lock(&self.hypervisor.log).typed.extend_from_slice(events);
            Ok(())
        }
        .boxed()
    }

    fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>> {
        async move {
            self.hypervisor.note("release_all");
            self.alive()?;
            Ok(())
        }
        .boxed()
    }
}

impl Screen for FakeMachine {
    fn capture(&self) -> BoxFuture<'_, Result<Screenshot, ScreenError>> {
        async move {
            self.hypervisor.note("capture");
            self.alive()?;
            let (width, height) = self.script().screen.ok_or(MachineError::Gone)?;
            let mut png = Vec::new();
            let mut encoder = png::Encoder::new(Cursor::new(&mut png), width, height);
            encoder.set_color(png::ColorType::Grayscale);
            let pixels = vec![0x80; width as usize * height as usize];
            let damaged = |error: png::EncodingError| ScreenError::Damaged(error.to_string());
            encoder.write_header().map_err(damaged)?.write_image_data(&pixels).map_err(damaged)?;
            Ok(Screenshot { png, width, height })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_promises_of_a_hypervisor() {
        let runtime = tempfile::tempdir().unwrap();
        let spec = MachineSpec::new("fake", runtime.path());
        crate::conformance::check(&FakeHypervisor::default(), &spec).await;
    }

    #[tokio::test]
    async fn follows_its_script() {
        let runtime = tempfile::tempdir().unwrap();
        let spec = MachineSpec::new("fake", runtime.path());
        let hypervisor =
            FakeHypervisor::new(FakeScript { start: FakeStart::Fails("no".to_owned()), ..FakeScript::default() });
        let ledger: Arc<dyn ResourceLedger> = Arc::new(crate::NoLedger);
        assert!(hypervisor.start(&spec, ledger.clone()).await.is_err());

        let soon = FakeEnd::After(Duration::from_millis(1), ExitReport::GuestPanicked);
        hypervisor.change(|script| {
            script.start = FakeStart::Works;
            script.end = soon;
        });
        let machine = hypervisor.start(&spec, ledger).await.unwrap();
        assert_eq!(hypervisor.running(), 1);
        machine.keyboard().unwrap().press(&KeyEvent::text("hi").unwrap()).await.unwrap();
        assert_eq!(hypervisor.typed(), KeyEvent::text("hi").unwrap());
        machine.resume().await.unwrap();
        assert_eq!(machine.exited().await, ExitReport::GuestPanicked);
        drop(machine);
        assert_eq!(hypervisor.running(), 0);
        assert_eq!(hypervisor.calls(), ["start", "start", "press", "resume", "drop"]);
    }
}
