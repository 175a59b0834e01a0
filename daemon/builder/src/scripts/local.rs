//! Scripts on this machine, as the person who asked: the shell-local provisioner and post-processor.

use std::path::{Path, PathBuf};

use super::command::LocalCommand;
use super::script::{self, Script};
use crate::build_data::BuildData;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::line_output::LineOutput;
use crate::option_values::OptionValues;
use crate::temporary_file::TemporaryFile;

/// What to do about a script that failed.
const FAILED_HINT: &str = "what the script wrote is above; it ran on this machine, in the directory in which the build was started; \
                           valid_exit_codes lists the codes that count as success";

fn hint(code: i64, script: &Script) -> String {
    let not_run = match script {
        Script::Inline(text) => script::not_run(code, text.as_bytes()),
        Script::File(path) if code == 126 && !is_executable(path) => {
            Some(format!("{0} may not be executed (chmod +x {0})", path.display()))
        }
        Script::File(path) => script::not_run(code, &beginning(path)),
    };
    let more = not_run.map_or_else(String::new, |text| format!("; {text}"));
    format!("{FAILED_HINT}{more}")
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// As much of a file as its first line can be for the kernel; nothing where it cannot be read.
fn beginning(path: &Path) -> Vec<u8> {
    use std::io::Read as _;
    const LONGEST: u64 = 256;
    let mut bytes = Vec::new();
    if let Ok(file) = crate::regular_file::open_to_read(path) {
        let _ = file.take(LONGEST).read_to_end(&mut bytes);
    }
    bytes
}

/// Runs shell-local for one build.
pub(crate) struct ShellLocal<'a> {
    pub(crate) build: &'a BuildContext,
    pub(crate) data: &'a BuildData,
    pub(crate) renderer: &'a Renderer,
}

impl ShellLocal<'_> {
    pub(crate) async fn run(&self, options: OptionValues<'_>) -> Result<(), StepError> {
        let only_on = options.texts("only_on");
        if !only_on.is_empty() && !only_on.iter().any(|system| system == std::env::consts::OS) {
            self.build.say("Skipping shell-local due to runtime OS");
            self.build.say(format!("Runtime OS is {}", std::env::consts::OS));
            return Ok(());
        }
        for script in script::scripts(options, self.renderer, true)? {
            // The temporary file lives until its script is done, and goes even when this future is dropped.
            let temporary = match &script {
                Script::Inline(text) => Some(self.write(text, options)?),
                Script::File(_) => None,
            };
            let path: PathBuf = match (&script, &temporary) {
                (Script::File(path), _) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
                (Script::Inline(_), Some(file)) => file.path().to_owned(),
                (Script::Inline(_), None) => continue,
            };
            self.build.say(format!("Running local shell script: {}", path.display()));
            let code = self.run_script(&path, options).await?;
            script::check_exit_code(options, code, &hint(code, &script))?;
        }
        Ok(())
    }

    fn write(&self, text: &str, options: OptionValues<'_>) -> Result<TemporaryFile<'_>, StepError> {
        let names = ("packer-shell", options.given("tempfile_extension").unwrap_or(""));
        TemporaryFile::new(self.build, None, names, 0o700, text.as_bytes())
            .map_err(|error| StepError::new("cannot write a temporary script").with_source(error))
    }

    async fn run_script(&self, path: &Path, options: OptionValues<'_>) -> Result<i64, StepError> {
        let variables = script::variables(options, self.data);
        let format = options.text("env_var_format").unwrap_or_default();
        let vars = script::format_variables(&variables, &format);
        let path = path.display().to_string();
        let fields = [("Vars", vars.as_str()), ("Script", path.as_str()), ("Command", path.as_str())];
        let mut template = options.texts("execute_command");
        if template.len() == 1 {
            template.splice(0..0, ["sh".to_owned(), "-c".to_owned()]);
        }
        let mut arguments = Vec::with_capacity(template.len());
        for part in &template {
            arguments.push(self.renderer.render(part, &fields)?);
        }
        self.execute(&arguments).await
    }

    async fn execute(&self, arguments: &[String]) -> Result<i64, StepError> {
        let (program, arguments) = arguments.split_first().ok_or_else(|| StepError::new("execute_command is empty"))?;
        let output = LineOutput::new(self.build);
        let code = LocalCommand { build: self.build, program, arguments, environment: &[] }.run(&output).await?;
        output.finish();
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_could_not_be_run_says_what_to_do_about_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("last.sh");
        std::fs::write(&path, "#!/bin/sh\r\ntrue\r\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let script = Script::File(path.clone());
        assert!(hint(126, &script).ends_with(&format!("(chmod +x {})", path.display())));
        assert!(hint(127, &script).contains("ends with a carriage return"));
        assert_eq!(hint(3, &script), FAILED_HINT);
    }
}
