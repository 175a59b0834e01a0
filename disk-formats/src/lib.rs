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

mod ascending_table;
mod backing_name;
mod blocks;
mod cache;
mod check;
mod compare;
pub mod convert;
mod create;
mod deflate;
mod digest;
mod error;
mod file_digest;
mod foreign;
mod format;
mod format_facts;
mod map;
mod mapping;
pub mod media;
mod open;
mod output;
mod output_file;
pub mod package;
mod packed;
mod paged_table;
mod pipe;
mod qcow2;
mod raw;
mod reader;
mod recognise;
mod source_file;
mod storage;
mod take_out;
mod temporary_file;
#[cfg(test)]
mod testing;
mod used_space;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use backing_name::BackingFile;
pub use check::{CheckReport, Finding, FindingKind, check, check_with};
pub use compare::{Comparison, compare};
pub use convert::{ConvertOptions, FileReport, NoProgress, Progress, Report, content_digest, convert, convert_disks};
pub use create::{create_overlay, create_qcow2, create_raw, resize};
pub use digest::{ContentDigest, Sha256Digest};
pub use error::{Error, ErrorKind, Operation, Result};
pub use file_digest::DigestAlgorithm;
pub use format::{Format, detect};
pub use format_facts::{FormatFacts, Qcow2Facts, VmdkExtentFacts, VmdkFacts};
pub use map::MapEntry;
pub use open::{BackingPolicy, OpenPolicy, archived_disks, image_info, open, package_facts, snapshots};
pub use output::{
    Compression, DiskAdapter, Output, OutputKind, Qcow2Method, Qcow2Options, VhdVariant, VmdkOptions, VmdkSubformat,
};
pub use packed::unpack_file;
pub use pipe::is_stream;
pub use qcow2::Snapshot;
pub use reader::{DiskReader, Extent, ExtentKind, ImageInfo};
