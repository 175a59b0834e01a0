//! The pass itself: workers, putting batches back in order, and one thread per output.
//!
//! ```text
//! workers ×N ─(processed)─► collector (caller's thread) ─(Arc<Batch>)─► output threads ×M
//!    ▲                                                                        │
//!    └───────────── memory of a batch, back when its last writer is done ◄────┘
//! ```
//!
//! Workers take windows of the disk and memory for them together, in guest order, so the batch everybody waits for always has
//! some: no deadlock. A single output without compression goes a shorter way ([`super::turns`]).

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::super::convert_options::ConvertOptions;
use super::super::progress::Progress;
use super::batch::{BATCH, BatchWriter};
use super::batch::{Batch, Buffers, RUN, Recipe};
use super::collector::{Collector, PassReport};
use super::failure::{Failure, PROGRESS_INTERVAL};
use super::process::Processor;
use super::turns::Turns;
use super::windows::{Window, Windows};
use crate::error::{Error, Operation, Result};
use crate::reading::reader::DiskReader;

/// The same when workers write themselves: what they have read is still in their core's cache.
const DIRECT_BATCH: usize = RUN;
/// Batches queued per output: enough to ride out a slow write.
const OUTPUT_QUEUE: usize = 4;

/// A window that was read.
struct Done {
    window: Window,
    buffers: Buffers,
}

/// Stops the pass when a worker panics: the others would wait for its batch for ever, and the panic would never be seen.
struct StopOnPanic<'a>(&'a Failure);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs one pass over `reader`, feeding every writer. `stop` is set as soon as the pass has failed.
pub(crate) fn run(
    reader: &dyn DiskReader,
    writers: &mut [&mut (dyn BatchWriter + '_)],
    recipes: &[Recipe],
    options: &ConvertOptions,
    progress: &dyn Progress,
    stop: &Arc<AtomicBool>,
) -> Result<PassReport> {
    let threads = options.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get)).max(1);
    let failure = Failure { stop: Arc::clone(stop), ..Failure::default() };
    // With a single output that only copies, whoever reads a batch writes it.
    let is_direct = writers.len() <= 1 && recipes.is_empty();
    let least = if is_direct { DIRECT_BATCH } else { BATCH };
    let batch_size = recipes.iter().map(|recipe| recipe.piece).fold(least, usize::max);
    let in_flight = if is_direct { threads } else { threads * 2 + 2 + OUTPUT_QUEUE.min(writers.len() * 2) };
    let (home, memory) = bounded(in_flight);
    for _ in 0..in_flight {
        let _ = home.send(Buffers::default());
    }
    let collector = Collector::new(reader.virtual_size(), options.content_digest, home.clone());
    let windows = Mutex::new(Windows::new(reader, batch_size));
    let pass = Pass { reader, recipes, content_digest: options.content_digest, batch_size, windows, memory, failure };
    let report = if is_direct {
        let writer = writers.first_mut().map(|writer| &mut **writer as &mut dyn BatchWriter);
        pass.run_direct(threads, Turns::new(collector, writer), &home, progress)
    } else {
        drop(home);
        pass.run_collected(threads, in_flight, collector, writers, progress)
    };
    match pass.failure.first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// What the workers of a pass share.
struct Pass<'a> {
    reader: &'a dyn DiskReader,
    recipes: &'a [Recipe],
    content_digest: bool,
    batch_size: usize,
    windows: Mutex<Windows<'a>>,
    memory: Receiver<Buffers>,
    failure: Failure,
}

