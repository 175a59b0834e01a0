//! From a spec to a paused domain: sockets are listened on, libvirt starts QEMU, and QEMU connects to them.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::connection::{self, CallError, Connection, DomainId};
use super::domain::Description;
use super::process::{Registration, Unclaimed};
use crate::error::{MachineError, StartError, Unsupported};
use crate::private_dir::PrivateDir;
use crate::process::{Stranger, Tail};
use crate::qemu::arguments::{Channel, Plumbing};
use crate::qemu::machine_spec::QemuMachineSpec;
use crate::qemu::network;
use crate::qemu::ports;
use crate::qemu::qmp::QmpClient;
use crate::qemu::start::{self, Attempt, GREETING_LIMIT, Launch, Launched, Launcher, SERIAL_TAIL_BYTES, SPARE_MONITOR};
use crate::qemu::tpm;
use crate::qemu::unfinished::Unfinished;

/// Names of sockets in the machine's directory.
const CONTROL: &str = "control";
const SERIAL: &str = "serial";
const TPM: &str = "tpm-control";

/// Longest path of a socket that a program can be given: `sun_path` of unix(7).
const MAX_SOCKET_PATH: usize = 107;

/// Starts QEMU through libvirt's daemon.
#[derive(Debug)]
pub(in crate::qemu) struct LibvirtLauncher {
    uri: String,
    /// How long its daemon may take to answer.
    limit: Duration,
}

impl LibvirtLauncher {
    /// Starts machines on the daemon behind `uri`, which may take `limit` to answer; `None`: as long as one that was just started takes.
    pub(in crate::qemu) fn new(uri: &str, limit: Option<Duration>) -> Self {
        Self { uri: uri.to_owned(), limit: limit.unwrap_or(connection::ANSWER_LIMIT) }
    }

    async fn run(&self, launch: Launch<'_>, unfinished: &mut Unfinished) -> Result<Launched, Attempt> {
        let Launch { spec, decisions, ledger, ports, directory } = launch;
        // Before anything is noted: of a daemon that never answers nobody can say what it has.
        let connection = Connection::open(&self.uri, self.limit).await.map_err(|error| self.refusal(error))?;
        let prepare = |source| StartError::Prepare { path: directory.clone(), source };
        let sockets = Sockets::new(&directory).map_err(prepare)?;
        let Some(parts) = unfinished.parts() else { return Err(StartError::Setup(MachineError::Gone).into()) };
        let control = listen(&parts.directory, CONTROL).map_err(prepare)?;
        let serial = listen(&parts.directory, SERIAL).map_err(prepare)?;
        let mut plumbing = Plumbing {
            vnc_port: ports.display(),
            mac: start::is_bridged(spec).then(network::new_mac_address),
            accelerator: decisions.accelerator.clone(),
            ..sockets.plumbing()
        };
        if let Some(version) = spec.hardware.tpm {
            let listener = parts.directory.listen(TPM).map_err(prepare)?;
            tpm::run(decisions.tpm_program, version, parts, ledger, "fd", OwnedFd::from(listener)).await?;
            plumbing.tpm = Some(sockets.channel(TPM));
        }
        let id = DomainId::new(&self.uri);
        let emulator = decisions.program.to_string_lossy();
        let description = Description::new(spec, &plumbing, &emulator, id.uuid).map_err(StartError::Unsupported)?;
        let xml = description.xml(ports.forwarded());
        // Not the domain itself: what the template has in `qemuargs` may be secret.
        tracing::info!(uri = self.uri, uuid = %id.uuid, "a domain is made");

        let registration = Registration::note(&id, ledger.clone()).map_err(prepare)?;
        ports.hand_over();
        let unclaimed = Unclaimed::create(connection, id, xml, registration, self.limit)
            .await
            .map_err(|error| self.refusal(error))?;
        // QEMU has connected before libvirt answers.
        let accepted =
            tokio::time::timeout(GREETING_LIMIT, async { tokio::try_join!(accept(&control), accept(&serial)) });
        let timeout = |what: &str| StartError::Timeout {
            program: spec.qemu.binary.clone(),
            what: what.to_owned(),
            limit: GREETING_LIMIT,
        };
        let connected = match accepted.await {
            Ok(Ok(((control, pid), (serial, _)))) => Stranger::hold(pid).map(|process| (control, serial, process)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let (control, serial, process) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                unclaimed.give_up().await;
                return Err(match error.kind() {
                    std::io::ErrorKind::TimedOut => timeout("connect to its sockets").into(),
                    _ => prepare(error).into(),
                });
            }
        };
        let pid = process.pid();
        let process = unclaimed.claim(process).ok_or(StartError::Setup(MachineError::Gone))?;
        parts.process = Some(Box::new(process));
        let tail = Arc::new(Tail::new(SERIAL_TAIL_BYTES));
        parts.serial = Some(tokio::spawn(start::keep_serial_tail(serial, tail.clone())));
        let qmp = match QmpClient::connect(control, GREETING_LIMIT).await {
            Ok(qmp) => qmp,
            Err(MachineError::Timeout { .. }) => return Err(timeout("greet").into()),
            Err(error) => return Err(StartError::Setup(error).into()),
        };
        Ok((Arc::new(qmp), description.line, arguments_of(pid), tail))
    }

