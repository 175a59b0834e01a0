//! The options of the provisioners for Windows guests.

use kiln_template::OptionSpec;

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use super::scripts::{SCRIPT_RULES, SCRIPTS};

const POWERSHELL_OPTIONS: &[OptionSpec] = option_table! {
    "env_var_format" String = "$env:%s=\"%s\"; ", "printf format of one variable";
    "binary" Bool = "false", "has no effect here, as in Packer: scripts go into the guest as they are";
    "remote_path" String = "c:/Windows/Temp/script-UUID.ps1", "where the script goes in the guest";
    "remote_env_var_path" String = "c:/Windows/Temp/packer-ps-env-vars-UUID.ps1", "where the variables go";
    "execute_command" String late = "", "how it is run";
    "elevated_execute_command" String late = "", "how it is run as elevated_user";
    "elevated_env_var_format" String = "$env:%s=\"%s\"; ", "printf format of one variable, as elevated_user";
    "elevated_user" String = "", "user to run it as, with all rights";
    "elevated_password" String sensitive = "", "that user's password";
    "execution_policy" String = "bypass", "PowerShell's execution policy";
    "debug_mode" Integer = "0", "PowerShell's tracing, 0 to 2";
    "use_pwsh" Bool = "false", "run pwsh instead of powershell";
    "skip_clean" Bool = "false", "leave the script in the guest";
    "start_retry_timeout" Duration = "5m", "how long to try to start it";
    "pause_after" Duration = "0s", "wait afterwards";
};

const POWERSHELL_RULES: &[Rule] = &[
    Rule::Fields("execute_command", &["Vars", "Path"]),
    Rule::Fields("elevated_execute_command", &["Vars", "Path"]),
    Rule::Requires("elevated_password", "elevated_user"),
    Rule::Range("debug_mode", 0, 2),
    Rule::Check(
        "`execution_policy` is bypass, allsigned, default, remotesigned, restricted, undefined, unrestricted or none, in any case of letters.",
        |reader| {
            const POLICIES: &[&str] =
                &["bypass", "allsigned", "default", "remotesigned", "restricted", "undefined", "unrestricted", "none"];
            if let Some(policy) = reader.text("execution_policy")
                && !POLICIES.contains(&policy.to_lowercase().as_str())
            {
                let detail = format!("execution_policy is {policy:?}, but must be one of {}.", POLICIES.join(", "));
                reader.error("execution_policy", "Unsupported value", detail);
            }
        },
    ),
];

define!(POWERSHELL = Provisioner "powershell" true,
    "Runs PowerShell commands or scripts in a Windows guest.",
    POWERSHELL_OPTIONS, [SCRIPTS], [SCRIPT_RULES, POWERSHELL_RULES]);

const SHELL_OPTIONS: &[OptionSpec] = option_table! {
    "env_var_format" String = "set \"%s=%s\" && ", "printf format of one variable";
    "binary" Bool = "false", "has no effect here, as in Packer: scripts go into the guest as they are";
    "remote_path" String = "c:/Windows/Temp/script.bat", "where the script goes in the guest";
    "execute_command" String late = "{{.Vars}}\"{{.Path}}\"", "how it is run";
    "start_retry_timeout" Duration = "5m", "how long to try to start it";
};

const SHELL_RULES: &[Rule] = &[Rule::Fields("execute_command", &["Vars", "Path"])];

define!(WINDOWS_SHELL = Provisioner "windows-shell" true,
    "Runs batch commands or scripts in a Windows guest.", SHELL_OPTIONS, [SCRIPTS], [SCRIPT_RULES, SHELL_RULES]);

const RESTART_OPTIONS: &[OptionSpec] = option_table! {
    "restart_command" String = "shutdown /r /f /t 0 /c \"packer restart\"", "what restarts the guest";
    "restart_check_command" String = "", "what must succeed before the build goes on";
    "restart_timeout" Duration = "5m", "how long the restart may take";
    "check_registry" Bool = "false", "also wait until no restart is pending in the registry";
    "registry_keys" Strings = r#"["HKLM:SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\RebootPending", "HKLM:SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\PackagesPending", "HKLM:SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\RebootInProgress"]"#, "the keys that say so";
};

define!(WINDOWS_RESTART = Provisioner "windows-restart" true,
    "Restarts a Windows guest and waits until it is back.", RESTART_OPTIONS, [], []);
