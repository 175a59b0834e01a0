//! Option groups that several builders share.

use kiln_template::OptionSpec;

use super::checks;
use super::option_table::option_table;
use super::rule::Rule;

/// The installer or disk image and its checksum.
pub(crate) const ISO: &[OptionSpec] = option_table! {
    "iso_url" String = "", "path or URL of the image";
    "iso_urls" Strings = "", "paths or URLs, tried in order; instead of iso_url";
    "iso_checksum" String = "", "none, HASH, TYPE:HASH or file:PATH_OR_URL of a checksum list";
    "iso_target_path" String = "", "where a downloaded image is kept; a directory when it has no extension";
    "iso_target_extension" String = "iso", "extension of the downloaded image in the cache";
};

/// The HTTP server for the guest.
pub(crate) const HTTP: &[OptionSpec] = option_table! {
    "http_directory" String = "", "directory that is served to the guest";
    "http_content" Map = "", "path to body; instead of http_directory";
    "http_port_min" Integer = "8000", "lowest port of the server";
    "http_port_max" Integer = "9000", "highest port of the server";
    "http_bind_address" String = "", "address the server listens on; by default only what the guest can reach";
    "http_interface" String = "", "network interface whose address the guest is told";
    "http_network_protocol" String = "tcp", "tcp4 or tcp6: the server listens on addresses of that family alone";
};

/// The floppy.
pub(crate) const FLOPPY: &[OptionSpec] = option_table! {
    "floppy_files" Strings = "", "files (globs), put flat into the root of a floppy";
    "floppy_dirs" Strings = "", "directories, put on the floppy with their tree";
    "floppy_content" Map = "", "file name to text";
    "floppy_label" String = "packer", "volume label, at most 11 characters";
};

/// The CD with seed files.
pub(crate) const CD: &[OptionSpec] = option_table! {
    "cd_files" Strings = "", "files and directories (globs) for a CD";
    "cd_content" Map = "", "path on the CD to text";
    "cd_label" String = "packer", "volume label; cidata for cloud-init";
};

/// The boot command.
pub(crate) const BOOT: &[OptionSpec] = option_table! {
    "boot_command" Strings late = "", "what is typed after boot_wait";
    "boot_wait" Duration = "10s", "how long the guest starts before anything is typed; negative for no wait";
    "boot_keygroup_interval" Duration = "100ms", "pause between groups of keys (VirtualBox)";
};

/// The boot command of builders that type one key at a time.
pub(crate) const BOOT_KEYS: &[OptionSpec] = option_table! {
    "boot_key_interval" Duration = "", "pause after each key; unset: as fast as the guest reads them";
    "disable_vnc" Bool = "false", "no VNC, and with it no boot command in Packer";
};

/// Shutting the guest down.
pub(crate) const SHUTDOWN: &[OptionSpec] = option_table! {
    "shutdown_command" String = "", "what is run in the guest to shut it down; empty: it is powered off hard";
    "shutdown_timeout" Duration = "5m", "how long the guest may take to power off";
};

/// Reaching the guest through NAT.
pub(crate) const NAT: &[OptionSpec] = option_table! {
    "host_port_min" Integer = "2222", "lowest host port forwarded to the guest";
    "host_port_max" Integer = "4444", "highest host port forwarded to the guest";
    "skip_nat_mapping" Bool = "false", "no forwarding: the guest's own port is used";
    "ssh_host_port_min" Integer = "2222", "old name of host_port_min";
    "ssh_host_port_max" Integer = "4444", "old name of host_port_max";
};

/// The old name of one more option.
pub(crate) const OLD_NAT: &[OptionSpec] = option_table! {
    "ssh_skip_nat_mapping" Bool = "", "old name of skip_nat_mapping";
};

/// VNC of builders that type through it.
pub(crate) const VNC_PORTS: &[OptionSpec] = option_table! {
    "vnc_bind_address" String = "127.0.0.1", "address VNC listens on";
    "vnc_port_min" Integer = "5900", "lowest VNC port";
    "vnc_port_max" Integer = "6000", "highest VNC port";
};

