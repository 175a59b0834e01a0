//! The one way in: from a path, a format and a policy to a reader.

use std::path::Path;

use crate::error::{Operation, Result};
use crate::foreign;
use crate::format::Format;
use crate::formats::AllFormats;
use crate::package;
use crate::package::archive::ArchivedDisk;
use crate::reading::format_facts::Snapshot;
use crate::reading::image_info::ImageInfo;
use crate::reading::open_policy::{DEFAULT_MAX_UNPACKED_SIZE, OpenPolicy};
use crate::reading::opening::Opening;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;
use crate::recognise::{format_of, told_format};
use crate::take_out::{bare_archive, is_named_packed, take_out, take_out_first};

/// Opens an image for reading.
///
/// With `format` absent the signature decides (see [`crate::detect`]); give it whenever it is known. Of an OVA, the only disk, or
/// that which [`OpenPolicy::archived_disk`] chooses, is opened in place, without unpacking. An image packed with gzip, xz, bzip2 or zstd is unpacked into a nameless file first;
/// only this image, never one that it names.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or needs what the policy does not allow.
pub fn open(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<Box<dyn DiskReader>> {
    let opening = Opening::new(policy, &AllFormats);
    let file = open_first(path, format, policy);
    let reader = file.and_then(|file| {
        let format = format.map_or_else(|| told_format(&file), Ok)?;
        opening.open_file(file, format)
    });
    reader.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Opens a file and takes the image out of what it is packed in.
pub(crate) fn open_first(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<SourceFile> {
    SourceFile::open(path).and_then(|file| match format {
        // The caller says that these bytes are the disk, unless the name says otherwise.
        Some(Format::Raw) if !is_named_packed(path) => Ok(file),
        _ => take_out(file, policy.max_unpacked_size, policy.archived_disk.as_deref()),
    })
}

/// Returns facts about one image: as [`open`], but what lies below it is not opened and may be missing, and it may be encrypted.
/// Extents, which are parts of the image itself, are opened.
///
/// # Errors
/// When the file cannot be read, breaks its format's rules, or has extents that the policy does not allow.
pub fn image_info(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<ImageInfo> {
    let opening = Opening::new(policy, &AllFormats).alone();
    let info = open_first(path, format, policy).and_then(|file| {
        let format = format.map_or_else(|| told_format(&file), Ok)?;
        match format.row().reading.as_ref().and_then(|reading| reading.info) {
            Some(info) => info(&file),
            None => Ok(opening.open_file(file, format)?.info()),
        }
    });
    info.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Recognises the format of a file by its signature, opening no other file; a file without a signature is [`Format::Raw`].
///
/// A guest can write a signature into its own raw disk, so pass the format to [`crate::open`] whenever it is known.
/// Of a packed image (gzip, xz, bzip2, zstd) the front is looked at, so that a packed fixed VHD, which is told by its end, counts as raw.
///
/// # Errors
/// When the file cannot be opened or read, or is not a regular file or block device.
pub fn detect(path: &Path) -> Result<Format> {
    let file = SourceFile::open(path).and_then(|file| take_out_first(file, DEFAULT_MAX_UNPACKED_SIZE));
    let format = file.and_then(|file| match format_of(&file)? {
        Format::Raw => foreign::refuse(&file).map(|()| Format::Raw),
        format => Ok(format),
    });
    format.map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Lists the disks of an archive (OVA, box, tar; also packed) by the names of their files there; empty for a file that is none.
///
/// # Errors
/// When the file cannot be read, or is an archive without a disk.
pub fn archived_disks(path: &Path) -> Result<Vec<String>> {
    let listed = bare(path).and_then(|file| package::archived_disks(&file));
    let names =
        |disks: Option<Vec<ArchivedDisk>>| disks.unwrap_or_default().into_iter().map(|disk| disk.name).collect();
    listed.map(names).map_err(|error| error.with_path(path).during(Operation::Open))
}

/// Describes the machines and disks of an archive with an OVF descriptor (an OVA, or VirtualBox's box); `None` for another file.
///
/// # Errors
/// When the file cannot be read, or its descriptor is damaged.
pub fn package_facts(path: &Path) -> Result<Option<package::PackageFacts>> {
    let facts = bare(path).and_then(|file| package::package_facts(&file));
    facts.map_err(|error| error.with_path(path).during(Operation::Open))
}

fn bare(path: &Path) -> Result<SourceFile> {
    SourceFile::open(path).and_then(|file| bare_archive(file, DEFAULT_MAX_UNPACKED_SIZE))
}

/// Lists the internal snapshots of an image; only qcow2 has any.
///
/// # Errors
/// When the file cannot be read or its snapshot table is damaged.
pub fn snapshots(path: &Path, format: Option<Format>) -> Result<Vec<Snapshot>> {
    let listed = SourceFile::open(path).and_then(|file| {
        let format = format.map_or_else(|| told_format(&file), Ok)?;
        let list = format.row().reading.as_ref().and_then(|reading| reading.snapshots);
        list.map_or_else(|| Ok(Vec::new()), |list| list(&file))
    });
    listed.map_err(|error| error.with_path(path).during(Operation::Read))
}
