//! Files with holes as short byte strings: what seeds and inputs are made of, so that a 4 MiB image is some KiB to the fuzzer.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Largest file that an input can describe in bytes.
const MAX_LEN: u64 = 64 << 20;
/// Runs of zeroes at least this long are left out when a file is described.
const HOLE: usize = 64;

/// A file as its length and the bytes that are not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparseFile {
    /// Length in bytes.
    pub len: u64,
    /// Stretches of content by their offset; later ones win.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

impl SparseFile {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut file = Self { len: path.metadata()?.len(), pieces: Vec::new() };
        let source = File::open(path)?;
        let mut offset = 0;
        // Holes of large sparse disks are not read.
        while let Ok(start) = rustix::fs::seek(&source, rustix::fs::SeekFrom::Data(offset)) {
            let end = rustix::fs::seek(&source, rustix::fs::SeekFrom::Hole(start))?;
            let mut bytes = vec![0; (end - start) as usize];
            source.read_exact_at(&mut bytes, start)?;
            file.add_without_zeroes(start, &bytes);
            offset = end;
        }
        Ok(file)
    }

    /// Adds blocks with content; comparing whole blocks keeps the coverage instrumentation from slowing this down.
    fn add_without_zeroes(&mut self, start: u64, bytes: &[u8]) {
        let mut open = None;
        for (offset, block) in (start..).step_by(HOLE).zip(bytes.chunks(HOLE)) {
            match (block == &[0; HOLE][..block.len()], open) {
                (true, _) => open = None,
                (false, None) => {
                    open = Some(self.pieces.len());
                    self.pieces.push((offset, block.to_vec()));
                }
                (false, Some(index)) => self.pieces[index].1.extend_from_slice(block),
            }
        }
    }

    /// Writes the file, replacing what was there.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let file = File::create(path)?;
        file.set_len(self.len)?;
        for (offset, bytes) in &self.pieces {
            let inside = self.len.saturating_sub(*offset).min(bytes.len() as u64) as usize;
            file.write_all_at(&bytes[..inside], *offset)?;
        }
        Ok(())
    }

    /// Returns the bytes at `offset`; zeroes where there is nothing.
    pub fn bytes<const N: usize>(&self, offset: u64) -> [u8; N] {
        let mut found = [0; N];
        self.fill(offset, &mut found);
        found
    }

    /// Fills `buf` from `offset`.
    pub fn fill(&self, offset: u64, buf: &mut [u8]) {
        buf.fill(0);
        let end = offset.saturating_add(buf.len() as u64);
        for (at, bytes) in &self.pieces {
            let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end).min(self.len));
            if from < to {
                buf[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
            }
        }
    }
}

/// Reads the files that an input describes: records of `FILE OFFSET LENGTH BYTES`, where a length of 0 sets the file's length.
pub fn decode(mut input: &[u8]) -> [SparseFile; 4] {
    let mut files: [SparseFile; 4] = Default::default();
    while let [which, o0, o1, o2, o3, l0, l1, rest @ ..] = input {
        let file = &mut files[usize::from(*which) % 4];
        let offset = u64::from(u32::from_le_bytes([*o0, *o1, *o2, *o3])) % (MAX_LEN + 1);
        let len = usize::from(u16::from_le_bytes([*l0, *l1])).min(rest.len());
        if len == 0 {
            file.len = offset;
        } else {
            file.len = file.len.max(offset + len as u64).min(MAX_LEN);
            file.pieces.push((offset, rest[..len].to_vec()));
        }
        input = &rest[len..];
    }
    files
}

/// Describes files as [`decode`] reads them.
pub fn encode(files: &[SparseFile]) -> Vec<u8> {
    let mut output = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let mut record = |offset: u64, bytes: &[u8]| {
            output.push(index as u8);
            output.extend_from_slice(&(offset as u32).to_le_bytes());
            output.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
            output.extend_from_slice(bytes);
        };
        for (offset, bytes) in &file.pieces {
            for (part, bytes) in bytes.chunks(usize::from(u16::MAX)).enumerate() {
                record(offset + (part * usize::from(u16::MAX)) as u64, bytes);
            }
        }
        record(file.len, &[]);
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_survive_being_described() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut bytes = vec![0; 300_000];
        bytes[5..900].fill(7);
        bytes[901] = 1;
        bytes[200_000..280_000].fill(9);
        std::fs::write(&path, &bytes).unwrap();
        let file = SparseFile::read(&path).unwrap();
        let [again, ..] = decode(&encode(std::slice::from_ref(&file)));
        again.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let mut filled = vec![1; 300_000];
        again.fill(0, &mut filled);
        assert_eq!(filled, bytes);
    }
}
