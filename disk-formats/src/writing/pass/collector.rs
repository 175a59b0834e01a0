//! Sums up a pass: what was found on the disk, its digest, and what identifiers follow from.

use crossbeam_channel::{Sender, bounded};
use sha2::{Digest, Sha256};

use super::batch::{Batch, Buffers};
use super::identity::Identity;
use crate::digest::{CHUNK, ContentDigest, ContentHasher};

/// What was found on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskReport {
    /// Size of the guest disk in bytes.
    pub virtual_size: u64,
    /// Guest bytes that are not in all-zero 64 KiB chunks.
    pub data_bytes: u64,
    /// Proof of the guest content; `None` when [`crate::ConvertOptions::content_digest`] is off.
    pub content_digest: Option<ContentDigest>,
}

/// What a pass found, beyond the public report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PassReport {
    pub(crate) disk: DiskReport,
    /// Derived from size and content by checksums; the root of identifiers. Not a proof of anything.
    pub(crate) identity: Identity,
}

impl PassReport {
    /// Returns what a pass over a disk of zeroes finds.
    pub(crate) fn empty(virtual_size: u64) -> Self {
        let (home, _) = bounded(1);
        Collector::new(virtual_size, false, home).finish()
    }
}

/// Sums up batches, which come in order.
pub(super) struct Collector {
    pub(super) virtual_size: u64,
    data_bytes: u64,
    content: Option<ContentHasher>,
    identity: Sha256,
    /// Where the memory of batches goes when they are done.
    pub(super) home: Sender<Buffers>,
}

impl Collector {
    pub(super) fn new(virtual_size: u64, content_digest: bool, home: Sender<Buffers>) -> Self {
        Self {
            virtual_size,
            data_bytes: 0,
            content: content_digest.then(ContentHasher::default),
            identity: Sha256::new(),
            home,
        }
    }

    pub(super) fn sum_up(&mut self, batch: &Batch) {
        let chunks = batch.chunks().iter().zip((batch.offset..).step_by(CHUNK));
        for (chunk, offset) in chunks.filter(|(chunk, _)| !chunk.zero) {
            self.data_bytes += (self.virtual_size - offset).min(CHUNK as u64);
            self.identity.update(offset.to_le_bytes());
            self.identity.update(chunk.crc32.to_le_bytes());
            if let (Some(content), Some(sha256)) = (&mut self.content, &chunk.sha256) {
                content.chunk(offset, sha256);
            }
        }
    }

    pub(super) fn finish(self) -> PassReport {
        let identity = self.identity.chain_update(self.virtual_size.to_le_bytes()).finalize();
        PassReport {
            disk: DiskReport {
                virtual_size: self.virtual_size,
                data_bytes: self.data_bytes,
                content_digest: self.content.map(|content| content.finish(self.virtual_size)),
            },
            identity: Identity(identity.into()),
        }
    }
}