impl Pass<'_> {
    /// Runs the pass with a thread per output.
    fn run_collected(
        &self,
        threads: usize,
        in_flight: usize,
        mut collector: Collector,
        writers: &mut [&mut (dyn BatchWriter + '_)],
        progress: &dyn Progress,
    ) -> PassReport {
        let (done_sender, done) = bounded::<Done>(in_flight);
        let mut outputs = Vec::new();
        thread::scope(|scope| {
            for writer in writers {
                let (sender, batches) = bounded::<Arc<Batch>>(OUTPUT_QUEUE);
                outputs.push(sender);
                scope.spawn(move || feed(&mut **writer, &batches, &self.failure));
            }
            for _ in 0..threads {
                let done = done_sender.clone();
                scope.spawn(move || self.work(|window, buffers| Ok(done.send(Done { window, buffers }).is_ok())));
            }
            drop(done_sender);
            let result = collect(&mut collector, &done, &outputs, progress, self.batch_size as u64, &self.failure);
            // Closing the channels ends the output threads; dropping `done` ends the workers.
            outputs.clear();
            drop(done);
            if let Err(error) = result {
                self.failure.report(error);
            }
            collector.finish()
        })
    }

    /// Runs the pass with workers that write themselves.
    fn run_direct(
        &self,
        threads: usize,
        turns: Turns<'_>,
        home: &Sender<Buffers>,
        progress: &dyn Progress,
    ) -> PassReport {
        let size = self.reader.virtual_size();
        let (working, ended) = bounded::<()>(0);
        thread::scope(|scope| {
            let turns = &turns;
            for _ in 0..threads {
                let working = working.clone();
                scope.spawn(move || {
                    self.work(|window, buffers| {
                        let end = (window.offset + self.batch_size as u64).min(size);
                        let batch = Batch::new(window.offset, buffers, home.clone());
                        turns.deliver(window.sequence, &batch, end, &self.failure)
                    });
                    drop(working);
                });
            }
            drop(working);
            loop {
                let over = ended.recv_timeout(PROGRESS_INTERVAL) == Err(RecvTimeoutError::Disconnected);
                let position = if over && !self.failure.stopped() { size } else { turns.position() };
                if progress.advance(position, size).is_break() {
                    self.failure.report(Error::cancelled(Operation::Convert));
                }
                if over {
                    break;
                }
            }
        });
        turns.into_collector().finish()
    }

    /// One worker: fills batches and delivers them until there are no more or `deliver` returns false.
    fn work(&self, mut deliver: impl FnMut(Window, Buffers) -> Result<bool>) {
        let _guard = StopOnPanic(&self.failure);
        let mut run = || -> Result<()> {
            let mut processor = Processor::new(self.reader, self.recipes, self.content_digest, self.batch_size)?;
            while let Some((window, mut buffers)) = self.take()? {
                processor.run(window.offset, window.wanted, &mut buffers)?;
                if !deliver(window, buffers)? {
                    break;
                }
            }
            Ok(())
        };
        if let Err(error) = run() {
            self.failure.report(error);
        }
    }

    /// Returns the next window with memory for it; both under one lock, so that memory goes to windows in guest order.
    fn take(&self) -> Result<Option<(Window, Buffers)>> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        // No memory comes back when the pass has failed.
        let Ok(buffers) = self.memory.recv() else { return Ok(None) };
        if self.failure.stopped() {
            return Ok(None);
        }
        Ok(windows.next()?.map(|window| (window, buffers)))
    }
}

fn feed(writer: &mut dyn BatchWriter, batches: &Receiver<Arc<Batch>>, failure: &Failure) {
    for batch in batches {
        if failure.stopped() {
            return;
        }
        if let Err(error) = writer.write(&batch) {
            return failure.report(error);
        }
    }
}

/// Puts batches back in order, sums up, and passes them on.
fn collect(
    collector: &mut Collector,
    done: &Receiver<Done>,
    outputs: &[Sender<Arc<Batch>>],
    progress: &dyn Progress,
    batch_size: u64,
    failure: &Failure,
) -> Result<()> {
    let mut early = BTreeMap::new();
    let (mut next, mut position) = (0, 0);
    loop {
        if progress.advance(position, collector.virtual_size).is_break() {
            return Err(Error::cancelled(Operation::Convert));
        }
        match done.recv_timeout(PROGRESS_INTERVAL) {
            Ok(batch) => {
                early.insert(batch.window.sequence, batch);
            }
            Err(RecvTimeoutError::Timeout) if failure.stopped() => return Ok(()),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some(batch) = early.remove(&next) {
            next += 1;
            position = (batch.window.offset + batch_size).min(collector.virtual_size);
            let batch = Batch::new(batch.window.offset, batch.buffers, collector.home.clone());
            collector.sum_up(&batch);
            let batch = Arc::new(batch);
            for output in outputs {
                // A closed channel means that the output failed and has reported why.
                if output.send(Arc::clone(&batch)).is_err() {
                    return Ok(());
                }
            }
        }
    }
    if progress.advance(collector.virtual_size, collector.virtual_size).is_break() {
        return Err(Error::cancelled(Operation::Convert));
    }
    Ok(())
}
