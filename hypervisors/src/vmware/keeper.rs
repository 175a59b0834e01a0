//! The task that looks after one machine from before its start until nothing of it is left.
//!
//! A machine of VMware's outlives whoever started it, so nothing that may be dropped holds it: this task goes on when the start is
//! dropped in the middle, lets `vmrun` finish what it has begun, and then ends what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kiln_disk_formats::package::vmx::Vmx;
use tokio::sync::{oneshot, watch};

use super::draft::VmxProblem;
use super::holder;
use super::machine_file::{self, Display};
use super::machine_spec::{NAME, VmwareMachineSpec};
use super::ports::PortLease;
use super::serial::{SERIAL_TAIL_BYTES, read_end, serial_path};
use super::vmrun::{PROGRAM, Vmrun};
use crate::error::{MachineError, StartError};
use crate::ledger::{Resource, ResourceLedger};
use crate::machine::ExitReport;
use crate::private_dir::PrivateDir;
use crate::process::{Stranger, Tail};
use crate::spec::{MachineSpec, Origin};

/// How long a start that nobody wants any more may still take, before its `vmrun` is killed.
const ABANDONED_LIMIT: Duration = Duration::from_secs(20);

/// How long a machine that was ended hard may take to be gone, before its process is killed.
const GONE_LIMIT: Duration = Duration::from_secs(15);

/// First and longest pause between two looks at VMware's list, where the machine's process cannot be watched.
const LOOK_PAUSES: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));

/// How often in a row the list may be unreadable.
const MAX_FAILED_LOOKS: u32 = 5;

/// How much of VMware's log is looked at, in bytes.
const LOG_TAIL: usize = 8 << 10;

/// How much of a line of it is told, in characters.
const LOG_LINE: usize = 200;

/// What VMware's log says when the machine did not end by the guest's will.
const CRASH_WORDS: [&str; 4] = ["PANIC", "Unrecoverable error", "failed disk operation", "terminating on signal"];

/// What VMware's log ends with when a machine's process has come to its end by itself.
const LAST_WORDS: &str = "VMX has left the building";

/// A machine noted as kept by VMware.
pub(super) struct Registered {
    ledger: Arc<dyn ResourceLedger>,
    resource: Resource,
}

impl Registered {
    pub(super) fn note(ledger: Arc<dyn ResourceLedger>, vmx: &Path) -> Result<Self, StartError> {
        let id = vmx.to_string_lossy().into_owned();
        let resource = Resource::Registered { hypervisor: NAME.to_owned(), id };
        match ledger.acquired(&resource) {
            Ok(()) => Ok(Self { ledger, resource }),
            Err(source) => Err(StartError::Prepare { path: vmx.to_owned(), source }),
        }
    }
}

/// What a machine needs and holds.
pub(super) struct Keeper {
    pub(super) vmrun: Vmrun,
    pub(super) vmx: PathBuf,
    pub(super) spec: MachineSpec,
    pub(super) registered: Registered,
    /// The machine's directory, where it is no caller's.
    pub(super) directory: Option<PrivateDir>,
    pub(super) lease: Option<PortLease>,
    /// Keeps what the guest wrote to its serial port when the machine has gone.
    pub(super) serial: Arc<Tail>,
    /// Set when the end is wanted.
    pub(super) kill: watch::Receiver<bool>,
    /// Set once, when the guest will not go on.
    pub(super) report: watch::Sender<Option<ExitReport>>,
    /// Set when nothing is left.
    pub(super) finished: watch::Sender<bool>,
}

impl Keeper {
    /// Starts the machine, tells `ready` its process where that is known, and stays until it has gone.
    pub(super) async fn run(self, mut ready: oneshot::Sender<Result<Option<u32>, StartError>>) {
        let mut kill = self.kill.clone();
        let unwanted = async {
            tokio::select! {
                () = ready.closed() => {}
                _ = kill.wait_for(|kill| *kill) => {}
            }
        };
        if let Err(error) = self.bring_up(unwanted).await {
            let gone = put_down(&self.vmrun, &self.vmx, holder::find(&self.vmx)).await;
            self.give_back(gone, ExitReport::Killed);
            let _ = ready.send(Err(error));
            return;
        }
        let process = holder::find(&self.vmx);
        let pid = process.as_ref().map(Stranger::pid);
        let unwanted = ready.send(Ok(pid)).is_err();
        let mut kill = self.kill.clone();
        let report = tokio::select! {
            report = self.ended(process.as_ref()), if !unwanted => report,
            // A keyboard without a machine is nobody's, so a lost sender means the same.
            _ = kill.wait_for(|kill| *kill) => ExitReport::Killed,
            () = std::future::ready(()), if unwanted => ExitReport::Killed,
        };
        let gone = match report {
            ExitReport::GuestShutdown | ExitReport::Ended { .. } | ExitReport::Crashed { .. } if process.is_some() => {
                Ok(true)
            }
            _ => put_down(&self.vmrun, &self.vmx, process).await,
        };
        self.give_back(gone, report);
    }

