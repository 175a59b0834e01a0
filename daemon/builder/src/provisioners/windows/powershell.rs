//! The powershell provisioner: uploads scripts into a Windows guest and runs them, as its user or with all rights.

use std::time::{Duration, Instant};

use kiln_communicators::{DiscardedOutput, Exit};

use super::elevated;
use super::start::start;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;
use crate::provisioners::ProvisionContext;
use crate::provisioners::pause_after::pause_after;
use crate::scripts::{self, Script};

/// How long removing what was uploaded may take.
const CLEAN_LIMIT: Duration = Duration::from_secs(60);

/// What to do about a script that failed.
const FAILED_HINT: &str = "what the script wrote is above; valid_exit_codes lists the codes that count as success";

/// What keeps bars of progress out of the output.
const NO_PROGRESS: &str = "if (Test-Path variable:global:ProgressPreference){set-variable -name variable:global:ProgressPreference \
                           -value 'SilentlyContinue'}";

pub(in crate::provisioners) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let shell = PowerShell { context, options, renderer };
    context.build.say("Provisioning with Powershell...");
    for script in sources(options, renderer)? {
        shell.run_script(script).await?;
    }
    // As in Packer, whose shell provisioner has no such exception.
    if !options.flag("skip_clean") {
        pause_after(&context.build, options).await;
    }
    Ok(())
}

/// What is run: commands of the template, or files.
fn sources(options: OptionValues<'_>, renderer: &Renderer) -> Result<Vec<Script>, StepError> {
    let commands = options.texts("inline");
    if commands.is_empty() {
        return scripts::scripts(options, renderer, false);
    }
    let rendered: Result<Vec<String>, StepError> = commands.iter().map(|line| renderer.render(line, &[])).collect();
    Ok(vec![Script::Inline(rendered?.join("\n"))])
}

struct PowerShell<'a> {
    context: &'a ProvisionContext,
    options: OptionValues<'a>,
    renderer: &'a Renderer,
}

impl PowerShell<'_> {
    fn is_elevated(&self) -> bool {
        self.options.given("elevated_user").is_some()
    }

    async fn run_script(&self, script: Script) -> Result<(), StepError> {
        let id = uuid::Uuid::new_v4();
        let path_of = |option: &str, default: String| self.options.given(option).map_or(default, str::to_owned);
        let mut path = path_of("remote_path", format!("c:/Windows/Temp/script-{id}.ps1"));
        if path.ends_with(['/', '\\']) {
            // A directory: the script keeps its name.
            path.push_str(&script.file_name().unwrap_or_else(|| format!("script-{id}.ps1")));
        }
        let variables_path = path_of("remote_env_var_path", format!("c:/Windows/Temp/packer-ps-env-vars-{id}.ps1"));
        let variables = self.variables();
        let (name, inline, content) = match script {
            Script::Inline(commands) => {
                ("inline commands".to_owned(), true, self.wrap(&variables, &commands).into_bytes())
            }
            Script::File(path) => {
                let content = tokio::fs::read(&path).await.map_err(|error| {
                    StepError::new(format!("cannot read the script {}", path.display())).with_source(error)
                })?;
                (path.display().to_string(), false, content)
            }
        };
        self.context.build.say(format!("Provisioning with powershell script: {name}"));
        let command = self.command(&path, &variables_path, inline)?;
        let command = elevated::wrapped(self.context, self.options, self.renderer, command).await?;
        let files = [(variables_path.as_str(), variables.as_bytes()), (path.as_str(), content.as_slice())];
        let limit = self.options.positive_duration("start_retry_timeout");
        let exit = start(self.context, &files, &command, limit).await?;
        let judged = judge(self.options, &exit);
        if exit != Exit::Disconnected && !self.options.flag("skip_clean") {
            self.clean(&[&path, &variables_path]).await;
        }
        judged
    }

    /// The assignments of the variables: Packer's, then the template's, whose values are escaped.
    fn variables(&self) -> String {
        let option = if self.is_elevated() { "elevated_env_var_format" } else { "env_var_format" };
        let format = self.options.text(option).unwrap_or_default();
        let own = scripts::variables(self.options, &self.context.data);
        let given: Vec<String> = self.options.texts("environment_vars");
        let given = given.iter().filter_map(|pair| pair.split_once('=').map(|(key, _)| key.to_owned()));
        let given: Vec<String> = given.chain(self.options.map("env").into_keys()).collect();
        let escape = |(key, value): (String, String)| {
            let value = if given.contains(&key) { escaped(&value) } else { value };
            (key, value)
        };
        scripts::formatted(&own.into_iter().map(escape).collect(), &format)
    }

    /// One script of the commands, which ends as the last program does, or with 1 when PowerShell fails.
    fn wrap(&self, variables: &str, commands: &str) -> String {
        let trace = self.trace().map_or_else(String::new, |trace| format!("{trace}\n"));
        format!(
            "{NO_PROGRESS}\n{trace}{variables}\n$ErrorActionPreference = 'Stop'\n$LASTEXITCODE = 0\ntry {{\n{commands}\n}} catch {{\n  \
             Write-Error -ErrorAction Continue $_\n  exit 1\n}}\n\
             if ($LASTEXITCODE -ne $null -and $LASTEXITCODE -ne 0) {{ exit $LASTEXITCODE }}\nexit 0\n"
        )
    }

    fn trace(&self) -> Option<String> {
        let mode = self.options.number("debug_mode");
        (mode != 0).then(|| format!("Set-PsDebug -Trace {mode};"))
    }

    fn command(&self, path: &str, variables: &str, inline: bool) -> Result<String, StepError> {
        let options = self.options;
        let program = if options.flag("use_pwsh") { "pwsh" } else { "powershell" };
        let policy = options.text("execution_policy").unwrap_or_default().to_lowercase();
        let with_policy = if policy == "none" { String::new() } else { format!("-executionpolicy {policy} ") };
        let default = if inline {
            format!("{program} {with_policy}-file {{{{.Path}}}}")
        } else {
            let trace = self.trace().unwrap_or_default();
            let block = format!("& {{ {NO_PROGRESS};{trace}. {{{{.Vars}}}}; &'{{{{.Path}}}}'; exit $LastExitCode }}");
            match (policy.as_str(), options.flag("use_pwsh")) {
                ("none", _) => block,
                (_, true) => format!("{program} {with_policy}-command \"{block}\""),
                (_, false) => format!("{program} {with_policy}\"{block}\""),
            }
        };
        let option = if self.is_elevated() { "elevated_execute_command" } else { "execute_command" };
        let template = options.given(option).unwrap_or(&default);
        self.renderer.render(template, &[("Path", path), ("Vars", variables)])
    }

    /// Removes what was uploaded. That it does not work is no failure.
    async fn clean(&self, paths: &[&str]) {
        let guest = self.context.communicator.until(Instant::now() + CLEAN_LIMIT);
        let list = paths.iter().map(|path| format!("'{}'", path.replace('\'', "''"))).collect::<Vec<_>>().join(", ");
        let command = super::encoded::command(&format!("Remove-Item -Force -ErrorAction SilentlyContinue {list}"));
        let cleaning = guest.execute(&command, &DiscardedOutput);
        match tokio::time::timeout(CLEAN_LIMIT, cleaning).await {
            Ok(Ok(Exit::Code(0))) => {}
            other => tracing::debug!(?other, "a script may still be in the guest"),
        }
    }
}

