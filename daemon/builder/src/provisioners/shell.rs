//! The shell provisioner: uploads scripts into the guest and runs them.

use std::time::{Duration, Instant};

use kiln_communicators::{CommunicatorError, DiscardedOutput, Exit, quote_guest_path};
use kiln_template::Options;

use super::scripts::{self, Script};
use super::{ProvisionContext, pause};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::line_output::LineOutput;
use kiln_template::GoDuration;

/// Packer's code for "the connection went away before an exit status came".
const DISCONNECTED: i64 = 2_300_218;

/// Packer's `start_retry_timeout`.
const START_RETRY: Duration = Duration::from_secs(300);

/// Pace of new attempts to start a script while the guest cannot be reached; each attempt itself waits for the
/// connection, so this only keeps a guest that refuses at once from being hammered.
const RETRY_PACE: Duration = Duration::from_millis(500);

/// How long removing a script from the guest may take.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// What to do about a script that failed.
const FAILED_HINT: &str = "what the script wrote is above; with -on-error=ask the guest stays for a look, and valid_exit_codes names codes \
                           that are right";

pub(crate) async fn run(context: &ProvisionContext, options: &Options, renderer: &Renderer) -> Result<(), StepError> {
    let shell = Shell {
        context,
        options,
        renderer,
        until: Instant::now() + options.duration("start_retry_timeout").filter(|d| !d.is_zero()).unwrap_or(START_RETRY),
    };
    for script in scripts::scripts(options, renderer, false)? {
        let (name, content) = shell.load(script).await?;
        context.build.say(format!("Provisioning with shell script: {name}"));
        shell.run_script(&content).await?;
    }
    let rest = pause(options, "pause_after");
    if !rest.is_zero() && !options.bool("skip_clean").unwrap_or(false) {
        context.build.say(format!("Pausing {} after this provisioner...", GoDuration(rest)));
        let _wait = context.build.waiting("pause after the provisioner", Some(rest));
        tokio::time::sleep(rest).await;
    }
    Ok(())
}

struct Shell<'a> {
    context: &'a ProvisionContext,
    options: &'a Options,
    renderer: &'a Renderer,
    until: Instant,
}

