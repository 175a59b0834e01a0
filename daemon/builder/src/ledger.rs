//! The ledger: a file that names every resource a job holds, so that whatever a killed worker left can be found and removed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::local_processes::LocalProcesses;
use crate::lock_file;
use crate::steps::output_directory;

/// The ledger's file name in a job's directory.
pub(crate) const FILE_NAME: &str = "resources.ndjson";

/// The largest ledger that is read back, in bytes; a job holds tens of resources.
const MAX_BYTES: u64 = 16 << 20;

/// How long a killed process may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Something outside this process that must be given back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Resource {
    /// A process, named so that a reused pid is never mistaken for it.
    Process {
        /// Process id.
        pid: u32,
        /// Field 22 of `/proc/PID/stat`: start time in clock ticks since boot.
        start_time: u64,
        /// `/proc/sys/kernel/random/boot_id`.
        boot_id: String,
    },
    /// The processes of a script on this machine.
    LocalProcesses(LocalProcesses),
    /// A lock file, to delete unless somebody else has the lock.
    LockFile {
        /// Absolute path.
        path: PathBuf,
    },
    /// A file to delete.
    File {
        /// Absolute path.
        path: PathBuf,
    },
    /// A directory to delete with all that is in it.
    Directory {
        /// Absolute path.
        path: PathBuf,
    },
    /// An output directory, of which only the build's own files are deleted.
    OutputDirectory {
        /// Absolute path.
        path: PathBuf,
        /// What the mark in it says when it is this build's.
        id: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    held: bool,
    #[serde(flatten)]
    resource: Resource,
}

/// The open ledger of one job.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: Mutex<File>,
}

impl Ledger {
    /// Opens (or creates, mode 0600) the ledger of `job_dir`.
    pub(crate) fn open(job_dir: &Path) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(job_dir.join(FILE_NAME))?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Notes that `resource` is held from now on. Call before acquiring where the name is known before.
    pub(crate) fn acquired(&self, resource: &Resource) {
        self.write(true, resource);
    }

    /// Notes that `resource` was given back.
    pub(crate) fn released(&self, resource: &Resource) {
        self.write(false, resource);
    }

    fn write(&self, held: bool, resource: &Resource) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut line) = serde_json::to_vec(&Line { held, resource: resource.clone() }) else { return };
        line.push(b'\n');
        // One write of one short line with O_APPEND: it is in the page cache even if we are killed right after.
        if let Err(error) = file.write_all(&line) {
            tracing::warn!(%error, ?resource, "the resource ledger cannot be written");
        }
    }
}

impl kiln_hypervisors::ResourceLedger for Ledger {
    fn acquired(&self, resource: &kiln_hypervisors::Resource) {
        Self::acquired(self, &resource.clone().into());
    }

    fn released(&self, resource: &kiln_hypervisors::Resource) {
        Self::released(self, &resource.clone().into());
    }
}

impl From<kiln_hypervisors::Resource> for Resource {
    fn from(resource: kiln_hypervisors::Resource) -> Self {
        match resource {
            kiln_hypervisors::Resource::Process { pid, start_time } => {
                Self::Process { pid, start_time, boot_id: boot_id().unwrap_or_default() }
            }
            kiln_hypervisors::Resource::File(path) => Self::File { path },
            kiln_hypervisors::Resource::Directory(path) => Self::Directory { path },
        }
    }
}

impl Resource {
    /// The running process `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, or `/proc` cannot be read.
    pub(crate) fn process(pid: u32) -> io::Result<Self> {
        Ok(Self::Process { pid, start_time: process_start_time(pid)?, boot_id: boot_id()? })
    }

    /// True for a process that runs.
    pub(crate) fn is_running(&self) -> bool {
        match self {
            Self::Process { pid, start_time, boot_id: boot } => {
                boot_id().is_ok_and(|now| now == *boot) && process_start_time(*pid).is_ok_and(|now| now == *start_time)
            }
            _ => false,
        }
    }
}

/// This boot's id.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When the process `pid` started, in clock ticks since boot.
pub(crate) fn process_start_time(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command (field 2) may hold blanks and parentheses; what follows its last ')' is regular.
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not as expected"));
    let (_, rest) = stat.rsplit_once(')').ok_or_else(invalid)?;
    rest.split_whitespace().nth(19).and_then(|field| field.parse().ok()).ok_or_else(invalid)
}

/// What a sweep found and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// One line for each resource that was still held and is gone now.
    pub removed: Vec<String>,
    /// One line for each that could not be removed, with the reason.
    pub failed: Vec<String>,
}

/// Gives back everything the ledger in `job_dir` says is held: processes first, then files, then directories.
///
/// # Errors
///
/// The ledger exists but cannot be read.
pub fn sweep(job_dir: &Path) -> io::Result<Sweep> {
    let path = job_dir.join(FILE_NAME);
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => file.take(MAX_BYTES).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sweep::default()),
        Err(error) => return Err(error),
    };
    let mut held = BTreeSet::new();
    for line in text.lines() {
        // The last line may be cut short by the crash; a resource is noted before it is acquired, so nothing is lost.
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        if line.held {
            held.insert(line.resource);
        } else {
            held.remove(&line.resource);
        }
    }
    let ledger = Ledger::open(job_dir)?;
    let mut sweep = Sweep::default();
    // Ord puts processes before files and directories: nobody writes into what is being removed.
    for resource in held {
        match give_back(&resource) {
            Ok(Some(what)) => sweep.removed.push(what),
            Ok(None) => {}
            Err(error) => {
                sweep.failed.push(error);
                continue;
            }
        }
        ledger.released(&resource);
    }
    Ok(sweep)
}

