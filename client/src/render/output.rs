//! The two ways in which lines leave: for people, and for programs (`-machine-readable`).

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::visible;

/// Colours of builds, by position, as SGR numbers: green, cyan, magenta, yellow, blue.
const COLOURS: [u8; 5] = [32, 36, 35, 33, 34];

/// Colour of errors: red.
const ERROR_COLOUR: u8 = 31;

/// How lines look.
#[derive(Clone, Debug)]
pub struct Look {
    /// For programs.
    pub machine_readable: bool,
    /// For somebody at a terminal: output of scripts is indented and not bold, as it was before Packer 1.7, and an error is told
    /// once. Otherwise lines have the form that scripts around Packer read.
    pub terminal: bool,
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

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Kiln's own words.
    Say,
    /// Something went wrong.
    Error,
    /// What a script wrote to its standard output.
    Output,
    /// What a script wrote to its standard error.
    ErrorOutput,
}

impl Tone {
    fn is_error(self) -> bool {
        matches!(self, Self::Error | Self::ErrorOutput)
    }

    fn is_output(self) -> bool {
        matches!(self, Self::Output | Self::ErrorOutput)
    }
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
            let tone = if tone.is_error() { "error" } else { "say" };
            return self.record(output, time, "", "ui", &[tone, text]);
        }
        let colour = match voice {
            _ if tone.is_error() => Some(ERROR_COLOUR),
            Voice::Build(position) => Some(COLOURS[position % COLOURS.len()]),
            Voice::Job => None,
        };
        let Some(colour) = colour.filter(|_| self.colour) else { return writeln!(output, "{text}") };
        let bold = if self.terminal && tone.is_output() { "" } else { "1;" };
        // Line by line: a colour ends with its line (see `visible`).
        for line in text.split('\n') {
            if line.is_empty() {
                writeln!(output)?;
            } else {
                writeln!(output, "\x1b[{bold}{colour}m{line}\x1b[0m")?;
            }
        }
        Ok(())
    }

    /// Puts `==> target: ` before each line, or an indented `target: ` before output of scripts on a terminal; blanks at the end
    /// of the whole go.
    pub(super) fn prefixed(&self, target: &str, tone: Tone, text: &str) -> String {
        let mark = if self.terminal && tone.is_output() { "   " } else { "==>" };
        let target = visible::name(target);
        let lines: Vec<_> = text.split('\n').map(|line| format!("{mark} {target}: {line}")).collect();
        lines.join("\n").trim_end().to_owned()
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