/// Talking to the guest.
pub(crate) const COMMUNICATOR: &[OptionSpec] = option_table! {
    "communicator" String = "ssh", "ssh, winrm, guest-agent (of the builder qemu alone) or none";
    "pause_before_connecting" Duration = "0s", "after the first connection, wait this long and connect again";
    "ssh_host" String = "", "address of the guest; by default it is found";
    "ssh_port" Integer = "22", "the guest's SSH port";
    "ssh_username" String = "", "user to log in as";
    "ssh_password" String sensitive = "", "password, also for keyboard-interactive";
    "ssh_ciphers" Strings = "", "ciphers to offer";
    "ssh_key_exchange_algorithms" Strings = "", "key exchanges to offer";
    "ssh_clear_authorized_keys" Bool = "false", "remove the temporary key after provisioning";
    "ssh_keypair_name" String = "", "a key pair of a cloud";
    "temporary_key_pair_name" String = "", "comment of the temporary key";
    "temporary_key_pair_type" String = "rsa", "rsa, ecdsa or ed25519";
    "temporary_key_pair_bits" Integer = "", "size of the temporary key";
    "ssh_private_key_file" String = "", "private key to log in with";
    "ssh_certificate_file" String = "", "certificate of the private key";
    "ssh_pty" Bool = "false", "run commands in a terminal";
    "ssh_timeout" Duration = "5m", "how long to wait for SSH";
    "ssh_wait_timeout" Duration = "", "old name of ssh_timeout";
    "ssh_handshake_attempts" Integer = "10", "how many refused log-ins end the build";
    "ssh_agent_auth" Bool = "false", "log in with the agent's keys";
    "ssh_disable_agent_forwarding" Bool = "false", "do not offer the agent to the guest";
    "ssh_bastion_host" String = "", "host to go through";
    "ssh_bastion_port" Integer = "22", "its port";
    "ssh_bastion_username" String = "", "its user";
    "ssh_bastion_password" String sensitive = "", "its password";
    "ssh_bastion_interactive" Bool = "false", "log in to the bastion by keyboard-interactive first, answering with ssh_bastion_password";
    "ssh_bastion_agent_auth" Bool = "false", "log in to the bastion with the agent's keys";
    "ssh_bastion_private_key_file" String = "", "private key for the bastion";
    "ssh_bastion_certificate_file" String = "", "certificate for the bastion";
    "ssh_file_transfer_method" String = "scp", "scp or sftp";
    "ssh_proxy_host" String = "", "SOCKS5 or HTTP proxy to go through";
    "ssh_proxy_type" String = "socks5", "socks5, or (Kiln's own) http: by CONNECT, with Basic for the user";
    "ssh_proxy_port" Integer = "1080", "its port; an HTTP proxy's is 3128 by default";
    "ssh_proxy_username" String = "", "its user";
    "ssh_proxy_password" String sensitive = "", "its password";
    "ssh_keep_alive_interval" Duration = "5s", "how often a sign of life is sent; negative for never";
    "ssh_read_write_timeout" Duration = "0s", "limit for a single read or write";
    "ssh_remote_tunnels" Strings = "", "PORT:HOST:PORT, listening in the guest";
    "ssh_local_tunnels" Strings = "", "PORT:HOST:PORT, listening here";
    "ssh_public_key" Integers = "", "set by Packer itself";
    "ssh_private_key" Integers sensitive = "", "set by Packer itself";
    "winrm_username" String = "", "user to log in as";
    "winrm_password" String sensitive = "", "its password";
    "winrm_host" String = "", "address of the guest";
    "winrm_no_proxy" Bool = "false", "go around HTTP proxies";
    "winrm_port" Integer = "5985, with winrm_use_ssl 5986", "the guest's WinRM port";
    "winrm_timeout" Duration = "30m", "how long to wait for WinRM";
    "winrm_use_ssl" Bool = "false", "HTTPS";
    "winrm_insecure" Bool = "false", "do not check the certificate";
    "winrm_use_ntlm" Trilean = "false", "NTLM instead of Basic";
};

/// What Packer hands to every component; accepted and ignored in templates.
pub(crate) const INTERNAL: &[OptionSpec] = option_table! {
    "packer_build_name" String = "", "set by Packer itself";
    "packer_builder_type" String = "", "set by Packer itself";
    "packer_core_version" String = "", "set by Packer itself";
    "packer_debug" Bool = "false", "set by Packer itself";
    "packer_force" Bool = "false", "set by Packer itself";
    "packer_on_error" String = "", "set by Packer itself";
    "packer_user_variables" Map = "", "set by Packer itself";
    "packer_sensitive_variables" Strings = "", "set by Packer itself";
};

/// Rules of [`ISO`].
pub(crate) const ISO_RULES: &[Rule] = &[Rule::Check(
    "Exactly one of `iso_url` and `iso_urls` is set. `iso_checksum` is required: `none`, a hash in hexadecimal, `TYPE:HASH` \
     (md5, sha1, sha224, sha256, sha384, sha512), or `file:PATH_OR_URL` of a list of checksums.",
    checks::image::image,
)];

