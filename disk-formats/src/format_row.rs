//! One row of the table of formats ([`crate::formats`]): all that is known of a format, and what reads and writes it.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::Format;
use crate::format_options::{OptionError, OutputValues};
use crate::machine::MachineDescription;
use crate::output::OutputKind;
use crate::output_options::DiskAdapter;
use crate::reading::check_report::CheckReport;
use crate::reading::format_facts::Snapshot;
use crate::reading::image_info::ImageInfo;
use crate::reading::opening::Opening;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Bytes at the front of a file that are looked at for a signature.
pub(crate) const PROBE: usize = 512;

/// A format of disks, or of packages that hold a machine with its disks.
#[derive(Debug)]
#[non_exhaustive]
pub struct FormatRow {
    /// The names that users type, which are suffixes too; the usual one is the first.
    pub names: &'static [&'static str],
    /// qemu-img's name for it; `None` where qemu-img does not know it.
    pub qemu_name: Option<&'static str>,
    /// What it is, in some words.
    pub about: &'static str,
    /// The format of the disk, or of the disks in a package.
    pub disks: Format,
    /// Whether it holds a machine, with any number of disks.
    pub is_package: bool,
    /// What can be chosen when it is written.
    pub options: &'static [OptionRow],
    /// The words for it in templates, each with what it presets.
    pub exports: &'static [ExportRow],
    /// The largest disks that it holds.
    pub limits: &'static [LimitRow],
    /// What reads it; packages are read disk by disk.
    pub(crate) reading: Option<Reading>,
    /// What writes it.
    pub(crate) writing: Writing,
}

/// An option of a format.
#[derive(Debug)]
#[non_exhaustive]
pub struct OptionRow {
    /// Its name.
    pub name: &'static str,
    /// The words that it takes, with `|` between them, or in capitals what kind of value it takes.
    pub values: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// A word for a format in a template: of the export post-processor, and of a builder's `format`.
#[derive(Debug)]
#[non_exhaustive]
pub struct ExportRow {
    /// The word.
    pub word: &'static str,
    /// What follows the name of the machine in the name of the file.
    pub ending: &'static str,
    /// What is chosen where the template does not say it.
    pub presets: &'static [(&'static str, &'static str)],
}

/// The largest disk.
#[derive(Debug)]
#[non_exhaustive]
pub struct LimitRow {
    /// The choices for which it holds.
    pub options: &'static [(&'static str, &'static str)],
    /// Largest disk in bytes.
    pub largest: u64,
    /// The same in words, with what else is limited.
    pub words: &'static str,
    /// Why.
    pub why: &'static str,
}

/// What is said of an output by other means than its format's options.
#[derive(Debug, Clone, Copy)]
pub struct OutputWishes<'a> {
    /// The machine for packages.
    pub machine: &'a MachineDescription,
    /// The controller that a VMDK's descriptor names.
    pub adapter: DiskAdapter,
    /// Compresses formats that can be compressed or not.
    pub compress: bool,
}

/// Opens a disk, or a snapshot inside it.
pub(crate) type OpenDisk = fn(SourceFile, Option<&str>, &Opening<'_>) -> Result<Box<dyn DiskReader>>;
/// Checks the structure of a disk.
pub(crate) type CheckDisk = fn(&SourceFile, &Opening<'_>) -> Result<CheckReport>;
/// Lists the snapshots inside a disk.
pub(crate) type ListSnapshots = fn(&SourceFile) -> Result<Vec<Snapshot>>;
/// Reads the options of an output.
pub(crate) type ReadOptions = fn(&mut OutputValues<'_, '_>, &OutputWishes<'_>) -> Result<OutputKind, OptionError>;
/// Begins an output for disks of these sizes.
pub(crate) type CreateOutput = fn(&Path, &[u64], &OutputKind, &mut WriterContext<'_>) -> Result<Box<dyn OutputWriter>>;

/// What reads a format.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Says whether a file has its signature; the front is padded with zeroes.
    pub(crate) recognise: fn(front: &[u8; PROBE], file: &SourceFile) -> Result<bool>,
    /// Opens a disk; the snapshot is one of [`Reading::snapshots`].
    pub(crate) open: OpenDisk,
    /// Checks its structure, where it has one.
    pub(crate) check: Option<CheckDisk>,
    /// Facts that are told of disks which cannot be opened, such as encrypted ones.
    pub(crate) info: Option<fn(file: &SourceFile) -> Result<ImageInfo>>,
    /// Lists the snapshots inside, where the format has any.
    pub(crate) snapshots: Option<ListSnapshots>,
    /// Grows a disk in place, where that is possible.
    pub(crate) resize: Option<fn(path: &Path, size: u64) -> Result<()>>,
}

/// What writes a format.
#[derive(Debug)]
pub(crate) struct Writing {
    /// Reads the options.
    pub(crate) kind: ReadOptions,
    /// Begins an output for disks of these sizes.
    pub(crate) create: CreateOutput,
    /// Names all files that an output makes, main file first.
    pub(crate) file_names: fn(path: &Path, sizes: &[u64], kind: &OutputKind) -> Vec<PathBuf>,
    /// What to write instead where one stream is wanted and this makes several files.
    pub(crate) instead_of_stream: &'static str,
    /// Says whether the writer never goes back in its file.
    pub(crate) is_forward: fn(kind: &OutputKind) -> bool,
    /// Whether a disk of 0 bytes can be held.
    pub(crate) holds_nothing: bool,
    /// Says what is wrong with a correct image of this many bytes for where such images usually go.
    pub(crate) doubts: fn(size: u64) -> Option<String>,
}

impl Writing {
    /// What most formats have in common: one file, with tables in front that are written last.
    pub(crate) const fn one_file(kind: ReadOptions, create: CreateOutput) -> Self {
        Self {
            kind,
            create,
            file_names: |path, _, _| vec![path.to_path_buf()],
            instead_of_stream: "",
            is_forward: |_| false,
            holds_nothing: true,
            doubts: |_| None,
        }
    }
}

/// Returns the size of the only disk.
pub(crate) fn only_size(sizes: &[u64]) -> Result<u64> {
    match sizes {
        [size] => Ok(*size),
        _ => Err(Error::new(ErrorKind::InvalidInput, Operation::Convert, "this format holds exactly one disk")),
    }
}

/// Boxes a writer.
pub(crate) fn boxed<W: OutputWriter + 'static>(writer: W) -> Box<dyn OutputWriter> {
    Box::new(writer)
}

/// A writer was handed the options of another format: the table is wrong.
pub(crate) fn wrong_kind() -> Error {
    Error::new(ErrorKind::InvalidInput, Operation::Create, "these are the options of another format")
}
