//! Files with holes in tar archives: GNU tar's old format, and its three forms in pax headers (GNU tar manual, "Storing Sparse Files").

use super::content::{Content, Piece};
use super::tar::{BLOCK, number};
use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// Most runs of data in a file.
const MAX_RUNS: usize = 1 << 20;
/// Offset of the first runs in an old header, and how many there are.
const OLD_RUNS: (usize, usize) = (386, 4);
/// Runs in a block that goes on with them.
const MORE_RUNS: usize = 21;
/// Offsets in a header and in such a block of the byte that says whether another block follows.
const MORE: (usize, usize) = (482, 504);
/// Offset of the file's true size in an old header.
const REAL_SIZE: usize = 483;
/// Bytes of a run: two numbers.
const RUN: usize = 24;

/// A run of data: offset in the file, and length.
type Run = (u64, u64);

/// Reads the map of a file in the old format, whose header lies at `at`. Returns its content, and where the stored bytes begin.
pub(crate) fn old(file: &SourceFile, at: u64, header: &[u8], stored: u64) -> Result<(Content, u64)> {
    let broken = || file.error(ErrorKind::Corrupt, "a map of holes in the archive is damaged").at(at);
    let mut runs = Vec::new();
    let (from, count) = OLD_RUNS;
    read_runs(&header[from..from + count * RUN], &mut runs).ok_or_else(broken)?;
    let mut more = header[MORE.0] != 0;
    let mut data = at + BLOCK;
    while more {
        let block = file.read_table(data, BLOCK, "a map of holes in the archive")?;
        read_runs(&block[..MORE_RUNS * RUN], &mut runs).ok_or_else(broken)?;
        more = block[MORE.1] != 0;
        data += BLOCK;
    }
    let size = number(&header[REAL_SIZE..REAL_SIZE + 12]).ok_or_else(broken)?;
    let content = content(&runs, data, stored, size).ok_or_else(broken)?;
    Ok((content, data))
}

/// Reads runs up to the first that is empty in both numbers.
fn read_runs(bytes: &[u8], runs: &mut Vec<Run>) -> Option<()> {
    for run in bytes.chunks_exact(RUN) {
        if run[0] == 0 {
            break;
        }
        push(runs, (number(&run[..12])?, number(&run[12..])?))?;
    }
    Some(())
}

fn push(runs: &mut Vec<Run>, run: Run) -> Option<()> {
    if runs.len() >= MAX_RUNS {
        return None;
    }
    runs.push(run);
    Some(())
}

/// What pax headers say of a file's holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PaxSparse {
    /// The map stands before the data (form 1.0).
    map_in_data: bool,
    runs: Vec<Run>,
    /// The offset of form 0.0 that waits for its length.
    offset: Option<u64>,
    pub(crate) name: Option<String>,
    size: Option<u64>,
}

impl PaxSparse {
    /// Takes a record whose key begins with `GNU.sparse.`; `None` when its value cannot be.
    pub(crate) fn take(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "major" => self.map_in_data = value != "0",
            "name" => self.name = Some(value.to_owned()),
            "size" | "realsize" => self.size = Some(value.parse().ok()?),
            "offset" => self.offset = Some(value.parse().ok()?),
            "numbytes" => push(&mut self.runs, (self.offset.take()?, value.parse().ok()?))?,
            "map" => {
                let mut numbers = value.split(',');
                while let Some(offset) = numbers.next().filter(|number| !number.is_empty()) {
                    push(&mut self.runs, (offset.parse().ok()?, numbers.next()?.parse().ok()?))?;
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Returns the content of the file whose stored bytes begin at `at`.
    pub(crate) fn content(mut self, file: &SourceFile, at: u64, stored: u64) -> Result<Content> {
        let broken = || file.error(ErrorKind::Corrupt, "a map of holes in the archive is damaged").at(at);
        let mut data = at;
        if self.map_in_data {
            let mut numbers = Numbers { file, next: at, end: at.saturating_add(stored), block: Vec::new() };
            let count = numbers.next()?.ok_or_else(broken)?;
            for _ in 0..count {
                let (offset, len) = (numbers.next()?, numbers.next()?);
                offset.zip(len).and_then(|run| push(&mut self.runs, run)).ok_or_else(broken)?;
            }
            data = numbers.next;
        }
        let size = self.size.ok_or_else(broken)?;
        content(&self.runs, data, (at + stored).saturating_sub(data), size).ok_or_else(broken)
    }
}

/// Decimal numbers, a line each, in whole blocks.
struct Numbers<'a> {
    file: &'a SourceFile,
    /// The block after the present one.
    next: u64,
    end: u64,
    /// What is left of the present block, reversed.
    block: Vec<u8>,
}

impl Numbers<'_> {
    fn next(&mut self) -> Result<Option<u64>> {
        let mut number: Option<u64> = None;
        loop {
            if self.block.is_empty() {
                if self.next + BLOCK > self.end {
                    return Ok(None);
                }
                self.block = self.file.read_table(self.next, BLOCK, "a map of holes in the archive")?;
                self.block.reverse();
                self.next += BLOCK;
            }
            match self.block.pop() {
                Some(b'\n') => return Ok(number),
                Some(digit @ b'0'..=b'9') => {
                    let digit = u64::from(digit - b'0');
                    number = number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit));
                    if number.is_none() {
                        return Ok(None);
                    }
                }
                _ => return Ok(None),
            }
        }
    }
}

/// Places the runs one after the other in the stored bytes.
fn content(runs: &[Run], data: u64, stored: u64, size: u64) -> Option<Content> {
    let mut pieces = Vec::new();
    let mut used = 0u64;
    for (at, len) in runs.iter().copied().filter(|(_, len)| *len > 0) {
        pieces.push(Piece { at, offset: data.checked_add(used)?, len });
        used = used.checked_add(len)?;
    }
    // Every stored byte has its place.
    (used == stored).then_some(())?;
    Content::sparse(pieces, size)
}
