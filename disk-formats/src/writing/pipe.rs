//! Outputs that go to whoever reads a pipe: strictly forward, with nothing to correct afterwards.
//!
//! Most formats have tables in front of the data that are known only at the end. For these the conversion is run twice: the
//! first pass writes nothing and records the corrections, the second one applies them to the bytes as they go by. The outputs
//! follow from content and parameters alone, so both passes agree; a source that changes in between is noticed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, inotify};
use sha2::{Digest, Sha256};

use super::storage::{Destinations, Storage};
use crate::digest::Sha256Digest;

/// The name that means standard output.
const STANDARD_OUTPUT: &str = "-";
/// How often a write that waits for its reader looks whether the conversion was stopped.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
static ZEROES: [u8; 65536] = [0; 65536];

/// Says whether an output of this name is written forward into what is there, rather than as a file that appears when it is
/// whole: `-` and `/dev/stdout`, anything below `/dev/fd` and `/proc/…/fd`, FIFOs, sockets and character devices.
///
/// All formats that are one file can be written so. Raw disks, stream-optimized VMDKs and fixed VHDs take one pass, the others
/// (qcow2, VDI, VHDX, dynamic VHD, monolithicSparse VMDK, OVA) read the source twice. Nothing but the image is written there.
#[must_use]
pub fn is_stream(path: &Path) -> bool {
    if is_standard_output(path) || names_descriptor(path) {
        return true;
    }
    path.metadata().is_ok_and(|data| {
        let kind = data.file_type();
        kind.is_fifo() || kind.is_socket() || kind.is_char_device()
    })
}

pub(crate) fn is_standard_output(path: &Path) -> bool {
    path == Path::new(STANDARD_OUTPUT)
        || ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|name| path == *name)
}

/// `/dev/fd/N` and `/proc/PID/fd/N`: a redirection into a regular file must not be replaced by a new file.
fn names_descriptor(path: &Path) -> bool {
    let Some(text) = path.to_str() else { return false };
    let number = text.strip_prefix("/dev/fd/").or_else(|| {
        let (process, number) = text.strip_prefix("/proc/")?.split_once("/fd/")?;
        (process == "self" || process.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
    });
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns device and inode of what a name leads to, if anything.
pub(crate) fn identity(path: &Path) -> Option<(u64, u64)> {
    let of = |data: std::fs::Metadata| (data.dev(), data.ino());
    match is_standard_output(path) {
        true => File::from(io::stdout().as_fd().try_clone_to_owned().ok()?).metadata().ok().map(of),
        false => path.metadata().ok().map(of),
    }
}

/// What the measuring pass found that goes before bytes written earlier, by offset; entries do not overlap.
pub(crate) type Corrections = BTreeMap<u64, Vec<u8>>;

/// Destinations of the measuring pass: they keep the corrections and drop everything else.
#[derive(Default)]
pub(crate) struct Measured {
    by_path: Mutex<BTreeMap<PathBuf, Arc<Mutex<Corrections>>>>,
}

impl Measured {
    /// Returns the corrections of every output.
    pub(crate) fn into_corrections(self) -> BTreeMap<PathBuf, Corrections> {
        let by_path = self.by_path.into_inner().unwrap_or_else(PoisonError::into_inner);
        let take = |kept: Arc<Mutex<Corrections>>| std::mem::take(&mut *lock(&kept));
        by_path.into_iter().map(|(path, kept)| (path, take(kept))).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Destinations for Measured {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        let kept = Arc::default();
        lock(&self.by_path).insert(path.to_path_buf(), Arc::clone(&kept));
        Ok(Box::new(MeasuredFile { kept, position: 0 }))
    }
}

struct MeasuredFile {
    kept: Arc<Mutex<Corrections>>,
    position: u64,
}

impl Storage for MeasuredFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let before = self.position.saturating_sub(offset).min(bytes.len() as u64) as usize;
        if before > 0 {
            lock(&self.kept).insert(offset, bytes[..before].to_vec());
        }
        self.position = self.position.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotSeekable.into())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.position = len;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn publish(&mut self, _overwrite: bool) -> io::Result<()> {
        Ok(())
    }

    fn is_stream(&self) -> bool {
        true
    }
}

/// Destinations of the pass that writes: streams where names say so, files elsewhere.
pub(crate) struct StreamsAndFiles<'a> {
    pub(crate) files: &'a dyn Destinations,
    pub(crate) corrections: Mutex<BTreeMap<PathBuf, Corrections>>,
    /// Hashes what goes to streams.
    pub(crate) hashed: bool,
    /// Set when the conversion is over, so that nobody waits for a reader in vain.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Destinations for StreamsAndFiles<'_> {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Storage>> {
        if !is_stream(path) {
            return self.files.create(path);
        }
        let corrections = lock(&self.corrections).remove(path).unwrap_or_default();
        let target =
            if is_standard_output(path) { Target::Open(standard_output()?) } else { Target::Named(path.to_path_buf()) };
        let hash = self.hashed.then(Sha256::new);
        Ok(Box::new(Stream { target, position: 0, corrections, hash, stop: Arc::clone(&self.stop) }))
    }
}

