//! A machine that runs nothing.

use std::io::{self, Cursor};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::script::{FakeEnd, FakeScript};
use super::spec::FakeSpec;
use super::state::{End, State, end_once, lock};
use crate::error::{KeyboardError, MachineError, ScreenError, StartError};
use crate::guest_network::{Endpoint, GuestNetwork, NetworkSight};
use crate::keyboard::{KeyEvent, Keyboard, key_for_char};
use crate::ledger::{Resource, ResourceLedger};
use crate::machine::{ChosenAccelerator, ExitReport, Machine, MachineInfo};
use crate::screen::{Screen, Screenshot};
use crate::spec::{BackendSpec, MachineSpec, NetworkMode};

/// A machine that runs nothing.
pub(super) struct FakeMachine {
    state: Arc<State>,
    spec: MachineSpec,
    info: MachineInfo,
    forwarded_port: Option<u16>,
    end: End,
    runs: AtomicBool,
    /// What the guest has sent back of what was typed.
    echoed: Mutex<Vec<u8>>,
    /// What is to be given back, once.
    resources: Mutex<Vec<Resource>>,
    ledger: Arc<dyn ResourceLedger>,
}

impl FakeMachine {
    /// A machine as `spec` describes it, with what it holds noted in the ledger.
    pub(super) fn start(
        spec: &MachineSpec,
        hypervisor: &str,
        state: &Arc<State>,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Result<Self, StartError> {
        let script = state.script().clone();
        let resources = acquire(spec, hypervisor, state, &*ledger)?;
        let forwarded_port = match spec.network.mode {
            NetworkMode::User { forward: Some(forward) } => Some(script.forwarded_port.unwrap_or(forward.host_min)),
            _ => None,
        };
        let end = End::new(None);
        let mut log = state.log();
        log.specs.push(spec.clone());
        log.running.push(end.clone());
        drop(log);
        let info = MachineInfo {
            accelerator: ChosenAccelerator { name: "fake".to_owned(), reason: "nothing is run".to_owned() },
            command_line: vec!["fake".to_owned(), spec.name.clone()],
            ..MachineInfo::default()
        };
        let (state, spec, runs) = (state.clone(), spec.clone(), AtomicBool::new(false));
        let resources = Mutex::new(resources);
        let echoed = Mutex::default();
        let machine = Self { state, spec, info, forwarded_port, end, runs, echoed, resources, ledger };
        if !script.starts_paused {
            machine.run();
        }
        Ok(machine)
    }

    fn script(&self) -> FakeScript {
        self.state.script().clone()
    }

    fn alive(&self) -> Result<(), MachineError> {
        if self.end.borrow().is_some() { Err(MachineError::Gone) } else { Ok(()) }
    }

    /// Lets the guest run, once.
    fn run(&self) {
        if self.runs.swap(true, Ordering::AcqRel) {
            return;
        }
        let script = self.script();
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
    }

    fn clean_up(&self) {
        end_once(&self.end, ExitReport::Killed);
        give_back(&std::mem::take(&mut *lock(&self.resources)), &self.state, &*self.ledger);
    }
}

/// Takes what a machine has notes of in the ledger.
fn acquire(
    spec: &MachineSpec,
    hypervisor: &str,
    state: &State,
    ledger: &dyn ResourceLedger,
) -> Result<Vec<Resource>, StartError> {
    let marker = spec.runtime_dir.join(format!("{}.fake-machine", spec.name));
    let registered = matches!(&spec.backend, BackendSpec::Fake(FakeSpec { registered: true })) || state.script().stays;
    let registration = || Resource::Registered { hypervisor: hypervisor.to_owned(), id: spec.name.clone() };
    let mut resources = Vec::new();
    let mut note = |resource: Resource| {
        let noted = ledger.acquired(&resource);
        resources.push(resource);
        noted
    };
    let mut make = || {
        if registered {
            note(registration())?;
            state.registered().insert(spec.name.clone());
        }
        note(Resource::File { path: marker.clone() })?;
        std::fs::write(&marker, "")
    };
    match make() {
        Ok(()) => Ok(resources),
        Err(source) => {
            give_back(&resources, state, ledger);
            Err(StartError::Prepare { path: marker, source })
        }
    }
}

fn give_back(resources: &[Resource], state: &State, ledger: &dyn ResourceLedger) {
    for resource in resources {
        match resource {
            Resource::File { path } => {
                if let Err(error) = std::fs::remove_file(path)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    continue;
                }
            }
            Resource::Registered { .. } if state.script().stays => continue,
            Resource::Registered { id, .. } => {
                state.registered().remove(id);
            }
            _ => {}
        }
        ledger.released(resource);
    }
}

