//! Disks with contents of every kind: noise, text, zeroes, holes, at odd places.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kiln_disk_formats::{
    ContentDigest, ConvertOptions, DiskReader, Format, NoProgress, OpenPolicy, Output, OutputKind, Report,
    content_digest, convert, open,
};

/// A small, fast, reproducible source of noise (SplitMix64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }
}

/// Writes a sparse raw disk of `size` bytes with `pieces` stretches of content.
pub(crate) fn raw_disk(path: &Path, size: u64, pieces: usize, seed: u64) {
    let mut noise = Noise(seed);
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for _ in 0..pieces {
        let offset = noise.below(size);
        let len = (1 + noise.below(300_000)).min(size - offset) as usize;
        let bytes = match noise.below(4) {
            0 => vec![0; len],
            1 => b"All work and no play makes Jack a dull boy.\n".iter().copied().cycle().take(len).collect(),
            2 => vec![noise.next() as u8; len],
            _ => noise.bytes(len),
        };
        file.write_all_at(&bytes, offset).unwrap();
    }
}

/// A directory with a raw disk in it.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) raw: PathBuf,
}

impl Bench {
    pub(crate) fn new(size: u64, pieces: usize, seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let raw = directory.path().join("source.raw");
        raw_disk(&raw, size, pieces, seed);
        Self { directory, raw }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Allows what lies in the directory.
    pub(crate) fn policy(&self) -> OpenPolicy {
        OpenPolicy::allow_below(vec![self.directory.path().into()])
    }

    pub(crate) fn reader(&self) -> Box<dyn DiskReader> {
        open(&self.raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap()
    }

    /// Converts the raw disk into one output of this name.
    pub(crate) fn convert(&self, name: &str, kind: OutputKind) -> (PathBuf, Report) {
        let path = self.path(name);
        let outputs = [Output::new(&path, kind)];
        let report = convert(&*self.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
        (path, report)
    }

    pub(crate) fn digest(&self) -> ContentDigest {
        digest(&*self.reader())
    }
}

pub(crate) fn digest(reader: &dyn DiskReader) -> ContentDigest {
    content_digest(reader, &ConvertOptions::default(), &NoProgress).unwrap()
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
