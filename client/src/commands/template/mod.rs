//! The commands that work on templates and need no daemon: one file each. This one owns what they share: where a template
//! comes from, and how its problems are told.
//!
//! Their data goes to standard output and what is wrong to standard error, so that output can be redirected; under
//! `-machine-readable` all of it is records on standard output, as in Packer.

mod console;
mod file;
mod fix;
mod fmt;
mod history;
mod inspect;
mod plugins;
mod unified;
mod upgrade;
mod validate;

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_template::{Diagnostics, Files, Inputs, OsFiles, SourceMap, Style};

use crate::arguments::{TemplateCommand, TemplateFlags};
use crate::error::CommandError;
use crate::render::Look;
use crate::terminal;

/// Exit code when a template is wrong.
const EXIT_FAILURE: u8 = 1;

/// Largest template from standard input, in bytes; as large as a file may be.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Runs a command; returns the exit code.
pub(crate) fn run(command: TemplateCommand, machine_readable: bool) -> Result<u8, CommandError> {
    match command {
        TemplateCommand::Validate(arguments) => validate::validate(arguments, machine_readable),
        TemplateCommand::Inspect(arguments) => inspect::inspect(arguments, machine_readable),
        TemplateCommand::Fmt(arguments) => fmt::fmt(arguments, machine_readable),
        TemplateCommand::Console(arguments) => console::console(arguments, machine_readable),
        TemplateCommand::Fix(arguments) => fix::fix(arguments, machine_readable),
        TemplateCommand::Hcl2Upgrade(arguments) => upgrade::hcl2_upgrade(arguments, machine_readable),
        TemplateCommand::Init(arguments) => plugins::init(arguments, machine_readable),
        TemplateCommand::Plugins(command) => plugins::plugins(command, machine_readable),
    }
}

/// A template as the command line names it.
struct Template {
    inputs: Inputs,
    files: Arc<dyn Files>,
}

impl Template {
    /// Takes the template at `path`, or the one on standard input for `-`.
    fn new(flags: TemplateFlags, path: &Path) -> Result<Self, CommandError> {
        if path != Path::new("-") {
            return Ok(Self { inputs: inputs(flags, path.to_owned())?, files: Arc::new(OsFiles) });
        }
        let hcl2 = flags.config_type.as_deref() == Some("hcl2");
        let name = if hcl2 { "<standard input>.pkr.hcl" } else { "<standard input>" };
        Self::of_text(flags, name, read_input()?)
    }

    /// Takes a text as the template; it lies in the working directory, as far as its paths are concerned.
    fn of_text(flags: TemplateFlags, name: &str, text: Vec<u8>) -> Result<Self, CommandError> {
        let inputs = inputs(flags, name.into())?;
        let files = Overlay { path: inputs.cwd.join(name), text };
        Ok(Self { inputs, files: Arc::new(files) })
    }
}

/// Reads standard input to its end.
fn read_input() -> Result<Vec<u8>, CommandError> {
    let mut text = Vec::new();
    let failed = |error: io::Error| CommandError::new(format!("cannot read standard input: {error}"));
    io::stdin().lock().take(MAX_INPUT_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_INPUT_BYTES {
        return Err(CommandError::new("standard input has more than 64 MiB"));
    }
    Ok(text)
}

fn inputs(flags: TemplateFlags, path: PathBuf) -> Result<Inputs, CommandError> {
    let cwd = std::env::current_dir()
        .map_err(|error| CommandError::new(format!("cannot find out the working directory: {error}")))?;
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Inputs {
        path,
        cwd,
        vars: flags.var.into_iter().map(|set| format!("{}={}", set.0.name, set.0.value)).collect(),
        var_files: flags.var_file,
        env: environment.collect(),
        only: flags.only,
        except: flags.except,
        now: Timestamp::now(),
        warn_on_undeclared_var: false,
    })
}

/// The machine's files, and one that is in memory only.
struct Overlay {
    path: PathBuf,
    text: Vec<u8>,
}

impl Files for Overlay {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == self.path { Ok(self.text.clone()) } else { OsFiles.read(path) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsFiles.list(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path != self.path && OsFiles.is_dir(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path == self.path || OsFiles.is_file(path)
    }
}

/// Tells what is wrong with a template, on standard error or in records.
fn tell(diagnostics: &Diagnostics, sources: &SourceMap, machine_readable: bool) -> io::Result<()> {
    if !machine_readable {
        let style = Style { colour: terminal::wants_colour_on_errors(), ..Style::default() };
        return write!(terminal::stderr(), "{}", diagnostics.render(sources, &style));
    }
    let mut stdout = terminal::stdout();
    for diagnostic in diagnostics {
        let text = diagnostic.render(sources, &Style::default());
        look(true).notice(&mut stdout, Timestamp::now(), diagnostic.is_error(), &text)?;
    }
    Ok(())
}

/// Prints what was found together with its problems, as one JSON object.
fn print_json(
    mut object: serde_json::Value,
    diagnostics: &Diagnostics,
    sources: &SourceMap,
) -> Result<(), CommandError> {
    object["diagnostics"] = serde_json::to_value(diagnostics.reports(sources)).map_err(CommandError::new)?;
    terminal::print_json(&object)
}

/// Prints a text for people, or its record.
fn say(text: &str, machine_readable: bool) -> io::Result<()> {
    look(machine_readable).notice(&mut terminal::stdout(), Timestamp::now(), false, text)
}

/// Plain lines, or records.
fn look(machine_readable: bool) -> Look {
    Look { machine_readable, terminal: false, colour: false, timestamps: false, time_zone: TimeZone::UTC }
}