impl Drop for FakeMachine {
    fn drop(&mut self) {
        self.state.note("drop");
        self.clean_up();
    }
}

impl Machine for FakeMachine {
    fn description(&self) -> &MachineInfo {
        &self.info
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            self.state.note("resume");
            self.alive()?;
            if let Some(message) = self.script().resume_error {
                return Err(MachineError::Refused { command: "resume".to_owned(), message });
            }
            self.run();
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
            self.state.note("power_button");
            self.alive()?;
            if self.script().end == FakeEnd::OnPowerButton {
                end_once(&self.end, ExitReport::GuestShutdown);
            }
            Ok(())
        }
        .boxed()
    }

    fn still_retired(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            self.state.note("still_retired");
            match self.script().moved.and_then(|moved| moved()) {
                Some(message) => Err(MachineError::Refused { command: "still_retired".to_owned(), message }),
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        async move {
            self.state.note("kill");
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
        let mut serial = if self.runs.load(Ordering::Acquire) { self.script().serial } else { Vec::new() };
        serial.extend_from_slice(&lock(&self.echoed));
        serial[serial.len().saturating_sub(max_bytes)..].to_vec()
    }

    fn watch_network(&self) -> Option<watch::Receiver<NetworkSight>> {
        self.script().sight
    }

    fn network(&self) -> BoxFuture<'_, GuestNetwork> {
        let network = if self.alive().is_ok() { self.script().network } else { GuestNetwork::default() };
        async move { network }.boxed()
    }

    fn endpoint(&self, guest_port: u16) -> BoxFuture<'_, Option<Endpoint>> {
        async move {
            self.alive().ok()?;
            if let NetworkMode::User { .. } = self.spec.network.mode {
                let host = Ipv4Addr::LOCALHOST.to_string();
                return Some(Endpoint { host, port: self.forwarded_port.unwrap_or(guest_port) });
            }
            tokio::select! {
                address = known(self.script().bridge_address) => Some(Endpoint { host: address.to_string(), port: guest_port }),
                _ = self.exited() => None,
            }
        }
        .boxed()
    }
}

/// Waits until the address of a guest on a bridge is known.
async fn known(address: Option<watch::Receiver<Option<IpAddr>>>) -> IpAddr {
    if let Some(mut address) = address {
        let known = address.wait_for(Option::is_some).await.ok().and_then(|known| *known);
        if let Some(known) = known {
            return known;
        }
    }
    std::future::pending().await
}

/// The small letter that a key going down stands for.
fn character(event: KeyEvent) -> Option<u8> {
    (b'a'..=b'z').find(|letter| key_for_char(char::from(*letter)).is_some_and(|(key, _)| event == KeyEvent::down(key)))
}

impl Keyboard for FakeMachine {
    fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>> {
        async move {
            self.state.note("press");
            self.alive()?;
            if let Some(message) = self.script().keyboard_error {
                return Err(MachineError::Refused { command: "press".to_owned(), message }.into());
            }
            self.state.log().typed.extend_from_slice(events);
            if self.script().echoes {
                lock(&self.echoed).extend(events.iter().filter_map(|event| character(*event)));
            }
            Ok(())
        }
        .boxed()
    }

    fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>> {
        async move {
            self.state.note("release_all");
            self.alive()?;
            Ok(())
        }
        .boxed()
    }
}

impl Screen for FakeMachine {
    fn capture(&self) -> BoxFuture<'_, Result<Screenshot, ScreenError>> {
        async move {
            self.state.note("capture");
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
