//! The options of provisioners and post-processors.

use kiln_template::{OptionSpec, Schema};

use super::{option_table, shared};

const SCRIPTS: &[OptionSpec] = option_table! {
    "inline" Strings late = "", "commands";
    "script" String = "", "a script";
    "scripts" Strings = "", "several scripts";
    "environment_vars" Strings = "", "KEY=VALUE, …";
    "env" Map = "", "the same as a map";
    "valid_exit_codes" Integers = "0", "exit codes that count as success";
    "inline_shebang" String = "/bin/sh -e", "interpreter of inline commands";
    "env_var_format" String = "", "printf format of one variable";
    "binary" Bool = "false", "leave line ends as they are";
};

const SHELL_OPTIONS: &[OptionSpec] = option_table! {
    "remote_path" String = "", "where the script goes in the guest";
    "remote_folder" String = "/tmp", "its folder";
    "remote_file" String = "", "its name";
    "execute_command" String late = "chmod +x {{.Path}}; {{.Vars}} {{.Path}}", "how it is run";
    "use_env_var_file" Bool = "false", "pass variables in a file";
    "expect_disconnect" Bool = "false", "losing the connection is no failure";
    "skip_clean" Bool = "false", "leave the script in the guest";
    "start_retry_timeout" Duration = "5m", "how long to try to start it";
    "pause_after" Duration = "0s", "wait afterwards";
};

/// The shell provisioner.
pub(crate) const SHELL: Schema = Schema { kind: "shell", options: SHELL_OPTIONS, groups: &[SCRIPTS, shared::INTERNAL] };

const SHELL_LOCAL_OPTIONS: &[OptionSpec] = option_table! {
    "command" String late = "", "one command; old form of inline";
    "execute_command" Strings late = "", "how it is run";
    "only_on" Strings = "", "host systems to run on";
    "tempfile_extension" String = "", "extension of the temporary script";
    "use_linux_pathing" Bool = "false", "Windows hosts only";
};

/// The shell-local provisioner.
pub(crate) const SHELL_LOCAL: Schema =
    Schema { kind: "shell-local", options: SHELL_LOCAL_OPTIONS, groups: &[SCRIPTS, shared::INTERNAL] };

/// The shell-local post-processor.
pub(crate) const SHELL_LOCAL_POST: Schema =
    Schema { kind: "shell-local", options: SHELL_LOCAL_OPTIONS, groups: &[SCRIPTS, shared::INTERNAL] };

const FILE_OPTIONS: &[OptionSpec] = option_table! {
    "source" String = "", "file or directory to transfer";
    "sources" Strings = "", "several";
    "content" String = "", "text to write instead";
    "destination" String required = "", "where to";
    "direction" String = "upload", "upload or download";
    "generated" Bool = "false", "the source does not exist yet when the template is checked";
};

/// The file provisioner.
pub(crate) const FILE: Schema = Schema { kind: "file", options: FILE_OPTIONS, groups: &[shared::INTERNAL] };

const BREAKPOINT_OPTIONS: &[OptionSpec] = option_table! {
    "note" String = "", "text to show";
    "disable" Bool = "false", "do not stop here";
};

/// The breakpoint provisioner.
pub(crate) const BREAKPOINT: Schema =
    Schema { kind: "breakpoint", options: BREAKPOINT_OPTIONS, groups: &[shared::INTERNAL] };

const SLEEP_OPTIONS: &[OptionSpec] = option_table! {
    "duration" Duration = "", "how long to wait";
};

/// The sleep provisioner.
pub(crate) const SLEEP: Schema = Schema { kind: "sleep", options: SLEEP_OPTIONS, groups: &[shared::INTERNAL] };

const MANIFEST_OPTIONS: &[OptionSpec] = option_table! {
    "output" String = "packer-manifest.json", "the manifest file";
    "strip_path" Bool = "false", "only file names";
    "strip_time" Bool = "false", "no build_time";
    "custom_data" Map = "", "put into each entry";
};

/// The manifest post-processor.
pub(crate) const MANIFEST: Schema = Schema { kind: "manifest", options: MANIFEST_OPTIONS, groups: &[shared::INTERNAL] };

const CHECKSUM_OPTIONS: &[OptionSpec] = option_table! {
    "checksum_types" Strings = "md5", "md5, sha1, sha224, sha256, sha384, sha512";
    "output" String late = "packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum", "the checksum file";
};

/// The checksum post-processor.
pub(crate) const CHECKSUM: Schema = Schema { kind: "checksum", options: CHECKSUM_OPTIONS, groups: &[shared::INTERNAL] };

const EXPORT_OPTIONS: &[OptionSpec] = option_table! {
    "formats" Strings required = "", "qcow2, qcow2-compressed, raw, vmdk, vmdk-sparse, ovf, ova";
    "output_directory" String = "", "where they go; by default beside the image";
    "file_name" String = "", "file name without its extension; by default the machine's name";
};

/// Kiln's export post-processor.
pub(crate) const EXPORT: Schema = Schema { kind: "export", options: EXPORT_OPTIONS, groups: &[shared::INTERNAL] };
