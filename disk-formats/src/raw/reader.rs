//! Reads a raw disk and asks the file system where its holes are.

use std::ops::Range;

use crate::error::Result;
use crate::format::Format;
use crate::reading::extent::{Extent, ExtentKind, clip, clip_read};
use crate::reading::image_info::ImageInfo;
use crate::reading::map::MapEntry;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::{SeekTarget, SourceFile};

/// An opened raw disk, or a part of a file that holds one.
pub(crate) struct RawReader {
    file: SourceFile,
}

impl RawReader {
    pub(crate) fn new(file: SourceFile) -> Self {
        Self { file }
    }
}

/// Returns what `range` of a file starts with: data or a hole, and where that ends.
pub(crate) fn file_extent(file: &SourceFile, range: &Range<u64>) -> Result<Extent> {
    let extent = |end: u64, kind| {
        let end = end.clamp(range.start + 1, range.end);
        Extent { offset: range.start, len: end - range.start, kind }
    };
    // What cannot be told may all be data.
    match file.seek(SeekTarget::Data, range.start)?.unwrap_or(range.start) {
        data if data > range.start => Ok(extent(data, ExtentKind::Hole)),
        _ => Ok(extent(file.seek(SeekTarget::Hole, range.start)?.unwrap_or(range.end), ExtentKind::Data)),
    }
}

impl DiskReader for RawReader {
    fn virtual_size(&self) -> u64 {
        self.file.len()
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let Some(range) = clip(&range, self.file.len()) else { return Ok(Vec::new()) };
        Ok(vec![file_extent(&self.file, &range)?])
    }

    fn map(&self, range: Range<u64>) -> Result<Vec<MapEntry>> {
        let entry = |extent: &Extent| {
            let range = extent.offset..extent.end();
            // A hole has its place in the file as well.
            let offset = self.file.place(extent.offset);
            match extent.kind {
                ExtentKind::Data => MapEntry::data(&range, offset),
                _ => MapEntry { offset, ..MapEntry::zero(&range) },
            }
        };
        Ok(self.extents(range)?.iter().map(entry).collect())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let inside = clip_read(offset, buf, self.file.len())?;
        self.file.read_exact_at(offset, inside)
    }

    fn info(&self) -> ImageInfo {
        ImageInfo { files: vec![self.file.path().to_path_buf()], ..ImageInfo::new(Format::Raw, self.file.len()) }
    }
}
