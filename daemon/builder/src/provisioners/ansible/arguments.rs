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

/// The command as people see it: without what comes, in an argument, behind the name of a password or a secret, be it one variable of
/// several, or of `--extra-vars=`, or JSON.
pub(super) fn shown(program: &str, arguments: &[String]) -> String {
    let shown = |argument: &String| {
        // Of the same length as the argument, so that places are the same.
        let lower = argument.to_ascii_lowercase();
        let name = ["password", "secret"].iter().filter_map(|word| lower.find(word)).min();
        let value = name.and_then(|name| Some(name + lower[name..].find(['=', ':'])?));
        value.map_or_else(|| argument.clone(), |value| format!("{}{STARS}", &argument[..=value]))
    };
    std::iter::once(program.to_owned()).chain(arguments.iter().map(shown)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_however_it_is_given() {
        let words =
            |words: &[&str]| shown("ansible-playbook", &words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        for hidden in [
            &["-e", "x_password=hunter22"][..],
            &["--extra-vars=x_Password=hunter22"],
            &["-e", "user=me ansible_become_password=hunter22 more=hunter22"],
            &["-e", "{\"client_secret\": \"hunter22\"}"],
        ] {
            let shown = words(hidden);
            assert!(!shown.contains("hunter22") && shown.ends_with("*****"), "{shown}");
        }
        assert_eq!(words(&["-e", "a=é", "-i", "hosts"]), "ansible-playbook -e a=é -i hosts");
        assert_eq!(words(&["--ask-become-password"]), "ansible-playbook --ask-become-password");
    }
}
