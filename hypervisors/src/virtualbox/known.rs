//! What VirtualBox has told before a machine is made, and is not asked again for it: each call of VBoxManage takes a quarter of a second.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of one VirtualBox, for as long as this process works with it.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// What `--version` said, of one that can be used.
    version: Option<String>,
    /// UUIDs of machines of others, by the names or UUIDs that templates gave them.
    machines: BTreeMap<String, String>,
}

impl Known {
    fn told(&self) -> MutexGuard<'_, Told> {
        // What a panicking thread has left is whole: each change is one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn version(&self) -> Option<String> {
        self.told().version.clone()
    }

    pub(super) fn keep_version(&self, said: &str) {
        self.told().version = Some(said.to_owned());
    }

    /// The UUID of a machine that was looked for by this name or UUID. Whether it still has that name is for whoever uses it to see.
    pub(super) fn machine(&self, wanted: &str) -> Option<String> {
        self.told().machines.get(wanted).cloned()
    }

    pub(super) fn keep_machine(&self, wanted: &str, uuid: &str) {
        self.told().machines.insert(wanted.to_owned(), uuid.to_owned());
    }
}
