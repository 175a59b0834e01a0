//! What shell and shell-local have in common: which scripts, which variables, which exit codes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_template::Options;

use crate::build_data::BuildData;
use crate::error::StepError;
use crate::generated::{self, Renderer};
use crate::plan_reader::PlanReader;

/// A script to run.
pub(crate) enum Script {
    /// Inline commands, joined to a script with its `#!` line.
    Inline(String),
    /// A file of the user.
    File(PathBuf),
}

/// Complains about contradictory or missing scripts and malformed variables.
pub(crate) fn check(reader: &mut PlanReader<'_>, kind: &str) {
    let options = reader.options;
    let inline = !options.strings("inline").is_empty() || options.string("command").is_some();
    let (script, scripts) = (options.string("script").is_some(), !options.strings("scripts").is_empty());
    let given = [inline, script, scripts].iter().filter(|&&given| given).count();
    // A wrong value or a wrong name was meant to be one of them.
    let meant = ["inline", "command", "script", "scripts"].iter().any(|name| options.is_unusable(name));
    if given == 0 && !meant {
        let detail = if kind == "shell" {
            "Either a script file or inline script must be specified."
        } else {
            "Command, Inline, Script and Scripts options cannot all be empty."
        };
        reader.error("inline", "Nothing to run", detail);
    } else if given > 1 {
        let detail = if script && scripts {
            "Only one of script or scripts can be specified."
        } else {
            "Only a script file or an inline script can be specified, not both."
        };
        reader.error("script", "More than one kind of script", detail);
    }
    if inline && reader.flag("use_linux_pathing") {
        let detail = "use_linux_pathing converts the paths of scripts; inline and command have none.";
        reader.error("use_linux_pathing", "Options that exclude each other", detail);
    }
    let fields: &[&str] =
        if kind == "shell" { &["Vars", "Path", "EnvVarFile"] } else { &["Vars", "Script", "Command"] };
    let commands = options.string("execute_command").into_iter();
    let commands = commands.chain(options.strings("execute_command").iter().map(String::as_str));
    reader.check_late("execute_command", commands, fields);
    reader.check_late("inline", options.strings("inline").iter().map(String::as_str), &[]);
    for name in ["script", "scripts"] {
        let paths: Vec<String> = match name {
            "script" => options.string(name).map(str::to_owned).into_iter().collect(),
            _ => options.strings(name).to_vec(),
        };
        for (index, path) in paths.into_iter().enumerate() {
            // A path made from build data is known only later; what it will be is checked when it runs.
            if !path.contains(generated::UNKNOWN) && !Path::new(&path).exists() {
                reader.error_in(name, index, "No such script", format!("Bad script {path:?}: there is no such file."));
            }
        }
    }
    for (index, pair) in options.strings("environment_vars").iter().enumerate() {
        if pair.split_once('=').is_none_or(|(key, _)| key.is_empty()) {
            let detail = format!("Environment variable not in format 'key=value': {pair}");
            reader.error_in("environment_vars", index, "Invalid variable", detail);
        }
    }
}

/// The scripts, in order. Inline commands are rendered with the build's data here.
pub(crate) fn scripts(options: &Options, renderer: &Renderer, always_shebang: bool) -> Result<Vec<Script>, StepError> {
    let mut commands: Vec<String> = options.strings("inline").to_vec();
    commands.extend(options.string("command").map(str::to_owned));
    if commands.is_empty() {
        let single = options.string("script").map(PathBuf::from);
        let several = options.strings("scripts").iter().map(PathBuf::from);
        return Ok(single.into_iter().chain(several).map(Script::File).collect());
    }
    let mut text = String::new();
    for command in &commands {
        text.push_str(&renderer.render(command, &[])?);
        text.push('\n');
    }
    let shebang = options.string("inline_shebang").filter(|shebang| !shebang.is_empty());
    if always_shebang || shebang.is_some() || !text.starts_with("#!") {
        text.insert_str(0, &format!("#!{}\n", shebang.unwrap_or("/bin/sh -e")));
    }
    Ok(vec![Script::Inline(text)])
}

/// The variables a script sees, sorted by name: Packer's, then the user's.
pub(crate) fn variables(options: &Options, data: &BuildData) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("PACKER_BUILD_NAME".to_owned(), data.source_name.clone()),
        ("PACKER_BUILDER_TYPE".to_owned(), data.source_type.clone()),
    ]);
    if let Some(http) = &data.http {
        variables.insert("PACKER_HTTP_ADDR".to_owned(), format!("{}:{}", http.host, http.port));
        variables.insert("PACKER_HTTP_IP".to_owned(), http.host.clone());
        variables.insert("PACKER_HTTP_PORT".to_owned(), http.port.to_string());
    }
    for pair in options.strings("environment_vars") {
        if let Some((key, value)) = pair.split_once('=') {
            variables.insert(key.to_owned(), value.to_owned());
        }
    }
    for (key, value) in options.map("env") {
        variables.insert(key.clone(), value.clone());
    }
    variables
}

/// Writes variables with Go's printf `format`, whose two `%s` stand for name and value.
pub(crate) fn format_variables(variables: &BTreeMap<String, String>, format: &str) -> String {
    let quoted = |value: &str| value.replace('\'', "'\"'\"'");
    variables
        .iter()
        .map(|(key, value)| {
            let mut parts = format.splitn(3, "%s");
            let (first, second, third) =
                (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            format!("{first}{key}{second}{}{third}", quoted(value)).replace("\\n", "\n")
        })
        .collect()
}

/// Fails with `hint` unless `code` is one of `valid_exit_codes`.
pub(crate) fn check_exit_code(options: &Options, code: i64, hint: &str) -> Result<(), StepError> {
    let allowed = match options.integers("valid_exit_codes") {
        [] => &[0][..],
        codes => codes,
    };
    if allowed.contains(&code) {
        return Ok(());
    }
    let list: Vec<String> = allowed.iter().map(i64::to_string).collect();
    Err(StepError::new(format!(
        "Script exited with non-zero exit status: {code}.Allowed exit codes are: [{}]",
        list.join(" ")
    ))
    .with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_quoted_for_the_shell() {
        let variables = BTreeMap::from([("B".to_owned(), "it's".to_owned()), ("A".to_owned(), "1 2".to_owned())]);
        assert_eq!(format_variables(&variables, "%s='%s' "), "A='1 2' B='it'\"'\"'s' ");
        assert_eq!(format_variables(&variables, "export %s='%s'\\n"), "export A='1 2'\nexport B='it'\"'\"'s'\n");
    }
}