    /// Makes the machine and starts it, unless it becomes `unwanted`.
    async fn bring_up(&self, unwanted: impl Future<Output = ()>) -> Result<(), StartError> {
        tokio::pin!(unwanted);
        let gone = || StartError::Setup(MachineError::Gone);
        tokio::select! {
            made = self.make() => made?,
            () = &mut unwanted => return Err(gone()),
        }
        let starting = self.vmrun.start(&self.vmx, self.spec.window);
        tokio::pin!(starting);
        let started = tokio::select! {
            started = &mut starting => started,
            () = &mut unwanted => {
                // Killed in the middle it would leave a machine that it has not put on its list.
                let _ = tokio::time::timeout(ABANDONED_LIMIT, starting).await;
                return Err(gone());
            }
        };
        started.map_err(|error| self.start_error(error))
    }

    /// Writes the machine's file, of a clone where it is to be one.
    async fn make(&self) -> Result<(), StartError> {
        let spec = VmwareMachineSpec::of(&self.spec).map_err(StartError::Unsupported)?;
        let failed = |problem: VmxProblem| StartError::Prepare {
            path: self.vmx.clone(),
            source: std::io::Error::other(problem),
        };
        let base = match &self.spec.origin {
            Origin::Clone { machine, snapshot } => {
                let source = Path::new(machine);
                if let Err(source_error) = std::fs::metadata(source) {
                    return Err(StartError::Prepare { path: source.to_owned(), source: source_error });
                }
                let linked = spec.vmware.linked;
                if let Some(name) = snapshot {
                    self.look_for_snapshot(source, name).await?;
                }
                let cloning = self.vmrun.clone_machine(source, &self.vmx, linked, snapshot.as_deref());
                cloning.await.map_err(StartError::Setup)?;
                Vmx::read(&self.vmx).map_err(|error| failed(error.into()))?
            }
            _ => machine_file::new_machine(spec).map_err(failed)?,
        };
        let password = self.spec.vnc.as_ref().and_then(|vnc| vnc.password.as_deref());
        let directory = self.vmx.parent().unwrap_or(&self.vmx);
        let display = self.lease.as_ref().map(|lease| Display { address: lease.address, password });
        let vmx = machine_file::configured(base, spec, directory, display.as_ref()).map_err(failed)?;
        write_private(&self.vmx, &vmx.to_string())
            .map_err(|source| StartError::Prepare { path: self.vmx.clone(), source })
    }

    async fn look_for_snapshot(&self, source: &Path, name: &str) -> Result<(), StartError> {
        let there = self.vmrun.snapshots(source).await.map_err(StartError::Setup)?;
        if there.iter().any(|one| one == name) {
            return Ok(());
        }
        let list = if there.is_empty() { "it has none".to_owned() } else { format!("there are: {}", there.join(", ")) };
        let message = format!("{} has no snapshot called {name}; {list}", source.display());
        Err(StartError::Setup(MachineError::Refused { command: format!("{PROGRAM} clone"), message }))
    }

    fn start_error(&self, error: MachineError) -> StartError {
        match error {
            MachineError::Refused { command, message } => {
                let log = log_tail(&self.vmx);
                let stderr = if log.is_empty() { message } else { format!("{message}; VMware's log ends: {log}") };
                StartError::EndedEarly { program: command, status: "it failed".to_owned(), stderr }
            }
            MachineError::Timeout { limit, .. } => {
                StartError::Timeout { program: PROGRAM.to_owned(), what: "start the machine".to_owned(), limit }
            }
            other => StartError::Setup(other),
        }
    }

    /// Waits until the machine has ended by itself.
    async fn ended(&self, process: Option<&Stranger>) -> ExitReport {
        match process {
            Some(process) => process.ended().await,
            None => {
                if let Err(report) = off_the_list(&self.vmrun, &self.vmx).await {
                    return report;
                }
            }
        }
        if let Some(log) = crash(&self.vmx) {
            return ExitReport::Crashed { status: "an error of its own".to_owned(), stderr_tail: log };
        }
        // Whoever is killed writes no last word.
        if log_end(&self.vmx).contains(LAST_WORDS) {
            return ExitReport::GuestShutdown;
        }
        ExitReport::Ended { log: log_tail(&self.vmx) }
    }