impl Shell<'_> {
    async fn load(&self, script: Script) -> Result<(String, Vec<u8>), StepError> {
        let (name, content) = match script {
            // Packer shows a temporary file here; nothing of ours touches the disk.
            Script::Inline(text) => ("inline commands".to_owned(), text.into_bytes()),
            Script::File(path) => {
                let content = tokio::fs::read(&path).await.map_err(|error| {
                    StepError::new(format!("cannot read the script {}", path.display())).with_source(error)
                })?;
                (path.display().to_string(), content)
            }
        };
        let binary = self.options.bool("binary").unwrap_or(false);
        Ok((name, if binary { content } else { without_carriage_returns(content) }))
    }

    async fn run_script(&self, content: &[u8]) -> Result<(), StepError> {
        let path = self.remote_path();
        let variables = scripts::variables(self.options, &self.context.data);
        let file_used = self.options.bool("use_env_var_file").unwrap_or(false);
        let default_format = if file_used { "export %s='%s'\\n" } else { "%s='%s' " };
        let format = self.options.string("env_var_format").filter(|text| !text.is_empty()).unwrap_or(default_format);
        let text = scripts::format_variables(&variables, format);
        let variable_file = file_used.then(|| format!("/tmp/varfile_{}.sh", random_number()));
        if let Some(variable_file) = &variable_file {
            self.upload(text.as_bytes(), variable_file, "0600").await?;
        }
        let command = self.command(&path, &text, variable_file.as_deref())?;
        let exit = self.start(content, &path, &command).await?;
        let result = self.judge(&exit);
        let left = &self.context.build.left_in_guest;
        if !self.options.bool("skip_clean").unwrap_or(false) {
            left.note(&path);
        }
        // The variables may hold secrets: their file goes even when the script is asked to stay.
        if let Some(variable_file) = &variable_file {
            left.note(variable_file);
        }
        // A guest that went away may never come back.
        if exit != Exit::Disconnected {
            self.remove_what_is_left().await;
        }
        result
    }

    fn command(&self, path: &str, variables: &str, file: Option<&str>) -> Result<String, StepError> {
        let default = match file {
            Some(_) => "chmod +x {{.Path}}; . {{.EnvVarFile}} && {{.Path}}",
            None => "chmod +x {{.Path}}; {{.Vars}} {{.Path}}",
        };
        let template = self.options.string("execute_command").filter(|text| !text.is_empty()).unwrap_or(default);
        let vars = if file.is_some() { "" } else { variables };
        let fields = [("Path", path), ("Vars", vars), ("EnvVarFile", file.unwrap_or(""))];
        self.renderer.render(template, &fields)
    }

    /// Uploads and starts the script as one unit, again and again while the guest cannot be reached.
    async fn start(&self, content: &[u8], path: &str, command: &str) -> Result<Exit, StepError> {
        let mut wait = None;
        loop {
            let attempt = async {
                self.upload(content, path, "0755").await?;
                // Uploaded: the guest is there.
                drop(wait.take());
                self.remove_what_is_left().await;
                let output = LineOutput::new(&self.context.build);
                let exit = self.context.communicator.execute(command, &output).await;
                output.finish();
                exit
            };
            match attempt.await {
                Ok(exit) => return Ok(exit),
                Err(error) if !error.is_transport() || Instant::now() >= self.until => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "the script could not be started; trying again"),
            }
            let left = self.until.saturating_duration_since(Instant::now());
            wait.get_or_insert_with(|| self.context.build.waiting("the guest to be reached again", Some(left)));
            tokio::time::sleep(RETRY_PACE).await;
        }
    }

    async fn upload(&self, content: &[u8], path: &str, mode: &str) -> Result<(), CommunicatorError> {
        let bits = u32::from_str_radix(mode, 8).unwrap_or(0o600);
        self.context.communicator.upload_bytes(content, path, bits).await?;
        // scp keeps the mode of a file that is there already, so it is set once more. Where that fails (a file of somebody
        // else's, a file system without modes) the script may run all the same, as Packer lets it.
        let chmod = format!("chmod {mode} {}", quote_guest_path(path));
        let exit = self.context.communicator.execute(&chmod, &DiscardedOutput).await?;
        if exit != Exit::Code(0) {
            tracing::debug!(path, %exit, "the mode of the uploaded file could not be set");
        }
        Ok(())
    }

    fn judge(&self, exit: &Exit) -> Result<(), StepError> {
        match exit {
            Exit::Code(code) => scripts::check_exit_code(self.options, i64::from(*code), FAILED_HINT),
            Exit::Signal(signal) => Err(StepError::new(format!("the script was ended by signal {signal}"))),
            Exit::Disconnected => {
                let expected = self.options.bool("expect_disconnect").unwrap_or(false)
                    || self.options.integers("valid_exit_codes").contains(&DISCONNECTED);
                if expected {
                    return Ok(());
                }
                Err(StepError::new(
                    "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, \
                     you can try adding `\"expect_disconnect\": true` or `\"valid_exit_codes\": [0, 2300218]` to the \
                     shell provisioner parameters.",
                ))
            }
        }
    }

    /// Removes from the guest, which is there, what this script or others before it have left. That it does not work is no failure.
    async fn remove_what_is_left(&self) {
        let left = &self.context.build.left_in_guest;
        if tokio::time::timeout(CLEAN_LIMIT, left.remove(&*self.context.communicator)).await.is_err() {
            tracing::debug!("a script may still be in the guest");
        }
    }

    fn remote_path(&self) -> String {
        let text = |name: &str| self.options.string(name).filter(|text| !text.is_empty());
        if let Some(path) = text("remote_path") {
            return path.to_owned();
        }
        let folder = text("remote_folder").unwrap_or("/tmp");
        match text("remote_file") {
            Some(file) => format!("{folder}/{file}"),
            None => format!("{folder}/script_{}.sh", random_number()),
        }
    }
}

/// A number below 9999, as in Packer's remote names.
fn random_number() -> u32 {
    uuid::Uuid::new_v4().as_fields().0 % 9999
}

fn without_carriage_returns(content: Vec<u8>) -> Vec<u8> {
    if !content.windows(2).any(|pair| pair == b"\r\n") {
        return content;
    }
    let mut result = Vec::with_capacity(content.len());
    let mut bytes = content.iter().peekable();
    while let Some(&byte) = bytes.next() {
        if byte != b'\r' || bytes.peek() != Some(&&b'\n') {
            result.push(byte);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carriage_returns_go_only_before_line_feeds() {
        assert_eq!(without_carriage_returns(b"a\r\nb\rc\r\n\r".to_vec()), b"a\nb\rc\n\r");
        assert_eq!(without_carriage_returns(b"plain\n".to_vec()), b"plain\n");
    }
}
