//! The command line of `ansible-playbook`, and how it is shown.

use std::path::Path;

use crate::build_data::BuildData;
use crate::option_values::OptionValues;

/// What stands in place of a secret.
const STARS: &str = "*****";

/// Everything behind the program's name. `extra` are the template's own arguments, rendered.
pub(super) fn arguments(
    options: OptionValues<'_>,
    data: &BuildData,
    extra: Vec<String>,
    key: Option<&Path>,
    (inventory, playbook): (&Path, &Path),
) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut variable = |text: String| arguments.extend(["-e".to_owned(), text]);
    variable(format!("packer_build_name={:?}", data.source_name));
    variable(format!("packer_builder_type={}", data.source_type));
    if let Some(http) = &data.http {
        variable(format!("packer_http_addr={}:{}", http.host, http.port));
    }
    if key.is_some() {
        let quoted: Vec<String> =
            options.texts("ansible_ssh_extra_args").iter().map(|argument| format!("'{argument}'")).collect();
        arguments.extend(["--ssh-extra-args".to_owned(), quoted.join(" ")]);
    }
    let has = |word: &str, arguments: &[String]| arguments.iter().any(|argument| argument.contains(word));
    let http_only = options.flag("ansible_winrm_use_http") && !has("ansible_winrm_scheme", &extra);
    arguments.extend(extra);
    if http_only {
        arguments.extend(["-e".to_owned(), "ansible_winrm_scheme=http".to_owned()]);
    }
    if let Some(key) = key.filter(|_| !has("ansible_password", &arguments)) {
        arguments.extend(["-e".to_owned(), format!("ansible_ssh_private_key_file={}", key.display())]);
    }
    arguments.extend(["-i".to_owned(), inventory.display().to_string(), playbook.display().to_string()]);
    arguments
}

/// The variables beside this process's own. What we say of SSH comes last, so that it holds.
pub(super) fn environment(options: OptionValues<'_>, given: Vec<String>) -> Vec<(String, String)> {
    let pairs = given
        .into_iter()
        .filter_map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())));
    let mut environment: Vec<(String, String)> = pairs.collect();
    let mut set = |key: &str, value: &str| environment.push((key.to_owned(), value.to_owned()));
    if options.given("ssh_host_key_file").is_none() {
        set("ANSIBLE_HOST_KEY_CHECKING", "False");
    }
    if !options.flag("use_sftp") {
        set("ANSIBLE_SCP_IF_SSH", "True");
    }
    environment
}

/// The command as people see it: without the values of what is called a password or a secret.
pub(super) fn shown(program: &str, arguments: &[String]) -> String {
    let shown = |argument: &String| match argument.split_once('=') {
        Some((key, _)) if ["password", "secret"].iter().any(|word| key.to_lowercase().contains(word)) => {
            format!("{key}={STARS}")
        }
        _ => argument.clone(),
    };
    std::iter::once(program.to_owned()).chain(arguments.iter().map(shown)).collect::<Vec<_>>().join(" ")
}
