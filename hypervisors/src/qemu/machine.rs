//! A running QEMU machine.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::address;
use super::end::{self, Belongings, Running, Verdict};
use super::keyboard::QemuKeyboard;
use super::machine_spec::QemuMachineSpec;
use super::network::{self, LOOPBACK};
use super::screen::QemuScreen;
use super::start::{SPARE_MONITOR, Started};
use crate::error::{MachineError, StartError};
use crate::guest_network::{Endpoint, ForwardState, GuestNetwork, NetworkSight};
use crate::keyboard::Keyboard;
use crate::machine::{ChosenAccelerator, ExitReport, Machine, MachineInfo};
use crate::process::Tail;
use crate::screen::Screen;
use crate::spec::NetworkMode;

/// How long QEMU may take to agree to quit, which it does in milliseconds, before it is killed.
const QUIT_LIMIT: Duration = Duration::from_secs(3);

/// How long a QEMU that has agreed to quit may take to write back what it holds of its disks.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// How long questions about the network may take; they are asked while something else already waits.
const NETWORK_LIMIT: Duration = Duration::from_secs(5);

/// Pause between two looks at the host's neighbour table.
const NEIGHBOUR_INTERVAL: Duration = Duration::from_secs(1);

/// A machine in a QEMU process.
pub(super) struct QemuMachine {
    running: Arc<Running>,
    info: MachineInfo,
    keyboard: QemuKeyboard,
    screen: QemuScreen,
    serial: Arc<Tail>,
    network: NetworkMode,
    address: Option<watch::Receiver<NetworkSight>>,
    forwarded_port: Option<u16>,
    report: watch::Receiver<Option<ExitReport>>,
    finished: watch::Receiver<bool>,
}

impl QemuMachine {
    /// Takes a started QEMU over.
    pub(super) fn new(
        spec: QemuMachineSpec<'_>,
        started: Started,
        program: PathBuf,
        accelerator: ChosenAccelerator,
    ) -> Result<Self, StartError> {
        let Started { unfinished, qmp, line, arguments, serial, forwarded_port, vnc, spice, wiring, tap } = started;
        let events = qmp.events();
        let gone = || StartError::Setup(MachineError::Gone);
        let parts = unfinished.finish().ok_or_else(gone)?;
        let process = parts.process.ok_or_else(gone)?;
        let mut warnings = line.warnings;
        if let (NetworkMode::User { forward: Some(forward) }, None) = (&spec.hardware.network.mode, forwarded_port) {
            warnings.push(format!(
                "qemuargs have a network of their own that forwards nothing to the guest's port {0}: name the guest's address as \
                 ssh_host, or add hostfwd=tcp:{LOOPBACK}:{{{{ .SSHHostPort }}}}-:{0} to its -netdev",
                forward.guest_port
            ));
        }
        let mut command_line = vec![program.to_string_lossy().into_owned()];
        command_line.extend(arguments);
        let info = MachineInfo {
            name: None,
            pid: Some(process.pid()),
            accelerator,
            command_line,
            vnc,
            spice,
            monitor: Some(parts.directory.path().join(SPARE_MONITOR)),
            warnings,
            ..MachineInfo::default()
        };
        let keyboard = QemuKeyboard::new(qmp.clone(), spec.hardware.key_pacing, wiring);
        let directory = parts.directory.path().to_owned();
        let screen = QemuScreen::new(qmp.clone(), directory.clone());
        let accelerator = info.accelerator.name.clone();
        let architecture = spec.architecture();
        let running = Arc::new(Running { qmp, process, killed: AtomicBool::new(false), accelerator, architecture });
        let (report_sender, report) = watch::channel(None);
        let (finished_sender, finished) = watch::channel(false);
        tokio::spawn(end::watch_over(
            running.clone(),
            events,
            Belongings {
                directory: parts.directory,
                sockets: parts.sockets,
                ports: parts.ports,
                serial: parts.serial,
                tpm: parts.tpm,
            },
            Verdict { report: report_sender, finished: finished_sender },
        ));
        let address = tap.map(|tap| {
            let (sender, receiver) = watch::channel(NetworkSight::watched());
            let (qmp, events) = (running.qmp.clone(), running.qmp.events());
            tokio::spawn(address::watch(qmp, directory, tap, events, sender));
            receiver
        });
        let network = spec.hardware.network.mode.clone();
        Ok(Self { running, info, keyboard, screen, serial, network, address, forwarded_port, report, finished })
    }

    async fn usernet(&self, guest_port: Option<u16>) -> Result<GuestNetwork, MachineError> {
        let table = self.running.qmp.human("info usernet").await?;
        Ok(network::read_usernet(&table, guest_port))
    }

