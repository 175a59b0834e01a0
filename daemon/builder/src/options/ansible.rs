//! The options of the two Ansible provisioners.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;

const REMOTE_OPTIONS: &[OptionSpec] = option_table! {
    "playbook_file" String required = "", "the playbook";
    "command" String = "ansible-playbook", "the program";
    "extra_arguments" Strings late = "", "its further arguments";
    "ansible_env_vars" Strings late = "", "its environment, KEY=VALUE";
    "ansible_ssh_extra_args" Strings = "-o IdentitiesOnly=yes", "arguments of its SSH";
    "groups" Strings = "", "inventory groups the guest is in";
    "empty_groups" Strings = "", "further, empty groups";
    "host_alias" String = "default", "the guest's name in the inventory";
    "user" String = "", "user Ansible logs in as";
    "use_proxy" Trilean = "true", "go through a proxy on this machine that uses the build's connection";
    "local_port" Integer = "0", "port of that proxy; 0 for any";
    "ssh_host_key_file" String = "", "the proxy's host key";
    "ssh_authorized_key_file" String = "", "public key that may use the proxy";
    "ansible_proxy_key_type" String = "ECDSA", "kind of the proxy's keys";
    "sftp_command" String = "/usr/lib/sftp-server -e", "what the proxy runs in the guest for SFTP";
    "use_sftp" Bool = "false", "copy files by SFTP instead of SCP";
    "skip_version_check" Bool = "false", "do not ask for Ansible's version";
    "inventory_file" String = "", "inventory to use";
    "inventory_directory" String = "", "directory the inventory is made in";
    "inventory_file_template" String late = "", "the inventory's line for the guest";
    "keep_inventory_file" Bool = "false", "leave the inventory there";
    "galaxy_file" String = "", "roles and collections to install";
    "galaxy_command" String = "ansible-galaxy", "the program that does so";
    "galaxy_force_install" Bool = "false", "install them again";
    "galaxy_force_with_deps" Bool = "false", "install them and what they need again";
    "roles_path" String = "", "where roles go";
    "collections_path" String = "", "where collections go";
    "ansible_winrm_use_http" Bool = "false", "WinRM without TLS";
};

const REMOTE_RULES: &[Rule] = &[
    Rule::File("playbook_file"),
    Rule::File("galaxy_file"),
    Rule::Directory("inventory_directory"),
    Rule::Check(
        "`inventory_file` exists, unless it is a list of hosts, which has a comma.",
        checks::programs::ansible_inventory,
    ),
    Rule::File("ssh_host_key_file"),
    Rule::File("ssh_authorized_key_file"),
    Rule::Range("local_port", 1, 65535),
    Rule::Pairs("ansible_env_vars"),
    Rule::OneOf("ansible_proxy_key_type", &["ECDSA", "RSA"]),
    Rule::Check(
        "`command` and, with `galaxy_file`, `galaxy_command` are programs of this machine.",
        checks::programs::ansible,
    ),
    Rule::Fields("extra_arguments", &[]),
    Rule::Fields("ansible_env_vars", &[]),
    Rule::Fields("inventory_file_template", &["HostAlias", "Host", "User", "Port", "ConnType"]),
];

define!(ANSIBLE = Provisioner "ansible" true,
    "Runs an Ansible playbook on this machine, against the guest.", REMOTE_OPTIONS, [], [REMOTE_RULES]);

const LOCAL_OPTIONS: &[OptionSpec] = option_table! {
    "command" String = "ANSIBLE_FORCE_COLOR=1 PYTHONUNBUFFERED=1 ansible-playbook", "the program";
    "extra_arguments" Strings late = "", "its further arguments";
    "playbook_file" String = "", "the playbook";
    "playbook_files" Strings = "", "several";
    "playbook_dir" String = "", "directory that is uploaded with them";
    "playbook_paths" Strings = "", "further playbooks that are uploaded";
    "role_paths" Strings = "", "roles that are uploaded";
    "collection_paths" Strings = "", "collections that are uploaded";
    "group_vars" String = "", "directory of group variables that is uploaded";
    "host_vars" String = "", "directory of host variables that is uploaded";
    "inventory_file" String = "", "inventory that is uploaded";
    "inventory_groups" Strings = "", "groups of the inventory that is made";
    "staging_directory" String = "/tmp/packer-provisioner-ansible-local/UUID", "where everything goes in the guest";
    "clean_staging_directory" Bool = "false", "remove it afterwards";
    "galaxy_file" String = "", "roles and collections to install";
    "galaxy_command" String = "ansible-galaxy", "the program that does so";
    "galaxy_force_install" Bool = "false", "install them again";
    "galaxy_roles_path" String = "STAGE/galaxy_roles", "where roles go";
    "galaxy_collections_path" String = "STAGE/galaxy_collections", "where collections go";
};

const LOCAL_RULES: &[Rule] = &[
    Rule::Needed(&["playbook_file", "playbook_files"]),
    Rule::Exclusive(&["playbook_file", "playbook_files"]),
    Rule::File("playbook_file"),
    Rule::File("playbook_files"),
    Rule::Directory("playbook_dir"),
    Rule::Exists("playbook_paths"),
    Rule::Directory("role_paths"),
    Rule::Directory("collection_paths"),
    Rule::Directory("group_vars"),
    Rule::Directory("host_vars"),
    Rule::File("inventory_file"),
    Rule::File("galaxy_file"),
    Rule::Fields("extra_arguments", &[]),
];

define!(ANSIBLE_LOCAL = Provisioner "ansible-local" true,
    "Runs Ansible playbooks inside the guest.", LOCAL_OPTIONS, [], [LOCAL_RULES]);
