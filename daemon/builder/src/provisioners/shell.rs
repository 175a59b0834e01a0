//! The shell provisioner: uploads scripts into the guest and runs them.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kiln_communicators::{Communicator, CommunicatorError, DiscardedOutput, Exit, quote_guest_path};

use super::context::ProvisionContext;
use super::pause_after::pause_after;
use crate::context::{OnError, Waiting};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::left_in_guest::LeftInGuest;
use crate::line_output::LineOutput;
use crate::option_values::OptionValues;
use crate::scripts::{self, Script};

/// Packer's code for "the connection went away before an exit status came".
const DISCONNECTED: i64 = 2_300_218;

/// Pace of new attempts to start a script while the guest cannot be reached; each attempt itself waits for the
/// connection, so this only keeps a guest that refuses at once from being hammered.
const RETRY_PACE: Duration = Duration::from_millis(500);

/// How long after a command's channel its connection may end when both are lost.
const LOSS_LIMIT: Duration = Duration::from_secs(1);

/// How long removing a script from the guest may take.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// What to do about a guest that goes away as often as something is uploaded.
const REBOOTING_HINT: &str = "the guest may be rebooting still: pause_before in this provisioner, or a longer \
                              start_retry_timeout, gives it the time";

/// What to do about a script that failed, in a build that asks or keeps what it has made, and in another.
const FAILED_HINTS: [&str; 2] = [
    "what the script wrote is above; valid_exit_codes lists the codes that count as success",
    "what the script wrote is above; with -on-error=ask the guest stays up so that you can log in, and valid_exit_codes lists the codes \
     that count as success",
];

pub(crate) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let shell = Shell { context, options, renderer };
    for script in scripts::scripts(options, renderer, false)? {
        let (name, content) = shell.load(script).await?;
        context.build.say(format!("Provisioning with shell script: {name}"));
        shell.run_script(&content).await?;
    }
    pause_after(&context.build, options).await;
    Ok(())
}

