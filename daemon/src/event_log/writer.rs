//! Appends numbered events to an events file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kiln_builder::regular_file;
use kiln_protocol::{Event, EventBody};

use super::limit::Limit;
use super::own_words::without_system_codes;
use super::reader::{EventLine, EventReader, ReadError, last_event};
use crate::job_dir::RESERVE_NAME;

/// Longest text in an event, in bytes. JSON may make it six times as long, which stays below the line limit.
const MAX_TEXT_BYTES: usize = 512 << 10;

/// Reports that an events file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What is there already cannot be read.
    #[error("cannot continue the events file")]
    Existing {
        /// What is wrong with it.
        #[from]
        source: ReadError,
    },
    /// The file cannot be opened or written.
    #[error("cannot write {path}")]
    Io {
        /// The events file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An event cannot be expressed in JSON.
    #[error("cannot express an event in JSON")]
    Json {
        /// Why.
        #[from]
        source: serde_json::Error,
    },
}

/// The writer. The caller makes sure that there is only one per file.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
    path: PathBuf,
    last: u64,
    /// Length of the whole lines, in bytes.
    length: u64,
    /// Events that could not be written since the last that could.
    lost: u64,
    finished: bool,
    /// How long the file may become.
    limit: Option<Limit>,
}

impl EventWriter {
    /// [`open`](Self::open) for who may not read what others have written to its end: goes on after the last event, and reads nothing else.
    ///
    /// # Errors
    ///
    /// The file cannot be opened or read, or does not end with an event.
    pub fn open_at_end(path: &Path) -> Result<Self, WriteError> {
        let io_error = |source| WriteError::Io { path: path.to_owned(), source };
        let options = &mut OpenOptions::new();
        let file = regular_file::open(path, options.read(true).write(true).create(true).truncate(false).mode(0o600))
            .map_err(io_error)?;
        let length = file.metadata().map_err(io_error)?.len();
        let (last, finished) = match last_event(path)? {
            Some(event) => (event.seq, event.is_last()),
            None if length == 0 => (0, false),
            None => return Err(io_error(io::Error::new(io::ErrorKind::InvalidData, "it does not end with an event"))),
        };
        // A line without an end gets one: it is no event then, and readers skip it.
        let mut writer = Self { file, path: path.to_owned(), last, length, lost: 0, finished, limit: None };
        writer.end_line().map_err(io_error)?;
        Ok(writer)
    }

    /// Opens the file (made when missing, mode 0600) and continues its numbers; cuts off a line without an end.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, read or cut.
    pub fn open(path: &Path) -> Result<Self, WriteError> {
        let io_error = |source| WriteError::Io { path: path.to_owned(), source };
        let options = &mut OpenOptions::new();
        let file = regular_file::open(path, options.read(true).write(true).create(true).truncate(false).mode(0o600))
            .map_err(io_error)?;
        let mut reader = EventReader::open(path, 0)?;
        let (mut last, mut finished) = (0, false);
        loop {
            let batch = reader.read_batch()?;
            let Some(event) = batch.last() else { break };
            last = event.seq;
            finished |= batch.iter().any(EventLine::is_last);
        }
        let length = reader.offset();
        file.set_len(length).map_err(io_error)?;
        Ok(Self { file, path: path.to_owned(), last, length, lost: 0, finished, limit: None })
    }

    /// Cuts the file whenever it is longer than so many bytes; without a limit it never is.
    #[must_use]
    pub fn limited_to(mut self, bytes: u64) -> Self {
        self.limit = Some(Limit::new(bytes));
        self
    }

    /// Returns the number of the last event, 0 when there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether the last event of the job was written; nothing is appended after it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Appends an event with the next number and the present time, in one write. Long texts are cut.
    ///
    /// Events that could not be written are counted, and mentioned before the next one that can. For the last event of a job there
    /// is room kept aside.
    ///
    /// # Errors
    ///
    /// The disk is full or broken. Nothing of the event is left in the file then.
    pub fn append(&mut self, build: Option<String>, body: EventBody) -> Result<(), WriteError> {
        if self.finished {
            return Ok(());
        }
        let finished = matches!(body, EventBody::JobFinished { .. });
        let mut written = self.write(build.clone(), body.clone());
        if finished && written.is_err() {
            // Without its last event a job would look as if its worker had died. This is what the room is for.
            let _ = std::fs::remove_file(self.path.with_file_name(RESERVE_NAME));
            written = self.write(build, body);
        }
        match &written {
            Ok(()) => self.finished = finished,
            Err(_) => self.lost += 1,
        }
        self.keep_to_the_limit();
        written
    }

