//! The pass itself: scan, workers, putting batches back in order, and one thread per output.
//!
//! ```text
//! scanner ─(window, memory)─► workers ×N ─(processed)─► collector (caller's thread) ─(Arc<Batch>)─► output threads ×M
//!    ▲                                                                                                   │
//!    └────────────────────────── memory of a batch, back when its last writer is done ◄──────────────────┘
//! ```
//!
//! Memory is handed out in guest order by the scanner, so the batch everybody waits for always has some: no deadlock.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use sha2::{Digest, Sha256};

use super::batch::{Batch, Buffers, Recipe};
use super::process::Processor;
use super::{ConvertOptions, DiskReport, Progress};
use crate::digest::{CHUNK, ContentHasher};
use crate::{DiskReader, Error, ExtentKind, Operation, Result};

/// Usual bytes of guest disk per batch.
const BATCH: usize = 1 << 20;
/// How often a caller that waits for slow work is asked whether to go on.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Batches queued per output: enough to ride out a slow write.
const OUTPUT_QUEUE: usize = 4;

/// Consumes batches in ascending order.
pub(crate) trait BatchWriter: Send {
    /// Takes the next batch.
    fn write(&mut self, batch: &Batch) -> Result<()>;
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

/// Thirty-two bytes that follow from a disk's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity(pub(crate) [u8; 32]);

impl Identity {
    /// Derives an identity from the front of a disk, for files whose header is written before the rest is known: an installed
    /// system's first batch holds the identifiers of its partitions. `None` is a disk of zeroes.
    pub(crate) fn of_front(virtual_size: u64, first: Option<&Batch>) -> Self {
        let mut hasher = Sha256::new_with_prefix(virtual_size.to_le_bytes());
        if let Some(batch) = first {
            hasher.update(batch.offset.to_le_bytes());
            batch.chunks().iter().for_each(|chunk| hasher.update(chunk.crc32.to_le_bytes()));
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

/// A window of the disk to be read.
struct Job {
    sequence: u64,
    offset: u64,
    /// A bit per chunk that may hold data.
    wanted: u64,
    buffers: Buffers,
}

struct Done {
    sequence: u64,
    offset: u64,
    buffers: Buffers,
}

/// The first error of any thread, and the sign for all others to stop.
#[derive(Default)]
struct Failure {
    stop: Arc<AtomicBool>,
    first: Mutex<Option<Error>>,
}

impl Failure {
    fn report(&self, error: Error) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
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
    let batch_size = recipes.iter().map(|recipe| recipe.piece).fold(BATCH, usize::max);
    let in_flight = threads * 2 + 2 + OUTPUT_QUEUE.min(writers.len() * 2);
    let failure = Failure { stop: Arc::clone(stop), ..Failure::default() };

    let (home, memory) = bounded(in_flight);
    for _ in 0..in_flight {
        let _ = home.send(Buffers::default());
    }
    let (job_sender, jobs) = bounded::<Job>(threads);
    let (done_sender, done) = bounded::<Done>(in_flight);

    let mut outputs = Vec::new();
    let report = thread::scope(|scope| {
        let failure = &failure;
        for writer in writers {
            let (sender, batches) = bounded::<Arc<Batch>>(OUTPUT_QUEUE);
            outputs.push(sender);
            scope.spawn(move || feed(&mut **writer, &batches, failure));
        }
        scope.spawn(move || scan(reader, batch_size, &memory, &job_sender, failure));
        for _ in 0..threads {
            let (jobs, done) = (jobs.clone(), done_sender.clone());
            scope.spawn(move || work(reader, recipes, options.content_digest, batch_size, &jobs, &done, failure));
        }
        drop(jobs);
        drop(done_sender);
        let mut collector = Collector::new(reader.virtual_size(), options.content_digest, home);
        let result = collector.run(&done, &outputs, progress, batch_size as u64, failure);
        // Closing the channels ends the output threads; dropping `done` ends the workers, and with them the scanner.
        outputs.clear();
        drop(done);
        if let Err(error) = result {
            failure.report(error);
        }
        collector.finish()
    });
    match failure.first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(report),
    }
}

/// Finds the windows that hold data and hands each out with memory, in guest order.
fn scan(reader: &dyn DiskReader, batch_size: usize, memory: &Receiver<Buffers>, jobs: &Sender<Job>, failure: &Failure) {
    if let Err(error) = scan_windows(reader, batch_size as u64, |sequence, offset, wanted| {
        let Ok(buffers) = memory.recv() else { return false };
        !failure.stopped() && jobs.send(Job { sequence, offset, wanted, buffers }).is_ok()
    }) {
        failure.report(error);
    }
}

/// Calls `hand_out(sequence, offset, wanted)` for every window with data, until it returns false.
fn scan_windows(
    reader: &dyn DiskReader,
    batch_size: u64,
    mut hand_out: impl FnMut(u64, u64, u64) -> bool,
) -> Result<()> {
    let size = reader.virtual_size();
    let (mut sequence, mut position) = (0, 0);
    // The window being gathered: several extents may fall into it.
    let mut window: Option<(u64, u64)> = None;
    while position < size {
        let extents = reader.extents(position..size)?;
        let Some(last) = extents.last() else {
            return Err(Error::corrupt("the reader reported no extent inside the disk").at(position));
        };
        position = last.end();
        for extent in extents.iter().filter(|extent| extent.kind == ExtentKind::Data) {
            let mut offset = extent.offset / CHUNK as u64 * CHUNK as u64;
            while offset < extent.end() {
                let start = offset / batch_size * batch_size;
                if let Some((open, wanted)) = window
                    && open != start
                {
                    if !hand_out(sequence, open, wanted) {
                        return Ok(());
                    }
                    sequence += 1;
                    window = None;
                }
                let end = extent.end().min(start + batch_size);
                let (first, last) = ((offset - start) / CHUNK as u64, (end - start).div_ceil(CHUNK as u64));
                let bits = (first..last).fold(0, |bits, chunk| bits | 1 << chunk);
                window = Some((start, window.map_or(0, |(_, wanted)| wanted) | bits));
                offset = start + batch_size;
            }
        }
    }
    if let Some((open, wanted)) = window {
        hand_out(sequence, open, wanted);
    }
    Ok(())
}

fn work(
    reader: &dyn DiskReader,
    recipes: &[Recipe],
    content_digest: bool,
    batch_size: usize,
    jobs: &Receiver<Job>,
    done: &Sender<Done>,
    failure: &Failure,
) {
    let mut processor = match Processor::new(reader, recipes, content_digest, batch_size) {
        Ok(processor) => processor,
        Err(error) => return failure.report(error),
    };
    for Job { sequence, offset, wanted, mut buffers } in jobs {
        if failure.stopped() {
            return;
        }
        if let Err(error) = processor.run(offset, wanted, &mut buffers) {
            return failure.report(error);
        }
        if done.send(Done { sequence, offset, buffers }).is_err() {
            return;
        }
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
struct Collector {
    virtual_size: u64,
    data_bytes: u64,
    content: Option<ContentHasher>,
    identity: Sha256,
    home: Sender<Buffers>,
}

impl Collector {
    fn new(virtual_size: u64, content_digest: bool, home: Sender<Buffers>) -> Self {
        Self {
            virtual_size,
            data_bytes: 0,
            content: content_digest.then(ContentHasher::default),
            identity: Sha256::new(),
            home,
        }
    }

    fn run(
        &mut self,
        done: &Receiver<Done>,
        outputs: &[Sender<Arc<Batch>>],
        progress: &dyn Progress,
        batch_size: u64,
        failure: &Failure,
    ) -> Result<()> {
        let mut early = BTreeMap::new();
        let (mut next, mut position) = (0, 0);
        loop {
            if progress.advance(position, self.virtual_size).is_break() {
                return Err(Error::cancelled(Operation::Convert));
            }
            match done.recv_timeout(PROGRESS_INTERVAL) {
                Ok(batch) => {
                    early.insert(batch.sequence, batch);
                }
                Err(RecvTimeoutError::Timeout) if failure.stopped() => return Ok(()),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(batch) = early.remove(&next) {
                next += 1;
                position = (batch.offset + batch_size).min(self.virtual_size);
                let batch = Batch::new(batch.offset, batch.buffers, self.home.clone());
                self.sum_up(&batch);
                let batch = Arc::new(batch);
                for output in outputs {
                    // A closed channel means that the output failed and has reported why.
                    if output.send(Arc::clone(&batch)).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if progress.advance(self.virtual_size, self.virtual_size).is_break() {
            return Err(Error::cancelled(Operation::Convert));
        }
        Ok(())
    }

    fn sum_up(&mut self, batch: &Batch) {
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

    fn finish(self) -> PassReport {
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
