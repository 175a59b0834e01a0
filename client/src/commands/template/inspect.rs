//! `kiln inspect`.

use jiff::Timestamp;
use kiln_template::{InspectLine, inspect as inspect_template};
use serde_json::json;

use super::input::Template;
use super::report::{EXIT_FAILURE, look, print_json, tell};
use crate::arguments::InspectArguments;
use crate::commands::note::note;
use crate::error::CommandError;
use crate::terminal;

pub(super) fn inspect(arguments: InspectArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let template = Template::new(arguments.template_flags, &arguments.template)?;
    let inspection = inspect_template(&template.inputs, template.files);
    let code = if inspection.lines.is_empty() { EXIT_FAILURE } else { 0 };
    if arguments.json {
        print_json(json!({ "template": inspection.json }), &inspection.diagnostics, &inspection.sources)?;
        return Ok(code);
    }
    if code != 0 {
        tell(&inspection.diagnostics, &inspection.sources, machine_readable)?;
        return Ok(code);
    }
    let (look, mut stdout) = (look(machine_readable), terminal::stdout());
    for line in &inspection.lines {
        match line {
            InspectLine::Say(text) => look.notice(&mut stdout, Timestamp::now(), false, text)?,
            InspectLine::Record(kind, fields) => {
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                look.record(&mut stdout, Timestamp::now(), "", kind, &fields)?;
            }
        }
    }
    let errors = inspection.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    if errors > 0 && !machine_readable {
        let errors = if errors == 1 { "an error".to_owned() } else { format!("{errors} errors") };
        note(&format!("note: the template has {errors}; `kiln validate` shows them"));
    }
    Ok(0)
}