    /// Replaces the file by a shorter one when it is too long, and says so the first time.
    fn keep_to_the_limit(&mut self) {
        let Some(limit) = self.limit.as_mut().filter(|limit| limit.is_exceeded_by(self.length)) else { return };
        match limit.cut(&self.file, &self.path, self.length) {
            Ok(cut) => {
                (self.file, self.length) = (cut.file, cut.length);
                if cut.is_first && !self.finished {
                    // For who watches now and has seen everything; who reads later finds a line where the cut is.
                    let text = limit.announcement();
                    let _ = self.write(None, EventBody::Say { text, target: None });
                }
            }
            Err(error) => {
                // Everything is still there. The next attempt comes when the file has grown again.
                tracing::error!(path = %self.path.display(), %error, "the events are not cut to their limit");
                limit.postpone(self.length);
            }
        }
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    ///
    /// The disk is broken.
    pub fn sync(&self) -> Result<(), WriteError> {
        self.file.sync_data().map_err(|source| WriteError::Io { path: self.path.clone(), source })
    }

    /// Sees that the next event begins on a line of its own.
    fn end_line(&mut self) -> io::Result<()> {
        let mut last = [b'\n'];
        if self.length > 0 {
            self.file.read_exact_at(&mut last, self.length - 1)?;
        }
        if last != [b'\n'] {
            self.file.write_all_at(b"\n", self.length)?;
            self.length += 1;
        }
        Ok(())
    }

    /// Writes an event, after a word about those that were lost before it: all of it or nothing.
    fn write(&mut self, build: Option<String>, mut body: EventBody) -> Result<(), WriteError> {
        without_system_codes(&mut body);
        cut_text(&mut body);
        let mut lines = Vec::new();
        let mut last = self.last;
        if self.lost > 0 {
            let text = format!("{} events are missing here: they could not be written", self.lost);
            last += 1;
            // A word, and no error: nothing of the job's has failed, and its first error is what `kiln jobs` shows.
            push_line(&mut lines, last, None, EventBody::Say { text, target: None })?;
        }
        last += 1;
        push_line(&mut lines, last, build, body)?;
        if let Err(source) = self.make_room(lines.len()).and_then(|()| self.file.write_all_at(&lines, self.length)) {
            // The next event starts where this one did; if cutting fails too, it overwrites the rest.
            let _ = self.file.set_len(self.length);
            return Err(WriteError::Io { path: self.path.clone(), source });
        }
        self.last = last;
        self.length += lines.len() as u64;
        self.lost = 0;
        Ok(())
    }
}

impl EventWriter {
    /// Takes the space for the next write. A write that runs out of space half way leaves whole lines which a reader may
    /// have taken before they are cut off again.
    fn make_room(&self, bytes: usize) -> io::Result<()> {
        use rustix::io::Errno;
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, self.length, bytes as u64) {
            Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
            // Not every file system can do it; then the write itself says what is wrong.
            _ => Ok(()),
        }
    }
}

fn push_line(lines: &mut Vec<u8>, seq: u64, build: Option<String>, body: EventBody) -> Result<(), serde_json::Error> {
    let time = format!("{:.3}", Timestamp::now());
    serde_json::to_writer(&mut *lines, &Event { seq, time, build, body })?;
    lines.push(b'\n');
    Ok(())
}

fn cut_text(body: &mut EventBody) {
    if let EventBody::Say { text, .. }
    | EventBody::Message { text, .. }
    | EventBody::Error { text, .. }
    | EventBody::Diagnostics { text, .. } = body
        && text.len() > MAX_TEXT_BYTES
    {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push_str(" … (cut)");
    }
}

#[cfg(test)]
impl EventWriter {
    pub(super) fn lose_for_test(&mut self, count: u64) {
        self.lost = count;
    }
}
