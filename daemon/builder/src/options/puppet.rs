//! The options of the two Puppet provisioners.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

const COMMON: &[OptionSpec] = option_table! {
    "facter" Map = "", "facts";
    "extra_arguments" Strings late = "", "further arguments of Puppet";
    "execute_command" String late = "", "how it is run";
    "guest_os_type" String = "unix", "unix or windows";
    "ignore_exit_codes" Bool = "false", "no exit code is a failure";
    "prevent_sudo" Bool = "false", "no sudo";
    "puppet_bin_dir" String = "", "where Puppet lies in the guest";
    "working_directory" String = "the staging directory", "where it is run";
    "elevated_user" String = "", "user to run it as (Windows)";
    "elevated_password" String sensitive = "", "that user's password";
};

const COMMON_RULES: &[Rule] = &[
    Rule::OneOf("guest_os_type", &["unix", "windows"]),
    Rule::Requires("elevated_password", "elevated_user"),
    Rule::Check(
        "Facts have names that the guest's shell can set; with an `execute_command` others are a warning.",
        checks::guest_tools::facts,
    ),
    Rule::Fields("extra_arguments", &[]),
    Rule::Fields(
        "execute_command",
        &[
            "WorkingDir",
            "FacterVars",
            "HieraConfigPath",
            "ModulePath",
            "ModulePathJoiner",
            "ManifestFile",
            "ManifestDir",
            "PuppetBinDir",
            "Sudo",
            "ExtraArguments",
            "Debug",
            "PuppetNode",
            "PuppetServer",
            "ClientCertPath",
            "ClientPrivateKeyPath",
        ],
    ),
];

const MASTERLESS_OPTIONS: &[OptionSpec] = option_table! {
    "manifest_file" String required = "", "the manifest, a file or a directory";
    "manifest_dir" String = "", "directory of manifests that is uploaded";
    "module_paths" Strings = "", "directories of modules that are uploaded";
    "hiera_config_path" String = "", "Hiera's configuration";
    "staging_directory" String = "/tmp/packer-puppet-masterless", "where everything goes in the guest";
    "clean_staging_directory" Bool = "false", "remove it afterwards";
};

const MASTERLESS_RULES: &[Rule] = &[
    Rule::Exists("manifest_file"),
    Rule::Directory("manifest_dir"),
    Rule::Directory("module_paths"),
    Rule::File("hiera_config_path"),
];

define!(MASTERLESS = Provisioner "puppet-masterless" true,
    "Applies Puppet manifests in the guest.", MASTERLESS_OPTIONS, [COMMON], [MASTERLESS_RULES, COMMON_RULES]);

const SERVER_OPTIONS: &[OptionSpec] = option_table! {
    "client_cert_path" String = "", "directory of the client's certificate, which is uploaded";
    "client_private_key_path" String = "", "directory of the client's key, which is uploaded";
    "puppet_node" String = "", "the guest's name";
    "puppet_server" String = "puppet", "the server";
    "staging_dir" String = "/tmp/packer-puppet-server", "where everything goes in the guest";
};

const SERVER_RULES: &[Rule] = &[Rule::Directory("client_cert_path"), Rule::Directory("client_private_key_path")];

define!(SERVER = Provisioner "puppet-server" true,
    "Runs Puppet's agent in the guest, against a server.", SERVER_OPTIONS, [COMMON], [SERVER_RULES, COMMON_RULES]);
