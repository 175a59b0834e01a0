//! Command lines as people type them.

mod build;
mod image;
mod qemu_flags;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};

use super::{Arguments, Command};

/// Reads a line that is typed behind `kiln`.
fn parse(line: &str) -> Result<Command, String> {
    let words = std::iter::once("kiln").chain(line.split(' ')).map(OsString::from);
    let words = crate::argv::normalise(words).words;
    Ok(Arguments::try_parse_from(words).map_err(|error| error.to_string())?.command)
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}
