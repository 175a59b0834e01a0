//! Remembers the host keys one build has seen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Fingerprints by address. Clones share one memory.
#[derive(Debug, Clone, Default)]
pub struct HostKeyMemory {
    seen: Arc<Mutex<HashMap<String, String>>>,
}

impl HostKeyMemory {
    /// Records the fingerprint seen at `address` and returns the one seen there before.
    pub(crate) fn record(&self, address: &str, fingerprint: &str) -> Option<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(address.to_owned(), fingerprint.to_owned())
    }

    /// Returns the fingerprint (`SHA256:…`) last seen at `host:port`.
    #[must_use]
    pub fn fingerprint(&self, address: &str) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned()
    }
}
