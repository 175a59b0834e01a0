//! Scripts on this machine, as the person who asked: the shell-local provisioner and post-processor.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::script::{self, Script};
use crate::build_data::BuildData;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::ledger::Resource;
use crate::line_output::LineOutput;
use crate::local_processes::{self, LocalProcesses};
use crate::option_values::OptionValues;

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
                Script::Inline(text) => Some(TemporaryScript::new(text, options, self.build)?),
                Script::File(_) => None,
            };
            let path: PathBuf = match (&script, &temporary) {
                (Script::File(path), _) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
                (Script::Inline(_), Some(file)) => file.path.to_path_buf(),
                (Script::Inline(_), None) => continue,
            };
            self.build.say(format!("Running local shell script: {}", path.display()));
            let code = self.run_script(&path, options).await?;
            script::check_exit_code(options, code, FAILED_HINT)?;
        }
        Ok(())
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
        let (program, rest) = arguments.split_first().ok_or_else(|| StepError::new("execute_command is empty"))?;
        let processes = LocalProcesses::new()
            .map_err(|error| StepError::new(format!("cannot name the processes of {program}")).with_source(error))?;
        // In the ledger before there is any: whatever a killed worker leaves is found by the mark.
        let resource = processes.resource();
        self.build.ledger.acquired(&resource);
        let spawned = Command::new(program)
            .args(rest)
            .env(local_processes::MARK, processes.mark())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                self.build.ledger.released(&resource);
                return Err(StepError::new(format!("cannot run {program}")).with_source(error));
            }
        };
        let group = GroupGuard { build: self.build, resource, leader: child.id() };
        let output = LineOutput::new(self.build);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let status = {
            let reading = async {
                tokio::join!(
                    pump(stdout, |bytes| output.standard_output(bytes)),
                    pump(stderr, |bytes| output.standard_error(bytes))
                )
            };
            let (_, status) = tokio::join!(reading, child.wait());
            status.map_err(|error| StepError::new(format!("cannot wait for {program}")).with_source(error))?
        };
        output.finish();
        drop(group);
        Ok(status.code().map_or(-1, i64::from))
    }
}

/// Kills what a script started when its build is cancelled, and takes it off the ledger.
struct GroupGuard<'a> {
    build: &'a BuildContext,
    resource: Resource,
    leader: Option<u32>,
}

impl Drop for GroupGuard<'_> {
    fn drop(&mut self) {
        let group = self.leader.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // Gone already is the usual case.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        self.build.ledger.released(&self.resource);
    }
}

async fn pump(stream: Option<impl AsyncRead + Unpin>, take: impl Fn(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count) = stream.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        take(&buffer[..count]);
    }
}

/// A script in a file of its own, which goes when this is dropped and is in the ledger until then: it may hold secrets.
struct TemporaryScript<'a> {
    build: &'a BuildContext,
    path: tempfile::TempPath,
    resource: Resource,
}

impl<'a> TemporaryScript<'a> {
    fn new(text: &str, options: OptionValues<'_>, build: &'a BuildContext) -> Result<Self, StepError> {
        let failed = |error: std::io::Error| StepError::new("cannot write a temporary script").with_source(error);
        let extension = options.given("tempfile_extension").unwrap_or("");
        let mut noted = None;
        let made = tempfile::Builder::new().prefix("packer-shell").suffix(extension).make(|path| {
            let resource = Resource::File { path: path.to_owned() };
            build.ledger.acquired(&resource);
            let file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(path);
            match &file {
                Ok(_) => noted = Some(resource),
                // Somebody else's file, perhaps.
                Err(_) => build.ledger.released(&resource),
            }
            file
        });
        let (mut file, path) = made.map_err(failed)?.into_parts();
        let script = Self { build, resource: noted.unwrap_or(Resource::File { path: path.to_path_buf() }), path };
        file.write_all(text.as_bytes()).map_err(failed)?;
        // Closed before it runs: a file open for writing cannot be executed.
        Ok(script)
    }
}

impl Drop for TemporaryScript<'_> {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let path = self.path.display();
                self.build.error(format!("Cannot remove the script {path}, which may hold secrets: {error}"));
            }
            _ => self.build.ledger.released(&self.resource),
        }
    }
}
