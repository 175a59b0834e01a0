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
            script::check_exit_code(options, code, FAILED_HINT)?;
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
