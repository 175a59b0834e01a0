//! Comparing what two guests would see.

use std::ops::ControlFlow;

use crate::{DiskReader, Error, ExtentKind, Operation, Progress, Result};

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
    let mut offset = 0;
    while offset < size {
        if let ControlFlow::Break(()) = progress.advance(offset, size) {
            return Err(Error::cancelled(Operation::Read));
        }
        let empty = empty_run(a, offset, size)?.min(empty_run(b, offset, size)?);
        if empty > 0 {
            offset += empty;
            continue;
        }
        let len = PIECE.min(size - offset) as usize;
        a.read_at(offset, &mut left[..len])?;
        b.read_at(offset, &mut right[..len])?;
        if let Some(place) = left[..len].iter().zip(&right[..len]).position(|(a, b)| a != b) {
            return Ok(Comparison { first_difference: Some(offset + place as u64), same_size });
        }
        offset += len as u64;
    }
    Ok(Comparison { first_difference: None, same_size })
}

/// Returns for how many bytes from `offset` on there is surely nothing but zeroes.
fn empty_run(disk: &dyn DiskReader, offset: u64, size: u64) -> Result<u64> {
    if offset >= disk.virtual_size() {
        return Ok(size - offset);
    }
    let extents = disk.extents(offset..size)?;
    Ok(extents.iter().take_while(|extent| extent.kind != ExtentKind::Data).map(|extent| extent.len).sum())
}
