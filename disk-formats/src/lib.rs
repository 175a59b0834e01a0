//! Virtual disk formats: safe readers, streaming writers, and one pass from a disk to any number of images.
//!
//! # How the parts fit
//!
//! ```text
//!  open(path, format, policy) ─► Box<dyn DiskReader> ── extents(): Data | Zero | Hole
//!                                        │               read_at(offset, buf)
//!                                        ▼
//!  convert(reader, outputs, options, progress)
//!     scan the extents ► batches ► workers: read, find zeroes, hash, compress   (all cores, bounded memory)
//!                                     │ in guest order
//!                                     ├─► writer of output 1 ─► nameless file ─► fsync ─► published under its name
//!                                     └─► writer of output 2 ─► …
//!     ─► Report { content digest, every file's size and SHA-256 }
//! ```
//!
//! # What lies on what
//!
//! Files import from below only; `tests/it/layers.rs` of the project holds it.
//!
//! ```text
//! open, check, create, convert        what callers ask for
//! recognise, take_out                 which format, and what it is packed in
//! formats                             the table of formats, a row for each
//! package                             machines: OVF, OVA, VMX, read and written, and the archives that disks come in
//! raw qcow2 vmdk vdi vhd vhdx         a folder for each format: its reader, writer and check
//! writing                             the pass that feeds writers, files without a name, streams, digests
//! reading, deflate                    what readers share: files, chains of images, extents, findings
//! format_row, format_options, output   what a row holds: names, options, limits, reader and writer
//! format, machine, error              the words that all of them use
//! ```
//!
//! # Error model
//!
//! Every fallible function returns [`Error`]: one type with a [`ErrorKind`] to branch on, the operation, the path and the offset
//! in the file where a rule was broken, and where possible a hint. Bytes from outside never panic.
//!
//! # Trust
//!
//! An image may name other files (backing file, extents, parents). None is opened unless the [`OpenPolicy`] allows it, and
//! detecting a format never opens a second file.
//!
//! # Reproducible output
//!
//! Identifiers and times inside written files are derived from the content or are constants; the bytes do not depend on the
//! number of threads.

mod check;
mod compare;
pub mod convert;
mod create;
mod deflate;
mod digest;
mod error;
mod foreign;
mod format;
mod format_options;
mod format_row;
mod formats;
mod machine;
pub mod media;
mod open;
mod output;
mod output_options;
pub mod package;
mod qcow2;
mod raw;
mod reading;
mod recognise;
mod take_out;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;
mod writing;
mod zeroes;

pub use check::{check, check_with};
pub use compare::{Comparison, compare};
pub use convert::{ConvertOptions, FileReport, NoProgress, Progress, Report, content_digest, convert, convert_disks};
pub use create::{create_overlay, create_qcow2, create_raw, create_vdi, resize};
pub use digest::{ContentDigest, Sha256Digest};
pub use error::{Error, ErrorKind, Operation, Result};
pub use format::Format;
pub use format_options::{FormatOptions, OptionError, choice};
pub use format_row::{ExportRow, FormatRow, LimitRow, OptionRow, OutputWishes};
pub use formats::{EXPORT_WORDS, FORMATS, export_named, format_named};
pub use open::{archived_disks, detect, image_info, open, package_facts, packaged_machine, snapshots};
pub use output::{Output, OutputKind};
pub use output_options::{Compression, DiskAdapter, Qcow2Method, Qcow2Options, VhdVariant, VmdkOptions, VmdkSubformat};
pub use reading::backing_name::BackingFile;
pub use reading::check_report::{CheckReport, Finding, FindingKind};
pub use reading::extent::{Extent, ExtentKind};
pub use reading::format_facts::{FormatFacts, Qcow2Facts, Snapshot, VmdkExtentFacts, VmdkFacts};
pub use reading::image_info::ImageInfo;
pub use reading::map::MapEntry;
pub use reading::open_policy::{BackingPolicy, OpenPolicy};
pub use reading::packed::unpack_file;
pub use reading::reader::DiskReader;
pub use writing::file_digest::DigestAlgorithm;
pub use writing::pipe::is_stream;
pub use writing::storage::unfinished_name;
