//! A table in front of the data whose entries become known in ascending order: written in pages, never held whole.

use super::output_file::OutputFile;
use crate::error::Result;

/// Bytes gathered before they are written.
const PAGE: usize = 64 * 1024;

/// A table of entries of `N` bytes.
pub(crate) struct AscendingTable<const N: usize> {
    offset: u64,
    entries: u64,
    /// What entries hold that are never set.
    unset: [u8; N],
    /// Entries known so far.
    next: u64,
    page: Vec<u8>,
}

impl<const N: usize> AscendingTable<N> {
    /// Describes a table of `entries` at `offset`, where the file already has room.
    pub(crate) fn new(offset: u64, entries: u64, unset: [u8; N]) -> Self {
        Self { offset, entries, unset, next: 0, page: Vec::new() }
    }

    /// Sets an entry; the index must be larger than all before.
    pub(crate) fn set(&mut self, file: &mut OutputFile, index: u64, entry: [u8; N]) -> Result<()> {
        debug_assert!(index >= self.next && index < self.entries);
        self.skip_to(file, index)?;
        self.push(file, entry)
    }

    /// Writes the rest of the table.
    pub(crate) fn finish(&mut self, file: &mut OutputFile) -> Result<()> {
        self.skip_to(file, self.entries)?;
        self.flush(file)
    }

    fn skip_to(&mut self, file: &mut OutputFile, index: u64) -> Result<()> {
        if self.unset == [0; N] && index > self.next {
            // The room is a hole already.
            self.flush(file)?;
            self.next = index;
        }
        while self.next < index {
            self.push(file, self.unset)?;
        }
        Ok(())
    }

    fn push(&mut self, file: &mut OutputFile, entry: [u8; N]) -> Result<()> {
        self.page.extend_from_slice(&entry);
        self.next += 1;
        if self.page.len() >= PAGE { self.flush(file) } else { Ok(()) }
    }

    fn flush(&mut self, file: &mut OutputFile) -> Result<()> {
        if !self.page.is_empty() {
            let start = self.offset + self.next * N as u64 - self.page.len() as u64;
            file.correct(start, &self.page)?;
            self.page.clear();
        }
        Ok(())
    }
}
