//! Command lines as people type them.

mod build;
mod image;
mod man_pages;
mod qemu_flags;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};

use super::{Arguments, Command, TemplateCommand, ValidateArguments};

/// Reads a line that is typed behind `kiln`.
fn parse(line: &str) -> Result<Command, String> {
    let words = std::iter::once("kiln").chain(line.split(' ')).map(OsString::from);
    let words = crate::argv::normalise(words).words;
    Ok(Arguments::try_parse_from(words).map_err(|error| error.to_string())?.command)
}

#[test]
fn validate_is_read_alone_as_the_tree_of_all_commands_reads_it() {
    for line in [
        "validate t.pkr.hcl",
        "validate -var a=b -var-file=x.hcl -only=c -syntax-only -evaluate-datasources=true t",
        "validate -no-warn-undeclared-var --json -config-type=json -",
        "validate -- -t",
        "validate",
        "validate a b",
        "validate -nonsense t",
        "validate -syntax-only=maybe t",
        "validate -config-type=xml -",
        "validate --help",
        "validate -h t",
        "inspect t",
        "valid t",
    ] {
        let words = std::iter::once("kiln").chain(line.split(' ')).map(OsString::from);
        let alone = ValidateArguments::alone(&crate::argv::normalise(words).words);
        let whole = match parse(line) {
            Ok(Command::Template(TemplateCommand::Validate(arguments))) => Some(arguments),
            _ => None,
        };
        assert_eq!(format!("{alone:?}"), format!("{whole:?}"), "{line}");
    }
}

#[test]
fn the_definition_is_sound() {
    Arguments::command().debug_assert();
}
