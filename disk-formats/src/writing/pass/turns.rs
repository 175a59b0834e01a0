//! The short way to a single output: each worker writes what it has read, when it is its turn.
//!
//! Without compression copying is all the work there is: bytes that another core writes are fetched from its cache, and every
//! thread between costs two switches per batch. File systems let one thread at a time write to a file anyway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::batch::{Batch, BatchWriter};
use super::collector::Collector;
use super::failure::{Failure, PROGRESS_INTERVAL};
use crate::error::Result;

/// Lets workers deliver their batches in guest order.
pub(super) struct Turns<'a> {
    state: Mutex<Turn<'a>>,
    changed: Condvar,
    /// Guest bytes done.
    position: AtomicU64,
}

struct Turn<'a> {
    /// Sequence number of the batch to be delivered next.
    next: u64,
    collector: Collector,
    writer: Option<&'a mut dyn BatchWriter>,
}

impl<'a> Turns<'a> {
    pub(super) fn new(collector: Collector, writer: Option<&'a mut dyn BatchWriter>) -> Self {
        let state = Mutex::new(Turn { next: 0, collector, writer });
        Self { state, changed: Condvar::new(), position: AtomicU64::new(0) }
    }

    /// Waits for this batch's turn and writes it; `false` when the pass has failed meanwhile.
    pub(super) fn deliver(&self, sequence: u64, batch: &Batch, end: u64, failure: &Failure) -> Result<bool> {
        let mut turn = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while turn.next != sequence {
            // Whoever fails tells nobody here, so look from time to time.
            if failure.stopped() {
                return Ok(false);
            }
            turn = self.changed.wait_timeout(turn, PROGRESS_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
        turn.collector.sum_up(batch);
        if let Some(writer) = &mut turn.writer {
            writer.write(batch)?;
        }
        turn.next += 1;
        drop(turn);
        self.position.store(end, Ordering::Relaxed);
        self.changed.notify_all();
        Ok(true)
    }

    /// Returns the guest bytes done.
    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// Returns what sums up the pass.
    pub(super) fn into_collector(self) -> Collector {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).collector
    }
}
