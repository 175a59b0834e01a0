//! `kiln hcl2_upgrade`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kiln_template::{Diagnostic, Diagnostics, SourceMap, hcl2_upgrade as upgrade, is_hcl2};

use super::file::write_whole;
use super::input::Template;
use super::report::{EXIT_FAILURE, say, tell};
use crate::arguments::Hcl2UpgradeArguments;
use crate::error::CommandError;
use crate::terminal;

/// What is put behind the template's name.
const ENDING: &str = ".pkr.hcl";

pub(super) fn hcl2_upgrade(arguments: Hcl2UpgradeArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let template = Template::new(arguments.template_flags, &arguments.template)?;
    if is_hcl2(&template.inputs, &*template.files) {
        return Err(CommandError::new(format!("{} is HCL2 already", arguments.template.display())));
    }
    let name = template.inputs.path.display().to_string();
    let read = template.files.read(&template.inputs.cwd.join(&template.inputs.path));
    let text = match read.map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => {
            let at = error.utf8_error().valid_up_to();
            let detail = format!("{name} is not UTF-8: the first byte that does not belong is at offset {at}.");
            return refuse(Diagnostic::error("Invalid character encoding", detail), machine_readable);
        }
        Err(error) => {
            let detail = format!("{name} cannot be read: {error}.");
            return refuse(Diagnostic::error("Cannot read file", detail), machine_readable);
        }
    };
    let upgraded = upgrade(&name, &text, arguments.with_annotations);
    tell(&upgraded.diagnostics, &upgraded.sources, machine_readable)?;
    let Some(text) = upgraded.text else { return Ok(EXIT_FAILURE) };
    match arguments.output_file.unwrap_or_else(|| beside(&arguments.template)) {
        output if output == Path::new("-") => write!(terminal::data_stdout(), "{text}")?,
        output => {
            let failed = |error| CommandError::new(format!("cannot write {}: {error}", output.display()));
            write_whole(&output, &text).map_err(failed)?;
            say(&format!("Successfully created {}", output.display()), machine_readable)?;
        }
    }
    Ok(0)
}

/// Returns where Packer writes the result; that of standard input goes to standard output.
fn beside(template: &Path) -> PathBuf {
    if template == Path::new("-") {
        return template.to_owned();
    }
    let mut name = template.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

fn refuse(diagnostic: Diagnostic, machine_readable: bool) -> Result<u8, CommandError> {
    tell(&Diagnostics::from(diagnostic), &SourceMap::new(), machine_readable)?;
    Ok(EXIT_FAILURE)
}
