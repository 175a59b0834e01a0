//! The options of shell and shell-local, and what every provisioner that runs scripts shares.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

/// Which scripts, with which variables and exit codes.
pub(crate) const SCRIPTS: &[OptionSpec] = option_table! {
    "inline" Strings late = "", "commands";
    "script" String = "", "a script";
    "scripts" Strings = "", "several scripts";
    "environment_vars" Strings = "", "KEY=VALUE, …";
    "env" Map = "", "the same as a map; wins over environment_vars";
    "valid_exit_codes" Integers = "0", "exit codes that count as success";
    "env_var_format" String = "%s='%s' ", "printf format of one variable";
};

/// Rules of [`SCRIPTS`].
pub(crate) const SCRIPT_RULES: &[Rule] = &[
    Rule::Needed(&["inline", "script", "scripts"]),
    Rule::Exclusive(&["inline", "script", "scripts"]),
    Rule::File("script"),
    Rule::File("scripts"),
    Rule::Pairs("environment_vars"),
    Rule::Fields("inline", &[]),
];

/// The same in Packer's words, for shell and shell-local.
const SHELL_SCRIPT_RULES: &[Rule] = &[
    Rule::Check("Scripts are files of this machine.", checks::scripts::exist),
    Rule::Pairs("environment_vars"),
    Rule::Fields("inline", &[]),
];

const SHELL_OPTIONS: &[OptionSpec] = option_table! {
    "binary" Bool = "false", "leave line ends as they are";
    "inline_shebang" String = "/bin/sh -e", "interpreter of inline commands";
    "remote_path" String = "", "where the script goes in the guest";
    "remote_folder" String = "/tmp", "its folder";
    "remote_file" String = "script_N.sh", "its name";
    "execute_command" String late = "chmod +x {{.Path}}; {{.Vars}} {{.Path}}"
        where "use_env_var_file" is "chmod +x {{.Path}}; . {{.EnvVarFile}} && {{.Path}}", "how it is run";
    "env_var_format" String = "%s='%s' " where "use_env_var_file" is "export %s='%s'\\n", "printf format of one variable";
    "use_env_var_file" Bool = "false", "pass variables in a file";
    "expect_disconnect" Bool = "false", "losing the connection is no failure";
    "skip_clean" Bool = "false", "leave the script in the guest";
    "start_retry_timeout" Duration = "5m", "how long to try to start it";
    "pause_after" Duration = "0s", "wait afterwards";
};

const SHELL_RULES: &[Rule] = &[
    Rule::Check("Exactly one of `inline`, `script`, `scripts` is set.", checks::scripts::shell),
    Rule::Fields("execute_command", &["Vars", "Path", "EnvVarFile"]),
];

define!(SHELL = Provisioner "shell" true,
    "Runs shell commands or scripts in the guest.", SHELL_OPTIONS, [SCRIPTS], [SHELL_RULES, SHELL_SCRIPT_RULES]);

const VERIFY_OPTIONS: &[OptionSpec] = option_table! {
    "verify_timeout" Duration = "10m", "how long the checks may take; the guest has the source's own time to come up";
};

define!(VERIFY = PostProcessor "verify" true,
    "Kiln's own: boots a throw-away overlay of the image and runs checks in it; the image stays as it is. For images of the builder qemu.",
    VERIFY_OPTIONS, [SHELL_OPTIONS, SCRIPTS], [SHELL_RULES, SHELL_SCRIPT_RULES]);

const LOCAL_OPTIONS: &[OptionSpec] = option_table! {
    "binary" Bool = "false", "has no effect here";
    "inline_shebang" String = "/bin/sh -e", "interpreter of inline commands";
    "command" String late = "", "one command; old form of inline";
    "execute_command" Strings late = r#"["/bin/sh", "-c", "{{.Vars}} {{.Script}}"]"#, "how it is run; one text alone is run by sh -c";
    "only_on" Strings = "", "host systems to run on";
    "tempfile_extension" String = "", "extension of the temporary script";
    "use_linux_pathing" Bool = "false", "Windows hosts only";
};

const LOCAL_RULES: &[Rule] = &[
    Rule::Check("Exactly one of `inline`, `command`, `script`, `scripts` is set.", checks::scripts::shell_local),
    Rule::Fields("execute_command", &["Vars", "Script", "Command"]),
    Rule::EachOneOf("only_on", &["darwin", "freebsd", "linux", "openbsd", "solaris", "windows"]),
    Rule::Fields("command", &[]),
    Rule::Check("`use_linux_pathing` excludes `inline` and `command`.", checks::scripts::linux_pathing),
];

define!(SHELL_LOCAL = Provisioner "shell-local" true,
    "Runs shell commands or scripts on this machine.", LOCAL_OPTIONS, [SCRIPTS], [LOCAL_RULES, SHELL_SCRIPT_RULES]);

define!(SHELL_LOCAL_POST = PostProcessor "shell-local" true,
    "Runs shell commands or scripts on this machine, when the image is made.",
    LOCAL_OPTIONS, [SCRIPTS], [LOCAL_RULES, SHELL_SCRIPT_RULES]);