fn give_back(resource: &Resource) -> Result<Option<String>, String> {
    match resource {
        Resource::Process { pid, start_time, boot_id } => kill(*pid, *start_time, boot_id),
        Resource::LocalProcesses(processes) => processes.kill(KILL_TIMEOUT),
        Resource::LockFile { path } => lock_file::sweep(path),
        Resource::File { path } => removal(path, std::fs::remove_file(path), "file"),
        Resource::Directory { path } => removal(path, std::fs::remove_dir_all(path), "directory"),
        Resource::OutputDirectory { path, id } => output_directory::sweep(path, id),
    }
}

fn removal(path: &Path, result: io::Result<()>, what: &str) -> Result<Option<String>, String> {
    match result {
        Ok(()) => Ok(Some(format!("removed the {what} {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot remove the {what} {}: {error}", path.display())),
    }
}

fn kill(pid: u32, start_time: u64, boot: &str) -> Result<Option<String>, String> {
    if boot_id().is_ok_and(|now| now != boot) {
        return Ok(None);
    }
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let Ok(pidfd) = pidfd_open(id, PidfdFlags::empty()) else { return Ok(None) };
    // Checked after the pidfd is open: from here on it cannot become somebody else.
    if process_start_time(pid).ok() != Some(start_time) {
        return Ok(None);
    }
    pidfd_send_signal(&pidfd, Signal::KILL).map_err(|error| format!("cannot kill process {pid}: {error}"))?;
    if wait_for_exit(&pidfd, KILL_TIMEOUT) {
        Ok(Some(format!("killed process {pid}")))
    } else {
        Err(format!("process {pid} did not end within {} s of being killed", KILL_TIMEOUT.as_secs()))
    }
}

pub(crate) fn wait_for_exit(pidfd: &OwnedFd, timeout: Duration) -> bool {
    let timeout = rustix::event::Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: 0 };
    let mut descriptors = [PollFd::new(pidfd, PollFlags::IN)];
    matches!(poll(&mut descriptors, Some(&timeout)), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn sweeps_what_is_held_and_nothing_else() {
        let job = tempfile::tempdir().unwrap();
        let (kept, left) = (job.path().join("kept"), job.path().join("left"));
        let tree = job.path().join("tree");
        std::fs::write(&kept, "").unwrap();
        std::fs::write(&left, "").unwrap();
        std::fs::create_dir_all(tree.join("deep")).unwrap();
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        {
            let ledger = Ledger::open(job.path()).unwrap();
            for path in [&kept, &left] {
                ledger.acquired(&Resource::File { path: path.clone() });
            }
            ledger.released(&Resource::File { path: kept.clone() });
            ledger.acquired(&Resource::Directory { path: tree.clone() });
            ledger.acquired(&Resource::process(child.id()).unwrap());
        }
        // A line cut short by the crash does not hide the others.
        let mut file = OpenOptions::new().append(true).open(job.path().join(FILE_NAME)).unwrap();
        file.write_all(b"{\"held\":tr").unwrap();

        let swept = std::thread::scope(|scope| {
            // The child is ours, so somebody has to reap it for its pidfd to become readable as gone.
            let sweeping = scope.spawn(|| sweep(job.path()).unwrap());
            let status = child.wait().unwrap();
            assert!(!status.success());
            sweeping.join().unwrap()
        });
        assert_eq!(swept.failed, Vec::<String>::new());
        assert_eq!(swept.removed.len(), 3, "{swept:?}");
        assert!(kept.exists() && !left.exists() && !tree.exists());
        assert_eq!(sweep(job.path()).unwrap(), Sweep::default(), "a second sweep finds nothing");
    }

    #[test]
    fn never_kills_a_process_that_reused_the_pid() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let Resource::Process { pid, start_time, boot_id } = Resource::process(child.id()).unwrap() else {
            unreachable!()
        };
        assert_eq!(kill(pid, start_time + 1, &boot_id).unwrap(), None);
        assert_eq!(kill(pid, start_time, "another boot").unwrap(), None);
        assert!(child.try_wait().unwrap().is_none(), "still running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_file_is_removed_unless_somebody_has_the_lock() {
        let job = tempfile::tempdir().unwrap();
        let (left, held) = (job.path().join("left.lock"), job.path().join("held.lock"));
        let ledger = Ledger::open(job.path()).unwrap();
        for path in [&left, &held] {
            File::create(path).unwrap();
            ledger.acquired(&Resource::LockFile { path: path.clone() });
        }
        let other = File::open(&held).unwrap();
        rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert_eq!(sweep(job.path()).unwrap().removed.len(), 1);
        assert!(!left.exists() && held.exists());
    }

    #[test]
    fn a_job_without_a_ledger_holds_nothing() {
        let job = tempfile::tempdir().unwrap();
        assert_eq!(sweep(job.path()).unwrap(), Sweep::default());
    }
}
