//! Starting a machine: make its connections, run QEMU, set up what can only be set up in one that runs.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use qapi_qmp::{
    SetPasswordOptions, SetPasswordOptionsBase, SetPasswordOptionsVnc, query_spice, query_vnc, set_password,
};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use super::address::Tap;
use super::arguments::{CommandLine, Plumbing};
use super::boot_order;
use super::discs;
use super::guest_process::GuestProcess;
use super::keyboard::{self, Wiring};
use super::machine_spec::QemuMachineSpec;
use super::monitor_socket::MonitorSocket;
use super::network;
use super::overrides::Overrides;
use super::ports::{self, Ports, forward_of};
use super::qmp::QmpClient;
use super::tpm;
use super::unfinished::Unfinished;
use crate::error::{MachineError, StartError};
use crate::ledger::ResourceLedger;
use crate::private_dir::PrivateDir;
use crate::process::{ChildCommand, Tail};
use crate::spec::{Firmware, NetworkMode};

/// How long QEMU may take from its start to its greeting. It takes 50 ms; a loaded host with a cold disk takes seconds.
pub(super) const GREETING_LIMIT: Duration = Duration::from_secs(60);

/// How much of the guest's serial output is kept.
pub(super) const SERIAL_TAIL_BYTES: usize = 64 << 10;

/// Name of the spare monitor's socket in the machine's directory.
pub(super) const SPARE_MONITOR: &str = "qmp";

/// What is decided before QEMU is started.
pub(super) struct Decisions<'a> {
    pub(super) program: PathBuf,
    /// Who starts it.
    pub(super) launcher: &'a dyn Launcher,
    /// `accelerator` and `sandbox`; the rest is filled in here.
    pub(super) accelerator: Option<String>,
    pub(super) sandbox: bool,
    /// How long a QEMU that is a child of this process may take to its greeting.
    pub(super) greeting_limit: Duration,
    /// The TPM's emulator.
    pub(super) tpm_program: &'a str,
}

/// One attempt to run QEMU.
pub(super) struct Launch<'a> {
    pub(super) spec: QemuMachineSpec<'a>,
    pub(super) decisions: &'a Decisions<'a>,
    pub(super) ledger: &'a Arc<dyn ResourceLedger>,
    /// The ports that QEMU is told of in its command line.
    pub(super) ports: &'a mut Ports,
    /// The machine's own directory.
    pub(super) directory: PathBuf,
}

/// Runs QEMU: as a child of this process, or through somebody else.
pub(super) trait Launcher: std::fmt::Debug + Send + Sync {
    /// Runs QEMU with a paused machine and waits for its greeting. What comes to be is put into `unfinished` at once.
    fn launch<'a>(
        &'a self,
        launch: Launch<'a>,
        unfinished: &'a mut Unfinished,
    ) -> BoxFuture<'a, Result<Launched, Attempt>>;
}

/// QEMU as a child of this process, which dies with it.
#[derive(Debug)]
pub(super) struct ChildLauncher;

impl Launcher for ChildLauncher {
    fn launch<'a>(
        &'a self,
        launch: Launch<'a>,
        unfinished: &'a mut Unfinished,
    ) -> BoxFuture<'a, Result<Launched, Attempt>> {
        launch_child(launch, unfinished).boxed()
    }
}

/// A QEMU that runs a paused machine.
pub(super) struct Started {
    pub(super) unfinished: Unfinished,
    pub(super) qmp: Arc<QmpClient>,
    pub(super) line: CommandLine,
    pub(super) arguments: Vec<String>,
    pub(super) serial: Arc<Tail>,
    pub(super) forwarded_port: Option<u16>,
    pub(super) vnc: Option<SocketAddr>,
    pub(super) spice: Option<SocketAddr>,
    pub(super) wiring: Wiring,
    /// Copies of the guest's packets, where QEMU gives them.
    pub(super) tap: Option<Tap>,
}

/// Why one attempt did not work.
pub(super) enum Attempt {
    /// The port that was tried is taken.
    PortTaken(String),
    Failed(StartError),
}

impl From<StartError> for Attempt {
    fn from(error: StartError) -> Self {
        Self::Failed(error)
    }
}

/// Starts QEMU with a paused machine.
pub(super) async fn start(
    spec: QemuMachineSpec<'_>,
    decisions: &Decisions<'_>,
    ledger: &Arc<dyn ResourceLedger>,
) -> Result<Started, StartError> {
    let mut ports = Ports::take(spec, &CommandLine::new(spec, &Plumbing::default()))?;
    // What is in its arguments QEMU binds as it starts, so it has to be started anew for the next port.
    loop {
        match attempt(spec, decisions, ledger, &mut ports).await {
            Ok(mut started) => {
                if let Some(parts) = started.unfinished.parts() {
                    parts.ports = Some(ports);
                }
                return Ok(started);
            }
            Err(Attempt::Failed(error)) => return Err(error),
            Err(Attempt::PortTaken(stderr)) => {
                if !ports.pass_over(&stderr)? {
                    let (program, status) = (spec.qemu.binary.clone(), "exit status 1".to_owned());
                    return Err(StartError::EndedEarly { program, status, stderr });
                }
            }
        }
    }
}

