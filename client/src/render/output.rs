//! The two ways in which lines leave: for people, and for programs (`-machine-readable`).

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Colours of builds, by position, as SGR numbers: green, cyan, magenta, yellow, blue.
const COLOURS: [u8; 5] = [32, 36, 35, 33, 34];

/// Colour of errors: red.
const ERROR_COLOUR: u8 = 31;

/// How lines look.
#[derive(Clone, Debug)]
pub struct Look {
    /// For programs.
    pub machine_readable: bool,
    /// With colours; never for programs.
    pub colour: bool,
    /// With the time in front of what builds say.
    pub timestamps: bool,
    /// Zone of these times.
    pub time_zone: TimeZone,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// The whole job.
    Job,
    /// The build at this position.
    Build(usize),
}

/// What is said, as far as machines care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Say,
    Error,
}

impl Look {
    /// Writes a message.
    pub(super) fn message(
        &self,
        output: &mut dyn Write,
        time: Timestamp,
        voice: Voice,
        tone: Tone,
        text: &str,
    ) -> io::Result<()> {
        let stamped;
        let mut text = text;
        if self.timestamps && voice != Voice::Job {
            stamped = format!("{}: {text}", self.rfc3339(time));
            text = &stamped;
        }
        if self.machine_readable {
            let tone = if tone == Tone::Error { "error" } else { "say" };
            return self.record(output, time, "", "ui", &[tone, text]);
        }
        let colour = match (tone, voice) {
            (Tone::Error, _) => Some(ERROR_COLOUR),
            (Tone::Say, Voice::Build(position)) => Some(COLOURS[position % COLOURS.len()]),
            (Tone::Say, Voice::Job) => None,
        };
        match colour.filter(|_| self.colour) {
            Some(colour) => writeln!(output, "\x1b[1;{colour}m{text}\x1b[0m"),
            None => writeln!(output, "{text}"),
        }
    }

    /// Writes a text of the whole command, or its record.
    pub(crate) fn notice(&self, output: &mut dyn Write, time: Timestamp, is_error: bool, text: &str) -> io::Result<()> {
        self.message(output, time, Voice::Job, if is_error { Tone::Error } else { Tone::Say }, text)
    }

    /// Writes a record for programs; nothing otherwise.
    pub(crate) fn record(
        &self,
        output: &mut dyn Write,
        time: Timestamp,
        target: &str,
        kind: &str,
        data: &[&str],
    ) -> io::Result<()> {
        if !self.machine_readable {
            return Ok(());
        }
        write!(output, "{},{target},{kind}", time.as_second())?;
        for field in data {
            let field = field.replace(',', "%!(PACKER_COMMA)").replace('\r', "\\r").replace('\n', "\\n");
            write!(output, ",{field}")?;
        }
        writeln!(output)
    }

    /// Writes the time as Go's `time.RFC3339`: seconds, and `Z` for UTC.
    fn rfc3339(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.time_zone.clone());
        let format = if zoned.offset().is_zero() { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
        zoned.strftime(format).to_string()
    }
}
