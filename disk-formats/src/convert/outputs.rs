//! From the list of outputs to writers, through the passes, to published files. Only this file knows every writer.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use super::batch::Recipe;
use super::pipeline::{self, BatchWriter, PassReport};
use super::{ConvertOptions, MachineReport, Progress};
use crate::output_file::{FileOptions, FinishedFile, OutputFile};
use crate::package::{OvaWriter, OvfWriter, VmxWriter};
use crate::qcow2::Qcow2Writer;
use crate::raw::RawWriter;
use crate::storage::Destinations;
use crate::vdi::VdiWriter;
use crate::vhd::{DynamicVhdWriter, FixedVhdWriter};
use crate::vhdx::VhdxWriter;
use crate::vmdk::{SparseVmdkWriter, SplitVmdkWriter, StreamVmdkFile};
use crate::{DiskReader, Error, ErrorKind, Operation, Output, OutputKind, Result, VhdVariant, VmdkSubformat};

/// Writes one output: an image, or a package of several.
pub(crate) trait OutputWriter: BatchWriter {
    /// Called before the batches of disk `index`.
    fn begin_disk(&mut self, index: usize) -> Result<()> {
        let _ = index;
        Ok(())
    }

    /// Called after the last batch of a disk.
    fn end_disk(&mut self, pass: &PassReport) -> Result<()>;

    /// Completes the files, main file first. They get their names from the caller.
    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>>;
}

/// What writers are made with.
pub(crate) struct WriterContext<'a> {
    destinations: &'a dyn Destinations,
    hashed: bool,
    durable: bool,
    recipes: Vec<Recipe>,
}

impl<'a> WriterContext<'a> {
    pub(crate) fn new(destinations: &'a dyn Destinations, options: &ConvertOptions) -> Self {
        Self { destinations, hashed: options.file_digests, durable: options.durable, recipes: Vec::new() }
    }

    /// Makes a file, hashed if the caller wants hashes. `corrected`: see [`FileOptions`].
    pub(crate) fn create(&self, path: &Path, corrected: bool) -> Result<OutputFile> {
        let options = FileOptions { hashed: self.hashed, corrected, durable: self.durable };
        OutputFile::create(self.destinations, path, options)
    }

    /// Returns the index under which batches carry this recipe's results.
    pub(crate) fn recipe(&mut self, recipe: Recipe) -> usize {
        self.recipes.iter().position(|known| *known == recipe).unwrap_or_else(|| {
            self.recipes.push(recipe);
            self.recipes.len() - 1
        })
    }
}

/// Converts into files of `destinations`.
pub(crate) fn convert_to(
    readers: &[&dyn DiskReader],
    outputs: &[Output],
    options: &ConvertOptions,
    progress: &dyn Progress,
    destinations: &dyn Destinations,
) -> Result<MachineReport> {
    let sizes: Vec<u64> = readers.iter().map(|reader| reader.virtual_size()).collect();
    check_outputs(readers, &sizes, outputs, options.overwrite)?;
    let mut context = WriterContext::new(destinations, options);
    let mut writers =
        outputs.iter().map(|output| create_writer(output, &sizes, &mut context)).collect::<Result<Vec<_>>>()?;

    let mut disks = Vec::new();
    let total = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    let mut before = 0;
    for (index, reader) in readers.iter().enumerate() {
        for writer in &mut writers {
            writer.begin_disk(index)?;
        }
        let mut batch_writers: Vec<&mut (dyn BatchWriter + '_)> =
            writers.iter_mut().map(|writer| &mut **writer as &mut dyn BatchWriter).collect();
        let part = PartProgress { whole: progress, before, total };
        let pass = pipeline::run(*reader, &mut batch_writers, &context.recipes, options, &part)?;
        for writer in &mut writers {
            writer.end_disk(&pass)?;
        }
        before = before.saturating_add(sizes[index]);
        disks.push(pass.disk);
    }
    let mut files = finish_all(writers)?;
    publish_all(&mut files, options.overwrite)?;
    Ok(MachineReport { disks, files: files.into_iter().map(|file| file.report).collect() })
}

/// Completes and publishes an image without any data.
pub(crate) fn write_empty(writer: impl OutputWriter + 'static, virtual_size: u64) -> Result<()> {
    let mut writer: Box<dyn OutputWriter> = Box::new(writer);
    writer.end_disk(&PassReport::empty(virtual_size))?;
    publish_all(&mut writer.finish()?, false)
}

/// Progress of one disk as part of the progress of all.
struct PartProgress<'a> {
    whole: &'a dyn Progress,
    before: u64,
    total: u64,
}

