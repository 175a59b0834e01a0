//! From the words of a command line to an exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use kiln_protocol::places;
use kiln_template::did_you_mean;

use crate::api::{Client, Starting};
use crate::arguments::{Arguments, Command};
use crate::argv::{self, Normalised};
use crate::commands::{self, Context};
use crate::error::CommandError;
use crate::terminal;

/// Exit code for everything that fails, as in Packer.
const EXIT_FAILURE: u8 = 1;

/// Exit code for a missing or unknown command, as in Packer.
const EXIT_UNKNOWN_COMMAND: u8 = 127;

/// Commands of Packer's that are not there yet.
const MISSING_COMMANDS: &[&str] = &["verify-attestation"];

/// Runs kiln with this command line.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Normalised { words, machine_readable } = argv::normalise(words);
    let result = match words.as_slice() {
        // Without clap and without a runtime: scripts ask for the version all the time.
        [_, command] if command == "version" => commands::version(machine_readable).map(|()| 0),
        [] | [_] => return help(EXIT_UNKNOWN_COMMAND),
        _ => match Arguments::try_parse_from(&words) {
            Ok(arguments) => execute(arguments.command, machine_readable),
            Err(error) => return usage(&error, &words),
        },
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !error.is_broken_pipe() {
                // Nobody is left to tell when the terminal is gone.
                let _ = error.print(&mut terminal::stderr());
            }
            ExitCode::from(error.code())
        }
    }
}

fn execute(command: Command, machine_readable: bool) -> Result<u8, CommandError> {
    let command = match command {
        // Without a runtime and a socket: an editor runs these at every change.
        Command::Template(command) => return commands::run_on_template(command, machine_readable),
        other => other,
    };
    let user = rustix::process::geteuid().as_raw();
    let socket = places::socket_path(terminal::variable, user);
    let mut client = Client::new(socket, Starting::OnDemand);
    // Who names a socket means that one.
    if terminal::variable(places::KILN_SOCKET).is_none_or(|socket| socket.is_empty())
        && let Some(state) = places::state_directory(terminal::variable)
    {
        client = client.or_holder_of(state.join(places::LOCK_NAME));
    }
    let context = Context { client, machine_readable };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run(command, context));
    // A thread that waits for somebody at the terminal must not keep the process.
    runtime.shutdown_background();
    result
}

/// Prints the list of commands.
fn help(code: u8) -> ExitCode {
    let help = Arguments::command().render_help();
    // Nobody is left to tell when the terminal is gone.
    let _ = write!(terminal::stdout(), "{help}");
    ExitCode::from(code)
}

fn usage(error: &clap::Error, words: &[OsString]) -> ExitCode {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(given) = words.get(1).map(|word| word.to_string_lossy())
        && Arguments::command().find_subcommand(&*given).is_none()
    {
        return unknown_command(&given);
    }
    // To standard output for help, to standard error for mistakes.
    let _ = error.print();
    // In a comparison, 1 means that the images differ.
    let compares = words.get(1..3).is_some_and(|command| command == ["image", "compare"]);
    ExitCode::from(match error.kind() {
        ErrorKind::DisplayHelp => 0,
        _ if compares => 2,
        _ => EXIT_FAILURE,
    })
}

/// Says that there is no such command, with the list of those that there are.
fn unknown_command(given: &str) -> ExitCode {
    let missing = MISSING_COMMANDS.contains(&given);
    let error = if missing {
        CommandError::new(format!("`kiln {given}` is not there yet"))
    } else {
        let error = CommandError::new(format!("there is no command `{given}`"));
        let command = Arguments::command();
        match did_you_mean(given, command.get_subcommands().map(clap::Command::get_name)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    };
    // Nobody is left to tell when the terminal is gone.
    let _ = error.print(&mut terminal::stderr());
    if missing { ExitCode::from(EXIT_FAILURE) } else { help(EXIT_UNKNOWN_COMMAND) }
}
