//! A machine that runs in VirtualBox.

use std::net::Ipv4Addr;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::display::Served;
use super::give_back::OFF_LIMIT;
use super::holdings::Owner;
use super::keyboard::VirtualBoxKeyboard;
use super::leave::{self, Leaving};
use super::problem::Problem;
use super::retire::Retirement;
use super::screen::VirtualBoxScreen;
use super::spec::VirtualBoxSpec;
use super::start::Started;
use crate::error::MachineError;
use crate::guest_network::{Endpoint, GuestNetwork};
use crate::keyboard::Keyboard;
use crate::ledger::ResourceLedger;
use crate::machine::{ChosenAccelerator, ExitReport, LeftMachine, Machine, MachineInfo};
use crate::screen::Screen;
use crate::spec::{MachineSpec, NetworkMode};

/// A machine that runs in VirtualBox.
pub(super) struct VirtualBoxMachine {
    owner: Owner,
    uuid: String,
    info: MachineInfo,
    forwarded: Option<u16>,
    keyboard: VirtualBoxKeyboard,
    screen: VirtualBoxScreen,
    retirement: Retirement,
    leaving: Option<Leaving>,
    ledger: Arc<dyn ResourceLedger>,
}

impl VirtualBoxMachine {
    pub(super) fn new(
        spec: &MachineSpec,
        part: &VirtualBoxSpec,
        started: Started,
        ledger: Arc<dyn ResourceLedger>,
    ) -> Self {
        let Started { owner, uuid, forwarded, display, command_line } = started;
        let (mut remote_desktop, mut vnc, mut warnings) = (None, None, Vec::new());
        match display {
            None => {}
            Some(Served::Rdp(address)) => remote_desktop = Some(address),
            Some(Served::Vnc(address)) => vnc = Some(address),
            Some(Served::Not(why)) => {
                warnings.push(format!("the VM's screen cannot be watched by a remote display: {why}"));
            }
        }
        let info = MachineInfo {
            name: Some(spec.name.clone()),
            pid: owner.0.process().map(|process| process.pid()),
            accelerator: ChosenAccelerator {
                name: "none".to_owned(),
                reason: "VirtualBox decides what runs the guest's code".to_owned(),
            },
            command_line,
            remote_desktop,
            vnc,
            warnings,
            ..MachineInfo::default()
        };
        let holdings = &owner.0;
        let keyboard =
            VirtualBoxKeyboard::new(holdings.clone(), uuid.clone(), spec.key_pacing, part.key_group_interval);
        let screen = VirtualBoxScreen::new(holdings.clone(), uuid.clone());
        let retirement = Retirement::of(spec, part, &uuid, forwarded.is_some());
        let leaving = Leaving::of(spec, part.serial);
        Self { owner, uuid, info, forwarded, keyboard, screen, retirement, leaving, ledger }
    }

    fn alive(&self) -> Result<(), MachineError> {
        if self.owner.0.is_alive() { Ok(()) } else { Err(MachineError::Gone) }
    }
}

impl Machine for VirtualBoxMachine {
    fn description(&self) -> &MachineInfo {
        &self.info
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        // It runs since it was started.
        async { self.alive() }.boxed()
    }

    fn exited(&self) -> BoxFuture<'_, ExitReport> {
        let mut report = self.owner.0.report.subscribe();
        async move {
            let ended = report.wait_for(Option::is_some).await;
            // The sender lives in this machine, which outlives the future.
            ended.ok().and_then(|report| report.clone()).unwrap_or(ExitReport::Killed)
        }
        .boxed()
    }

    fn power_button(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            self.alive()?;
            let pressed = self.owner.0.program.run(&["controlvm", &self.uuid, "acpipowerbutton"]).await;
            match pressed {
                Ok(_) => Ok(()),
                Err(failure) => {
                    // A guest that is off already: its process may take a moment longer.
                    if failure.is(Problem::NotRunning) {
                        let _ = tokio::time::timeout(OFF_LIMIT, self.exited()).await;
                    }
                    self.alive().and(Err(failure.of_machine()))
                }
            }
        }
        .boxed()
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        let holdings = self.owner.0.clone();
        async move {
            // In a task of its own, so that the end comes also when nobody waits for it.
            let _ = tokio::spawn(async move { holdings.give_back().await }).await;
        }
        .boxed()
    }

    fn power_off(&self) -> BoxFuture<'_, ()> {
        async move { self.owner.0.power_off(&self.uuid).await }.boxed()
    }

    fn retire(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move { self.retirement.run(&self.owner.0, &self.uuid, &self.ledger).await }.boxed()
    }

    fn still_retired(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move { self.retirement.holds(&self.owner.0, &self.uuid).await }.boxed()
    }

    fn keep(&self) -> BoxFuture<'_, ()> {
        async move { self.owner.0.keep().await }.boxed()
    }

    fn leave(&self) -> BoxFuture<'_, Option<LeftMachine>> {
        async move {
            match self.leaving {
                Some(leaving) => Some(leave::leave(&self.owner.0, &self.uuid, leaving).await),
                None => None,
            }
        }
        .boxed()
    }

    fn keyboard(&self) -> Option<&dyn Keyboard> {
        Some(&self.keyboard)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        Some(&self.screen)
    }

    fn serial_tail(&self, max_bytes: usize) -> Vec<u8> {
        self.owner.0.serial_tail(max_bytes)
    }

    fn network(&self) -> BoxFuture<'_, GuestNetwork> {
        // Nothing of it can be seen from outside without the guest additions.
        async { GuestNetwork::default() }.boxed()
    }

    fn endpoint(&self, guest_port: u16) -> BoxFuture<'_, Option<Endpoint>> {
        async move {
            self.alive().ok()?;
            Some(Endpoint { host: Ipv4Addr::LOCALHOST.to_string(), port: self.forwarded.unwrap_or(guest_port) })
        }
        .boxed()
    }
}

/// Whether the way to the network is one that VirtualBox's machines have here.
pub(super) fn is_nat(mode: &NetworkMode) -> bool {
    matches!(mode, NetworkMode::User { .. })
}