/// Fails unless the exit is one of the template's.
pub(super) fn judge(options: OptionValues<'_>, exit: &Exit) -> Result<(), StepError> {
    match exit {
        Exit::Disconnected => {
            let allowed = options.integers("valid_exit_codes").contains(&i64::from(Exit::DISCONNECTED_CODE));
            let told = "Script disconnected unexpectedly. A script that restarts the guest ends with windows-restart, or has \
                        2300218 among its valid_exit_codes.";
            if allowed { Ok(()) } else { Err(StepError::new(told).lost_when(true)) }
        }
        exit => scripts::check_exit_code(options, i64::from(exit.code()), FAILED_HINT),
    }
}

/// What PowerShell reads as itself between double quotes.
fn escaped(value: &str) -> String {
    let special = |letter: char| matches!(letter, '$' | '"' | '`' | '\'');
    value.chars().flat_map(|letter| special(letter).then_some('`').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, Call, FakeCommunicator};

    use crate::provisioners::harness::{files, run, uploaded};
    use crate::provisioners::windows::encoded::decoded;

    const PATHS: &str = "remote_path = \"c:/s.ps1\"\nremote_env_var_path = \"c:/v.ps1\"\n";
    const OWN: &str = "$env:PACKER_BUILDER_TYPE=\"qemu\"; $env:PACKER_BUILD_NAME=\"web\"; $env:PACKER_HTTP_ADDR=\"10.0.2.2:8123\"; \
                       $env:PACKER_HTTP_IP=\"10.0.2.2\"; $env:PACKER_HTTP_PORT=\"8123\"; ";

    #[tokio::test]
    async fn inline_commands_are_one_script_that_ends_as_they_do() {
        let guest = FakeCommunicator::new();
        let body = format!(
            "{PATHS}inline = [\"first {{{{ .User }}}}\", \"second\"]\nenv = {{ A = \"$x\\\"y'`\" }}\ndebug_mode = 1"
        );
        run("powershell", &body, &guest).await.result.unwrap();
        let script = uploaded(&guest, "c:/s.ps1");
        let assigned = format!("$env:A=\"`$x`\"y`'``\"; {OWN}");
        assert!(script.contains(&format!("Set-PsDebug -Trace 1;\n{assigned}\n")), "{script}");
        assert!(script.contains("try {\nfirst root\nsecond\n} catch {"), "{script}");
        assert!(script.ends_with("{ exit $LASTEXITCODE }\nexit 0\n"), "{script}");
        assert_eq!(uploaded(&guest, "c:/v.ps1"), assigned);
        let commands = guest.commands();
        assert_eq!(commands[0], "powershell -executionpolicy bypass -file c:/s.ps1");
        let cleaned = decoded(&commands[1]).unwrap();
        assert!(
            cleaned.ends_with("Remove-Item -Force -ErrorAction SilentlyContinue 'c:/s.ps1', 'c:/v.ps1'"),
            "{cleaned}"
        );
    }

    #[tokio::test]
    async fn a_script_of_a_file_is_run_with_its_variables() {
        let local = files(&[("a.ps1", "Write-Output a\r\n")]);
        let script = format!("script = \"{}/a.ps1\"\n{PATHS}", local.path().display());
        let block = |trace: &str| {
            format!(
                "& {{ if (Test-Path variable:global:ProgressPreference){{set-variable -name variable:global:ProgressPreference \
                 -value 'SilentlyContinue'}};{trace}. c:/v.ps1; &'c:/s.ps1'; exit $LastExitCode }}"
            )
        };
        for (more, command) in [
            ("", format!("powershell -executionpolicy bypass \"{}\"", block(""))),
            ("debug_mode = 2", format!("powershell -executionpolicy bypass \"{}\"", block("Set-PsDebug -Trace 2;"))),
            (
                "use_pwsh = true\nexecution_policy = \"RemoteSigned\"",
                format!("pwsh -executionpolicy remotesigned -command \"{}\"", block("")),
            ),
            ("execution_policy = \"none\"", block("")),
            ("execute_command = \"run {{.Path}} {{.Vars}}\"", "run c:/s.ps1 c:/v.ps1".to_owned()),
        ] {
            let guest = FakeCommunicator::new();
            run("powershell", &format!("{script}skip_clean = true\n{more}"), &guest).await.result.unwrap();
            assert_eq!(guest.commands(), [command]);
            assert_eq!(uploaded(&guest, "c:/s.ps1"), "Write-Output a\r\n");
            assert_eq!(uploaded(&guest, "c:/v.ps1"), OWN);
        }
    }

    #[tokio::test]
    async fn an_elevated_user_runs_it_as_a_task() {
        let guest = FakeCommunicator::new();
        let body = format!(
            "{PATHS}inline = [\"x\"]\nelevated_user = \"${{build.User}}\"\nelevated_password = \"pw-pw-pw-pw\"\n\
             elevated_env_var_format = \"%v is %[2]s|\"\nelevated_execute_command = \"up {{{{.Path}}}}\"\nskip_clean = true"
        );
        run("powershell", &body, &guest).await.result.unwrap();
        let (path, task) = guest
            .calls()
            .into_iter()
            .find_map(|call| match call {
                Call::Upload { destination, content, .. } if destination.contains("elevated") => {
                    Some((destination, String::from_utf8(content).unwrap()))
                }
                _ => None,
            })
            .unwrap();
        assert_eq!(guest.commands(), [format!("powershell -executionpolicy bypass -file \"{path}\"")]);
        assert!(task.contains("/c up c:/s.ps1 &gt; %SYSTEMROOT%/Temp/packer-"), "{task}");
        assert!(task.contains("<UserId>root</UserId>") && task.contains("'pw-pw-pw-pw', 1"), "{task}");
        assert!(uploaded(&guest, "c:/v.ps1").starts_with("PACKER_BUILDER_TYPE is qemu|"));
    }

    #[tokio::test]
    async fn a_remote_path_may_be_a_directory() {
        let local = files(&[("a.ps1", "1"), ("b.ps1", "2")]);
        let (guest, at) = (FakeCommunicator::new(), local.path().display());
        let body = format!("scripts = [\"{at}/a.ps1\", \"{at}/b.ps1\"]\nremote_path = \"d:/in/\"\nskip_clean = true");
        run("powershell", &body, &guest).await.result.unwrap();
        assert_eq!(
            (uploaded(&guest, "d:/in/a.ps1"), uploaded(&guest, "d:/in/b.ps1")),
            ("1".to_owned(), "2".to_owned())
        );
        assert!(guest.commands()[1].contains("&'d:/in/b.ps1'"), "{:?}", guest.commands());
    }

    #[tokio::test]
    async fn exit_codes_and_lost_connections_are_told() {
        for (more, answer, told) in [
            ("", Answer::code(3), Some("Script exited with non-zero exit status: 3.Allowed exit codes are: [0]")),
            ("valid_exit_codes = [3]", Answer::code(3), None),
            ("", Answer::Disconnect, Some("Script disconnected unexpectedly.")),
            ("valid_exit_codes = [0, 2300218]", Answer::Disconnect, None),
        ] {
            let guest = FakeCommunicator::new();
            guest.on_command("-file c:/s.ps1", answer);
            let result = run("powershell", &format!("{PATHS}inline = [\"x\"]\n{more}"), &guest).await.result;
            let error = result.err().map(|error| error.to_string());
            assert_eq!(error.is_some(), told.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().starts_with(told.unwrap_or_default()));
        }
        // A guest that cannot be reached at first is tried again.
        let guest = FakeCommunicator::new();
        guest.on_command("-file c:/s.ps1", Answer::Refuse);
        run("powershell", &format!("{PATHS}inline = [\"x\"]\npause_after = \"1ms\""), &guest).await.result.unwrap();
        assert_eq!(guest.commands().iter().filter(|command| command.contains("-file")).count(), 2);
    }
}
