//! `kiln fix`.

use std::io::Write as _;
use std::path::Path;

use kiln_template::{Diagnostic, Diagnostics, SourceMap, fix as fix_template, inspect, is_hcl2};
use serde_json::{Value, json};

use super::input::Template;
use super::report::{EXIT_FAILURE, print_json, say, tell};
use crate::arguments::{FixArguments, TemplateFlags};
use crate::error::CommandError;
use crate::terminal;

pub(super) fn fix(arguments: FixArguments, machine_readable: bool) -> Result<u8, CommandError> {
    let template = Template::new(arguments.template_flags, &arguments.template)?;
    if is_hcl2(&template.inputs, &*template.files) {
        let error = format!("`kiln fix` works on JSON templates, and {} is HCL2", arguments.template.display());
        return Err(CommandError::new(error).hint("`kiln validate` says what is wrong with it"));
    }
    // Read first with the parser that knows places: what is not JSON is told with its line.
    let read = inspect(&template.inputs, template.files.clone());
    let bytes = template.files.read(&template.inputs.cwd.join(&template.inputs.path)).unwrap_or_default();
    let fixed = String::from_utf8(bytes).ok().and_then(|text| fix_template(&text).ok());
    let Some(fixed) = fixed else {
        let mut diagnostics = read.diagnostics;
        if !diagnostics.has_errors() {
            diagnostics.push(Diagnostic::error("Not a JSON template", "A template is a JSON object."));
        }
        return finish(Value::Null, None, &diagnostics, &read.sources, arguments.json, machine_readable);
    };
    let (mut diagnostics, mut sources) = (Diagnostics::new(), SourceMap::new());
    if arguments.validate {
        let name = format!("{} (fixed)", shown(&arguments.template));
        let result = Template::of_text(TemplateFlags::default(), &name, fixed.clone().into_bytes())?;
        let inspection = inspect(&result.inputs, result.files);
        (diagnostics, sources) = (inspection.diagnostics, inspection.sources);
    }
    let json = serde_json::from_str(&fixed).map_err(CommandError::new)?;
    finish(json, Some(&fixed), &diagnostics, &sources, arguments.json, machine_readable)
}

fn finish(
    fixed: Value,
    text: Option<&str>,
    diagnostics: &Diagnostics,
    sources: &SourceMap,
    as_json: bool,
    machine_readable: bool,
) -> Result<u8, CommandError> {
    if as_json {
        print_json(json!({ "template": fixed }), diagnostics, sources)?;
    } else {
        if let Some(text) = text {
            if machine_readable {
                say(text, true)?;
            } else {
                writeln!(terminal::data_stdout(), "{text}")?;
            }
        }
        tell(diagnostics, sources, machine_readable)?;
    }
    Ok(if diagnostics.has_errors() { EXIT_FAILURE } else { 0 })
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "<standard input>".to_owned() } else { path.display().to_string() }
}
