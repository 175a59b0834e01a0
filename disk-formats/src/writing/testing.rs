//! Storage that fails where a test wants it to: a full disk, a bad sector, a lost name; and that remembers what was done to it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::storage::{Destinations, FileSystem, Storage};

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
    /// This operation on any file, counted from 0 over all, with a system error number.
    Nth(u64, i32),
    /// Nothing.
    Never,
}

/// Something that was done, in order; files are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Create(usize, PathBuf),
    Write(usize, u64, Vec<u8>),
    SetLen(usize, u64),
    Sync(usize),
    Publish(usize),
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
    operations: AtomicU64,
    steps: Mutex<Vec<Step>>,
}

impl Counters {
    /// Notes an operation, or fails it.
    fn step(&self, fault: Fault, step: impl FnOnce() -> Step) -> io::Result<()> {
        let number = self.operations.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Nth(nth, error) if nth == number => return Err(io::Error::from_raw_os_error(error)),
            // Only whole runs are looked at.
            Fault::Never => self.steps.lock().unwrap().push(step()),
            _ => {}
        }
        Ok(())
    }
}

impl FaultyFiles {
    pub(crate) fn new(fault: Fault) -> Self {
        // Tests may leak a few bytes so that the storages need no lifetime.
        Self { fault, counters: Box::leak(Box::default()) }
    }

    /// Returns what was done, where nothing failed.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.counters.steps.lock().unwrap().clone()
    }
}

impl Destinations for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        let number = self.counters.created.fetch_add(1, Ordering::Relaxed);
        if self.fault == Fault::Create(number) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let number = number as usize;
        self.counters.step(self.fault, || Step::Create(number, path.to_path_buf()))?;
        let inner = FileSystem::default().create(path)?;
        Ok(Box::new(FaultyFile { inner, number, fault: self.fault, counters: self.counters }))
    }
}

struct FaultyFile {
    inner: Box<dyn Storage>,
    number: usize,
    fault: Fault,
    counters: &'static Counters,
}

impl Storage for FaultyFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counters.step(self.fault, || Step::Write(self.number, offset, bytes.to_vec()))?;
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
        self.counters.step(self.fault, || Step::SetLen(self.number, len))?;
        self.inner.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.counters.step(self.fault, || Step::Sync(self.number))?;
        match self.fault {
            Fault::Sync => Err(io::Error::from_raw_os_error(5)),
            // A power loss is simulated, so nothing has to be waited for.
            _ => Ok(()),
        }
    }

    fn publish(&mut self, overwrite: bool) -> io::Result<()> {
        self.counters.step(self.fault, || Step::Publish(self.number))?;
        if self.fault == Fault::Publish(self.counters.published.fetch_add(1, Ordering::Relaxed)) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.inner.publish(overwrite)
    }
}
