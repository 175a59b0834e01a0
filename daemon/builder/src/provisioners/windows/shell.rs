//! The windows-shell provisioner: uploads batch scripts into a Windows guest and runs them.

use super::powershell::judge;
use super::start::start;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;
use crate::provisioners::ProvisionContext;
use crate::scripts::{self, Script};

pub(in crate::provisioners) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    context.build.say("Provisioning with windows-shell...");
    let variables = scripts::variables(options, &context.data);
    let variables = scripts::formatted(&variables, &options.text("env_var_format").unwrap_or_default());
    let path = options.text("remote_path").unwrap_or_default();
    let template = options.text("execute_command").unwrap_or_default();
    let command = renderer.render(&template, &[("Vars", &variables), ("Path", &path)])?;
    let limit = options.positive_duration("start_retry_timeout");
    for (name, content) in contents(options, renderer).await? {
        context.build.say(format!("Provisioning with shell script: {name}"));
        let exit = start(context, &[(path.as_str(), &content)], &command, limit).await?;
        judge(options, &exit)?;
    }
    Ok(())
}

/// Names and texts of the scripts, byte by byte as they are.
async fn contents(options: OptionValues<'_>, renderer: &Renderer) -> Result<Vec<(String, Vec<u8>)>, StepError> {
    let commands = options.texts("inline");
    if !commands.is_empty() {
        let rendered: Result<Vec<String>, StepError> = commands.iter().map(|line| renderer.render(line, &[])).collect();
        let text: String = rendered?.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        return Ok(vec![("inline commands".to_owned(), text.into_bytes())]);
    }
    let mut contents = Vec::new();
    for script in scripts::scripts(options, renderer, false)? {
        let Script::File(path) = script else { continue };
        let content = tokio::fs::read(&path).await;
        let content = content
            .map_err(|error| StepError::new(format!("cannot read the script {}", path.display())).with_source(error))?;
        contents.push((path.display().to_string(), content));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use crate::provisioners::harness::{files, run, uploaded};

    const OWN: &str = "set \"PACKER_BUILDER_TYPE=qemu\" && set \"PACKER_BUILD_NAME=web\" && set \"PACKER_HTTP_ADDR=10.0.2.2:8123\" && \
                       set \"PACKER_HTTP_IP=10.0.2.2\" && set \"PACKER_HTTP_PORT=8123\" && ";

    #[tokio::test]
    async fn commands_and_scripts_are_run_with_their_variables() {
        let guest = FakeCommunicator::new();
        let body = "inline = [\"echo {{ .User }}\", \"dir\"]\nenv = { A = \"it's $1\" }";
        run("windows-shell", body, &guest).await.result.unwrap();
        assert_eq!(uploaded(&guest, "c:/Windows/Temp/script.bat"), "echo root\ndir\n");
        assert_eq!(guest.commands(), [format!("set \"A=it's $1\" && {OWN}\"c:/Windows/Temp/script.bat\"")]);

        let local = files(&[("a.bat", "@a\r\n"), ("b.bat", "b")]);
        let (guest, at) = (FakeCommunicator::new(), local.path().display());
        let body = format!(
            "scripts = [\"{at}/a.bat\", \"{at}/b.bat\"]\nremote_path = \"d:/x.bat\"\nenv_var_format = \"[%v %q]\"\nenv = {{ A = \"b c\" }}\n\
             execute_command = \"call {{{{.Path}}}} {{{{.Vars}}}}\"\nvalid_exit_codes = [0, 3]\nbinary = true"
        );
        guest.on_command("call", Answer::code(3));
        run("windows-shell", &body, &guest).await.result.unwrap();
        let commands = guest.commands();
        assert_eq!(commands.len(), 2);
        assert!(
            commands.iter().all(|command| command.starts_with("call d:/x.bat [A \"b c\"][PACKER_")),
            "{commands:?}"
        );
        assert_eq!(uploaded(&guest, "d:/x.bat"), "b");
    }

    #[tokio::test]
    async fn a_script_that_fails_ends_it() {
        let guest = FakeCommunicator::new();
        guest.on_command("script.bat", Answer::code(1));
        let error = run("windows-shell", "inline = [\"x\"]", &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "Script exited with non-zero exit status: 1.Allowed exit codes are: [0]");
    }
}