    /// Tells everybody, after everything is given back that is `gone`.
    fn give_back(self, gone: Result<bool, MachineError>, report: ExitReport) {
        if let Some(bytes) = read_end(&serial_path(&self.vmx), SERIAL_TAIL_BYTES) {
            self.serial.push(&bytes);
        }
        let Registered { ledger, resource } = self.registered;
        match gone {
            Ok(_) => {
                drop(self.directory);
                ledger.released(&resource);
            }
            // It stays noted, so that a sweep tries again.
            Err(error) => tracing::error!(%error, vmx = %self.vmx.display(), "a machine cannot be ended"),
        }
        self.report.send_replace(Some(report));
        self.finished.send_replace(true);
    }
}

/// Ends the machine of `vmx` wherever it runs; tells whether there was one. `process` runs it, if that is known.
///
/// # Errors
///
/// It runs still, or nobody can tell.
pub(super) async fn put_down(vmrun: &Vmrun, vmx: &Path, process: Option<Stranger>) -> Result<bool, MachineError> {
    if process.is_none() && !is_listed(vmrun, vmx).await? {
        return Ok(false);
    }
    if let Err(error) = vmrun.stop_hard(vmx).await {
        tracing::debug!(%error, "a machine does not stop");
    }
    if let Some(process) = process {
        if tokio::time::timeout(GONE_LIMIT, process.ended()).await.is_err() {
            // Somebody else may have a disk of the machine open, and would be a stranger to kill.
            if !holder::is_runner(process.pid(), vmx) && !is_listed(vmrun, vmx).await? {
                tracing::warn!(pid = process.pid(), "a process that is not VMware's has a disk of the machine open");
                return Ok(true);
            }
            tracing::warn!(pid = process.pid(), "VMware does not end a machine: its process is killed");
            process.kill();
            let ended = tokio::time::timeout(GONE_LIMIT, process.ended()).await;
            ended.map_err(|_| MachineError::Timeout { command: "kill".to_owned(), limit: GONE_LIMIT })?;
        }
        return Ok(true);
    }
    let limit = GONE_LIMIT;
    match tokio::time::timeout(limit, off_the_list(vmrun, vmx)).await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(report)) => {
            Err(MachineError::Unexpected { command: format!("{PROGRAM} stop"), problem: report.to_string() })
        }
        Err(_) => Err(MachineError::Timeout { command: format!("{PROGRAM} stop"), limit }),
    }
}

async fn is_listed(vmrun: &Vmrun, vmx: &Path) -> Result<bool, MachineError> {
    Ok(vmrun.list().await?.iter().any(|running| running == vmx))
}

/// Waits until VMware does not list the machine any more.
async fn off_the_list(vmrun: &Vmrun, vmx: &Path) -> Result<(), ExitReport> {
    let (mut pause, mut failed) = (LOOK_PAUSES.0, 0);
    loop {
        match is_listed(vmrun, vmx).await {
            Ok(false) => return Ok(()),
            Ok(true) => failed = 0,
            Err(error) => {
                failed += 1;
                if failed == MAX_FAILED_LOOKS {
                    let status = "no word whether it runs".to_owned();
                    return Err(ExitReport::Crashed { status, stderr_tail: error.to_string() });
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_PAUSES.1);
    }
}

/// The end of VMware's log of a machine, on one line.
fn log_tail(vmx: &Path) -> String {
    let text = log_end(vmx);
    let lines: Vec<&str> = log_lines(&text);
    on_one_line(&lines[lines.len().saturating_sub(3)..])
}

/// What the end of VMware's log says of a crash, from the line that tells of it on; a backtrace may follow that.
fn crash(vmx: &Path) -> Option<String> {
    let text = log_end(vmx);
    let lines = log_lines(&text);
    let first = lines.iter().position(|line| CRASH_WORDS.iter().any(|words| line.contains(words)))?;
    Some(on_one_line(&lines[first..lines.len().min(first + 3)]))
}

fn log_end(vmx: &Path) -> String {
    let bytes = read_end(&vmx.with_file_name("vmware.log"), LOG_TAIL).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn log_lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn on_one_line(lines: &[&str]) -> String {
    let short =
        |line: &&str| line.chars().take(LOG_LINE).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    lines.iter().map(short).collect::<Vec<_>>().join(" / ")
}

/// Writes a file that only its owner may read, for it has a password in it.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let directory = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::Builder::new().prefix(".kiln-").tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
