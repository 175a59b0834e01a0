//! Identifiers that follow from a disk's content, so that what is written is reproducible.

use sha2::{Digest, Sha256};

use super::batch::{BATCH, Batch};
use crate::digest::CHUNK;

/// Thirty-two bytes that follow from a disk's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) [u8; 32]);

impl Identity {
    /// Derives an identity from the front of a disk, the aligned MiB around its first data, for files whose header is written
    /// before the rest is known: an installed system's front holds the identifiers of its partitions. `first` is the first batch
    /// with data, and of any size from a MiB on; `None` is a disk of zeroes.
    pub(crate) fn of_front(virtual_size: u64, first: Option<&Batch>) -> Self {
        let mut hasher = Sha256::new_with_prefix(virtual_size.to_le_bytes());
        if let Some(batch) = first {
            let data = batch.chunks().iter().position(|chunk| !chunk.zero).unwrap_or_default();
            let start = data / (BATCH / CHUNK) * (BATCH / CHUNK);
            hasher.update((batch.offset + (start * CHUNK) as u64).to_le_bytes());
            let front = batch.chunks()[start..].iter().take(BATCH / CHUNK);
            front.for_each(|chunk| hasher.update(chunk.crc32.to_le_bytes()));
        }
        Self(hasher.finalize().into())
    }

    /// Derives a UUID (RFC 9562, version 8) for one purpose.
    pub(crate) fn uuid(&self, purpose: &str) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.0).chain_update(purpose).finalize();
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&digest[..16]);
        uuid[6] = uuid[6] & 0x0f | 0x80;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        uuid
    }
}
