//! From the words of a command line to an exit code.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use kiln_protocol::{environment, places, without_codes};

use crate::api::{Asking, Client, Starting};
use crate::arguments::{Arguments, Command, TemplateCommand, ValidateArguments};
use crate::argv::{self, Normalised};
use crate::commands::{self, Context};
use crate::error::CommandError;
use crate::terminal;
use crate::usage;

/// Runs kiln with this command line.
pub fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Normalised { words, machine_readable, no_ask_password } = argv::normalise(words);
    if words.get(1).is_some_and(|command| command != "version") {
        tell_of_misspelt_variables();
    }
    let result = match words.as_slice() {
        // Without clap and without a runtime: scripts ask for the version all the time.
        [_, command] if command == "version" => commands::version(machine_readable).map(|()| 0),
        [] | [_] => return usage::no_command(),
        [_, help, rest @ ..] if help == "help" => return usage::help(rest),
        words => match ValidateArguments::alone(words) {
            Some(arguments) => commands::run_on_template(TemplateCommand::Validate(arguments), machine_readable),
            None => match Arguments::try_parse_from(words) {
                Ok(arguments) => execute(arguments.command, machine_readable, no_ask_password),
                Err(error) => return usage::mistake(error, words),
            },
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

/// A variable that is misspelt would be taken as one that is not set.
fn tell_of_misspelt_variables() {
    let names = std::env::vars_os().map(|(name, _)| name);
    let nearest = |given: &str, known: &[&'static str]| kiln_template::nearest(given, known.iter().copied());
    for warning in environment::warnings(names, nearest) {
        // Nobody is left to tell when the terminal is gone.
        let _ = writeln!(terminal::stderr(), "warning: {}", without_codes(&warning));
    }
}

fn execute(command: Command, machine_readable: bool, no_ask_password: bool) -> Result<u8, CommandError> {
    let command = match command {
        // Without a runtime and a socket: an editor runs these at every change.
        Command::Template(command) => return commands::run_on_template(command, machine_readable),
        other => other,
    };
    let user = rustix::process::geteuid().as_raw();
    let socket = places::socket_path(terminal::variable, user);
    let mut client = Client::new(socket, Starting::OnDemand).asking(asking(machine_readable, no_ask_password));
    // Who names a socket means that one.
    if terminal::variable(places::KILN_SOCKET).is_none_or(|socket| socket.is_empty()) {
        client = client.or_system(places::SYSTEM_SOCKET.into());
        if let Some(state) = places::state_directory(terminal::variable) {
            client = client.or_holder_of(state.join(places::LOCK_NAME));
        }
    } else {
        client = client.as_named();
    }
    let context = Context { client, machine_readable };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(commands::run(command, context));
    // A thread that waits for somebody at the terminal must not keep the process.
    runtime.shutdown_background();
    result
}

/// Whether somebody may be asked for a password; else what to do about it.
fn asking(machine_readable: bool, no_ask_password: bool) -> Asking {
    if no_ask_password {
        Asking::Nobody("without `-no-ask-password` you are asked for it here")
    } else if machine_readable || !terminal::is_attended() {
        Asking::Nobody("at a terminal (and without CI and `-machine-readable`) the same command asks for it")
    } else {
        Asking::at_terminal(terminal::is_on_desktop())
    }
}
