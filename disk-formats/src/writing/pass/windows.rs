//! Where the data of a disk is: the windows that a pass has to read.

use std::collections::VecDeque;

use crate::digest::CHUNK;
use crate::error::{Error, Result};
use crate::reading::extent::{Extent, ExtentKind};
use crate::reading::reader::DiskReader;

/// A part of the disk that becomes one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Counts windows from 0.
    pub(super) sequence: u64,
    /// Guest offset in bytes, a multiple of the batch size.
    pub(super) offset: u64,
    /// A bit per chunk that may hold data.
    pub(super) wanted: u64,
}

/// Finds the windows that hold data, in guest order.
pub(super) struct Windows<'a> {
    reader: &'a dyn DiskReader,
    batch_size: u64,
    sequence: u64,
    /// What the reader has told and is not yet in a window.
    extents: VecDeque<Extent>,
    /// Up to where the reader has told.
    position: u64,
}

impl<'a> Windows<'a> {
    pub(super) fn new(reader: &'a dyn DiskReader, batch_size: usize) -> Self {
        Self { reader, batch_size: batch_size as u64, sequence: 0, extents: VecDeque::new(), position: 0 }
    }

    /// Returns the next window; several extents may fall into it. `None` at the end of the disk.
    pub(super) fn next(&mut self) -> Result<Option<Window>> {
        let mut window: Option<Window> = None;
        while let Some(extent) = self.front()? {
            let start = extent.offset / self.batch_size * self.batch_size;
            if window.is_some_and(|window| window.offset != start) {
                break;
            }
            let end = extent.end().min(start + self.batch_size);
            let chunk = CHUNK as u64;
            let bits =
                ((extent.offset - start) / chunk..(end - start).div_ceil(chunk)).fold(0, |bits, at| bits | 1 << at);
            window.get_or_insert(Window { sequence: self.sequence, offset: start, wanted: 0 }).wanted |= bits;
            self.extents.pop_front();
            if end < extent.end() {
                self.extents.push_front(Extent { offset: end, len: extent.end() - end, ..extent });
            }
        }
        self.sequence += u64::from(window.is_some());
        Ok(window)
    }

    /// Returns the first extent of data that is left.
    fn front(&mut self) -> Result<Option<Extent>> {
        let size = self.reader.virtual_size();
        while self.extents.is_empty() && self.position < size {
            let extents = self.reader.extents(self.position..size)?;
            let Some(last) = extents.last() else {
                return Err(Error::corrupt("the reader reported no extent inside the disk").at(self.position));
            };
            self.position = last.end();
            self.extents.extend(extents.into_iter().filter(|extent| extent.kind == ExtentKind::Data));
        }
        Ok(self.extents.front().copied())
    }
}
