//! What shell and shell-local have in common: which scripts, which variables, which exit codes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::printf::printf;
use crate::build_data::BuildData;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// A script to run.
pub(crate) enum Script {
    /// Inline commands, joined to a script with its `#!` line.
    Inline(String),
    /// A file of the user.
    File(PathBuf),
}

impl Script {
    /// The name of its file, where it has one.
    pub(crate) fn file_name(&self) -> Option<String> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
        }
    }
}

/// The scripts, in order. Inline commands are rendered with the build's data here.
pub(crate) fn scripts(
    options: OptionValues<'_>,
    renderer: &Renderer,
    always_shebang: bool,
) -> Result<Vec<Script>, StepError> {
    let mut commands = options.texts("inline");
    commands.extend(options.written("command").map(str::to_owned));
    if commands.is_empty() {
        let single = options.written("script").map(PathBuf::from);
        let several = options.texts("scripts").into_iter().map(PathBuf::from);
        return Ok(single.into_iter().chain(several).map(Script::File).collect());
    }
    let mut text = String::new();
    for command in &commands {
        text.push_str(&renderer.render(command, &[])?);
        text.push('\n');
    }
    if always_shebang || options.given("inline_shebang").is_some() || !text.starts_with("#!") {
        text.insert_str(0, &format!("#!{}\n", options.text("inline_shebang").unwrap_or_default()));
    }
    Ok(vec![Script::Inline(text)])
}

/// The variables a script sees, sorted by name: Packer's, then the user's.
pub(crate) fn variables(options: OptionValues<'_>, data: &BuildData) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("PACKER_BUILD_NAME".to_owned(), data.source_name.clone()),
        ("PACKER_BUILDER_TYPE".to_owned(), data.source_type.clone()),
    ]);
    if let Some(http) = &data.http {
        variables.insert("PACKER_HTTP_ADDR".to_owned(), format!("{}:{}", http.host, http.port));
        variables.insert("PACKER_HTTP_IP".to_owned(), http.host.clone());
        variables.insert("PACKER_HTTP_PORT".to_owned(), http.port.to_string());
    }
    for pair in options.texts("environment_vars") {
        if let Some((key, value)) = pair.split_once('=') {
            variables.insert(key.to_owned(), value.to_owned());
        }
    }
    variables.extend(options.map("env"));
    variables
}

/// Writes variables with a printf format, whose arguments are name and value.
pub(crate) fn formatted(variables: &BTreeMap<String, String>, format: &str) -> String {
    variables.iter().map(|(key, value)| printf(format, &[key, value])).collect()
}

/// Writes variables for a shell of Unix: values are made fit for single quotes.
pub(crate) fn format_variables(variables: &BTreeMap<String, String>, format: &str) -> String {
    let quoted = |value: &str| value.replace('\'', "'\"'\"'");
    // Of the format alone: a value may have a backslash before an n.
    let format = format.replace("\\n", "\n");
    variables.iter().map(|(key, value)| printf(&format, &[key, &quoted(value)])).collect()
}

/// What there is to say of a script that a shell could not run: its exit code tells no more than that. `script` is what it was given.
pub(crate) fn not_run(code: i64, script: &[u8]) -> Option<String> {
    let first_line = script.split(|&byte| byte == b'\n').next().unwrap_or_default();
    match code {
        126 | 127 if first_line.starts_with(b"#!") && first_line.ends_with(b"\r") => Some(
            "the first line of the script ends with a carriage return, which belongs to the name of the program after #! then: save it \
             with the line ends of Unix"
                .to_owned(),
        ),
        126 => Some("126 is a shell's word for a file that it may not execute, or that is no program".to_owned()),
        127 => Some(
            "127 is a shell's word for a command that it does not find: misspelt, not installed, or that of the first line after #!"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Fails with `hint` unless `code` is one of `valid_exit_codes`.
pub(crate) fn check_exit_code(options: OptionValues<'_>, code: i64, hint: &str) -> Result<(), StepError> {
    let allowed = options.integers("valid_exit_codes");
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
        let path = BTreeMap::from([("A".to_owned(), r"C:\new\x".to_owned())]);
        assert_eq!(format_variables(&path, "%s='%s'\\n"), "A='C:\\new\\x'\n");
    }
    #[test]
    fn what_a_shell_could_not_run_is_told_by_its_code_and_first_line() {
        assert_eq!(not_run(1, b"#!/bin/sh\r\n"), None);
        assert!(not_run(127, b"#!/bin/sh\r\nls\r\n").unwrap().contains("carriage return"));
        assert!(not_run(127, b"#!/bin/sh\nls\r\n").unwrap().contains("does not find"));
        assert!(not_run(126, b"ls").unwrap().contains("may not execute"));
    }
}