/// Returns standard output as a file of our own; a pipe without blocking where the system allows that.
fn standard_output() -> io::Result<File> {
    let stdout = io::stdout();
    if stdout.is_terminal() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an image does not go to a terminal"));
    }
    let file = File::from(stdout.as_fd().try_clone_to_owned()?);
    if file.metadata()?.file_type().is_fifo() {
        // Another opening, so that the flag does not reach those who share this one.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        if let Ok(own) = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/1") {
            return Ok(own);
        }
    }
    Ok(file)
}

enum Target {
    /// Opened with the first byte: a FIFO may not have a reader yet.
    Named(PathBuf),
    Open(File),
}

/// A pipe, or what else takes bytes in order.
struct Stream {
    target: Target,
    position: u64,
    corrections: Corrections,
    hash: Option<Sha256>,
    stop: Arc<AtomicBool>,
}

impl Stream {
    /// Passes bytes on, with the corrections that belong to their place.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (start, end) = (self.position, self.position + bytes.len() as u64);
        let mut corrected: Option<Vec<u8>> = None;
        for (offset, correction) in self.corrections.range(..end).rev() {
            let correction_end = offset + correction.len() as u64;
            if correction_end <= start {
                break;
            }
            let target = corrected.get_or_insert_with(|| bytes.to_vec());
            let (from, to) = (start.max(*offset), end.min(correction_end));
            target[(from - start) as usize..(to - start) as usize]
                .copy_from_slice(&correction[(from - offset) as usize..(to - offset) as usize]);
        }
        self.emit(corrected.as_deref().unwrap_or(bytes))?;
        self.position = end;
        Ok(())
    }

    fn pass_zeroes(&mut self, until: u64) -> io::Result<()> {
        while self.position < until {
            let length = (until - self.position).min(ZEROES.len() as u64) as usize;
            self.pass(&ZEROES[..length])?;
        }
        Ok(())
    }

    fn emit(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        if let Target::Named(path) = &self.target {
            self.target = Target::Open(open(path, &self.stop)?);
        }
        let Target::Open(file) = &mut self.target else { return Ok(()) };
        let mut left = bytes;
        while !left.is_empty() {
            match file.write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait(file.as_fd(), PollFlags::OUT, &self.stop)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Opens what a name leads to, waiting for a FIFO's reader.
fn open(path: &Path, stop: &AtomicBool) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::APPEND).bits().cast_signed();
    let mut watch = None;
    loop {
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(file) if file.is_terminal() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "an image does not go to a terminal"));
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {}
            opened => return opened,
        }
        // Nobody reads yet. The opening of a reader is an event; what it says does not matter.
        let watch = match &watch {
            Some(watch) => watch,
            None => {
                let new = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
                inotify::add_watch(&new, path, inotify::WatchFlags::OPEN)?;
                watch.insert(new)
            }
        };
        wait(watch.as_fd(), PollFlags::IN, stop)?;
        let _ = rustix::io::read(watch, &mut [0u8; 4096]);
    }
}

/// Waits for a descriptor for a while; fails when the conversion was stopped.
fn wait(descriptor: BorrowedFd<'_>, flags: PollFlags, stop: &AtomicBool) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(descriptor, flags)], Some(&PATIENCE)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    match stop.load(Ordering::Relaxed) {
        true => Err(io::Error::other("the conversion was stopped")),
        false => Ok(()),
    }
}

impl Storage for Stream {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let before = self.position.saturating_sub(offset).min(bytes.len() as u64) as usize;
        if before > 0 && self.corrections.get(&offset).is_none_or(|known| known != &bytes[..before]) {
            return Err(io::Error::other("the source changed while it was converted to a pipe"));
        }
        self.pass_zeroes(offset)?;
        self.pass(&bytes[before..])
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotSeekable.into())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.pass_zeroes(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn publish(&mut self, _overwrite: bool) -> io::Result<()> {
        Ok(())
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn stream_digest(&mut self) -> Option<Sha256Digest> {
        self.hash.take().map(|hash| Sha256Digest(hash.finalize().into()))
    }
}
