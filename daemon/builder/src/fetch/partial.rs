//! Files on the way into the cache, and verifying those that are there. All disk work happens on blocking threads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::cache_lock::CacheLock;
use super::checksum::{Algorithm, Checksum, Digest, Hasher};
use super::companions::{ORIGIN, PARTIAL, beside};
use super::error::UrlError;
use crate::blocking::blocking;

/// Bytes read at a time when a file is hashed.
const READ_BYTES: usize = 1 << 20;
/// Longest origin file that is read: a URL and a version.
const MAX_ORIGIN_BYTES: u64 = 64 * 1024;

/// A download that is not whole yet. Owns the lock, so that both are let go together, even by a forgotten thread.
#[derive(Debug)]
pub(super) struct PartialFile {
    target: PathBuf,
    partial: PathBuf,
    file: File,
    /// Bytes that are in the file.
    length: u64,
    hasher: Option<Hasher>,
    origin: Origin,
    /// Before the lock, so that it acts under the lock.
    _sweep: RemoveIfEmpty,
    lock: CacheLock,
}

/// Removes a partial file into which nothing has come: it is worth nothing to the next download.
#[derive(Debug)]
struct RemoveIfEmpty(PathBuf);

impl Drop for RemoveIfEmpty {
    fn drop(&mut self) {
        if std::fs::metadata(&self.0).is_ok_and(|metadata| metadata.len() == 0) {
            // The next download starts from nothing either way.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// Where the bytes of a partial file come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Origin {
    url: String,
    /// ETag or date that tells versions of the file apart; empty when the server gave none.
    validator: String,
}

/// How a whole download ended.
pub(super) enum Finish {
    /// It has its final name.
    Right,
    /// It hashed to something else and is gone.
    Wrong { error: UrlError, lock: CacheLock },
}

impl PartialFile {
    /// Opens what there is of a download, or starts one. Without a checksum only bytes of the same version are kept.
    pub(super) async fn open(
        target: &Path,
        url: String,
        checksum: &Checksum,
        lock: CacheLock,
    ) -> Result<Self, UrlError> {
        let target = target.to_owned();
        let partial = beside(&target, PARTIAL);
        let checksum = checksum.clone();
        let named = partial.clone();
        let opened = blocking("opening a download", move |cancelled| -> io::Result<Self> {
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&partial)?;
            let length = file.metadata()?.len();
            let mut origin = read_origin(&beside(&target, ORIGIN));
            let same = origin.url == url;
            let expected = match &checksum {
                Checksum::Digest(digest) => Some(digest.algorithm()),
                Checksum::None => None,
            };
            if !same {
                origin = Origin { url, validator: String::new() };
            }
            let hasher = expected.map(Hasher::new);
            let sweep = RemoveIfEmpty(partial.clone());
            let mut opened = Self { target, partial, file, length, hasher, origin, _sweep: sweep, lock };
            if expected.is_some() || same && !opened.origin.validator.is_empty() {
                opened.hash_existing(cancelled)?;
            } else {
                opened.clear()?;
            }
            Ok(opened)
        })
        .await;
        opened.map_err(|source| UrlError::Write { path: named, source })
    }

    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Returns the version of what is there, for `If-Range`.
    pub(super) fn validator(&self) -> Option<&str> {
        (!self.origin.validator.is_empty()).then_some(self.origin.validator.as_str())
    }

    /// Notes the version of what is about to arrive.
    pub(super) async fn set_validator(mut self, validator: Option<String>) -> Result<Self, UrlError> {
        let validator = validator.unwrap_or_default();
        if validator == self.origin.validator && beside(&self.target, ORIGIN).exists() {
            return Ok(self);
        }
        self.origin.validator = validator;
        self.with(|this| {
            let text = format!("{}\n{}\n", this.origin.url, this.origin.validator);
            crate::atomic_file::write(&beside(&this.target, ORIGIN), text.as_bytes(), 0o600)
        })
        .await
    }

    /// Appends bytes.
    pub(super) async fn append(self, pieces: Vec<Bytes>) -> Result<Self, UrlError> {
        self.with(move |this| {
            for piece in pieces {
                this.file.write_all(&piece)?;
                if let Some(hasher) = &mut this.hasher {
                    hasher.update(&piece);
                }
                this.length += piece.len() as u64;
            }
            Ok(())
        })
        .await
    }

    /// Throws away what has arrived.
    pub(super) async fn restart(self) -> Result<Self, UrlError> {
        self.with(Self::clear).await
    }

    /// Compares the checksum, and gives the file its final name when it is right.
    pub(super) async fn finish(self, expected: &Checksum) -> Result<Finish, UrlError> {
        let expected = expected.clone();
        let named = self.target.clone();
        let finished = blocking("finishing a download", move |_| -> io::Result<Finish> {
            let Self { target, partial, file, length, hasher, lock, .. } = self;
            if let (Checksum::Digest(expected), Some(hasher)) = (expected, hasher) {
                let found = hasher.finish();
                if found != expected {
                    remove_if_there(&partial)?;
                    remove_if_there(&beside(&target, ORIGIN))?;
                    let error = UrlError::WrongChecksum { expected, found, bytes: length };
                    return Ok(Finish::Wrong { error, lock });
                }
            }
            file.sync_all()?;
            std::fs::rename(&partial, &target)?;
            remove_if_there(&beside(&target, ORIGIN))?;
            if let Some(directory) = target.parent().filter(|directory| !directory.as_os_str().is_empty()) {
                // The new name is durable only when the directory is.
                File::open(directory)?.sync_all()?;
            }
            Ok(Finish::Right)
        })
        .await;
        finished.map_err(|source| UrlError::Write { path: named, source })
    }

    /// Runs disk work. When the caller is dropped meanwhile, the work ends first, then file and lock are let go.
    async fn with(mut self, work: impl FnOnce(&mut Self) -> io::Result<()> + Send + 'static) -> Result<Self, UrlError> {
        let named = self.partial.clone();
        let done = blocking("writing a download", move |_| work(&mut self).map(|()| self)).await;
        done.map_err(|source| UrlError::Write { path: named, source })
    }

    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.length = 0;
        self.origin.validator.clear();
        if let Some(hasher) = &mut self.hasher {
            *hasher = Hasher::new(hasher.algorithm());
        }
        Ok(())
    }

