//! The options of the two Chef provisioners.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

const COMMON: &[OptionSpec] = option_table! {
    "chef_environment" String = "", "the environment";
    "chef_license" String = "accept-silent", "what is said about Chef's licence";
    "config_template" String = "", "template of Chef's configuration";
    "encrypted_data_bag_secret_path" String = "", "secret of data bags";
    "execute_command" String late = "", "how Chef is run";
    "install_command" String late = "", "how it is installed";
    "guest_os_type" String = "unix", "unix or windows";
    "json" Json = "", "attributes, as an object (JSON templates)";
    "json_string" String = "", "attributes, as JSON text (HCL2 templates)";
    "prevent_sudo" Bool = "false", "no sudo";
    "run_list" Strings = "", "what is run";
    "skip_install" Bool = "false", "Chef is there already";
    "version" String = "", "version to install";
};

const COMMON_RULES: &[Rule] = &[
    Rule::OneOf("guest_os_type", &["unix", "windows"]),
    Rule::File("config_template"),
    Rule::File("encrypted_data_bag_secret_path"),
    Rule::Exclusive(&["json", "json_string"]),
    Rule::Check("`json` and `json_string` are a JSON object.", checks::guest_tools::attributes),
    Rule::Fields("install_command", &["Sudo", "Version"]),
];

const SOLO_OPTIONS: &[OptionSpec] = option_table! {
    "cookbook_paths" Strings = "", "cookbooks that are uploaded";
    "remote_cookbook_paths" Strings = "", "cookbooks that are in the guest";
    "roles_path" String = "", "roles that are uploaded";
    "data_bags_path" String = "", "data bags that are uploaded";
    "environments_path" String = "", "environments that are uploaded";
    "staging_directory" String = "/tmp/packer-chef-solo", "where everything goes in the guest";
};

const SOLO_RULES: &[Rule] = &[
    Rule::Directory("cookbook_paths"),
    Rule::Directory("roles_path"),
    Rule::Directory("data_bags_path"),
    Rule::Directory("environments_path"),
    Rule::Fields("execute_command", &["ConfigPath", "JsonPath", "Sudo"]),
];

define!(SOLO = Provisioner "chef-solo" true,
    "Runs Chef in the guest, without a server.", SOLO_OPTIONS, [COMMON], [SOLO_RULES, COMMON_RULES]);

const CLIENT_OPTIONS: &[OptionSpec] = option_table! {
    "server_url" String required = "", "the server";
    "client_key" String = "STAGE/client.pem", "the client's key in the guest";
    "node_name" String = "packer-UUID", "the guest's name";
    "policy_name" String = "", "the policy";
    "policy_group" String = "", "the policy's group";
    "validation_client_name" String = "chef-validator", "client that registers the guest";
    "validation_key_path" String = "", "its key, which is uploaded";
    "ssl_verify_mode" String = "", "how the server's certificate is checked";
    "trusted_certs_dir" String = "", "certificates to trust";
    "rubygems_url" String = "", "where gems come from";
    "knife_command" String late = "{{if .Sudo}}sudo {{end}}knife {{.Args}} {{.Flags}}", "how knife is run";
    "skip_clean_client" Bool = "false", "leave the client on the server";
    "skip_clean_node" Bool = "false", "leave the node on the server";
    "skip_clean_staging_directory" Bool = "false", "leave the staging directory";
    "staging_directory" String = "/tmp/packer-chef-client", "where everything goes in the guest";
    "elevated_user" String = "", "user to run it as (Windows)";
    "elevated_password" String sensitive = "", "that user's password";
};

const CLIENT_RULES: &[Rule] = &[
    Rule::Requires("policy_name", "policy_group"),
    Rule::Requires("policy_group", "policy_name"),
    Rule::Requires("elevated_password", "elevated_user"),
    Rule::File("validation_key_path"),
    Rule::Fields("knife_command", &["Sudo", "Args", "Flags"]),
    Rule::Fields("execute_command", &["ConfigPath", "JsonPath", "Sudo"]),
];

define!(CLIENT = Provisioner "chef-client" true,
    "Runs Chef in the guest, against a server.", CLIENT_OPTIONS, [COMMON], [CLIENT_RULES, COMMON_RULES]);