struct Shell<'a> {
    context: &'a ProvisionContext,
    options: OptionValues<'a>,
    renderer: &'a Renderer,
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
        let binary = self.options.flag("binary");
        Ok((name, if binary { content } else { without_carriage_returns(content) }))
    }

    async fn run_script(&self, content: &[u8]) -> Result<(), StepError> {
        let path = self.remote_path();
        let variables = scripts::variables(self.options, &self.context.data);
        let file_used = self.options.flag("use_env_var_file");
        let format = self.options.text("env_var_format").unwrap_or_default();
        let text = scripts::format_variables(&variables, &format);
        let variable_file = file_used.then(|| format!("{}/varfile_{}.sh", self.remote_folder(), random_number()));
        let command = self.command(&path, &text, variable_file.as_deref())?;
        let mut files = vec![(path.as_str(), content, "0755")];
        if let Some(variable_file) = &variable_file {
            files.insert(0, (variable_file, text.as_bytes(), "0600"));
        }
        // The variables may hold secrets: their file goes even when the script is asked to stay.
        let script = (!self.options.flag("skip_clean")).then_some(path.as_str());
        let litter = Litter {
            left: &self.context.build.left_in_guest,
            paths: script.into_iter().chain(variable_file.as_deref()).collect(),
        };
        let exit = self.start(&files, &command).await?;
        let result = self.judge(&exit, content);
        drop(litter);
        // A guest that went away may never come back.
        if exit != Exit::Disconnected {
            self.remove_what_is_left().await;
        }
        result
    }

    fn command(&self, path: &str, variables: &str, file: Option<&str>) -> Result<String, StepError> {
        let template = self.options.text("execute_command").unwrap_or_default();
        // A command of the template's own may want them as they are beside their file.
        let fields = [("Path", path), ("Vars", variables), ("EnvVarFile", file.unwrap_or(""))];
        self.renderer.render(&template, &fields)
    }

    /// Uploads the script (paths, contents and modes) and starts it as one unit, again and again while the guest cannot be
    /// reached, for as long as `start_retry_timeout` says.
    async fn start(&self, files: &[(&str, &[u8], &str)], command: &str) -> Result<Exit, StepError> {
        let until = Instant::now() + self.options.positive_duration("start_retry_timeout");
        let guest = self.context.communicator.until(until);
        let mut wait = None;
        loop {
            let attempt = async {
                if !self.upload_all(&*guest, files, &mut wait).await? {
                    return Ok(None);
                }
                let output = LineOutput::new(&self.context.build);
                let exit = guest.execute(command, &output).await;
                output.finish();
                exit.map(Some)
            };
            match attempt.await {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) if Instant::now() >= until => {
                    let error = StepError::new(
                        "the connection to the guest was lost each time that the script had been uploaded",
                    );
                    return Err(error.with_hint(REBOOTING_HINT).lost_when(true));
                }
                Ok(None) => {
                    tracing::debug!("the connection was lost before the script was started; uploading it again");
                }
                Err(error) if !error.is_transport() || Instant::now() >= until => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(%error, "the script could not be started; trying again");
                    // A guest that was lost tells of its own wait.
                    if !error.is_loss() {
                        let left = until.saturating_duration_since(Instant::now());
                        wait.get_or_insert_with(|| {
                            self.context.build.waiting("the guest to take the script", Some(left))
                        });
                    }
                }
            }
            tokio::time::sleep(RETRY_PACE).await;
        }
    }

    /// Uploads what is to be started. False when the connection did not last: what was uploaded may have gone with a boot that
    /// clears `/tmp`.
    async fn upload_all(
        &self,
        guest: &dyn Communicator,
        files: &[(&str, &[u8], &str)],
        wait: &mut Option<Waiting>,
    ) -> Result<bool, CommunicatorError> {
        let mut lost = None;
        for (path, content, mode) in files {
            let bits = u32::from_str_radix(mode, 8).unwrap_or(0o600);
            guest.upload_bytes(content, path, bits).await?;
            // The connection that the first file went over: what comes after may go over a new one.
            let lost = lost.get_or_insert_with(|| guest.disconnected());
            let exit = set_mode(guest, path, mode).await?;
            let is_lost = match exit {
                // The channel's end may be seen before the connection's; a guest whose connection lives only told no status.
                Exit::Disconnected => tokio::time::timeout(LOSS_LIMIT, lost).await.is_ok(),
                Exit::Code(_) | Exit::Signal(_) => lost.now_or_never().is_some(),
            };
            if is_lost {
                return Ok(false);
            }
        }
        // Uploaded: the guest is there.
        drop(wait.take());
        self.remove_what_is_left().await;
        Ok(lost.is_none_or(|lost| lost.now_or_never().is_none()))
    }

    fn judge(&self, exit: &Exit, script: &[u8]) -> Result<(), StepError> {
        match exit {
            Exit::Code(code) => {
                let code = i64::from(*code);
                scripts::check_exit_code(
                    self.options,
                    code,
                    &failed_hint(self.context.build.settings.on_error, code, script),
                )
            }
            Exit::Signal(signal) => Err(StepError::new(format!("the script was ended by signal {signal}"))),
            Exit::Disconnected => {
                let expected = self.options.flag("expect_disconnect")
                    || self.options.integers("valid_exit_codes").contains(&DISCONNECTED);
                if expected {
                    return Ok(());
                }
                Err(StepError::new(
                    "Script disconnected unexpectedly. If you expected your script to disconnect, i.e. from a restart, \
                     you can try adding `\"expect_disconnect\": true` or `\"valid_exit_codes\": [0, 2300218]` to the \
                     shell provisioner parameters.",
                )
                .lost_when(true))
            }
        }
    }

    /// Removes from the guest, which is there, what this script or others before it have left. That it does not work is no failure.
    async fn remove_what_is_left(&self) {
        let left = &self.context.build.left_in_guest;
        let guest = self.context.communicator.until(Instant::now() + CLEAN_LIMIT);
        if tokio::time::timeout(CLEAN_LIMIT, left.remove(&*guest)).await.is_err() {
            tracing::debug!("a script may still be in the guest");
        }
    }

    fn remote_path(&self) -> String {
        if let Some(path) = self.options.text("remote_path") {
            return path;
        }
        let folder = self.remote_folder();
        match self.options.given("remote_file") {
            Some(file) => format!("{folder}/{file}"),
            None => format!("{folder}/script_{}.sh", random_number()),
        }
    }

    fn remote_folder(&self) -> String {
        self.options.text("remote_folder").unwrap_or_default()
    }
}

