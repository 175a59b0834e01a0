//! What breaks each rule that has a name of its own, and what is told of it: the table of the tests of rules.

/// Rules with names of their own: how each begins, and options that break it with what is told. The first word of a summary
/// that is only a warning is `warning:`.
pub(super) const BROKEN: &[(&str, &[(&str, &str)])] = &[
    ("`vnc_bind_address` is an address", &[("vnc_bind_address = \"192.0.2.1\"", "No address of this host")]),
    ("`vrdp_bind_address` is an address", &[("vrdp_bind_address = \"no host\"", "No address of this host")]),
    ("`http_bind_address` is an address", &[("http_bind_address = \"192.0.2.1\"", "No address of this host")]),
    #[cfg(target_arch = "x86_64")]
    ("`chipset` is one of the host's own", &[("chipset = \"armv8\"", "No such machine on this host")]),
    #[cfg(not(target_arch = "x86_64"))]
    ("`chipset` is one of the host's own", &[("chipset = \"piix3\"", "No such machine on this host")]),
    (
        "Facts have names that",
        &[
            ("facter = { \"a-b\" = \"1\" }", "No name of a fact"),
            ("guest_os_type = \"windows\"\nfacter = { \"a=b\" = \"1\" }", "No name of a fact"),
            (
                "execute_command = \"env {{.FacterVars}} puppet\"\nfacter = { \"a-b\" = \"1\" }",
                "warning: No name of a fact",
            ),
        ],
    ),
    (
        "`json` and `json_string` are",
        &[("json_string = \"[1]\"", "No JSON object"), ("json_string = \"{\"", "No JSON object")],
    ),
    (
        "`output` is no directory",
        &[
            ("output = \"/\"", "A directory, not a file"),
            ("output = \"/proc/version/x/y\"", "A file in the place of a directory"),
        ],
    ),
    (
        "Exactly one of `iso_url` and `iso_urls` is set.",
        &[
            ("iso_checksum = \"none\"", "Missing iso_url"),
            ("iso_url = \"x\"\niso_urls = [\"y\"]\niso_checksum = \"none\"", "Both iso_url and iso_urls"),
            ("iso_url = \"x\"", "Missing iso_checksum"),
            ("iso_url = \"x\"\niso_checksum = \"md5:12\"", "Invalid iso_checksum"),
            ("iso_url = \"x\"\niso_checksum = \"file:/nonexistent/SHA256SUMS\"", "No such checksum list"),
            ("iso_url = \"x\"\niso_skip_cache = true", "Nothing that QEMU reads from a server"),
            ("iso_url = \"ftp://h/x\"\niso_skip_cache = true", "Nothing that QEMU reads from a server"),
            ("iso_url = \"http://h/x\"\niso_skip_cache = true", "warning: The ISO is not checked"),
            (
                "iso_url = \"http://h/x\"\niso_checksum = \"md5:00\"\niso_skip_cache = true",
                "No checksum with iso_skip_cache",
            ),
            ("iso_url = \"x\"\niso_checksum = \"none\"", "warning: A checksum of 'none' was specified"),
        ],
    ),
    (
        "`http_directory` exists and excludes `http_content`.",
        &[
            ("http_directory = \"/nonexistent\"", "No such directory"),
            ("http_directory = \"/\"\nhttp_content = { a = \"b\" }", "Both http_directory and http_content"),
            ("http_port_min = 9001", "Empty port range"),
            ("http_port_max = 7999", "Empty port range"),
            ("http_port_max = 70000", "Value out of range"),
            ("http_bind_address = \"::1\"\nhttp_interface = \"lo\"", "Both http_bind_address and http_interface"),
            ("http_network_protocol = \"unix\"", "Unsupported value"),
            ("http_network_protocol = \"tcp6\"", "Another family of addresses"),
            ("http_network_protocol = \"tcp6\"\nhttp_bind_address = \"127.0.0.1\"", "Another family of addresses"),
            ("http_network_protocol = \"tcp4\"\nhttp_bind_address = \"[::1]\"", "Another family of addresses"),
        ],
    ),
    (
        "Files and directories for the floppy exist.",
        &[
            ("floppy_files = [\"/nonexistent\"]", "No such file"),
            ("floppy_dirs = [\"/nonexistent\"]", "No such file"),
            ("floppy_files = [\"/nonexistent/*\"]", "warning: No file matches"),
            ("floppy_label = \"twelve chars\"", "Label too long"),
        ],
    ),
    (
        "Files for the CD exist.",
        &[
            ("cd_files = [\"/nonexistent\"]", "No such file"),
            ("cd_files = [\"/nonexistent/*\"]", "warning: No file matches"),
            ("cd_label = \"123456789012345678901234567890123\"", "Label too long"),
        ],
    ),
    (
        "`boot_command` follows the grammar of boot commands",
        &[
            ("boot_command = [\"<wait-5s>\"]", "Invalid boot command"),
            ("boot_command = [\"é\"]", "Character without a key"),
            ("boot_command = [\"<bogus>\"]", "warning: Unknown key in a boot command"),
            ("boot_command = [\"{{ .Nope }}\"]", "Unknown template field"),
            ("boot_command = [\"{{ .SSHHostPort }}\"]", "Unknown template field"),
            ("boot_command = [\"{{ upper }}\"]", "Invalid template"),
            ("boot_steps = [[\"é\", \"types it\"]]", "Character without a key"),
            ("boot_command = [\"a\"]\nboot_steps = [[\"b\"]]", "Both boot_command and boot_steps"),
        ],
    ),
    ("Without `shutdown_command` there is a warning", &[("", "warning: A shutdown_command was not specified")]),
    (
        "`host_port_min` is not above `host_port_max`.",
        &[
            ("host_port_min = 4445", "Empty port range"),
            ("ssh_host_port_min = 4445", "Empty port range"),
            ("ssh_host_port_max = 70000", "Value out of range"),
        ],
    ),
    (
        "`net_device = \"none\"` needs `communicator = \"guest-agent\"` or `none`",
        &[
            ("net_device = \"none\"", "No network to connect over"),
            (
                "net_device = \"none\"\ncommunicator = \"guest-agent\"\nhttp_content = { a = \"b\" }",
                "No network in the guest",
            ),
        ],
    ),
    ("`vnc_port_min` is not above `vnc_port_max`.", &[("vnc_port_min = 6001", "Empty port range")]),
    (
        "`communicator` is `ssh`, `winrm`, `guest-agent` (qemu) or `none`.",
        &[
            ("communicator = \"telnet\"", "Unknown communicator"),
            ("", "Missing ssh_username"),
            ("communicator = \"winrm\"", "Missing winrm_username"),
            ("communicator = \"winrm\"\nwinrm_username = \"a:b\"", "A colon in winrm_username"),
            (
                "communicator = \"winrm\"\nwinrm_username = \"a\"\nwinrm_insecure = true",
                "warning: winrm_insecure has no effect",
            ),
            ("ssh_private_key_file = \"/nonexistent\"", "No such file"),
            // It has no end.
            ("ssh_private_key_file = \"/dev/zero\"", "No such file"),
            ("ssh_private_key_file = \"Cargo.toml\"", "Unusable private key"),
            ("ssh_certificate_file = \"/nonexistent\"", "No such file"),
            ("ssh_certificate_file = \"Cargo.toml\"", "Missing ssh_private_key_file"),
            ("ssh_ciphers = [\"aes128-ctr\", \"blowfish\"]", "Unknown cipher"),
            ("ssh_ciphers = [\"arcfour\"]", "Unknown cipher"),
            ("ssh_ciphers = [\"aes128-ctr\", \"arcfour\"]", "warning: Obsolete cipher"),
            ("ssh_ciphers = [\"none\"]", "Unknown cipher"),
            ("ssh_key_exchange_algorithms = [\"curve25519\"]", "Unknown key exchange algorithm"),
            ("ssh_bastion_host = \"b\"\nssh_bastion_private_key_file = \"Cargo.toml\"", "Unusable private key"),
            ("ssh_bastion_host = \"b\"", "No way to log in to the bastion"),
            ("ssh_bastion_host = \"b\"\nssh_bastion_private_key_file = \"/nonexistent\"", "No such file"),
            (
                "ssh_bastion_host = \"b\"\nssh_bastion_agent_auth = true\nssh_bastion_interactive = true",
                "warning: Nobody answers the bastion",
            ),
            ("ssh_bastion_host = \"b\"\nssh_proxy_host = \"p\"", "Bastion and proxy"),
            ("ssh_local_tunnels = [\"1:h\"]", "Invalid tunnel"),
            ("ssh_remote_tunnels = [\"1:h:x\"]", "Invalid tunnel"),
            ("ssh_remote_tunnels = [\"1:h:0\"]", "Invalid tunnel"),
            (
                "ssh_proxy_host = \"p\"\nssh_proxy_type = \"http\"\nssh_proxy_username = \"a:b\"",
                "A colon in ssh_proxy_username",
            ),
        ],
    ),
    (
        "The temporary key is no DSA key.",
        &[
            ("temporary_key_pair_type = \"dsa\"", "DSA keys are not supported"),
            ("temporary_key_pair_bits = 512", "Value out of range"),
            ("temporary_key_pair_type = \"ecdsa\"\ntemporary_key_pair_bits = 255", "Value out of range"),
        ],
    ),
    (
        "Unless `communicator` is `none`: host, user and exactly one way to log in are required.",
        &[
            ("ssh_password = \"p\"", "Missing ssh_host"),
            ("ssh_host = \"h\"", "No way to log in"),
            ("ssh_host = \"h\"\nssh_password = \"p\"\nssh_agent_auth = true", "More than one way to log in"),
        ],
    ),
    (
        "`disk_size` is a number of MiB",
        &[
            ("disk_size = \"10GB\"", "Invalid disk size"),
            ("disk_size = \"0\"", "Invalid disk size"),
            ("disk_additional_size = [\"1G\", \"-1\"]", "Invalid disk size"),
        ],
    ),
    (
        "`use_backing_file` needs `disk_image`",
        &[
            ("use_backing_file = true", "use_backing_file needs a qcow2 disk image"),
            (
                "use_backing_file = true\ndisk_image = true\nformat = \"raw\"",
                "use_backing_file needs a qcow2 disk image",
            ),
            ("skip_resize_disk = true", "skip_resize_disk needs disk_image"),
        ],
    ),
    (
        "A package (`ovf`, `ova`, `vmx`) describes a PC",
        &[
            ("format = \"ova\"\nqemu_binary = \"qemu-system-aarch64\"", "No package for this machine"),
            ("format = \"vmx\"\nqemu_binary = \"/opt/qemu-system-s390x\"", "No package for this machine"),
        ],
    ),
    ("`vnc_password` has at most 8 characters.", &[("vnc_password = \"123456789\"", "Password too long")]),
    ("`output_directory` does not exist", &[("output_directory = \"/\"", "Output directory already exists")]),
    ("`vm_name` holds no slash.", &[("vm_name = \"a/b\"", "Invalid vm_name"), ("vm_name = \"..\"", "Invalid vm_name")]),
    (
        "The firmware is on this machine",
        &[
            ("efi_firmware_code = \"/nonexistent\"\nefi_firmware_vars = \"/nonexistent\"", "No UEFI firmware"),
            ("efi_boot = true\nefi_firmware_vars = \"/nonexistent\"", "No UEFI firmware"),
        ],
    ),
    (
        "`qemu_img_args` holds arguments",
        &[
            ("qemu_img_args = { create = [\"-F\", \"qcow2\"] }", "warning: qemu_img_args has no effect"),
            ("qemu_img_args = { convert = [\"-m\", \"4\", \"-W\"] }", "warning: qemu_img_args has no effect"),
            ("qemu_img_args = { create = [\"-o\", \"data_file=/x\"] }", "qemu_img_args reaches beyond the image"),
            ("qemu_img_args = { resize = [\"--shrink\"] }", "warning: qemu_img_args has no effect"),
            ("qemu_img_args = { convert = [\"-c\"] }\nformat = \"raw\"", "warning: qemu_img_args has no effect"),
            ("qemu_img_args = { convert = [\"-c\"] }\nskip_compaction = true", "warning: qemu_img_args has no effect"),
        ],
    ),
    (
        "A warning tells of what does nothing",
        &[
            ("format = \"raw\"\ndisk_compression = true", "warning: disk_compression has no effect"),
            ("run_once = true", "warning: run_once has no effect"),
            ("disable_vnc = true\nboot_command = [\"a\"]", "warning: disable_vnc has no effect on typing"),
        ],
    ),
    (
        "`http_interface`, `ssh_keypair_name`",
        &[
            ("http_interface = \"lo\"", "warning: http_interface has no effect"),
            ("ssh_keypair_name = \"k\"", "warning: ssh_keypair_name has no effect"),
        ],
    ),
    (
        "At most one of `source`, `content` is set",
        &[
            ("target = \"t\"\nsource = \"s\"\ncontent = \"c\"", "Both source and content"),
            ("target = \"t\"", "warning: Empty target"),
            ("target = \"\"\ncontent = \"c\"", "Missing target"),
        ],
    ),
    (
        "Exactly one of `inline`, `script`, `scripts` is set.",
        &[
            ("binary = true", "Nothing to run"),
            ("inline = [\"a\"]\nscript = \"/dev/null\"", "More than one kind of script"),
            ("script = \"/dev/null\"\nscripts = [\"/dev/null\"]", "More than one kind of script"),
        ],
    ),
    (
        "Exactly one of `inline`, `command`, `script`, `scripts` is set.",
        &[
            ("binary = true", "Nothing to run"),
            ("command = \"a\"\nscripts = [\"/dev/null\"]", "More than one kind of script"),
        ],
    ),
    (
        "Scripts are files of this machine.",
        &[
            ("script = \"/nonexistent\"", "No such script"),
            ("script = \"/tmp\"", "No script"),
            ("scripts = [\"/tmp\"]", "No script"),
            ("scripts = [\"/dev/null\", \"/nonexistent\"]", "No such script"),
            ("script = \"\"", "No such script"),
        ],
    ),
    (
        "`use_linux_pathing` excludes `inline` and `command`.",
        &[
            ("inline = [\"a\"]\nuse_linux_pathing = true", "Options that exclude each other"),
            ("command = \"a\"\nuse_linux_pathing = true", "Options that exclude each other"),
        ],
    ),
    (
        "`content` excludes `source` and `sources`.",
        &[
            ("content = \"c\"\nsource = \"/dev/null\"\ndestination = \"d\"", "Both source and content"),
            ("content = \"c\"\ndestination = \"\"", "Missing destination"),
            ("source = \"/nonexistent\"\ndestination = \"d\"", "No such file"),
            ("sources = [\"/dev/null\", \"/nonexistent\"]\ndestination = \"d\"", "No such file"),
        ],
    ),
    ("`vrdp_port_min` is not above `vrdp_port_max`.", &[("vrdp_port_min = 6001", "Empty port range")]),
    (
        "With `communicator = \"none\"`, `guest_additions_mode` cannot be `upload`",
        &[
            ("communicator = \"none\"\nvirtualbox_version_file = \"\"", "Nothing can be uploaded"),
            ("communicator = \"none\"\nguest_additions_mode = \"disable\"", "Nothing can be uploaded"),
        ],
    ),
    (
        "`gfx_efi_resolution` is `WIDTHxHEIGHT`.",
        &[
            ("gfx_efi_resolution = \"800\"", "Invalid resolution"),
            ("gfx_efi_resolution = \"x600\"", "Invalid resolution"),
        ],
    ),
    (
        "Numbers of CPUs, sizes of memory and disks are not negative.",
        &[("cpus = -1", "Value out of range"), ("disk_size = -5", "Value out of range")],
    ),
    (
        "Sizes of further disks are numbers of MB above 0.",
        &[
            ("disk_additional_size = [1, -5]", "Value out of range"),
            ("disk_additional_size = [0]", "Value out of range"),
        ],
    ),
    (
        "Each of `vboxmanage` and `vboxmanage_post` has a command.",
        &[("vboxmanage = [[\"a\"], []]", "No command"), ("vboxmanage_post = [[]]", "No command")],
    ),
    (
        "`output_filename` is the name of a file, not a path.",
        &[("output_filename = \"a/b\"", "Not a name"), ("output_filename = \"..\"", "Not a name")],
    ),
    (
        "`guest_additions_sha256` is a SHA-256 checksum.",
        &[
            ("guest_additions_sha256 = \"zz\"", "Invalid checksum"),
            ("guest_additions_sha256 = \"12\"", "Invalid checksum"),
        ],
    ),
    ("`checksum` has one of the forms", &[("checksum = \"md5:12\"", "Invalid checksum")]),
    (
        "`import_flags` leave the machine's name and place",
        &[
            ("import_flags = [\"--basefolder\", \"/x\"]", "Unsupported import flag"),
            ("import_flags = [\"--settingsfile=/x\"]", "Unsupported import flag"),
            ("import_flags = [\"-vmname\", \"x\"]", "Unsupported import flag"),
            ("import_flags = [\"--vsys\", \"0\", \"--group\", \"/x\"]", "Unsupported import flag"),
            ("import_flags = [\"--vsys\", \"1\"]", "Unsupported import flag"),
            ("import_flags = [\"--vsys\"]", "Unsupported import flag"),
            ("import_flags = [\"--vmname:x\"]", "Unsupported import flag"),
            ("import_flags = [\"-p\", \"/x\"]", "Unsupported import flag"),
            ("import_flags = [\"-p/x\"]", "Unsupported import flag"),
            ("import_flags = [\"-S=/x\"]", "Unsupported import flag"),
            ("import_flags = [\"-Vx\"]", "Unsupported import flag"),
            ("import_flags = [\"-nVx\"]", "Unsupported import flag"),
            ("import_flags = [\"-g\", \"/x\"]", "Unsupported import flag"),
            ("import_flags = [\"-s1\"]", "Unsupported import flag"),
            ("import_flags = [\"-s\", \"1\"]", "Unsupported import flag"),
        ],
    ),
    (
        "`attach_snapshot` and `target_snapshot` differ.",
        &[("attach_snapshot = \"a\"\ntarget_snapshot = \"a\"", "The same snapshot twice")],
    ),
    ("`disk_adapter_type` is `ide`, `sata`", &[("disk_adapter_type = \"virtio\"", "Unsupported value")]),
    ("`disk_type_id` is a number from 0 to 5.", &[("disk_type_id = \"9\"", "Unsupported value")]),
    (
        "Sizes of further disks are above 0",
        &[
            ("disk_additional_size = [0]", "Value out of range"),
            ("disk_additional_size = [99999999]", "Value out of range"),
        ],
    ),
    (
        "`vm_name` and `vmdk_name` are names of files, not paths.",
        &[("vm_name = \"a/b\"", "Not a name"), ("vmdk_name = \"../disk\"", "Not a name")],
    ),
    (
        "`disable_vnc` excludes `boot_command`",
        &[("disable_vnc = true\nboot_command = [\"x\"]", "Options that exclude each other")],
    ),
    ("`remote_type` cannot be set", &[("remote_type = \"esx5\"", "ESX servers are not supported")]),
    (
        "`tools_mode = \"attach\"` needs `tools_source_path`",
        &[
            ("tools_mode = \"attach\"", "Missing tools_source_path"),
            ("tools_mode = \"upload\"", "Missing tools_upload_flavor"),
            ("tools_source_path = \"/dev/null\"", "warning: Missing tools_mode"),
            ("tools_upload_path = \"/root/x.iso\"", "warning: Missing tools_mode"),
            (
                "tools_mode = \"attach\"\ntools_source_path = \"/dev/null\"\ntools_upload_flavor = \"linux\"",
                "Options that exclude each other",
            ),
        ],
    ),
    (
        "`network_adapter_type` is `vmxnet3`, `e1000e` or `e1000`",
        &[("network_adapter_type = \"ne2000\"", "Unsupported value")],
    ),
    (
        "`serial` and `parallel` begin with one of the words above",
        &[
            ("serial = \"FILE\"", "Unsupported value"),
            ("serial = \"PIPE:/p,x,y\"", "Unsupported value"),
            ("parallel = \"PIPE:/p\"", "Unsupported value"),
        ],
    ),
    (
        "`linked` and `attach_snapshot` are for VMX files",
        &[
            ("source_path = \"a.OVA\"\nlinked = true", "Options that exclude each other"),
            ("source_path = \"a.ovf\"\nattach_snapshot = \"b\"", "Options that exclude each other"),
        ],
    ),
    (
        "`guest_os_type` is one of VMware's names",
        &[
            ("guest_os_type = \"templeos\"", "Unknown guest system"),
            ("guest_os_type = \"ubuntu64\"", "Unknown guest system"),
        ],
    ),
    (
        "`guest_os_type` and `version` are for an OVF or OVA",
        &[
            ("source_path = \"a.vmx\"\nversion = 20", "warning: version has no effect"),
            ("source_path = \"a.vmx\"\nguest_os_type = \"other-64\"", "warning: guest_os_type has no effect"),
        ],
    ),
    (
        "`fusion_app_path` and `network_name` have no effect",
        &[
            ("fusion_app_path = \"/x\"", "warning: fusion_app_path has no effect"),
            ("network_name = \"x\"", "warning: network_name has no effect"),
        ],
    ),
    (
        "`command` and, with `galaxy_file`, `galaxy_command` are programs of this machine.",
        &[
            ("command = \"/nonexistent/play\"", "No such program"),
            ("command = \"no-such-program-anywhere\"", "No such program"),
            ("command = \"sh\"\ngalaxy_file = \"/etc/passwd\"\ngalaxy_command = \"/etc/passwd\"", "No such program"),
        ],
    ),
    (
        "`sbom_name` is one file name.",
        &[("sbom_name = \"a/b\"", "Invalid name"), ("sbom_name = \".b\"", "Invalid name")],
    ),
    (
        "`image_name` and each of `channels` are of letters",
        &[
            ("image_name = \"a/b\"", "Invalid name"),
            ("image_name = \"..\"", "Invalid name"),
            ("channels = [\"good\", \"not good\"]", "Invalid name"),
        ],
    ),
    ("`execution_policy` is bypass", &[("execution_policy = \"lax\"", "Unsupported value")]),
    ("`duration` is required.", &[("", "Missing duration")]),
    ("`checksum_types` holds md5", &[("checksum_types = [\"md5\", \"shax\"]", "Unrecognized checksum type")]),
    (
        "With several types, `output` holds `{{ .ChecksumType }}`.",
        &[("checksum_types = [\"md5\", \"sha1\"]\noutput = \"x\"", "One file for several checksum types")],
    ),
    (
        "`formats` names at least one format",
        &[
            ("formats = []", "Nothing to export"),
            ("formats = [\"raw\", \"raw\"]", "Format named twice"),
            ("formats = [\"qcow2\", \"qcow2-compressed\"]", "Format named twice"),
        ],
    ),
    (
        "Each of `format_options` is an option",
        &[
            ("formats = [\"vhd\"]\nformat_options = { subformat = \"fixd\" }", "Unusable format option"),
            ("formats = [\"vhd\"]\nformat_options = { cluster_size = \"64k\" }", "Unknown format option"),
            ("formats = [\"vhdx\"]\nformat_options = { subformat = \"fixed\" }", "Unknown format option"),
        ],
    ),
    ("`compression_level` is -1 or more", &[("compression_level = -2", "Value out of range")]),
    ("`format` is one that there is", &[("format = \"7z\"", "warning: Unknown format")]),
    ("Each of `files` is a path or a glob", &[("files = [\"ok\", \"[a\"]", "Invalid glob")]),
    (
        "`signing_mode` is not `kms` or `keyless`",
        &[("signing_mode = \"kms\"", "Signed elsewhere"), ("signing_mode = \"keyless\"", "Signed elsewhere")],
    ),
    (
        "With `signing_mode = \"key\"`, `signer`",
        &[
            ("signing_mode = \"key\"", "No key to sign with"),
            ("signing_mode = \"key\"\nsigner = \"a\"\nkey = \"b\"", "No key to sign with"),
            ("signing_mode = \"key\"\nsigner = \"/nonexistent\"", "No usable key"),
            ("signing_mode = \"key\"\nsigner = \"Cargo.toml\"", "No usable key"),
            ("signing_mode = \"key\"\nkey = \"/\"", "No usable key"),
        ],
    ),
    (
        "With `sbom`, `sbom_scan_path` names",
        &[("sbom = true", "No bill to attest"), ("sbom_exclude = [\"x\"]", "warning: sbom_exclude has no effect")],
    ),
    ("`box_tag` has the form", &[("box_tag = \"web\"\nversion = \"1\"", "Invalid box_tag")]),
    (
        "`box_tag` and `version` have letters",
        &[
            ("box_tag = \"me/a b\"\nversion = \"1\"", "Invalid box_tag"),
            ("box_tag = \"me/a/b\"\nversion = \"1\"", "Invalid box_tag"),
            ("box_tag = \"me/web\"\nversion = \"1?x\"", "Invalid version"),
        ],
    ),
    (
        "`box_checksum` has the form",
        &[("box_tag = \"me/web\"\nversion = \"1\"\nbox_checksum = \"abc\"", "Invalid box_checksum")],
    ),
    (
        "`ami_name` has 3 to 128 letters",
        &[
            ("ami_name = \"a#b\"", "Invalid name"),
            ("ami_name = \"ab\"", "Invalid name"),
            ("ami_encrypt = true\nami_groups = [\"all\"]", "Nobody else can start it"),
        ],
    ),
    (
        "Options that are of no effect are warned of.",
        &[
            ("s3_bucket_name = \"b\"", "warning: s3_bucket_name has no effect"),
            ("license_type = \"BYOL\"", "warning: license_type has no effect"),
        ],
    ),
    ("`inventory_file` exists", &[("inventory_file = \"/nonexistent\"", "No such file")]),
    ("This version makes boxes for", &[("provider_override = \"hyperv\"", "No boxes for this provider")]),
    (
        "`compression_level` is between -1 and 9.",
        &[("compression_level = 10", "Value out of range"), ("compression_level = -2", "Value out of range")],
    ),
    (
        "`vagrantfile_template` exists",
        &[
            ("vagrantfile_template = \"/nonexistent\"", "No such file"),
            ("vagrantfile_template = \"/\"", "No such file"),
        ],
    ),
    (
        "What stands in `override` is held to the same rules.",
        &[
            ("override = { libvirt = { compression_level = 10 } }", "Invalid override"),
            ("override = { vmware = { output = \"{{ .Nope }}\" } }", "Invalid override"),
            ("override = { virtualbox = { vagrantfile_template = \"/nonexistent\" } }", "Invalid override"),
        ],
    ),
];