    fn refusal(&self, error: CallError) -> Attempt {
        match &error {
            CallError::Refused { message, .. } if ports::is_taken(message) => Attempt::PortTaken(message.clone()),
            CallError::Refused { command, message, .. } => Attempt::Failed(StartError::Refused {
                command: format!("{command} ({})", self.uri),
                problem: message.clone(),
                hint: Some(connection::hint(message, &self.uri)),
            }),
            CallError::Timeout { command, limit } => Attempt::Failed(StartError::Refused {
                command: format!("{command} ({})", self.uri),
                problem: format!("libvirt's daemon did not answer within {} s", limit.as_secs()),
                hint: Some(connection::hint("no answer", &self.uri)),
            }),
        }
    }
}

impl Launcher for LibvirtLauncher {
    fn launch<'a>(
        &'a self,
        launch: Launch<'a>,
        unfinished: &'a mut Unfinished,
    ) -> BoxFuture<'a, Result<Launched, Attempt>> {
        self.run(launch, unfinished).boxed()
    }
}

/// Everything about `spec` that cannot be done through the libvirt behind `uri`.
pub(in crate::qemu) fn complaints(spec: QemuMachineSpec<'_>, uri: &str) -> Vec<Unsupported> {
    if let Some((problem, hint)) = connection::problem_of_uri(uri) {
        return vec![Unsupported { setting: "KILN_LIBVIRT", problem, hint: Some(hint) }];
    }
    let described = Description::new(spec, &Plumbing::default(), &spec.qemu.binary, uuid::Uuid::nil());
    described.err().unwrap_or_default()
}

/// The sockets of a machine as another process finds them, however long its directory's path is.
struct Sockets<'a> {
    directory: &'a Path,
    /// The directory, open for as long as QEMU may look for it.
    handle: std::fs::File,
}

impl<'a> Sockets<'a> {
    fn new(directory: &'a Path) -> std::io::Result<Self> {
        Ok(Self { directory, handle: std::fs::File::open(directory)? })
    }

    fn channel(&self, name: &str) -> Channel {
        let path = self.directory.join(name);
        let path = match path.as_os_str().len() {
            0..=MAX_SOCKET_PATH => path.to_string_lossy().into_owned(),
            // The kernel copies a path only so far, but follows this link of ours to any length.
            _ => format!("/proc/{}/fd/{}/{name}", std::process::id(), self.handle.as_fd().as_raw_fd()),
        };
        Channel::Path(path)
    }

    fn plumbing(&self) -> Plumbing {
        Plumbing {
            control: self.channel(CONTROL),
            serial: self.channel(SERIAL),
            spare: self.channel(SPARE_MONITOR),
            ..Plumbing::default()
        }
    }
}

fn listen(directory: &PrivateDir, name: &str) -> std::io::Result<UnixListener> {
    let listener = directory.listen(name)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// The first connection, with the process id of who made it.
async fn accept(listener: &UnixListener) -> std::io::Result<(UnixStream, u32)> {
    let (stream, _) = listener.accept().await?;
    let pid = stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
    Ok((
        stream,
        pid.filter(|pid| *pid > 0).ok_or_else(|| std::io::Error::other("QEMU runs out of this process's sight"))?,
    ))
}

/// The arguments of a process, as it was started.
fn arguments_of(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.skip(1).filter(|word| !word.is_empty()).collect()
}
