//! The commands that work on templates and need no daemon: one file each. `input.rs` and `report.rs` are what they share.
//!
//! Their data goes to standard output and what is wrong to standard error, so that output can be redirected; under
//! `-machine-readable` all of it is records on standard output, as in Packer.

mod console;
mod file;
mod fix;
mod fmt;
mod history;
mod input;
mod inspect;
mod plugins;
mod report;
mod unified;
mod upgrade;
mod validate;

use crate::arguments::TemplateCommand;
use crate::error::CommandError;

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
