//! The options of shell and shell-local, and what every provisioner that runs scripts shares.

use kiln_template::OptionSpec;

use super::rule::Rule;
use super::{define, option_table};

/// Which scripts, with which variables and exit codes.
pub(crate) const SCRIPTS: &[OptionSpec] = option_table! {
    "inline" Strings late = "", "commands";
    "script" String = "", "a script";
    "scripts" Strings = "", "several scripts";
    "environment_vars" Strings = "", "KEY=VALUE, …";
    "env" Map = "", "the same as a map; wins over environment_vars";
    "valid_exit_codes" Integers = "0", "exit codes that count as success";
    "env_var_format" String = "", "printf format of one variable";
};

/// Rules of [`SCRIPTS`].
pub(crate) const SCRIPT_RULES: &[Rule] = &[
    Rule::Needed(&["inline", "script", "scripts"]),
    Rule::Exclusive(&["inline", "script", "scripts"]),
    Rule::Exists("script"),
    Rule::Exists("scripts"),
    Rule::Pairs("environment_vars"),
    Rule::Fields("inline", &[]),
];

/// The same, for components that hold these rules where they are read.
const READ_RULES: &[Rule] = &[
    Rule::Note("Exactly one of `inline`, `script`, `scripts` (shell-local: and `command`) is set."),
    Rule::Note("Scripts exist on this machine."),
    Rule::Note("Each element of `environment_vars` has the form `KEY=VALUE`."),
];

const SHELL_OPTIONS: &[OptionSpec] = option_table! {
    "binary" Bool = "false", "leave line ends as they are";
    "inline_shebang" String = "/bin/sh -e", "interpreter of inline commands";
    "remote_path" String = "", "where the script goes in the guest";
    "remote_folder" String = "/tmp", "its folder";
    "remote_file" String = "script_N.sh", "its name";
    "execute_command" String late = "chmod +x {{.Path}}; {{.Vars}} {{.Path}}", "how it is run";
    "use_env_var_file" Bool = "false", "pass variables in a file";
    "expect_disconnect" Bool = "false", "losing the connection is no failure";
    "skip_clean" Bool = "false", "leave the script in the guest";
    "start_retry_timeout" Duration = "5m", "how long to try to start it";
    "pause_after" Duration = "0s", "wait afterwards";
};

const SHELL_RULES: &[Rule] = &[Rule::Fields("execute_command", &["Vars", "Path", "EnvVarFile"])];

define!(SHELL = Provisioner "shell" true,
    "Runs shell commands or scripts in the guest.", SHELL_OPTIONS, [SCRIPTS], [READ_RULES, SHELL_RULES]);

const LOCAL_OPTIONS: &[OptionSpec] = option_table! {
    "binary" Bool = "false", "has no effect here";
    "inline_shebang" String = "/bin/sh -e", "interpreter of inline commands";
    "command" String late = "", "one command; old form of inline";
    "execute_command" Strings late = "", "how it is run";
    "only_on" Strings = "", "host systems to run on";
    "tempfile_extension" String = "", "extension of the temporary script";
    "use_linux_pathing" Bool = "false", "Windows hosts only";
};

const LOCAL_RULES: &[Rule] = &[
    Rule::Fields("execute_command", &["Vars", "Script", "Command"]),
    Rule::EachOneOf("only_on", &["darwin", "freebsd", "linux", "openbsd", "solaris", "windows"]),
    Rule::Fields("command", &[]),
    Rule::Note("`use_linux_pathing` excludes `inline` and `command`."),
];

define!(SHELL_LOCAL = Provisioner "shell-local" true,
    "Runs shell commands or scripts on this machine.", LOCAL_OPTIONS, [SCRIPTS], [READ_RULES, LOCAL_RULES]);

define!(SHELL_LOCAL_POST = PostProcessor "shell-local" true,
    "Runs shell commands or scripts on this machine, when the image is made.",
    LOCAL_OPTIONS, [SCRIPTS], [READ_RULES, LOCAL_RULES]);