pub(super) fn is_bridged(spec: QemuMachineSpec<'_>) -> bool {
    matches!(spec.hardware.network.mode, NetworkMode::Bridge { .. })
}

async fn attempt(
    spec: QemuMachineSpec<'_>,
    decisions: &Decisions<'_>,
    ledger: &Arc<dyn ResourceLedger>,
    ports: &mut Ports,
) -> Result<Started, Attempt> {
    let directory = PrivateDir::create(&spec.hardware.runtime_dir, "qemu", ledger.clone())
        .map_err(|(path, source)| StartError::Prepare { path, source })?;
    let path = directory.path().to_owned();
    let mut unfinished = Unfinished::new(directory);
    let launch = Launch { spec, decisions, ledger, ports: &mut *ports, directory: path };
    let result = decisions.launcher.launch(launch, &mut unfinished).await;
    match result {
        Ok((qmp, line, arguments, serial)) => {
            let started = Started {
                forwarded_port: forward_of(spec)
                    .and_then(|it| line.forwarded_by_template(it.guest_port, ports.forwarded())),
                unfinished,
                qmp,
                line,
                arguments,
                serial,
                vnc: None,
                spice: None,
                wiring: Wiring::Unseen,
                tap: None,
            };
            Ok(set_up(spec, started, ports).await?)
        }
        Err(error) => {
            unfinished.abandon().await;
            Err(error)
        }
    }
}

/// Its monitor, its command line and the arguments made of it, and the guest's serial output.
pub(super) type Launched = (Arc<QmpClient>, CommandLine, Vec<String>, Arc<Tail>);

/// Runs QEMU as a child and waits for its greeting.
async fn launch_child(launch: Launch<'_>, unfinished: &mut Unfinished) -> Result<Launched, Attempt> {
    let Launch { spec, decisions, ledger, ports, directory } = launch;
    let prepare = |source| StartError::Prepare { path: directory.clone(), source };
    let (control, control_there) = socket_pair().map_err(prepare)?;
    let (serial, serial_there) = socket_pair().map_err(prepare)?;
    let Some(parts) = unfinished.parts() else { return Err(StartError::Setup(MachineError::Gone).into()) };
    let spare = OwnedFd::from(parts.directory.listen(SPARE_MONITOR).map_err(prepare)?);
    let mut inherited = vec![control_there, serial_there, spare];
    let mut plumbing = Plumbing {
        control: inherited[0].as_raw_fd().into(),
        serial: inherited[1].as_raw_fd().into(),
        spare: inherited[2].as_raw_fd().into(),
        tpm: None,
        monitor: None,
        agent: None,
        vnc_port: ports.display(),
        mac: is_bridged(spec).then(network::new_mac_address),
        accelerator: decisions.accelerator.clone(),
        sandbox: decisions.sandbox,
    };
    if let Some(tpm) = spec.hardware.tpm {
        let socket = tpm::start(decisions.tpm_program, tpm, parts, ledger).await?;
        plumbing.tpm = Some(socket.as_raw_fd().into());
        inherited.push(socket);
    }
    // A template's own `-qmp` takes the place of this one.
    if let Some(path) = spec.qemu.qmp_socket.as_ref().filter(|_| !Overrides::new(&spec.qemu.arguments).has("-qmp")) {
        let failed = |source| StartError::Prepare { path: path.clone(), source };
        let (socket, listener) = MonitorSocket::listen(path, ledger.clone()).map_err(failed)?;
        plumbing.monitor = Some(listener.as_raw_fd().into());
        inherited.push(listener);
        parts.sockets.push(socket);
    }
    if let Some(path) = &spec.qemu.agent_socket {
        let failed = |source| StartError::Prepare { path: path.clone(), source };
        let (socket, listener) = MonitorSocket::listen(path, ledger.clone()).map_err(failed)?;
        plumbing.agent = Some(listener.as_raw_fd().into());
        inherited.push(listener);
        parts.sockets.push(socket);
    }
    let line = CommandLine::new(spec, &plumbing);
    let arguments = line.arguments(ports.forwarded());
    let program = decisions.program.clone();
    let command = ChildCommand {
        program: program.clone(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: Vec::new(),
        inherited,
        hear_stdout: false,
    };
    ports.hand_over();
    let spawned = parts.spawn(command, ledger).await;
    let process: &dyn GuestProcess =
        &**parts.process.insert(Box::new(spawned.map_err(|source| StartError::Spawn { program, source })?));

    let tail = Arc::new(Tail::new(SERIAL_TAIL_BYTES));
    let stream = UnixStream::from_std(serial).map_err(prepare)?;
    parts.serial = Some(tokio::spawn(keep_serial_tail(stream, tail.clone())));
    let control = UnixStream::from_std(control).map_err(prepare)?;
    let greeting = greet(process, control, &spec.qemu.binary, decisions.greeting_limit).await;
    match (greeting, &parts.tpm) {
        (Ok(qmp), _) => Ok((Arc::new(qmp), line, arguments, tail)),
        (Err(Attempt::Failed(error)), Some(emulator)) => Err(tpm::blame(error, emulator).await.into()),
        (Err(error), _) => Err(error),
    }
}

/// Waits for QEMU's greeting, or for its end.
async fn greet(
    process: &dyn GuestProcess,
    control: UnixStream,
    program: &str,
    limit: Duration,
) -> Result<QmpClient, Attempt> {
    let connecting = QmpClient::connect(control, limit);
    match connecting.await {
        Ok(qmp) => Ok(qmp),
        Err(MachineError::Timeout { limit, .. }) => {
            Err(StartError::Timeout { program: program.to_owned(), what: "greet".to_owned(), limit }.into())
        }
        Err(MachineError::Gone) => {
            // It closed the connection because it ended, or is about to.
            let Ok(state) = tokio::time::timeout(limit, process.ended()).await else {
                let what = "end after it closed its monitor".to_owned();
                return Err(StartError::Timeout { program: program.to_owned(), what, limit }.into());
            };
            let stderr = process.stderr_tail();
            if ports::is_taken(&stderr) {
                return Err(Attempt::PortTaken(stderr));
            }
            let (program, status) = (program.to_owned(), state.to_string());
            Err(StartError::EndedEarly { program, status, stderr }.into())
        }
        Err(error) => Err(StartError::Setup(error).into()),
    }
}

fn socket_pair() -> io::Result<(StdUnixStream, OwnedFd)> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs.into()))
}