    async fn bridged(&self, bridge: &str) -> Result<GuestNetwork, MachineError> {
        let mac_address = network::mac_address(&self.running.qmp.human("info network").await?);
        let arp = tokio::fs::read_to_string("/proc/net/arp").await.unwrap_or_default();
        let addresses = mac_address.as_ref().map(|mac| network::addresses_on_bridge(&arp, bridge, mac));
        let addresses = addresses.unwrap_or_default();
        let guest_seen = !addresses.is_empty();
        let forward_state = ForwardState::Idle;
        Ok(GuestNetwork { guest_seen, forward_state, addresses, mac_address, ..GuestNetwork::default() })
    }

    /// Waits until the host's neighbour table has the guest. Nothing tells when it changes, so it is read again and again.
    async fn address_on_bridge(&self, bridge: &str) -> IpAddr {
        loop {
            if let Ok(network) = self.bridged(bridge).await
                && let Some(address) = network.addresses.first()
            {
                return *address;
            }
            tokio::time::sleep(NEIGHBOUR_INTERVAL).await;
        }
    }

    /// Adds what was seen in the guest's packets.
    fn with_address(&self, mut network: GuestNetwork) -> GuestNetwork {
        if let Some(seen) = self.address.as_ref().map(|address| *address.borrow()) {
            network.dhcp = Some(seen.dhcp);
            if let Some(address) = seen.address {
                network.guest_seen = true;
                if !network.addresses.contains(&address) {
                    network.addresses.push(address);
                }
            }
        }
        network
    }
}

impl Drop for QemuMachine {
    fn drop(&mut self) {
        self.running.killed.store(true, Ordering::Release);
        self.running.process.kill();
    }
}

impl Machine for QemuMachine {
    fn description(&self) -> &MachineInfo {
        &self.info
    }

    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move { self.running.qmp.run(qapi_qmp::cont {}).await.map(drop) }.boxed()
    }

    fn exited(&self) -> BoxFuture<'_, ExitReport> {
        let mut report = self.report.clone();
        async move {
            let ended = report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
            // The watching task tells before it goes, unless the runtime is shut down.
            ended.unwrap_or(ExitReport::Killed)
        }
        .boxed()
    }

    fn power_button(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async move {
            // libvirt keeps QEMU for a moment when the guest has ended, and it takes the command.
            if self.report.borrow().is_some() {
                return Err(MachineError::Gone);
            }
            self.running.qmp.run(qapi_qmp::system_powerdown {}).await.map(drop)
        }
        .boxed()
    }

    fn kill(&self) -> BoxFuture<'_, ()> {
        async move {
            let mut finished = self.finished.clone();
            if *finished.borrow_and_update() {
                return;
            }
            self.running.killed.store(true, Ordering::Release);
            // If this future is dropped meanwhile, the end still comes.
            let insist = Insist(&self.running);
            let quit = self.running.qmp.run_within(qapi_qmp::quit {}, QUIT_LIMIT);
            if quit.await.is_ok() {
                let _ = tokio::time::timeout(CLOSE_LIMIT, self.running.process.ended()).await;
            }
            drop(insist);
            let _ = finished.wait_for(|finished| *finished).await;
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
        self.serial.last(max_bytes)
    }

    fn network(&self) -> BoxFuture<'_, GuestNetwork> {
        async move {
            let network = async {
                match &self.network {
                    NetworkMode::User { forward } => self.usernet(forward.map(|forward| forward.guest_port)).await,
                    NetworkMode::Bridge { bridge } => self.bridged(bridge).await,
                }
            };
            match tokio::time::timeout(NETWORK_LIMIT, network).await {
                Ok(Ok(network)) => self.with_address(network),
                _ => GuestNetwork::default(),
            }
        }
        .boxed()
    }

    fn watch_network(&self) -> Option<watch::Receiver<NetworkSight>> {
        self.address.clone()
    }

    fn endpoint(&self, guest_port: u16) -> BoxFuture<'_, Option<Endpoint>> {
        async move {
            if self.report.borrow().is_some() {
                return None;
            }
            let mut report = self.report.clone();
            let NetworkMode::Bridge { bridge } = &self.network else {
                let is_forwarded = matches!(self.network, NetworkMode::User { forward: Some(_) });
                if is_forwarded && self.forwarded_port.is_none() {
                    // The guest's port of that number on this host is somebody else's.
                    let _ = report.wait_for(Option::is_some).await;
                    return None;
                }
                let port = self.forwarded_port.unwrap_or(guest_port);
                return Some(Endpoint { host: LOOPBACK.to_owned(), port });
            };
            tokio::select! {
                address = self.address_on_bridge(bridge) => Some(Endpoint { host: address.to_string(), port: guest_port }),
                _ = report.wait_for(Option::is_some) => None,
            }
        }
        .boxed()
    }
}

/// Kills the process on drop; does nothing to one that has ended.
struct Insist<'a>(&'a Running);

impl Drop for Insist<'_> {
    fn drop(&mut self) {
        self.0.process.kill();
    }
}
