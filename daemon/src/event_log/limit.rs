//! Keeps an events file to a limit: its head and its tail stay, and of what lies between everything but texts.
//!
//! ```text
//! |<- head: a quarter ->|<- between: results, steps, questions, the last errors; a line that says what is missing ->|<- tail: a quarter ->|
//! ```
//!
//! The shorter file is written beside the old one and takes its place; readers of the old one go on in it (`reader.rs`). Numbers stay,
//! so those of what is left out are missing. Each byte is copied about once more than without a limit.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use kiln_protocol::{Event, EventBody, MAX_EVENT_BYTES};

use super::reader::Head;
use crate::job_dir::UNFINISHED_PREFIX;
use crate::wall_clock::wall_clock;

/// Names the variable with the limit in MiB; it comes from the shell of who submits the job.
pub const KILN_MAX_LOG_MIB: &str = "KILN_MAX_LOG_MIB";

/// Limit when the variable is not set, in bytes: 64 MiB, some 500,000 lines.
pub const DEFAULT_LIMIT_BYTES: u64 = 64 << 20;

/// Largest limit, in MiB: a terabyte.
const MAX_LIMIT_MIB: u64 = 1 << 20;

/// Reports that the variable holds no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{KILN_MAX_LOG_MIB} is `{value}`, not a number of MiB from 1 to {MAX_LIMIT_MIB}")]
pub struct InvalidLimit {
    value: String,
}

/// Returns the limit in bytes that a job's environment asks for.
///
/// # Errors
///
/// The variable is set to something else than a number in range.
pub fn limit_of(variable: Option<&str>) -> Result<u64, InvalidLimit> {
    let Some(value) = variable.filter(|value| !value.is_empty()) else { return Ok(DEFAULT_LIMIT_BYTES) };
    let number = value.parse::<u64>().ok().filter(|number| (1..=MAX_LIMIT_MIB).contains(number));
    let number = number.ok_or_else(|| InvalidLimit { value: value.chars().take(40).collect() })?;
    Ok(number << 20)
}

/// The limit of one file, and what it has cost so far.
#[derive(Debug)]
pub(super) struct Limit {
    bytes: u64,
    /// Length at which the file is cut next: a file whose lines all stay must not be copied at every line.
    next: u64,
    omitted: Omitted,
}

/// What is missing in the file.
#[derive(Clone, Copy, Debug, Default)]
struct Omitted {
    events: u64,
    bytes: u64,
    /// Number of the line that says so, and of the last event that is missing.
    marker: u64,
}

/// What came of a cut.
pub(super) struct Cut {
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) is_first: bool,
}

/// What becomes of a line between head and tail.
enum Fate {
    Stays,
    /// Stays while it is among the first or the last errors.
    Error,
    Goes,
}

impl Limit {
    pub(super) fn new(bytes: u64) -> Self {
        Self { bytes, next: bytes, omitted: Omitted::default() }
    }

    pub(super) fn is_exceeded_by(&self, length: u64) -> bool {
        length > self.next
    }

    /// Puts the next attempt off until the file has grown by a quarter of the limit.
    pub(super) fn postpone(&mut self, length: u64) {
        self.next = length + self.bytes / 4;
    }

    /// Says that from now on not everything is kept.
    pub(super) fn announcement(&self) -> String {
        format!(
            "This job has said more than {}. Its beginning, its end and all results are kept, output between them is not \
             ({KILN_MAX_LOG_MIB} sets the limit).",
            size(self.bytes)
        )
    }

