//! A running machine of VMware's.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::address::Finder;
use super::keyboard::{VncKeyboard, VncScreen};
use super::serial::{read_end, serial_path};
use super::vmrun::Vmrun;
use crate::error::MachineError;
use crate::guest_network::{Endpoint, ForwardState, GuestNetwork};
use crate::keyboard::Keyboard;
use crate::machine::{ExitReport, Machine, MachineInfo};
use crate::process::Tail;
use crate::screen::Screen;

/// How long the power button's `vmrun` is listened to for a refusal. It waits for the guest afterwards, and ends with it.
const BUTTON_LIMIT: Duration = Duration::from_secs(5);

/// How long that `vmrun` may wait for the guest.
const SOFT_STOP_LIMIT: Duration = Duration::from_secs(600);

/// A machine of VMware's. A task of its own looks after it; see [`super::keeper`].
pub(super) struct VmwareMachine {
    pub(super) vmrun: Vmrun,
    pub(super) vmx: PathBuf,
    pub(super) info: MachineInfo,
    pub(super) finder: Finder,
    pub(super) keyboard: Option<VncKeyboard>,
    pub(super) screen: Option<VncScreen>,
    pub(super) serial: Arc<Tail>,
    /// How the guest's address was looked for last.
    pub(super) tried: Mutex<Vec<String>>,
    pub(super) kill: watch::Sender<bool>,
    pub(super) report: watch::Receiver<Option<ExitReport>>,
    pub(super) finished: watch::Receiver<bool>,
}

impl VmwareMachine {
    fn alive(&self) -> Result<(), MachineError> {
        if self.report.borrow().is_some() { Err(MachineError::Gone) } else { Ok(()) }
    }
}

impl Drop for VmwareMachine {
    fn drop(&mut self) {
        self.kill.send_replace(true);
    }
}

impl Machine for VmwareMachine {
    fn description(&self) -> &MachineInfo {
        &self.info
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async { self.alive() }.boxed()
    }

    fn exited(&self) -> BoxFuture<'_, ExitReport> {
        let mut report = self.report.clone();
        async move {
            let ended = report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
            // The keeping task tells before it goes, unless the runtime is shut down.
            ended.unwrap_or(ExitReport::Killed)
        }
        .boxed()
    }

    fn power_button(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            self.alive()?;
            let (vmrun, vmx, mut report) = (self.vmrun.clone(), self.vmx.clone(), self.report.clone());
            let mut pressing = tokio::spawn(async move {
                tokio::select! {
                    pressed = vmrun.stop_soft(&vmx, SOFT_STOP_LIMIT) => pressed,
                    _ = report.wait_for(Option::is_some) => Ok(()),
                }
            });
            match tokio::time::timeout(BUTTON_LIMIT, &mut pressing).await {
                Ok(Ok(pressed)) => pressed,
                // It waits for the guest now.
                Ok(Err(_)) | Err(_) => Ok(()),
            }
        }
        .boxed()
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        async move {
            self.kill.send_replace(true);
            let mut finished = self.finished.clone();
            let _ = finished.wait_for(|finished| *finished).await;
        }
        .boxed()
    }

    fn keyboard(&self) -> Option<&dyn Keyboard> {
        self.keyboard.as_ref().map(|keyboard| keyboard as &dyn Keyboard)
    }

    fn screen(&self) -> Option<&dyn Screen> {
        self.screen.as_ref().map(|screen| screen as &dyn Screen)
    }

    fn serial_tail(&self, max_bytes: usize) -> Vec<u8> {
        let kept = self.serial.last(max_bytes);
        if kept.is_empty() { read_end(&serial_path(&self.vmx), max_bytes).unwrap_or_default() } else { kept }
    }

    fn network(&self) -> BoxFuture<'_, GuestNetwork> {
        async move {
            if self.alive().is_err() {
                return GuestNetwork::default();
            }
            let sighting = self.finder.look(&self.vmx);
            let last = self.tried.lock().unwrap_or_else(PoisonError::into_inner).clone();
            GuestNetwork {
                guest_seen: !sighting.addresses.is_empty(),
                dhcp: None,
                forward_state: ForwardState::Idle,
                addresses: sighting.addresses,
                mac_address: sighting.mac,
                tried: if last.is_empty() { sighting.tried } else { last },
            }
        }
        .boxed()
    }

    fn endpoint(&self, guest_port: u16) -> BoxFuture<'_, Option<Endpoint>> {
        async move {
            self.alive().ok()?;
            let told = |tried| *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = tried;
            let mut report = self.report.clone();
            tokio::select! {
                address = self.finder.find(&self.vmx, guest_port, told) => {
                    Some(Endpoint { host: address.to_string(), port: guest_port })
                }
                _ = report.wait_for(Option::is_some) => None,
            }
        }
        .boxed()
    }
}
