//! What every opened image can do: say which guest ranges hold data, and read them.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::extent::{Extent, ExtentKind, clip};
use super::image_info::ImageInfo;
use super::map::{self, MapEntry};
use crate::error::Result;
use crate::format::Format;

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