fn failed_hint(on_error: OnError, code: i64, script: &[u8]) -> String {
    let hint = FAILED_HINTS[usize::from(on_error == OnError::Cleanup)];
    let more = scripts::not_run(code, script).map_or_else(String::new, |text| format!("; {text}"));
    format!("{hint}{more}")
}

/// What a script leaves in the guest, however it ends: also by an upload that fails or by the provisioner's time-out.
struct Litter<'a> {
    left: &'a LeftInGuest,
    paths: Vec<&'a str>,
}

impl Drop for Litter<'_> {
    fn drop(&mut self) {
        self.paths.iter().for_each(|path| self.left.note(path));
    }
}

/// Sets the mode of an uploaded file; returns how that ended.
async fn set_mode(guest: &dyn Communicator, path: &str, mode: &str) -> Result<Exit, CommunicatorError> {
    // scp keeps the mode of a file that is there already, so it is set once more. Where that fails (a file of somebody
    // else's, a file system without modes) the script may run all the same, as Packer lets it.
    let chmod = format!("chmod {mode} {}", quote_guest_path(path));
    let exit = guest.execute(&chmod, &DiscardedOutput).await?;
    if exit != Exit::Code(0) {
        tracing::debug!(path, %exit, "the mode of the uploaded file could not be set");
    }
    Ok(exit)
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
    use kiln_communicators::fake::FakeCommunicator;

    use super::*;
    use crate::provisioners::harness::{run, uploaded};

    #[tokio::test]
    async fn variables_in_a_file_lie_beside_the_script_and_can_be_said_too() {
        let guest = FakeCommunicator::new();
        let body = "inline = [\"true\"]\nremote_folder = \"/opt/there\"\nuse_env_var_file = true\nenv = { A = \"b c\" }\n\
                    execute_command = \"FILE={{ .EnvVarFile }} VARS={{ .Vars }} {{ .Path }}\"";
        run("shell", body, &guest).await.result.unwrap();
        let commands = guest.commands();
        let ran = commands.iter().find_map(|command| command.strip_prefix("FILE=")).unwrap();
        let (file, rest) = ran.split_once(" VARS=").unwrap();
        assert!(file.starts_with("/opt/there/varfile_") && file.ends_with(".sh"), "{file}");
        let (variables, script) = rest.rsplit_once(' ').unwrap();
        assert_eq!(uploaded(&guest, file), variables, "the same, as packer formats it for a file");
        assert!(variables.contains("export A='b c'\n"), "{variables}");
        assert!(script.starts_with("/opt/there/script_"), "{script}");
    }

    #[tokio::test]
    async fn commands_go_where_the_options_say_with_their_interpreter() {
        let guest = FakeCommunicator::new();
        let body = "inline = [\"x\"]\ninline_shebang = \"/bin/bash -ex\"\nremote_folder = \"/var/tmp\"\nremote_file = \"s.sh\"\n\
                    env_var_format = \"%[1]s:%q \"\nenv = { A = \"b c\" }";
        run("shell", body, &guest).await.result.unwrap();
        assert_eq!(uploaded(&guest, "/var/tmp/s.sh"), "#!/bin/bash -ex\nx\n");
        assert!(
            guest.commands().iter().any(|command| command.contains("; A:\"b c\" PACKER_")),
            "{:?}",
            guest.commands()
        );
    }

    #[test]
    fn carriage_returns_go_only_before_line_feeds() {
        assert_eq!(without_carriage_returns(b"a\r\nb\rc\r\n\r".to_vec()), b"a\nb\rc\n\r");
        assert_eq!(without_carriage_returns(b"plain\n".to_vec()), b"plain\n");
    }
    #[test]
    fn nobody_who_asks_already_is_told_to_ask() {
        assert!(failed_hint(OnError::Cleanup, 1, b"").contains("-on-error=ask"));
        for on_error in [OnError::Ask, OnError::Abort, OnError::RunCleanupProvisioner] {
            assert!(!failed_hint(on_error, 1, b"").contains("-on-error"), "{on_error:?}");
        }
        assert!(failed_hint(OnError::Ask, 127, b"#!/bin/sh\r\n").contains("carriage return"));
    }
}
