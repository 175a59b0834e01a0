//! Ready-made receivers of command output.

use std::sync::{Mutex, PoisonError};

use crate::communicator::CommandOutput;

/// Output nobody reads.
#[derive(Debug, Clone, Copy)]
pub struct DiscardedOutput;

impl CommandOutput for DiscardedOutput {
    fn stdout(&self, _bytes: &[u8]) {}
    fn stderr(&self, _bytes: &[u8]) {}
}

/// Output kept in memory, up to a limit per stream; what is beyond is dropped.
#[derive(Debug)]
pub struct CollectedOutput {
    limit: usize,
    stdout: Mutex<Vec<u8>>,
    stderr: Mutex<Vec<u8>>,
}

impl CollectedOutput {
    /// Keeps at most `limit` bytes of each stream.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, stdout: Mutex::default(), stderr: Mutex::default() }
    }

    /// Returns what came on standard output.
    #[must_use]
    pub fn stdout_bytes(&self) -> Vec<u8> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what came on standard error.
    #[must_use]
    pub fn stderr_bytes(&self) -> Vec<u8> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns standard output as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout_bytes()).into_owned()
    }

    /// Returns standard error as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr_bytes()).into_owned()
    }

    fn keep(&self, kept: &Mutex<Vec<u8>>, bytes: &[u8]) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.limit.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl CommandOutput for CollectedOutput {
    fn stdout(&self, bytes: &[u8]) {
        self.keep(&self.stdout, bytes);
    }

    fn stderr(&self, bytes: &[u8]) {
        self.keep(&self.stderr, bytes);
    }
}
