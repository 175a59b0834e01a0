//! Who holds a locked directory, for the one who is refused.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::mark::{Mark, Owner};
use kiln_hypervisors::process_stat::ProcessStat;

/// Clock ticks of `/proc` in a second, the same on every Linux.
const TICKS: u64 = 100;

/// Who holds a directory, as far as it can be found out.
#[derive(Debug, Default)]
pub(super) struct Holder {
    pub(super) job: Option<String>,
    build: Option<String>,
    pid: Option<u32>,
    since: Option<String>,
}

impl Holder {
    /// Asks the mark; in its absence (post-processors run without it) the kernel's list of locks.
    pub(super) fn of(directory: &Path, lock: Option<&File>) -> Self {
        match Mark::read(directory).and_then(|mark| mark.owner) {
            Some(owner) => Self::from(&owner),
            None => lock.and_then(locking_process).map(Self::process).unwrap_or_default(),
        }
    }

    fn process(pid: u32) -> Self {
        Self { job: job_of(pid), build: None, pid: Some(pid), since: started(pid) }
    }
}

impl From<&Owner> for Holder {
    fn from(owner: &Owner) -> Self {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self { job: text(&owner.job), build: text(&owner.build), pid: owner.pid(), since: text(&owner.since) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some(job) => write!(f, "job {}", plain(job))?,
            None => f.write_str("another build")?,
        }
        let build = self.build.as_ref().map(|build| format!("build {}", plain(build)));
        let pid = self.pid.map(|pid| format!("process {pid}"));
        let details: Vec<String> = build.into_iter().chain(pid).collect();
        if !details.is_empty() {
            write!(f, " ({})", details.join(", "))?;
        }
        match &self.since {
            Some(since) => write!(f, " since {}", plain(since)),
            None => Ok(()),
        }
    }
}

/// A mark is a file in a directory that others may write into, and this ends up on terminals.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// The process that holds the lock of this directory: `1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF`.
fn locking_process(directory: &File) -> Option<u32> {
    let metadata = directory.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "FLOCK", _, "WRITE", pid, file, ..] if *file == wanted => pid.parse().ok(),
            _ => None,
        }
    })
}

/// The job of a worker: its command line names the job's directory.
fn job_of(pid: u32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&line).into_owned();
    let mut words = text.split('\0');
    let directory = words.find_map(|word| word.strip_prefix("--job-dir")).map(str::to_owned)?;
    let directory = directory.strip_prefix('=').map(str::to_owned).or_else(|| words.next().map(str::to_owned))?;
    Some(Path::new(&directory).file_name()?.to_string_lossy().into_owned())
}

fn started(pid: u32) -> Option<String> {
    let ticks = ProcessStat::of(pid).ok()?.start_time;
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 =
        stat.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.trim().parse().ok())?;
    let seconds = i64::try_from(boot.checked_add(ticks / TICKS)?).ok()?;
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}
