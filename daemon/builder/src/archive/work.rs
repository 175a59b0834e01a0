//! What the writing of an archive tells of itself, and how it is told to stop.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much of a file is read at once.
const PIECE: usize = 1 << 20;

/// The reading side of one archive.
pub(crate) struct Work<'a> {
    /// True when nobody waits for the archive any more.
    abandoned: &'a AtomicBool,
    /// Is told how many bytes have been read.
    progress: &'a dyn Fn(u64),
    done: u64,
}

impl<'a> Work<'a> {
    pub(crate) fn new(abandoned: &'a AtomicBool, progress: &'a dyn Fn(u64)) -> Self {
        Self { abandoned, progress, done: 0 }
    }

    /// Reads the whole file at `path` into `output`; returns the number of bytes.
    ///
    /// # Errors
    ///
    /// It cannot be read or written, or nobody waits for it any more.
    pub(crate) fn copy(&mut self, path: &Path, output: &mut dyn Write) -> io::Result<u64> {
        let mut file = File::open(path).map_err(|error| about(path, &error))?;
        let mut buffer = vec![0; PIECE];
        let mut copied = 0;
        loop {
            if self.abandoned.load(Ordering::Relaxed) {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "nobody waits for it any more"));
            }
            let count = match file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(about(path, &error)),
            };
            if count == 0 {
                return Ok(copied);
            }
            output.write_all(&buffer[..count])?;
            copied += count as u64;
            self.done += count as u64;
            (self.progress)(self.done);
        }
    }
}

/// The error with the file it is about.
pub(super) fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
