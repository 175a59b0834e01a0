//! What a backend tells its caller about things outside this process, so that they can be found after a crash.

use std::path::PathBuf;

/// Something outside this process that must be given back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A process, named so that a reused process id is never mistaken for it.
    Process {
        /// Process id.
        pid: u32,
        /// Field 22 of `/proc/PID/stat`: start time in clock ticks since boot.
        start_time: u64,
    },
    /// A file to delete.
    File(PathBuf),
    /// A directory to delete with all that is in it.
    Directory(PathBuf),
}

/// Keeps the list of resources held. Both methods are called from async code: they must be quick, and may not fail; an implementation that
/// writes to disk logs its own troubles.
pub trait ResourceLedger: Send + Sync {
    /// Notes that `resource` is held from now on. Files are told before they are made, processes right after.
    fn acquired(&self, resource: &Resource);

    /// Notes that `resource` was given back.
    fn released(&self, resource: &Resource);
}

/// Keeps nothing, for probes and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLedger;

impl ResourceLedger for NoLedger {
    fn acquired(&self, _: &Resource) {}

    fn released(&self, _: &Resource) {}
}