pub(super) async fn keep_serial_tail(mut stream: UnixStream, tail: Arc<Tail>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        tail.push(&buffer[..length]);
    }
}

/// Does what can only be done to a QEMU that runs: forwards the port, sets the VNC password.
async fn set_up(spec: QemuMachineSpec<'_>, mut started: Started, ports: &mut Ports) -> Result<Started, StartError> {
    let result = set_up_parts(spec, &mut started, ports).await;
    if let Err(error) = result {
        started.unfinished.abandon().await;
        return Err(error);
    }
    Ok(started)
}

async fn set_up_parts(spec: QemuMachineSpec<'_>, started: &mut Started, ports: &mut Ports) -> Result<(), StartError> {
    if let (Some(forward), true) = (forward_of(spec), started.line.has_own_netdev) {
        ports.forward(&started.qmp, forward).await?;
        started.forwarded_port = ports.forwarded();
    }
    if let Some(directory) = started.unfinished.parts().map(|parts| parts.directory.path().to_owned()) {
        match Tap::open(&started.qmp, &directory).await {
            Ok(tap) => started.tap = Some(tap),
            // The template's own network has another name, or none.
            Err(error) => tracing::debug!(%error, "the guest's packets cannot be seen"),
        }
    }
    discs::insert(&started.qmp, spec).await?;
    if boot_order::is_ours(spec) {
        boot_order::disks_first(&started.qmp, spec).await.map_err(StartError::Setup)?;
    }
    let usb = ["usb-kbd", "virtio-keyboard"].iter().any(|device| started.line.has_device(device));
    let bios = !matches!(spec.hardware.firmware, Firmware::Efi { .. });
    started.wiring = keyboard::wiring(&started.qmp, usb, bios).await.map_err(StartError::Setup)?;
    if started.line.has_own_vnc {
        if let Some(password) = spec.hardware.vnc.as_ref().and_then(|vnc| vnc.password.as_ref()) {
            let base = SetPasswordOptionsBase { connected: None, password: password.clone() };
            let vnc = SetPasswordOptionsVnc { display: None };
            let command = set_password(SetPasswordOptions::vnc { base, vnc });
            started.qmp.run(command).await.map_err(StartError::Setup)?;
        }
        let server = started.qmp.run(query_vnc {}).await.map_err(StartError::Setup)?;
        started.vnc = address_of(&server, "service");
    }
    if started.line.has_spice {
        let server = started.qmp.run(query_spice {}).await.map_err(StartError::Setup)?;
        started.spice = address_of(&server, "port").or_else(|| address_of(&server, "tls-port"));
    }
    Ok(())
}

/// Reads `{"enabled": true, "host": "127.0.0.1", "service": "5901", …}`, where the port is called `port`; SPICE has it as a number.
fn address_of(server: &Value, port: &str) -> Option<SocketAddr> {
    let host = match server["host"].as_str()? {
        // SPICE's word for any.
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        host => host.parse().ok()?,
    };
    let number = server[port].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = number.or_else(|| server[port].as_str()?.parse().ok())?;
    Some(SocketAddr::new(host, port))
}