/// Rules of [`HTTP`].
pub(crate) const HTTP_RULES: &[Rule] = &[
    Rule::Check("`http_bind_address` is an address of this host, or a name of one.", |reader| {
        checks::address::is_of_this_host(reader, "http_bind_address");
    }),
    Rule::OneOf("http_network_protocol", &["tcp", "tcp4", "tcp6", "unix", "unixpacket"]),
    Rule::Check(
        "`http_directory` exists and excludes `http_content`. `http_port_min` is not above `http_port_max`. \
         `http_bind_address` and `http_interface` exclude each other.",
        checks::files::http,
    ),
];

/// Rules of [`FLOPPY`] and [`CD`].
pub(crate) const MEDIA_RULES: &[Rule] = &[
    Rule::Check(
        "Files and directories for the floppy exist. `floppy_label` has at most 11 characters.",
        checks::files::floppy,
    ),
    Rule::Check("Files for the CD exist. `cd_label` has at most 32 characters.", checks::files::cd),
];

/// Rules of [`BOOT`].
pub(crate) const BOOT_RULES: &[Rule] = &[Rule::Check(
    "`boot_command` follows the grammar of boot commands: `<enter>`, `<wait5s>`, `<leftCtrlOn>`, …; waits are not negative. A warning tells of what is written like a key but is none; characters that are on no key of a US keyboard are refused. `boot_steps` excludes it.",
    checks::boot::boot,
)];

/// Rules of [`SHUTDOWN`].
pub(crate) const SHUTDOWN_RULES: &[Rule] = &[Rule::Check(
    "Without `shutdown_command` there is a warning: the machine is powered off hard. (Not where the power button or the guest itself \
     shuts it down.)",
    checks::image::shutdown,
)];

/// Rules of [`NAT`].
pub(crate) const NAT_RULES: &[Rule] =
    &[Rule::Check("`host_port_min` is not above `host_port_max`.", checks::communicator::host_ports)];

/// Rules of [`VNC_PORTS`].
pub(crate) const VNC_RULES: &[Rule] = &[
    Rule::Range("vnc_port_min", 5900, 65535),
    Rule::Range("vnc_port_max", 5900, 65535),
    Rule::Check("`vnc_bind_address` is an address of this host, or a name of one.", |reader| {
        checks::address::is_of_this_host(reader, "vnc_bind_address");
    }),
    Rule::Check("`vnc_port_min` is not above `vnc_port_max`.", |reader| {
        reader.port_range("vnc_port_min", "vnc_port_max");
    }),
];

/// Rules of [`COMMUNICATOR`].
pub(crate) const COMMUNICATOR_RULES: &[Rule] = &[
    Rule::OneOf("temporary_key_pair_type", &["rsa", "ecdsa", "ed25519", "dsa"]),
    Rule::OneOf("ssh_file_transfer_method", &["scp", "sftp"]),
    Rule::OneOf("ssh_proxy_type", &["socks5", "http"]),
    Rule::Range("ssh_port", 1, 65535),
    Rule::Range("winrm_port", 1, 65535),
    Rule::Range("ssh_bastion_port", 1, 65535),
    Rule::Range("ssh_proxy_port", 1, 65535),
    Rule::Check(
        "`communicator` is `ssh`, `winrm`, `guest-agent` (qemu) or `none`. SSH needs `ssh_username`; WinRM needs `winrm_username`. Key and \
         certificate files exist and can be used: a key is no public one and has no passphrase, a certificate is its user's and has not \
         expired. With `ssh_agent_auth` and `ssh_bastion_agent_auth` there is an agent (`validate` only warns, as of one \
         that has no key yet or does not say). \
         `ssh_ciphers` and `ssh_key_exchange_algorithms` name what Kiln has. A bastion needs a way to log in, and excludes a proxy; \
         what it asks for interactively is answered with `ssh_bastion_password`. \
         Tunnels have the form `PORT:HOST:PORT`. `ssh_timeout` and `ssh_handshake_attempts` have their defaults only \
         when neither is set.",
        checks::communicator::communicator,
    ),
    Rule::Check(
        "`http_interface`, `ssh_keypair_name`, `ssh_public_key` and `ssh_private_key` have no effect, which is told.",
        checks::communicator::without_effect,
    ),
];

/// Rules of [`COMMUNICATOR`] for builders that make a key of their own.
pub(crate) const TEMPORARY_KEY_RULES: &[Rule] = &[Rule::Check(
    "The temporary key is no DSA key. An RSA key has 1024 to 16384 bits, an ECDSA key 256, 384 or 521.",
    checks::communicator::temporary_key,
)];
