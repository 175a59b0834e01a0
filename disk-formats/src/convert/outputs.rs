//! From the list of outputs to writers, through the passes, to published files.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::preflight::check_outputs;
use super::publish::publish_all;
use super::report::MachineReport;
use super::settle::settle_compression;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::output::Output;
use crate::reading::reader::DiskReader;
use crate::writing::convert_options::ConvertOptions;
use crate::writing::output_file::FinishedFile;
use crate::writing::pass::batch::BatchWriter;
use crate::writing::pass::collector::DiskReport;
use crate::writing::pass::pipeline;
use crate::writing::pipe;
use crate::writing::progress::Progress;
use crate::writing::storage::Destinations;
use crate::writing::writer::{OutputWriter, WriterContext};

/// How often whoever waits for files to be completed is asked whether to go on.
const ATTENTION_INTERVAL: Duration = Duration::from_millis(100);

/// Converts into files of `destinations`, and into streams where names say so.
pub(crate) fn convert_to(
    readers: &[&dyn DiskReader],
    outputs: &[Output],
    options: &ConvertOptions,
    progress: &dyn Progress,
    destinations: &dyn Destinations,
) -> Result<MachineReport> {
    let sizes: Vec<u64> = readers.iter().map(|reader| reader.virtual_size()).collect();
    check_outputs(readers, &sizes, outputs, options.overwrite)?;
    let outputs = &settle_compression(outputs);
    let is_measured =
        |output: &&Output| pipe::is_stream(&output.path) && !(output.kind.row().writing.is_forward)(&output.kind);
    let measured: Vec<Output> = outputs.iter().filter(is_measured).cloned().collect();
    let passes = if measured.is_empty() { 1 } else { 2 };
    let mut whole = Whole::new(progress, &sizes, passes);
    whole.attend(|| readers.iter().try_for_each(|reader| reader.refuse_overlaps(&whole.stop)))?;
    let mut corrections = BTreeMap::new();
    if passes == 2 {
        let files = pipe::Measured::default();
        let mut measuring = ConvertOptions::without_digests();
        (measuring.threads, measuring.durable) = (options.threads, false);
        run_passes(readers, &measured, &measuring, &mut whole, &files)?;
        corrections = files.into_corrections();
    }
    let destinations = pipe::StreamsAndFiles {
        files: destinations,
        corrections: Mutex::new(corrections),
        hashed: options.file_digests,
        stop: Arc::clone(&whole.stop),
    };
    let (disks, mut files) = run_passes(readers, outputs, options, &mut whole, &destinations)?;
    if progress.whole().is_break() {
        return Err(Error::cancelled(Operation::Convert));
    }
    publish_all(&mut files, options.overwrite)?;
    Ok(MachineReport { disks, files: files.into_iter().map(|file| file.report).collect() })
}

/// Makes the writers, runs a pass over each disk, and completes the files.
fn run_passes(
    readers: &[&dyn DiskReader],
    outputs: &[Output],
    options: &ConvertOptions,
    whole: &mut Whole<'_>,
    destinations: &dyn Destinations,
) -> Result<(Vec<DiskReport>, Vec<FinishedFile>)> {
    let sizes: Vec<u64> = readers.iter().map(|reader| reader.virtual_size()).collect();
    let mut context = WriterContext::new(destinations, options);
    let mut writers = whole.attend(|| {
        outputs.iter().map(|output| create_writer(output, &sizes, &mut context)).collect::<Result<Vec<_>>>()
    })?;
    let mut disks = Vec::new();
    for (index, reader) in readers.iter().enumerate() {
        for writer in &mut writers {
            writer.begin_disk(index)?;
        }
        let mut batch_writers: Vec<&mut (dyn BatchWriter + '_)> =
            writers.iter_mut().map(|writer| &mut **writer as &mut dyn BatchWriter).collect();
        let pass = pipeline::run(*reader, &mut batch_writers, &context.recipes, options, &*whole, &whole.stop)?;
        whole.before = whole.before.saturating_add(sizes[index]);
        whole.attend(|| writers.iter_mut().try_for_each(|writer| writer.end_disk(&pass)))?;
        disks.push(pass.disk);
    }
    let files = whole.attend(|| finish_all(writers))?;
    Ok((disks, files))
}

/// Progress over all disks and passes.
struct Whole<'a> {
    progress: &'a dyn Progress,
    /// Guest bytes of the disks that are done.
    before: u64,
    total: u64,
    /// Set when the conversion has failed or was cancelled: nobody needs to wait for a stream's reader any more.
    stop: Arc<AtomicBool>,
}

impl<'a> Whole<'a> {
    fn new(progress: &'a dyn Progress, sizes: &[u64], passes: u64) -> Self {
        let sum = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
        Self { progress, before: 0, total: sum.saturating_mul(passes), stop: Arc::default() }
    }

    /// Runs work that may wait for a stream's reader or for the disk, and goes on asking whether to stop.
    fn attend<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let (finished, done) = bounded(1);
        thread::scope(|scope| {
            scope.spawn(move || finished.send(work()));
            loop {
                match done.recv_timeout(ATTENTION_INTERVAL) {
                    Ok(result) => return result,
                    Err(RecvTimeoutError::Timeout) => {
                        if self.progress.advance(self.before, self.total).is_break() {
                            self.stop.store(true, Ordering::Relaxed);
                            // Streams give up now; what writes to files comes to its end.
                            let _ = done.recv();
                            return Err(Error::cancelled(Operation::Convert));
                        }
                    }
                    // The work panicked; the scope passes that on.
                    Err(RecvTimeoutError::Disconnected) => return Err(Error::cancelled(Operation::Convert)),
                }
            }
        })
    }
}

impl Progress for Whole<'_> {
    fn advance(&self, done: u64, _total: u64) -> ControlFlow<()> {
        self.progress.advance(self.before.saturating_add(done), self.total)
    }
}

fn create_writer(output: &Output, sizes: &[u64], context: &mut WriterContext<'_>) -> Result<Box<dyn OutputWriter>> {
    let (path, kind) = (&output.path, &output.kind);
    let format = kind.disk_format();
    if !format.row().writing.holds_nothing && sizes.contains(&0) {
        let rule = format!("a {format} cannot hold a disk of 0 bytes");
        return Err(Error::new(ErrorKind::InvalidInput, Operation::Create, rule).with_path(path));
    }
    (kind.row().writing.create)(path, sizes, kind, context).map_err(|error| error.with_path(path))
}

/// Completes all outputs at once: hashing and waiting for the disk overlap.
fn finish_all(writers: Vec<Box<dyn OutputWriter>>) -> Result<Vec<FinishedFile>> {
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (index, writer) in writers.into_iter().enumerate() {
            let results = &results;
            scope.spawn(move || {
                let result = writer.finish();
                results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    let mut files = Vec::new();
    for (_, result) in results {
        files.extend(result?);
    }
    Ok(files)
}