impl Progress for PartProgress<'_> {
    fn advance(&self, done: u64, _total: u64) -> ControlFlow<()> {
        self.whole.advance(self.before.saturating_add(done), self.total)
    }
}

fn create_writer(output: &Output, sizes: &[u64], context: &mut WriterContext<'_>) -> Result<Box<dyn OutputWriter>> {
    let path = &output.path;
    let single = || match sizes {
        [size] => Ok(*size),
        _ => Err(Error::new(ErrorKind::InvalidInput, Operation::Convert, "this format holds exactly one disk")),
    };
    let writer = match &output.kind {
        OutputKind::Raw => RawWriter::create(path, single()?, context).map(boxed),
        OutputKind::Qcow2(options) => Qcow2Writer::create(path, single()?, options, None, context).map(boxed),
        OutputKind::Vmdk(options) => match options.subformat {
            VmdkSubformat::MonolithicSparse => SparseVmdkWriter::create(path, single()?, options, context).map(boxed),
            VmdkSubformat::StreamOptimized => StreamVmdkFile::create(path, single()?, options, context).map(boxed),
            _ => SplitVmdkWriter::create(path, single()?, options, context).map(boxed),
        },
        OutputKind::Vdi => VdiWriter::create(path, single()?, context).map(boxed),
        OutputKind::Vhd(VhdVariant::Dynamic) => DynamicVhdWriter::create(path, single()?, context).map(boxed),
        OutputKind::Vhd(VhdVariant::Fixed) => FixedVhdWriter::create(path, single()?, context).map(boxed),
        OutputKind::Vhdx => VhdxWriter::create(path, single()?, context).map(boxed),
        OutputKind::Ovf(machine) => OvfWriter::create(path, sizes, machine, context).map(boxed),
        OutputKind::Ova(machine) => OvaWriter::create(path, sizes, machine, context).map(boxed),
        OutputKind::Vmx(machine) => VmxWriter::create(path, sizes, machine, context).map(boxed),
    };
    writer.map_err(|error| error.with_path(path))
}

fn boxed<W: OutputWriter + 'static>(writer: W) -> Box<dyn OutputWriter> {
    Box::new(writer)
}

/// Returns the names of all files that an output will make, main file first.
fn file_names(output: &Output, sizes: &[u64]) -> Vec<PathBuf> {
    match &output.kind {
        OutputKind::Ovf(machine) => crate::package::ovf_file_names(&output.path, machine, sizes.len()),
        OutputKind::Vmx(machine) => crate::package::vmx_file_names(&output.path, machine, sizes.len()),
        OutputKind::Vmdk(options) => {
            crate::vmdk::split_file_names(&output.path, sizes.first().copied().unwrap_or(0), options.subformat)
        }
        _ => vec![output.path.clone()],
    }
}

/// Refuses outputs that collide with each other, with a source, or with files that must not be replaced, before any work.
fn check_outputs(readers: &[&dyn DiskReader], sizes: &[u64], outputs: &[Output], overwrite: bool) -> Result<()> {
    let identity = |path: &Path| path.metadata().ok().map(|data| (data.dev(), data.ino()));
    let sources: HashSet<_> =
        readers.iter().flat_map(|reader| reader.info().files).filter_map(|path| identity(&path)).collect();
    let mut names = HashSet::new();
    for path in outputs.iter().flat_map(|output| file_names(output, sizes)) {
        let fail = |kind, rule: &'static str| Err(Error::new(kind, Operation::Create, rule).with_path(&path));
        if path.file_name().is_none() {
            return fail(ErrorKind::InvalidInput, "the output has no file name");
        }
        if !names.insert(path.clone()) {
            return fail(ErrorKind::InvalidInput, "two outputs have the same name");
        }
        let Ok(existing) = path.symlink_metadata() else { continue };
        if identity(&path).is_some_and(|identity| sources.contains(&identity)) {
            return fail(ErrorKind::DestinationIsSource, "the destination is also a source");
        }
        if existing.is_dir() {
            return fail(ErrorKind::AlreadyExists, "a directory of this name exists");
        }
        if !overwrite {
            return fail(ErrorKind::AlreadyExists, "the file exists already");
        }
    }
    Ok(())
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

/// Gives all files their names; takes the new names away again when one of them cannot be given.
fn publish_all(files: &mut [FinishedFile], overwrite: bool) -> Result<()> {
    for index in 0..files.len() {
        if let Err(error) = files[index].publish(overwrite) {
            // What an overwritten file held is gone in any case; removing its successor would help nobody.
            if !overwrite {
                for file in &files[..index] {
                    let _ = std::fs::remove_file(&file.report.path);
                }
            }
            return Err(error);
        }
    }
    Ok(())
}
