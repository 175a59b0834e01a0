//! A table in a file, read a page at a time: a hostile or huge one costs no more memory than a small one.

use super::cache::Cache;
use super::source_file::SourceFile;
use crate::error::Result;

/// Bytes read at once.
const PAGE: u64 = 64 * 1024;
/// Pages kept.
const PAGES: u64 = 32;

/// A table of entries of `N` bytes.
pub(crate) struct PagedTable<const N: usize> {
    offset: u64,
    entries: u64,
    pages: Cache<Vec<u8>>,
}

impl<const N: usize> PagedTable<N> {
    /// Describes a table after checking that it lies inside the file.
    pub(crate) fn new(file: &SourceFile, offset: u64, entries: u64, what: &'static str) -> Result<Self> {
        file.check_range(offset, entries.saturating_mul(N as u64), what)?;
        Ok(Self { offset, entries, pages: Cache::new(PAGES) })
    }

    /// Visits all entries in order, without keeping what it reads.
    pub(crate) fn each(&self, file: &SourceFile, mut visit: impl FnMut(u64, [u8; N]) -> Result<()>) -> Result<()> {
        let mut page = vec![0; (PAGE.min(self.entries * N as u64)) as usize];
        let (mut index, mut at) = (0, 0);
        while at < self.entries * N as u64 {
            let len = (self.entries * N as u64 - at).min(PAGE) as usize;
            file.read_exact_at(self.offset + at, &mut page[..len])?;
            for entry in page[..len].chunks_exact(N) {
                let mut copy = [0; N];
                copy.copy_from_slice(entry);
                visit(index, copy)?;
                index += 1;
            }
            at += len as u64;
        }
        Ok(())
    }

    /// Returns an entry; all zero behind the table's end.
    pub(crate) fn get(&self, file: &SourceFile, index: u64) -> Result<[u8; N]> {
        let mut entry = [0; N];
        if index >= self.entries {
            return Ok(entry);
        }
        let at = index * N as u64;
        let start = at / PAGE * PAGE;
        let page = self.pages.get(start, || {
            let mut page = vec![0; PAGE.min(self.entries * N as u64 - start) as usize];
            file.read_exact_at(self.offset + start, &mut page)?;
            Ok(page)
        })?;
        let within = (at - start) as usize;
        entry.copy_from_slice(&page[within..within + N]);
        Ok(entry)
    }
}
