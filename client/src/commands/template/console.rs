//! `kiln console`: lines from a pipe or from a person, evaluated one by one.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use kiln_template::{Console, OsFiles};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use super::history;
use super::input::{Template, inputs};
use super::report::{EXIT_FAILURE, say, tell};
use crate::arguments::ConsoleArguments;
use crate::commands::note::note;
use crate::error::CommandError;
use crate::terminal;

/// Lines of history that are kept.
const HISTORY_LINES: usize = 1000;

/// Longest line from a pipe, in bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

const HCL_HELP: &str = "\
This console evaluates the expressions of HCL2 templates. Type one, such as
  upper(var.name)
and its value is shown. Variables and locals are those of the template the console was
started with; data sources are not read.

  variables   lists all variables and locals
  help        shows this text
  exit        ends the console, as Ctrl-D and Ctrl-C do

Go templates, such as {{timestamp}}, are not evaluated here.";

const JSON_HELP: &str = "\
This console renders the texts of JSON templates. Type one, such as
  disk-{{user `name`}}-{{timestamp}}
and the result is shown. Variables are those of the template the console was started with.

  variables   lists all variables
  help        shows this text
  exit        ends the console, as Ctrl-D and Ctrl-C do

`kiln console -config-type=hcl2` evaluates expressions without a template.";

/// A console that people or pipes talk to.
struct Session {
    console: Console,
    machine_readable: bool,
}

/// What a line leads to.
enum Reply {
    Text(String),
    /// Something was wrong, and has been told.
    Wrong,
    Exit,
}

pub(super) fn console(arguments: ConsoleArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let mut flags = arguments.template_flags;
    let console = match arguments.template {
        Some(path) if path == Path::new("-") => {
            return Err(CommandError::new("the console reads lines from standard input, and so no template"));
        }
        Some(path) => {
            let template = Template::new(flags, &path)?;
            let (console, diagnostics, sources) = Console::open(&template.inputs, template.files);
            tell(&diagnostics, &sources, machine_readable)?;
            if diagnostics.has_errors() {
                return Ok(EXIT_FAILURE);
            }
            console
        }
        None => {
            let hcl2 = flags.config_type.take().as_deref() == Some("hcl2");
            let inputs = inputs(flags, ".".into())?;
            if hcl2 { Console::empty(&inputs, Arc::new(OsFiles)) } else { Console::empty_json(&inputs) }
        }
    };
    let session = Session { console, machine_readable };
    if io::stdin().is_terminal() && !machine_readable { session.interactive() } else { session.piped() }
}

impl Session {
    fn reply(&self, line: &str) -> Result<Reply, CommandError> {
        Ok(match line.trim() {
            "" => Reply::Text(String::new()),
            "exit" => Reply::Exit,
            "help" => Reply::Text(if self.console.is_hcl2() { HCL_HELP } else { JSON_HELP }.to_owned()),
            "variables" => Reply::Text(self.console.variables()),
            _ => {
                let answer = self.console.evaluate(line);
                tell(&answer.diagnostics, &answer.sources, self.machine_readable)?;
                answer.text.map_or(Reply::Wrong, Reply::Text)
            }
        })
    }

    /// Evaluates every line and prints the last result, as Packer does.
    fn piped(&self) -> Result<u8, CommandError> {
        let (mut last, mut code) = (String::new(), 0);
        let mut input = io::stdin().lock();
        let failed = |error: io::Error| CommandError::new(format!("cannot read standard input: {error}"));
        loop {
            let mut line = Vec::new();
            io::Read::take(&mut input, MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(failed)?;
            if line.is_empty() {
                break;
            }
            if line.len() as u64 == MAX_LINE_BYTES {
                return Err(CommandError::new("a line of standard input has more than 1 MiB"));
            }
            let line = String::from_utf8(line).map_err(|_| CommandError::new("standard input is not UTF-8"))?;
            match self.reply(line.trim_end_matches(['\n', '\r']))? {
                Reply::Text(text) => last = text,
                Reply::Wrong => code = EXIT_FAILURE,
                Reply::Exit => break,
            }
        }
        say(&last, self.machine_readable)?;
        Ok(code)
    }

    fn interactive(&self) -> Result<u8, CommandError> {
        let failed = |error: ReadlineError| CommandError::new(format!("cannot read from the terminal: {error}"));
        let config = Config::builder().max_history_size(HISTORY_LINES).map_err(failed)?.auto_add_history(false).build();
        let mut editor = Editor::<(), FileHistory>::with_config(config).map_err(failed)?;
        let path = history::path(terminal::variable).filter(|path| match history::create(path) {
            Ok(()) => editor.load_history(path).is_ok(),
            Err(error) => {
                note(&format!("warning: {error}"));
                false
            }
        });
        loop {
            let line = match editor.readline("> ") {
                Ok(line) => line,
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
                Err(error) => return Err(failed(error)),
            };
            let reply = self.reply(&line)?;
            if history::may_keep(&line, self.console.sensitive()) {
                editor.add_history_entry(&line).map_err(failed)?;
            }
            match reply {
                Reply::Text(text) => writeln!(terminal::stdout(), "{text}")?,
                Reply::Wrong => {}
                Reply::Exit => break,
            }
        }
        if let Some(path) = path
            && let Err(error) = editor.append_history(&path)
        {
            note(&format!("warning: the history was not kept in {}: {error}", path.display()));
        }
        // What the terminal showed stays as it is.
        Ok(0)
    }
}
