//! How the problems of a template are told, and what it is said to be.

use std::io::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_protocol::{value_without_codes, without_codes};
use kiln_template::{Diagnostics, SourceMap, Style};

use crate::error::CommandError;
use crate::render::{Look, error_count};
use crate::terminal;

/// Exit code when a template is wrong.
pub(super) const EXIT_FAILURE: u8 = 1;

/// Tells what is wrong with a template, on standard error or in records.
pub(super) fn tell(diagnostics: &Diagnostics, sources: &SourceMap, machine_readable: bool) -> io::Result<()> {
    if !machine_readable {
        let style = Style { colour: terminal::wants_colour_on_errors(), ..Style::default() };
        let mut stderr = terminal::stderr();
        write!(stderr, "{}", without_codes(&diagnostics.render(sources, &style)))?;
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        return error_count(errors).map_or(Ok(()), |count| writeln!(stderr, "{count}"));
    }
    let mut stdout = terminal::stdout();
    for diagnostic in diagnostics {
        let text = diagnostic.render(sources, &Style::default());
        look(true).notice(&mut stdout, Timestamp::now(), diagnostic.is_error(), &without_codes(&text))?;
    }
    Ok(())
}

/// Prints what was found together with its problems, as one JSON object.
pub(super) fn print_json(
    mut object: serde_json::Value,
    diagnostics: &Diagnostics,
    sources: &SourceMap,
) -> Result<(), CommandError> {
    let mut reports = serde_json::to_value(diagnostics.reports(sources)).map_err(CommandError::new)?;
    value_without_codes(&mut reports);
    object["diagnostics"] = reports;
    terminal::print_json(&object)
}

/// Prints a text for people, or its record.
pub(super) fn say(text: &str, machine_readable: bool) -> io::Result<()> {
    look(machine_readable).notice(&mut terminal::stdout(), Timestamp::now(), false, text)
}

/// Plain lines, or records.
pub(super) fn look(machine_readable: bool) -> Look {
    Look { machine_readable, terminal: false, colour: false, timestamps: false, time_zone: TimeZone::UTC }
}
