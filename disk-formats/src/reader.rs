//! What every opened image can do: say which guest ranges hold data, and read them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use crate::format_facts::FormatFacts;
use crate::map::{self, MapEntry};
use crate::{BackingFile, Error, ErrorKind, Format, Operation, Result, Snapshot};

/// What a run of guest bytes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtentKind {
    /// Stored bytes; they may still all be zero.
    Data,
    /// Recorded as zeroes; reads as zeroes whatever is below it.
    Zero,
    /// Not allocated anywhere in the chain; reads as zeroes.
    Hole,
}

/// A run of guest bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Guest offset in bytes.
    pub offset: u64,
    /// Length in bytes; never 0.
    pub len: u64,
    /// What the run holds.
    pub kind: ExtentKind,
}

impl Extent {
    /// Returns the guest offset just after the run.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// Facts about an opened image that need no walk over its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageInfo {
    /// The image's format.
    pub format: Format,
    /// A word for the variant: `v3`, `streamOptimized`, `dynamic`; empty when the format has none.
    pub variant: String,
    /// Size of the guest disk in bytes.
    pub virtual_size: u64,
    /// Unit of allocation in bytes, when the format has one.
    pub cluster_size: Option<u64>,
    /// The file named as backing file or parent, as written in the image; it may not exist.
    pub backing_file: Option<String>,
    /// The recorded format of that file, as written in the image.
    pub backing_format: Option<String>,
    /// Whether the image says that it was not closed properly.
    pub dirty: bool,
    /// Whether the guest's bytes are encrypted.
    pub encrypted: bool,
    /// Internal snapshots; [`crate::image_info`] lists them, an opened reader does not.
    pub snapshots: Vec<Snapshot>,
    /// What only this format has.
    pub specific: Option<FormatFacts>,
    /// The files that were opened to read this image, itself first.
    pub files: Vec<PathBuf>,
}

impl ImageInfo {
    /// Returns the facts about a disk without variant, clusters or files.
    #[must_use]
    pub fn new(format: Format, virtual_size: u64) -> Self {
        Self {
            format,
            variant: String::new(),
            virtual_size,
            cluster_size: None,
            backing_file: None,
            backing_format: None,
            dirty: false,
            encrypted: false,
            snapshots: Vec::new(),
            specific: None,
            files: Vec::new(),
        }
    }

    /// Returns the file below this image as it is opened; `None` without one, or when its name is not one of a local file.
    #[must_use]
    pub fn backing(&self) -> Option<BackingFile> {
        BackingFile::named(self.backing_file.as_deref()?, self.backing_format.as_deref()).ok()
    }
}

/// An opened disk image.
///
/// # Contract
/// - Readers never write, and never panic whatever the file holds.
/// - `extents` covers exactly the part of the asked range that lies inside the disk: ascending, without gaps or overlaps,
///   neighbours may have the same kind. It may return less than asked (so that one call stays cheap), but at least one
///   extent while the range starts inside the disk.
/// - `read_at` fills the whole buffer; bytes at or after `virtual_size` read as zeroes.
/// - All methods may be called from several threads at once.
pub trait DiskReader: Send + Sync {
    /// Returns the size of the guest disk in bytes.
    fn virtual_size(&self) -> u64;

    /// Returns what the front part of `range` (guest bytes) holds; see the contract.
    ///
    /// # Errors
    /// When the image's tables are damaged or cannot be read.
    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>>;

    /// Reads guest bytes at `offset` into the whole of `buf`.
    ///
    /// # Errors
    /// When the image is damaged or cannot be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Returns facts about the image.
    fn info(&self) -> ImageInfo;

    /// Returns where the front part of `range` lies in the files; as [`DiskReader::extents`] in everything else.
    ///
    /// # Errors
    /// When the image's tables are damaged or cannot be read.
    fn map(&self, range: Range<u64>) -> Result<Vec<MapEntry>> {
        Ok(self.extents(range)?.iter().map(map::from_extent).collect())
    }

    /// Fails when tables of the image, or of one below it, give one place of a file to two things. Converting asks this first:
    /// such an image is damaged, and which of the two is right cannot be seen from its bytes. Ends early once `stop` is set.
    ///
    /// # Errors
    /// When something overlaps, or tables cannot be read.
    fn refuse_overlaps(&self, stop: &AtomicBool) -> Result<()> {
        let _ = stop;
        Ok(())
    }
}

/// Checks the asked range against the disk and clips it; `None` when nothing of it lies inside.
pub(crate) fn clip(range: &Range<u64>, virtual_size: u64) -> Option<Range<u64>> {
    let end = range.end.min(virtual_size);
    (range.start < end).then_some(range.start..end)
}

/// Splits a read at the end of the disk: zero-fills what lies behind it and returns the part to be read.
pub(crate) fn clip_read(offset: u64, buf: &mut [u8], virtual_size: u64) -> Result<&mut [u8]> {
    let end = offset
        .checked_add(buf.len() as u64)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, Operation::Read, "the range is past the largest offset"))?;
    if end <= virtual_size {
        return Ok(buf);
    }
    let inside = usize::try_from(virtual_size.saturating_sub(offset)).unwrap_or(buf.len()).min(buf.len());
    let (inside, outside) = buf.split_at_mut(inside);
    outside.fill(0);
    Ok(inside)
}

/// Appends an extent, joining it to the last one when both are of one kind.
pub(crate) fn push_extent(extents: &mut Vec<Extent>, extent: Extent) {
    if extent.len == 0 {
        return;
    }
    match extents.last_mut() {
        Some(last) if last.kind == extent.kind && last.end() == extent.offset => last.len += extent.len,
        _ => extents.push(extent),
    }
}

/// A disk of zeroes that has no file; empty images are made by converting it.
pub(crate) struct ZeroDisk {
    size: u64,
}

impl ZeroDisk {
    pub(crate) fn new(size: u64) -> Self {
        Self { size }
    }
}

impl DiskReader for ZeroDisk {
    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        Ok(clip(&range, self.size)
            .map(|range| Extent { offset: range.start, len: range.end - range.start, kind: ExtentKind::Hole })
            .into_iter()
            .collect())
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        ImageInfo::new(Format::Raw, self.size)
    }
}
