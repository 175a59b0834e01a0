//! Scripts on this machine, as the person who asked: the shell-local provisioner and post-processor.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kiln_template::Options;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::scripts::{self, Script};
use crate::context::{BuildContext, GeneratedData};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::ledger::Resource;
use crate::line_output::LineOutput;

/// Runs shell-local for one build.
pub(crate) struct ShellLocal<'a> {
    pub(crate) build: &'a BuildContext,
    pub(crate) generated: &'a GeneratedData,
    pub(crate) renderer: &'a Renderer,
}

impl ShellLocal<'_> {
    pub(crate) async fn run(&self, options: &Options) -> Result<(), StepError> {
        let only_on = options.strings("only_on");
        if !only_on.is_empty() && !only_on.iter().any(|system| system == std::env::consts::OS) {
            self.build.say("Skipping shell-local due to runtime OS");
            self.build.say(format!("Runtime OS is {}", std::env::consts::OS));
            return Ok(());
        }
        for script in scripts::scripts(options, self.renderer, true)? {
            // The temporary file lives until its script is done, and goes even when this future is dropped.
            let temporary = match &script {
                Script::Inline(text) => Some(temporary_script(text, options)?),
                Script::File(_) => None,
            };
            let path: PathBuf = match (&script, &temporary) {
                (Script::File(path), _) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
                (Script::Inline(_), Some(file)) => file.to_path_buf(),
                (Script::Inline(_), None) => continue,
            };
            self.build.say(format!("Running local shell script: {}", path.display()));
            let code = self.run_script(&path, options).await?;
            scripts::check_exit_code(options, code)?;
        }
        Ok(())
    }

    async fn run_script(&self, path: &Path, options: &Options) -> Result<i64, StepError> {
        let variables = scripts::variables(options, self.generated);
        let format = options.string("env_var_format").filter(|text| !text.is_empty()).unwrap_or("%s='%s' ");
        let vars = scripts::format_variables(&variables, format);
        let path = path.display().to_string();
        let fields = [("Vars", vars.as_str()), ("Script", path.as_str()), ("Command", path.as_str())];
        let given = options.strings("execute_command");
        let default = ["/bin/sh", "-c", "{{.Vars}} {{.Script}}"].map(str::to_owned);
        let template: Vec<String> = match given {
            [] => default.to_vec(),
            [single] => vec!["sh".to_owned(), "-c".to_owned(), single.clone()],
            several => several.to_vec(),
        };
        let mut arguments = Vec::with_capacity(template.len());
        for part in &template {
            arguments.push(self.renderer.render(part, &fields)?);
        }
        self.execute(&arguments).await
    }

    async fn execute(&self, arguments: &[String]) -> Result<i64, StepError> {
        let (program, rest) = arguments.split_first().ok_or_else(|| StepError::new("execute_command is empty"))?;
        let mut child = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| StepError::new(format!("cannot run {program}")).with_source(error))?;
        let group = GroupGuard::new(self.build, child.id());
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

/// Kills what a script started when its build is cancelled, and keeps it in the ledger meanwhile.
struct GroupGuard<'a> {
    build: &'a BuildContext,
    resource: Option<Resource>,
    leader: Option<u32>,
}

impl<'a> GroupGuard<'a> {
    fn new(build: &'a BuildContext, leader: Option<u32>) -> Self {
        let resource = leader.and_then(|pid| Resource::process(pid).ok());
        if let Some(resource) = &resource {
            build.ledger.acquired(resource);
        }
        Self { build, resource, leader }
    }
}

impl Drop for GroupGuard<'_> {
    fn drop(&mut self) {
        let group = self.leader.and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // Gone already is the usual case.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        if let Some(resource) = &self.resource {
            self.build.ledger.released(resource);
        }
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

fn temporary_script(text: &str, options: &Options) -> Result<tempfile::TempPath, StepError> {
    let failed = |error: std::io::Error| StepError::new("cannot write a temporary script").with_source(error);
    let extension = options.string("tempfile_extension").unwrap_or("");
    let mut file = tempfile::Builder::new().prefix("packer-shell").suffix(extension).tempfile().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    // Closed before it runs: a file open for writing cannot be executed.
    Ok(file.into_temp_path())
}
