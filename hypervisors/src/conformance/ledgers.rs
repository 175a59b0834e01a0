//! Ledgers that see whether they are told at the right time.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::{Resource, ResourceLedger};

/// A ledger that remembers what is held, and what it was told too late or too early.
#[derive(Debug, Default)]
pub struct RecordingLedger {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    held: BTreeSet<Resource>,
    ever: BTreeSet<Resource>,
    mistakes: Vec<String>,
}

impl RecordingLedger {
    /// What is held now.
    pub fn held(&self) -> Vec<Resource> {
        self.memory().held.iter().cloned().collect()
    }

    /// What was ever held.
    pub fn ever(&self) -> Vec<Resource> {
        self.memory().ever.iter().cloned().collect()
    }

    /// One sentence for each resource that came to be before it was noted, or was there still when it was released.
    pub fn mistakes(&self) -> Vec<String> {
        self.memory().mistakes.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResourceLedger for RecordingLedger {
    fn acquired(&self, resource: &Resource) -> io::Result<()> {
        let mut memory = self.memory();
        // A process has no name before it runs.
        if !matches!(resource, Resource::Process { .. }) && is_there(resource) {
            memory.mistakes.push(format!("{resource:?} came to be before it was noted"));
        }
        memory.held.insert(resource.clone());
        memory.ever.insert(resource.clone());
        Ok(())
    }

    fn released(&self, resource: &Resource) {
        let mut memory = self.memory();
        if is_there(resource) {
            memory.mistakes.push(format!("{resource:?} was released and is there still"));
        }
        memory.held.remove(resource);
    }
}

/// Whether a resource is seen to be there.
fn is_there(resource: &Resource) -> bool {
    match resource {
        Resource::Process { .. } => resource.is_running(),
        Resource::LockFile { path }
        | Resource::Socket { path }
        | Resource::File { path }
        | Resource::Directory { path }
        | Resource::OutputDirectory { path, .. } => path.symlink_metadata().is_ok(),
        // Only those who keep them can tell.
        Resource::LocalProcesses { .. } | Resource::Registered { .. } | Resource::Remote { .. } => false,
    }
}

/// A ledger on a full disk: it notes nothing, and remembers what it was asked to.
#[derive(Debug, Default)]
pub struct FullLedger {
    asked: Mutex<BTreeSet<Resource>>,
}

impl FullLedger {
    /// What was to be noted.
    pub fn asked(&self) -> Vec<Resource> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl ResourceLedger for FullLedger {
    fn acquired(&self, resource: &Resource) -> io::Result<()> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(resource.clone());
        Err(io::ErrorKind::StorageFull.into())
    }

    fn released(&self, _: &Resource) {}
}
