//! Which Ansible there is.

use kiln_communicators::CollectedOutput;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::scripts::LocalCommand;

/// What is kept of what the program says.
const MAX_WORDS: usize = 64 << 10;

/// What to do where there is none.
const HINT: &str = "install Ansible on this machine (Debian: ansible-core; or `pip install ansible-core`), or name its program in \
                    command; skip_version_check leaves this question out";

/// Asks `program` for its version; returns the major one.
pub(super) async fn major(build: &BuildContext, program: &str) -> Result<u32, StepError> {
    let output = CollectedOutput::new(MAX_WORDS);
    let arguments = ["--version".to_owned()];
    let code = LocalCommand { build, program, arguments: &arguments, environment: &[] }.run(&output).await;
    let code = code.map_err(|error| error.with_hint(HINT))?;
    let words = output.stdout_text();
    if code != 0 {
        let said = output.stderr_text();
        let error = format!("Error running \"{program} --version\": exit status {code}: {}", said.trim());
        return Err(StepError::new(error).with_hint(HINT));
    }
    let version = version_in(&words).ok_or_else(|| {
        let first = words.lines().next().unwrap_or_default();
        StepError::new(format!("Could not find {program} version in output: {first:?}")).with_hint(HINT)
    })?;
    build.say(format!("{program} version: {version}"));
    Ok(version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(2))
}

/// The first thing of the form `1.2.3` in the first line.
fn version_in(words: &str) -> Option<&str> {
    let line = words.lines().next()?;
    let candidates = line.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
    candidates
        .map(|part| part.trim_matches('.'))
        .find(|part| part.split('.').filter(|one| !one.is_empty()).count() >= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_ansible_tell_their_version() {
        for (words, version) in [
            ("ansible-playbook [core 2.14.18]\n  config file = None", Some("2.14.18")),
            ("ansible-playbook 2.9.6\n", Some("2.9.6")),
            ("ansible-playbook 1.9.4", Some("1.9.4")),
            ("ansible-playbook [core 2.17.0.dev0]", Some("2.17.0")),
            ("no version at all", None),
            ("", None),
        ] {
            let found = version_in(words).map(|found| found.split('.').take(3).collect::<Vec<_>>().join("."));
            assert_eq!(found.as_deref(), version, "{words}");
        }
    }
}
