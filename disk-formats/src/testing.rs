//! Storage that fails where a test wants it to: a full disk, a bad sector, a lost name.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::storage::{Destinations, FileSystem, Storage};

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everything from this many written bytes on: the disk is full.
    FullAfter(u64),
    /// Making things durable.
    Sync,
    /// The publishing of this file, counted from 0 over all files.
    Publish(u64),
    /// Making this file, counted from 0.
    Create(u64),
}

/// Real files behind a [`Fault`]; all share the counters.
pub(crate) struct FaultyFiles {
    fault: Fault,
    counters: &'static Counters,
}

#[derive(Default)]
struct Counters {
    written: AtomicU64,
    published: AtomicU64,
    created: AtomicU64,
}

impl FaultyFiles {
    pub(crate) fn new(fault: Fault) -> Self {
        // Tests may leak a few bytes so that the storages need no lifetime.
        Self { fault, counters: Box::leak(Box::default()) }
    }
}

impl Destinations for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        if self.fault == Fault::Create(self.counters.created.fetch_add(1, Ordering::Relaxed)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let inner = FileSystem.create(path)?;
        Ok(Box::new(FaultyFile { inner, fault: self.fault, counters: self.counters }))
    }
}

struct FaultyFile {
    inner: Box<dyn Storage>,
    fault: Fault,
    counters: &'static Counters,
}

impl Storage for FaultyFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.counters.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        match self.fault {
            Fault::FullAfter(limit) if written + bytes.len() as u64 > limit => Err(io::ErrorKind::StorageFull.into()),
            _ => self.inner.write_at(offset, bytes),
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.fault {
            Fault::Sync => Err(io::Error::from_raw_os_error(5)),
            _ => self.inner.sync(),
        }
    }

    fn publish(&mut self, overwrite: bool) -> io::Result<()> {
        if self.fault == Fault::Publish(self.counters.published.fetch_add(1, Ordering::Relaxed)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.inner.publish(overwrite)
    }
}