    /// Writes the shorter file in the place of `path`, whose whole lines are `length` bytes long.
    pub(super) fn cut(&mut self, file: &File, path: &Path, length: u64) -> io::Result<Cut> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut shorter = BufWriter::new(tempfile::Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(directory)?);
        let head = line_start(file, self.bytes / 4, length)?;
        let tail = line_start(file, length.saturating_sub(self.bytes / 4).max(head), length)?;
        copy(file, 0..head, &mut shorter)?;
        let omitted = self.thin(file, head..tail, &mut shorter)?;
        if omitted.events > 0 {
            shorter.write_all(&self.marker(&omitted)?)?;
        }
        copy(file, tail..length, &mut shorter)?;
        let shorter = shorter.into_inner().map_err(io::IntoInnerError::into_error)?;
        shorter.as_file().sync_all()?;
        let file = shorter.persist(path).map_err(|error| error.error)?;
        let length = file.metadata()?.len();
        let is_first = self.omitted.events == 0 && omitted.events > 0;
        self.omitted = omitted;
        self.next = self.bytes.max(length + self.bytes / 4);
        Ok(Cut { file, length, is_first })
    }

    /// Copies what stays of the lines in this range; returns what is missing, now and before.
    fn thin(&self, file: &File, range: std::ops::Range<u64>, shorter: &mut impl io::Write) -> io::Result<Omitted> {
        let mut omitted = self.omitted;
        let mut note = |seq: u64, bytes: u64| {
            omitted.events += 1;
            omitted.bytes += bytes;
            omitted.marker = omitted.marker.max(seq);
        };
        let errors = self.errors_that_stay(file, range.clone())?;
        for_each_line(file, range, |offset, line| {
            let Ok(head) = serde_json::from_slice::<Head<'_>>(line) else { return Ok(()) };
            match self.fate(&head) {
                Fate::Error if !errors.hold(offset) => note(head.seq, line.len() as u64),
                Fate::Stays | Fate::Error => shorter.write_all(line)?,
                // The line of an earlier cut is replaced by that of this one.
                Fate::Goes if head.seq == self.omitted.marker => {}
                Fate::Goes => note(head.seq, line.len() as u64),
            }
            Ok(())
        })?;
        Ok(omitted)
    }

    fn fate(&self, head: &Head<'_>) -> Fate {
        match head.kind.as_ref() {
            "say" | "message" | "progress" => Fate::Goes,
            "error" => Fate::Error,
            _ => Fate::Stays,
        }
    }

    /// Works out which errors stay: those in the first and in the last sixteenth of the limit. What a guest writes to its standard error
    /// is an error, too, and may be as long as anything else; why a step, a build or a job failed stands in their own events.
    fn errors_that_stay(&self, file: &File, range: std::ops::Range<u64>) -> io::Result<Errors> {
        let room = self.bytes / 16;
        let mut all = Vec::new();
        for_each_line(file, range, |offset, line| {
            if serde_json::from_slice::<Head<'_>>(line).is_ok_and(|head| head.kind == "error") {
                all.push((offset, line.len() as u64));
            }
            Ok(())
        })?;
        let within = |lines: &mut dyn Iterator<Item = &(u64, u64)>| {
            let mut left = room;
            lines
                .map_while(|&(offset, length)| {
                    left = left.checked_sub(length)?;
                    Some(offset)
                })
                .last()
        };
        Ok(Errors { first: within(&mut all.iter()), last: within(&mut all.iter().rev()) })
    }

    fn marker(&self, omitted: &Omitted) -> io::Result<Vec<u8>> {
        let text = format!(
            "{} events with {} of output are missing before this line: the job has said more than {} ({KILN_MAX_LOG_MIB} sets the limit)",
            omitted.events,
            size(omitted.bytes),
            size(self.bytes)
        );
        let body = EventBody::Say { text, target: None };
        let mut line = serde_json::to_vec(&Event { seq: omitted.marker, time: wall_clock(), build: None, body })?;
        line.push(b'\n');
        Ok(line)
    }
}

/// Offsets up to which, and from which on, errors stay.
struct Errors {
    first: Option<u64>,
    last: Option<u64>,
}

impl Errors {
    fn hold(&self, offset: u64) -> bool {
        self.first.is_some_and(|first| offset <= first) || self.last.is_some_and(|last| offset >= last)
    }
}

/// Returns the first offset from `offset` on at which a line begins; `length` when there is none.
fn line_start(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    if offset == 0 || offset >= length {
        return Ok(offset.min(length));
    }
    let mut reader = part(file, offset - 1..length)?;
    let mut skipped = Vec::new();
    reader.read_until(b'\n', &mut skipped)?;
    Ok((offset - 1 + skipped.len() as u64).min(length))
}

fn for_each_line(
    file: &File,
    range: std::ops::Range<u64>,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = range.start;
    let mut reader = part(file, range)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = (&mut reader).take(MAX_EVENT_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(());
        }
        each(offset, &line)?;
        offset += count as u64;
    }
}

fn copy(file: &File, range: std::ops::Range<u64>, to: &mut impl io::Write) -> io::Result<()> {
    let wanted = range.end - range.start;
    let copied = io::copy(&mut part(file, range)?, to)?;
    if copied == wanted { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads a part of the file. The position of the descriptor means nothing to the writer, which names its offsets.
fn part(file: &File, range: std::ops::Range<u64>) -> io::Result<impl io::BufRead> {
    let mut file = file;
    file.seek(SeekFrom::Start(range.start))?;
    Ok(BufReader::with_capacity(64 << 10, file).take(range.end.saturating_sub(range.start)))
}

/// Spells a number of bytes as people do.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_a_number_of_mebibytes() {
        assert_eq!(limit_of(None), Ok(DEFAULT_LIMIT_BYTES));
        assert_eq!(limit_of(Some("")), Ok(DEFAULT_LIMIT_BYTES));
        assert_eq!(limit_of(Some("3")), Ok(3 << 20));
        for value in ["0", "-1", "1.5", "64MiB", "99999999999999999999", "1048577"] {
            let error = limit_of(Some(value)).unwrap_err().to_string();
            assert_eq!(error, format!("KILN_MAX_LOG_MIB is `{value}`, not a number of MiB from 1 to 1048576"));
        }
    }
}
