//! An output file as writers see it: bytes in order, holes, and late corrections; hashed on the way where possible.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::file_digest::{DigestAlgorithm, FileHasher};
use super::storage::{Destinations, Storage};
use crate::digest::Sha256Digest;
use crate::error::{Error, Operation, Result};

/// Bytes read at once when a corrected file is hashed again.
const REHASH_BUFFER: usize = 1 << 20;
static ZEROES: [u8; 65536] = [0; 65536];

/// A file being written from front to back.
pub(crate) struct OutputFile {
    storage: Box<dyn Storage>,
    path: PathBuf,
    /// Bytes written or skipped so far.
    position: u64,
    hash: Hash,
    /// Hashes a part of the file on its own (a member of an archive).
    part: Option<FileHasher>,
    durable: bool,
}

/// How files are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileOptions {
    /// Computes the file's SHA-256.
    pub(crate) hashed: bool,
    /// The writer will use [`OutputFile::correct`].
    pub(crate) corrected: bool,
    /// Waits for stable storage when the file is finished.
    pub(crate) durable: bool,
}

/// How the file's SHA-256 comes about.
enum Hash {
    /// Not wanted.
    Off,
    /// Up to date with `position`.
    Running(Sha256),
    /// Something before `position` changes, so the finished file is read back.
    Reread,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileReport {
    /// Its final name.
    pub path: PathBuf,
    /// Its length in bytes (not its allocation).
    pub size: u64,
    /// Its SHA-256; `None` when [`crate::ConvertOptions::file_digests`] is off and no manifest needed it.
    pub sha256: Option<Sha256Digest>,
}

/// A file that is whole and durable but has no final name yet.
pub(crate) struct FinishedFile {
    storage: Box<dyn Storage>,
    pub(crate) report: FileReport,
}

impl OutputFile {
    /// Makes a file that will be published as `path`.
    pub(crate) fn create(destinations: &dyn Destinations, path: &Path, options: FileOptions) -> Result<Self> {
        let storage = destinations.create(path).map_err(|error| Error::io(Operation::Create, error).with_path(path))?;
        let hash = match (options.hashed, options.corrected) {
            // A stream knows best what went through it.
            _ if storage.is_stream() => Hash::Off,
            (false, _) => Hash::Off,
            (true, false) => Hash::Running(Sha256::new()),
            (true, true) => Hash::Reread,
        };
        Ok(Self { storage, path: path.to_path_buf(), position: 0, hash, part: None, durable: options.durable })
    }

    /// Says whether the whole file is hashed with SHA-256 as it is written.
    pub(crate) fn is_hashed(&self) -> bool {
        matches!(self.hash, Hash::Running(_))
    }

    /// Returns the final name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the offset at which the next byte goes.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Writes bytes at the position.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.storage
            .write_at(self.position, bytes)
            .map_err(|error| Error::io(Operation::Write, error).with_path(&self.path).at(self.position))?;
        if let Hash::Running(hasher) = &mut self.hash {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.part {
            hasher.update(bytes);
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Leaves a hole up to `position`, which must not lie before the present one.
    pub(crate) fn skip_to(&mut self, position: u64) {
        let mut left = position.saturating_sub(self.position);
        if matches!(self.hash, Hash::Running(_)) || self.part.is_some() {
            while left > 0 {
                let zeroes = &ZEROES[..left.min(ZEROES.len() as u64) as usize];
                if let Hash::Running(hasher) = &mut self.hash {
                    hasher.update(zeroes);
                }
                if let Some(hasher) = &mut self.part {
                    hasher.update(zeroes);
                }
                left -= zeroes.len() as u64;
            }
        }
        self.position = self.position.max(position);
    }

    /// Leaves a hole up to the next multiple of `alignment` (a power of two).
    pub(crate) fn align(&mut self, alignment: u64) {
        self.skip_to(self.position.next_multiple_of(alignment));
    }

    /// Overwrites bytes before the position; only for files created as `corrected`.
    pub(crate) fn correct(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        debug_assert!(!matches!(self.hash, Hash::Running(_)), "a running hash cannot take corrections");
        debug_assert!(offset + bytes.len() as u64 <= self.position, "corrections lie before the position");
        self.storage
            .write_at(offset, bytes)
            .map_err(|error| Error::io(Operation::Write, error).with_path(&self.path).at(offset))
    }

    /// Starts hashing a part of the file from the position on.
    pub(crate) fn begin_part(&mut self, algorithm: DigestAlgorithm) {
        self.part = Some(FileHasher::new(algorithm));
    }

    /// Ends the part and returns its hash in hexadecimal digits.
    pub(crate) fn end_part(&mut self) -> String {
        self.part.take().map(FileHasher::finish).unwrap_or_default()
    }

    /// Hashes what is not hashed yet and makes the file durable if wanted.
    pub(crate) fn finish(mut self) -> Result<FinishedFile> {
        let sha256 = self.finish_parts().map_err(|error| Error::io(Operation::Write, error).with_path(&self.path))?;
        let report = FileReport { path: self.path, size: self.position, sha256 };
        Ok(FinishedFile { storage: self.storage, report })
    }

    fn finish_parts(&mut self) -> std::io::Result<Option<Sha256Digest>> {
        self.storage.set_len(self.position)?;
        let digest = |hasher: Sha256| Some(Sha256Digest(hasher.finalize().into()));
        let sha256 = match std::mem::replace(&mut self.hash, Hash::Off) {
            Hash::Off => self.storage.stream_digest(),
            Hash::Running(hasher) => digest(hasher),
            Hash::Reread => digest(self.reread()?),
        };
        if self.durable {
            self.storage.sync()?;
        }
        Ok(sha256)
    }

    fn reread(&self) -> std::io::Result<Sha256> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; REHASH_BUFFER];
        let mut offset = 0;
        while offset < self.position {
            let length = (self.position - offset).min(REHASH_BUFFER as u64) as usize;
            self.storage.read_at(offset, &mut buffer[..length])?;
            hasher.update(&buffer[..length]);
            offset += length as u64;
        }
        Ok(hasher)
    }
}

impl FinishedFile {
    /// Says whether its bytes have left already, so that its name cannot be taken away again.
    pub(crate) fn is_stream(&self) -> bool {
        self.storage.is_stream()
    }

    /// Gives the file its final name.
    pub(crate) fn publish(&mut self, overwrite: bool) -> Result<()> {
        self.storage
            .publish(overwrite)
            .map_err(|error| Error::io(Operation::Publish, error).with_path(&self.report.path))
    }
}
