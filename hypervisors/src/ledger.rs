//! What Kiln holds outside its own process, and who is told of it, so that it can be found after a crash.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::process_stat::{ProcessStat, boot_id};

/// Something outside this process that must be given back. The order is that of giving back: nobody writes any more into what is
/// removed later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Resource {
    /// A process, named so that a reused process id is never mistaken for it.
    Process {
        /// Process id.
        pid: u32,
        /// Start time in clock ticks since boot.
        start_time: u64,
        /// The boot in which it runs.
        boot_id: String,
    },
    /// The processes of a script on this machine.
    LocalProcesses {
        /// What they have in their environment.
        mark: String,
        /// The session they are in.
        session: i32,
        /// The boot in which they run.
        boot_id: String,
    },
    /// A machine that a hypervisor keeps in a registry of its own, which outlives all processes.
    Registered {
        /// The hypervisor's name.
        hypervisor: String,
        /// The machine, as the hypervisor names it; see [`Hypervisor::give_back`](crate::Hypervisor::give_back).
        id: String,
    },
    /// A lock file, to delete unless somebody else has the lock.
    LockFile {
        /// Absolute path.
        path: PathBuf,
    },
    /// The name of a socket, to delete when nobody listens there any more; whatever else is there by then is somebody else's.
    Socket {
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
    /// What a service elsewhere has, or was asked for.
    Remote {
        /// What people call it.
        what: String,
        /// Absolute path of the file that says how to give it back.
        note: PathBuf,
    },
}

impl Resource {
    /// The running process `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, or `/proc` cannot be read.
    pub fn process(pid: u32) -> io::Result<Self> {
        Ok(Self::Process { pid, start_time: ProcessStat::of(pid)?.start_time, boot_id: boot_id()? })
    }

    /// True for a process that runs.
    pub fn is_running(&self) -> bool {
        match self {
            Self::Process { pid, start_time, boot_id: boot } => {
                boot_id().is_ok_and(|now| now == *boot)
                    && ProcessStat::of(*pid).is_ok_and(|now| now.start_time == *start_time && !now.ended)
            }
            _ => false,
        }
    }

    /// True for what is still there after the host has lost its power.
    pub const fn outlives_power_loss(&self) -> bool {
        !matches!(self, Self::Process { .. } | Self::LocalProcesses { .. })
    }
}

/// Keeps the list of resources held. Both methods are called from async code: they may wait for the disk, but for nothing else.
pub trait ResourceLedger: Send + Sync {
    /// Notes that `resource` is held from now on. Called before it comes to be, for a process right after; what
    /// [outlives a power loss](Resource::outlives_power_loss) is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// It could not be noted, so a crash would leave it behind: it had better not come to be.
    fn acquired(&self, resource: &Resource) -> io::Result<()>;

    /// Notes that `resource` was given back. When that cannot be noted, a sweep finds nothing to give back.
    fn released(&self, resource: &Resource);
}

/// Keeps nothing, for probes and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLedger;

impl ResourceLedger for NoLedger {
    fn acquired(&self, _: &Resource) -> io::Result<()> {
        Ok(())
    }

    fn released(&self, _: &Resource) {}
}
