//! Comparing what two guests would see.

use std::ops::ControlFlow;

use crate::error::{Error, Operation, Result};
use crate::reading::extent::{Extent, ExtentKind};
use crate::reading::reader::DiskReader;
use crate::writing::progress::Progress;

/// Bytes compared at once.
const PIECE: u64 = 1 << 20;

/// The outcome of comparing two disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// Offset of the first guest byte that differs; bytes behind a disk's end count as zero.
    pub first_difference: Option<u64>,
    /// Both disks have the same size.
    pub same_size: bool,
}

impl Comparison {
    /// Says whether size and content are equal.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.same_size && self.first_difference.is_none()
    }
}

/// Compares two disks byte by byte, in any formats; stretches that both store as zeroes are not read.
///
/// # Errors
/// When a reader fails or `progress` says stop.
pub fn compare(a: &dyn DiskReader, b: &dyn DiskReader, progress: &dyn Progress) -> Result<Comparison> {
    let size = a.virtual_size().max(b.virtual_size());
    let same_size = a.virtual_size() == b.virtual_size();
    let (mut left, mut right) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let (mut runs_a, mut runs_b) = (Runs::of(a), Runs::of(b));
    let mut offset = 0;
    while offset < size {
        if let ControlFlow::Break(()) = progress.advance(offset, size) {
            return Err(Error::cancelled(Operation::Read));
        }
        let empty = runs_a.empty(offset, size)?.min(runs_b.empty(offset, size)?);
        if empty > 0 {
            offset += empty;
            continue;
        }
        let len = PIECE.min(size - offset) as usize;
        a.read_at(offset, &mut left[..len])?;
        b.read_at(offset, &mut right[..len])?;
        // Whole slices compare many times as fast as bytes.
        if left[..len] != right[..len]
            && let Some(place) = left[..len].iter().zip(&right[..len]).position(|(a, b)| a != b)
        {
            return Ok(Comparison { first_difference: Some(offset + place as u64), same_size });
        }
        offset += len as u64;
    }
    Ok(Comparison { first_difference: None, same_size })
}

/// A disk's extents, asked for only where the last answer ends: an answer can be long and reaches far.
struct Runs<'a> {
    disk: &'a dyn DiskReader,
    known: std::vec::IntoIter<Extent>,
}

impl<'a> Runs<'a> {
    fn of(disk: &'a dyn DiskReader) -> Self {
        Self { disk, known: Vec::new().into_iter() }
    }

    /// Returns for how many bytes from `offset` on, which never goes back, there is surely nothing but zeroes.
    fn empty(&mut self, offset: u64, size: u64) -> Result<u64> {
        if offset >= self.disk.virtual_size() {
            return Ok(size - offset);
        }
        while self.known.as_slice().first().is_some_and(|extent| extent.end() <= offset) {
            self.known.next();
        }
        if self.known.as_slice().is_empty() {
            self.known = self.disk.extents(offset..size)?.into_iter();
        }
        let empty = self.known.as_slice().iter().take_while(|extent| extent.kind != ExtentKind::Data).last();
        Ok(empty.map_or(0, |extent| extent.end() - offset))
    }
}
