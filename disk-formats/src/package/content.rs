//! Where the bytes of an archived file lie: in one run, in several with holes between them, or nowhere.

use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;
use crate::reading::temporary_file::TemporaryFile;

/// Bytes copied at once; what is all zero becomes a hole.
const BLOCK: u64 = 64 << 10;
/// Longest file that is put together, holes included, in bytes: no guest's disk is larger.
const MAX_LEN: u64 = 64 << 40;

/// A run of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Offset in the archived file.
    pub(crate) at: u64,
    /// Offset in the archive.
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.len)
    }
}

/// The bytes of an archived file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    /// Ascending, without overlaps, inside the archive and below `len`.
    pieces: Vec<Piece>,
    pub(crate) len: u64,
}

impl Content {
    /// Bytes in one run.
    pub(crate) fn whole(offset: u64, len: u64) -> Self {
        let piece = Piece { at: 0, offset, len };
        Self { pieces: Some(piece).filter(|piece| piece.len > 0).into_iter().collect(), len }
    }

    /// Runs with holes between them; `None` when they do not ascend or reach past `len`.
    pub(crate) fn sparse(pieces: Vec<Piece>, len: u64) -> Option<Self> {
        let mut end = 0;
        for piece in &pieces {
            if piece.at < end || piece.at.checked_add(piece.len)? > len {
                return None;
            }
            end = piece.end();
        }
        Some(Self { pieces, len })
    }

    /// Nothing but a hole.
    pub(crate) fn hole(len: u64) -> Self {
        Self { pieces: Vec::new(), len }
    }

    /// Puts another file's bytes behind these; `None` when that is too long.
    pub(crate) fn push(&mut self, other: &Self) -> Option<()> {
        let start = self.len;
        self.len = start.checked_add(other.len)?;
        self.pieces.extend(other.pieces.iter().map(|piece| Piece { at: start + piece.at, ..*piece }));
        Some(())
    }

    /// Returns how many runs of stored bytes there are.
    pub(crate) fn runs(&self) -> usize {
        self.pieces.len()
    }

    /// Returns the offset in the archive when the bytes lie there in one run.
    fn run(&self) -> Option<u64> {
        let mut next = 0;
        let first = self.pieces.first()?.offset;
        for piece in &self.pieces {
            if piece.at != next || piece.offset.checked_sub(first) != Some(piece.at) {
                return None;
            }
            next = piece.end();
        }
        (next == self.len).then_some(first)
    }

    /// Fills `buf` from `at`, all of which lies below the length.
    pub(crate) fn read_at(&self, archive: &SourceFile, at: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        let end = at.saturating_add(buf.len() as u64);
        let first = self.pieces.partition_point(|piece| piece.end() <= at);
        for piece in self.pieces[first..].iter().take_while(|piece| piece.at < end) {
            let (from, to) = (piece.at.max(at), piece.end().min(end));
            let part = &mut buf[(from - at) as usize..(to - at) as usize];
            archive.read_exact_at(piece.offset + (from - piece.at), part)?;
        }
        Ok(())
    }

    /// Takes the file out of its archive: in place where it lies there in one run, else put together in a file without a name, in
    /// which at most `limit` bytes are stored.
    pub(crate) fn take_out(&self, archive: SourceFile, name: &str, limit: u64) -> Result<SourceFile> {
        if let Some(offset) = self.run() {
            return Ok(archive.part(offset, self.len)?.into_member(name));
        }
        let stored = self.pieces.iter().fold(0u64, |sum, piece| sum.saturating_add(piece.len));
        if stored > limit {
            let rule =
                format!("{name:?} in the archive has {stored} bytes to be put together, over the limit of {limit}");
            return Err(archive.error(ErrorKind::TooLarge, rule).at(0).with_hint("unpack the archive by hand"));
        }
        if self.len > MAX_LEN {
            let rule =
                format!("{name:?} in the archive would be a file of {} bytes, over the limit of {MAX_LEN}", self.len);
            return Err(archive.error(ErrorKind::TooLarge, rule).at(0));
        }
        let mut whole = TemporaryFile::new()?;
        let mut block = vec![0; BLOCK as usize];
        for piece in &self.pieces {
            whole.extend_to(piece.at);
            let mut done = 0;
            while done < piece.len {
                let part = &mut block[..(piece.len - done).min(BLOCK) as usize];
                archive.read_exact_at(piece.offset + done, part)?;
                whole.append(part)?;
                done += part.len() as u64;
            }
        }
        whole.extend_to(self.len);
        Ok(archive.unpacked_as(whole.finish()?, self.len).into_member(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_with_zeroes_between_them_and_put_together() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = || SourceFile::open(&path).unwrap();
        let pieces = vec![Piece { at: 2, offset: 1, len: 3 }, Piece { at: 7, offset: 6, len: 2 }];
        let content = Content::sparse(pieces.clone(), 12).unwrap();
        let expected = b"\0\x00123\0\x0067\0\0\0";
        let mut read = [9; 12];
        content.read_at(&file(), 0, &mut read).unwrap();
        assert_eq!(&read, expected);
        let whole = content.take_out(file(), "disk", 5).unwrap();
        assert_eq!((whole.len(), whole.member(), whole.place(0)), (12, Some("disk"), None));
        whole.read_exact_at(0, &mut read).unwrap();
        assert_eq!(&read, expected);
        assert_eq!(content.take_out(file(), "disk", 4).unwrap_err().kind(), ErrorKind::TooLarge);
        for (pieces, len) in [(pieces.iter().rev().copied().collect(), 12), (pieces, 8)] {
            assert_eq!(Content::sparse(pieces, len), None);
        }
    }

    #[test]
    fn what_lies_in_one_run_is_read_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        std::fs::write(&path, b"0123456789").unwrap();
        let mut content = Content::whole(3, 2);
        content.push(&Content::whole(5, 4)).unwrap();
        let part = content.take_out(SourceFile::open(&path).unwrap(), "disk", 0).unwrap();
        assert_eq!((part.len(), part.place(0)), (6, Some(3)));
        let hole = Content::hole(5).take_out(SourceFile::open(&path).unwrap(), "disk", 0).unwrap();
        assert_eq!(hole.len(), 5);
    }
}