    fn hash_existing(&mut self, cancelled: &AtomicBool) -> io::Result<()> {
        self.file.rewind()?;
        match &mut self.hasher {
            Some(hasher) => self.length = hash_into(&mut self.file, hasher, cancelled)?,
            None => self.length = self.file.seek(SeekFrom::End(0))?,
        }
        Ok(())
    }
}

/// Says whether a file has a checksum.
pub(super) async fn existing_matches(path: &Path, expected: &Digest) -> Result<bool, UrlError> {
    Ok(digest_of(path, expected.algorithm()).await? == *expected)
}

/// Hashes a file.
pub(super) async fn digest_of(path: &Path, algorithm: Algorithm) -> Result<Digest, UrlError> {
    let path = path.to_owned();
    let named = path.clone();
    let digest = blocking("hashing a file", move |cancelled| -> io::Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        hash_into(&mut File::open(&path)?, &mut hasher, cancelled)?;
        Ok(hasher.finish())
    })
    .await;
    digest.map_err(|source| UrlError::Read { path: named, source })
}

/// Removes a file; that there is none is fine.
pub(super) async fn remove(path: &Path) -> Result<(), UrlError> {
    let named = path.to_owned();
    let owned = named.clone();
    let removed = blocking("removing a file", move |_| remove_if_there(&owned)).await;
    removed.map_err(|source| UrlError::Write { path: named, source })
}

fn hash_into(file: &mut File, hasher: &mut Hasher, cancelled: &AtomicBool) -> io::Result<u64> {
    let mut buffer = vec![0; READ_BYTES];
    let mut length = 0;
    loop {
        if cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..count]);
        length += count as u64;
    }
}

/// Reads an origin file; one that is missing or damaged says nothing.
fn read_origin(path: &Path) -> Origin {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_ORIGIN_BYTES).read_to_string(&mut text));
    let mut lines = text.lines().map(str::to_owned);
    match (read, lines.next(), lines.next()) {
        (Ok(_), Some(url), Some(validator)) => Origin { url, validator },
        _ => Origin::default(),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
