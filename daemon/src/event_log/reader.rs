//! Reads an events file from any number on, whole lines only, a bounded piece at a time.
//!
//! Who begins in the middle does not read what lies before: numbers only ever grow, so the place is found by halving.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use kiln_builder::regular_file;
use kiln_protocol::MAX_EVENT_BYTES;
use serde::Deserialize;

/// Bytes read at once; grows up to [`MAX_EVENT_BYTES`] for a longer line.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes that one read steps over where no wanted event is among them: whoever wrote the file may have written gigabytes of them, and who
/// reads for others has other files to read, too.
const PIECE_BYTES: u64 = 256 << 10;

/// One event as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLine {
    /// Its number.
    pub seq: u64,
    /// Its kind, as on the wire.
    pub kind: String,
    /// The line without its newline.
    pub text: Bytes,
}

impl EventLine {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.kind == "job_finished"
    }
}

/// Reports that an events file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The events file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line is longer than any writer of ours makes it.
    #[error("{path}: the line at offset {offset} is longer than {MAX_EVENT_BYTES} bytes")]
    LineTooLong {
        /// The events file.
        path: PathBuf,
        /// Where the line starts, in bytes.
        offset: u64,
    },
}

/// Reads events one batch at a time. When a writer has cut the file (`limit.rs`), it goes on in the new one.
#[derive(Debug)]
pub struct EventReader {
    file: File,
    path: PathBuf,
    /// Start of the first line that was not returned yet.
    offset: u64,
    /// Events up to this number are skipped.
    after: u64,
    /// Whether it was said that a line is no event.
    complained: bool,
}

/// Returns the last event of a file, without reading the others; nothing when its last whole line is none.
///
/// # Errors
///
/// The file cannot be opened or read.
pub fn last_event(path: &Path) -> Result<Option<EventLine>, ReadError> {
    let io_error = |source| ReadError::Io { path: path.to_owned(), source };
    let file = regular_file::open_to_read(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    let start = length.saturating_sub(MAX_EVENT_BYTES as u64);
    let mut tail = vec![0; usize::try_from(length - start).unwrap_or(MAX_EVENT_BYTES)];
    file.read_exact_at(&mut tail, start).map_err(io_error)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    tail.truncate(end);
    let begin = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let text = Bytes::from(tail).slice(begin..);
    let head = serde_json::from_slice::<Head<'_>>(&text).map(|head| (head.seq, head.kind.into_owned()));
    Ok(head.ok().map(|(seq, kind)| EventLine { seq, kind, text }))
}

#[derive(Deserialize)]
pub(super) struct Head<'a> {
    pub(super) seq: u64,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
}

impl EventReader {
    /// Opens the file; the first event returned is the one after number `after`.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn open(path: &Path, after: u64) -> Result<Self, ReadError> {
        let file =
            regular_file::open_to_read(path).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        let mut reader = Self { file, path: path.to_owned(), offset: 0, after, complained: false };
        if after > 0 {
            reader.offset = reader.place_of(after).map_err(|source| ReadError::Io { path: path.to_owned(), source })?;
        }
        Ok(reader)
    }

    /// Returns the offset behind the last whole line that was read.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next events, however much lies before them; none when there is nothing new. For who has a thread, or a process, of its own.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds a line that is too long.
    pub fn read_batch(&mut self) -> Result<Vec<EventLine>, ReadError> {
        loop {
            match self.read_piece()? {
                Some(events) if events.is_empty() => {}
                Some(events) => return Ok(events),
                None => return Ok(Vec::new()),
            }
        }
    }

    /// Returns the events in the next piece of the file, none when no wanted one is in it; nothing at all when there is nothing new. Lines
    /// that are no events are skipped.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds a line that is too long.
    pub fn read_piece(&mut self) -> Result<Option<Vec<EventLine>>, ReadError> {
        let start = self.offset;
        loop {
            let Some(lines) = self.read_lines()? else {
                // The next piece is that of the new file.
                return Ok(self.reopen()?.then(Vec::new));
            };
            let mut events = Vec::new();
            for line in lines.split(|byte| *byte == b'\n') {
                match serde_json::from_slice::<Head<'_>>(line) {
                    Ok(head) if head.seq > self.after => {
                        self.after = head.seq;
                        let kind = head.kind.into_owned();
                        events.push(EventLine { seq: head.seq, kind, text: lines.slice_ref(line) });
                    }
                    Ok(_) => {}
                    Err(_) if line.is_empty() => {}
                    // Once: whoever writes the file may write many, and must not fill the log.
                    Err(_) if self.complained => {}
                    Err(error) => {
                        self.complained = true;
                        tracing::warn!(path = %self.path.display(), %error, "a line is no event");
                    }
                }
            }
            if !events.is_empty() || self.offset - start >= PIECE_BYTES {
                return Ok(Some(events));
            }
        }
    }

    /// Returns where a line begins before which no event has a number above `after`: near the first that has, where the numbers grow and the
    /// lines are not too long. Reads some kilobytes for each halving.
    fn place_of(&self, after: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, self.file.metadata()?.len());
        while high - low > CHUNK_BYTES as u64 {
            let middle = low + (high - low) / 2;
            match self.event_behind(middle)? {
                Some((start, number)) if number <= after && start < high => low = start,
                // No such event, or none that is seen at once.
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Returns the first event that begins behind this offset, where it begins and its number, when it is among the next bytes.
    fn event_behind(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let count = self.file.read_at(&mut buffer, offset)?;
        let mut newlines = buffer[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let Some(first) = newlines.next() else { return Ok(None) };
        let mut start = first + 1;
        let head = newlines.find_map(|end| {
            let head = serde_json::from_slice::<Head<'_>>(&buffer[start..end]).ok();
            let begin = std::mem::replace(&mut start, end + 1);
            head.map(|head| (offset + begin as u64, head.seq))
        });
        Ok(head)
    }

    /// Goes on with the file that a writer has put in the place of this one, if it has; it holds everything that comes next.
    fn reopen(&mut self) -> Result<bool, ReadError> {
        let io_error = |source| ReadError::Io { path: self.path.clone(), source };
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = match self.path.symlink_metadata() {
            Ok(metadata) => identity(metadata),
            // The job is forgotten: nothing comes any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error(error)),
        };
        if identity(self.file.metadata().map_err(io_error)?) == there {
            return Ok(false);
        }
        self.file = regular_file::open_to_read(&self.path).map_err(io_error)?;
        self.offset = 0;
        Ok(true)
    }

    /// Returns the whole lines of the next chunk and steps over them.
    fn read_lines(&mut self) -> Result<Option<Bytes>, ReadError> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut filled = 0;
        loop {
            let count = self
                .file
                .read_at(&mut buffer[filled..], self.offset + filled as u64)
                .map_err(|source| ReadError::Io { path: self.path.clone(), source })?;
            let searched = filled;
            filled += count;
            if let Some(end) = buffer[searched..filled].iter().rposition(|byte| *byte == b'\n') {
                buffer.truncate(searched + end + 1);
                self.offset += buffer.len() as u64;
                return Ok(Some(buffer.into()));
            }
            if count == 0 {
                return Ok(None);
            }
            if filled == buffer.len() {
                if filled >= MAX_EVENT_BYTES {
                    return Err(ReadError::LineTooLong { path: self.path.clone(), offset: self.offset });
                }
                buffer.resize((filled * 2).min(MAX_EVENT_BYTES), 0);
            }
        }
    }
}
