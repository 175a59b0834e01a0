//! Help, and what is said of a command line that is not understood.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory as _, Parser as _};
use kiln_template::did_you_mean;

use crate::arguments::Arguments;
use crate::error::CommandError;
use crate::terminal;
use crate::visible;

/// Exit code for everything that fails, as in Packer.
const EXIT_FAILURE: u8 = 1;

/// Exit code for a missing or unknown command, as in Packer.
const EXIT_UNKNOWN_COMMAND: u8 = 127;

/// Commands of Packer's that are not there yet.
const MISSING_COMMANDS: &[&str] = &["verify-attestation"];

/// Lists the commands for who gave none.
pub(crate) fn no_command() -> ExitCode {
    list(EXIT_UNKNOWN_COMMAND)
}

/// `kiln help`, with the words behind it: the list of commands, or what one of them takes.
pub(crate) fn help(words: &[OsString]) -> ExitCode {
    let names = shown(words).filter(|word| !word.starts_with('-') && word != "help");
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        return list(0);
    }
    let root = Arguments::command();
    let mut path: Vec<String> = Vec::new();
    for name in &names {
        let here = at(&root, &path);
        // What is looked for below another command may stand beside it: `kiln help image convert`.
        if here.find_subcommand(name).is_none() && root.find_subcommand(name).is_some() {
            path.clear();
        } else if here.find_subcommand(name).is_none() {
            if here.has_subcommands() {
                return unknown_command(&root, &path, name);
            }
            break;
        }
        path.push(name.clone());
    }
    let line = std::iter::once("kiln").chain(path.iter().map(String::as_str)).chain(["--help"]);
    if let Err(help) = Arguments::try_parse_from(line) {
        print(&help);
    }
    ExitCode::SUCCESS
}

/// Says what clap did not understand. With something to suggest that is all; nothing else would be seen beside a list.
pub(crate) fn mistake(error: clap::Error, words: &[OsString]) -> ExitCode {
    // Errors quote the words in many places; of the words as they can be shown, clap says the same.
    let error = Arguments::try_parse_from(shown(words)).err().unwrap_or(error);
    let root = Arguments::command();
    let mut path: Vec<String> = Vec::new();
    for word in shown(words).skip(1) {
        if at(&root, &path).find_subcommand(&word).is_none() {
            break;
        }
        path.push(word);
    }
    // In a comparison, 1 means that the images differ.
    let failure = ExitCode::from(if path == ["image", "compare"] { 2 } else { EXIT_FAILURE });
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            if let Some(given) = context(&error, ContextKind::InvalidSubcommand) {
                return unknown_command(&root, &path, &given);
            }
        }
        ErrorKind::UnknownArgument => {
            if let Some(given) = context(&error, ContextKind::InvalidArg).filter(|given| given.starts_with('-')) {
                say(&unknown_flag(at(&root, &path), &path, &given));
                return failure;
            }
        }
        _ => {}
    }
    print(&error);
    if error.kind() == ErrorKind::DisplayHelp { ExitCode::SUCCESS } else { failure }
}

/// Returns words as they can be shown in a line.
fn shown(words: &[OsString]) -> impl Iterator<Item = String> {
    words.iter().map(|word| visible::name(&word.to_string_lossy()).into_owned())
}

/// Prints what clap says: help to standard output, mistakes to standard error.
fn print(error: &clap::Error) {
    let text = error.render();
    let (mut output, colour): (Box<dyn Write>, bool) = if error.use_stderr() {
        (Box::new(terminal::stderr()), terminal::wants_colour_on_errors())
    } else {
        (Box::new(terminal::stdout()), terminal::wants_colour(None))
    };
    // Nobody is left to tell when the terminal is gone.
    let _ = if colour { write!(output, "{}", text.ansi()) } else { write!(output, "{text}") };
}

/// Prints the list of commands.
fn list(code: u8) -> ExitCode {
    let help = Arguments::command().render_help();
    // Nobody is left to tell when the terminal is gone.
    let _ = write!(terminal::stdout(), "{help}");
    ExitCode::from(code)
}

/// Says that there is no such command, with what was meant or a list of those that there are.
fn unknown_command(root: &Command, path: &[String], given: &str) -> ExitCode {
    let full = path.iter().map(String::as_str).chain([given]).collect::<Vec<_>>().join(" ");
    if MISSING_COMMANDS.contains(&full.as_str()) {
        say(&CommandError::new(format!("`kiln {full}` is not there yet")));
        return ExitCode::from(EXIT_FAILURE);
    }
    let error = CommandError::new(format!("there is no command `{full}`"));
    let names = at(root, path).get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name);
    let code = if path.is_empty() { EXIT_UNKNOWN_COMMAND } else { EXIT_FAILURE };
    match did_you_mean(given, names) {
        Some(hint) => say(&error.hint(hint)),
        None if path.is_empty() => {
            say(&error);
            return list(code);
        }
        None => say(&error.hint(format!("`kiln help {}` lists its commands", path.join(" ")))),
    }
    ExitCode::from(code)
}

fn unknown_flag(command: &Command, path: &[String], given: &str) -> CommandError {
    let name = given.trim_start_matches('-').split('=').next().unwrap_or_default();
    let dashes = if name.chars().count() == 1 { "-" } else { "--" };
    let path = path.join(" ");
    let owner = if path.is_empty() { "kiln".to_owned() } else { format!("kiln {path}") };
    let error = CommandError::new(format!("`{owner}` has no flag `{dashes}{name}`"));
    let flags = command.get_arguments().filter(|flag| !flag.is_hide_set()).filter_map(clap::Arg::get_long);
    let flags: Vec<_> = flags.chain(["help"]).map(|flag| format!("--{flag}")).collect();
    error.hint(match did_you_mean(&format!("{dashes}{name}"), flags.iter().map(String::as_str)) {
        Some(hint) => hint,
        None => format!("`{}` lists them", format!("kiln help {path}").trim_end()),
    })
}

fn at<'a>(root: &'a Command, path: &[String]) -> &'a Command {
    path.iter().fold(root, |command, name| command.find_subcommand(name).unwrap_or(command))
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

fn say(error: &CommandError) {
    // Nobody is left to tell when the terminal is gone.
    let _ = error.print(&mut terminal::stderr());
}
