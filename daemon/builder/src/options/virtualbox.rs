//! The options of the three VirtualBox builders.

use kiln_template::OptionSpec;

use super::checks;
use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use super::shared;

/// What all three have beside the groups of every builder.
const COMMON: &[OptionSpec] = option_table! {
    "format" String = "ovf", "format of the export";
    "export_opts" Strings = "", "further arguments of the export, which VirtualBox then makes itself";
    "output_directory" String = "output-NAME", "where the image goes";
    "output_filename" String = "the machine's name", "name of the exported file, without extension";
    "headless" Bool = "false", "no window";
    "vrdp_bind_address" String = "127.0.0.1", "address the remote display listens on";
    "vrdp_port_min" Integer = "5900", "lowest port of the remote display";
    "vrdp_port_max" Integer = "6000", "highest port of the remote display";
    "post_shutdown_delay" Duration = "2s", "wait after the machine is off, before it is exported";
    "disable_shutdown" Bool = "false", "do not shut down: the guest does so itself";
    "acpi_shutdown" Bool = "false", "press the power button instead of running shutdown_command";
    "vboxmanage" StringLists late = "", "VBoxManage commands before the machine starts";
    "vboxmanage_post" StringLists late = "", "VBoxManage commands after it is off, before the export";
    "virtualbox_version_file" String = ".vbox_version", "file in the guest that gets VirtualBox's version; empty for none";
    "guest_additions_mode" String = "upload", "how the guest gets the guest additions";
    "guest_additions_path" String late = "VBoxGuestAdditions.iso", "where they are uploaded to";
    "guest_additions_sha256" String = "", "their checksum";
    "guest_additions_url" String late = "", "where they come from; by default VirtualBox's own, else its web site";
    "keep_registered" Bool = "false", "leave the machine registered when the build has succeeded";
    "skip_export" Bool = "false", "make no OVF or OVA";
};

const COMMON_RULES: &[Rule] = &[
    Rule::OneOf("format", &["ovf", "ova"]),
    Rule::OneOf("guest_additions_mode", &["upload", "attach", "disable"]),
    Rule::OneOf("guest_additions_interface", &["ide", "sata", "virtio"]),
    Rule::Fields("vboxmanage", &["Name", "HTTPIP", "HTTPPort"]),
    Rule::Fields("vboxmanage_post", &["Name", "HTTPIP", "HTTPPort"]),
    Rule::Check("Each of `vboxmanage` and `vboxmanage_post` has a command.", |reader| {
        for name in ["vboxmanage", "vboxmanage_post"] {
            let commands = reader.values().text_lists(name);
            for (index, _) in commands.iter().enumerate().filter(|(_, command)| command.is_empty()) {
                let detail =
                    format!("An element of {name} is empty, but each is a command of VBoxManage with its arguments.");
                reader.error_in(name, index, "No command", detail);
            }
        }
    }),
    Rule::Check("`output_filename` is the name of a file, not a path.", |reader| {
        if let Some(text) = reader.text("output_filename")
            && (text.contains('/') || text.starts_with('.') || text.contains('\0'))
        {
            let detail =
                format!("output_filename is {text:?}, but must be the name of a file in the output directory.");
            reader.error("output_filename", "Not a name", detail);
        }
    }),
    Rule::Check("`guest_additions_sha256` is a SHA-256 checksum.", |reader| {
        if let Some(text) = reader.text("guest_additions_sha256")
            && !(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let detail =
                format!("guest_additions_sha256 is {text:?}, but a SHA-256 checksum has 64 hexadecimal digits.");
            reader.error("guest_additions_sha256", "Invalid checksum", detail);
        }
    }),
    Rule::Fields("guest_additions_path", &["Version"]),
    Rule::Fields("guest_additions_url", &["Version"]),
    Rule::Check("`vrdp_bind_address` is an address of this host, or a name of one.", |reader| {
        checks::address::is_of_this_host(reader, "vrdp_bind_address");
    }),
    Rule::Check("`vrdp_port_min` is not above `vrdp_port_max`.", |reader| {
        reader.port_range("vrdp_port_min", "vrdp_port_max");
    }),
    Rule::Check(
        "With `communicator = \"none\"`, `guest_additions_mode` cannot be `upload` and `virtualbox_version_file` must be empty.",
        |reader| {
            if reader.options.string("communicator") != Some("none") {
                return;
            }
            if reader.values().text("guest_additions_mode").as_deref() == Some("upload") {
                reader.error(
                    "guest_additions_mode",
                    "Nothing can be uploaded",
                    "communicator is \"none\", so guest_additions_mode must be \"disable\" or \"attach\".",
                );
            }
            if reader.options.string("virtualbox_version_file") != Some("") {
                reader.error(
                    "virtualbox_version_file",
                    "Nothing can be uploaded",
                    "communicator is \"none\", so virtualbox_version_file must be set to \"\".",
                );
            }
        },
    ),
];

const ISO_OPTIONS: &[OptionSpec] = option_table! {
    "vm_name" String = "packer-NAME-TIME", "name of the machine";
    "chipset" String = "piix3", "the machine's chipset";
    "firmware" String = "bios", "the machine's firmware";
    "nested_virt" Trilean = "", "let the guest run machines of its own";
    "rtc_time_base" String = "local", "what the hardware clock counts";
    "disk_size" Integer = "40000", "size of the disk in MB";
    "disk_additional_size" Integers = "", "sizes of further disks in MiB";
    "nic_type" String = "82540EM", "network adapter";
    "audio_controller" String = "ac97", "sound card";
    "sound" String = "none", "the host's audio driver";
    "usb" Bool = "false", "USB";
    "usb_controller" String = "ehci", "kind of USB controller";
    "mouse" String = "ps2", "pointing device";
    "keyboard" String = "ps2", "keyboard";
    "gfx_controller" String = "what VirtualBox takes for the guest's system", "graphics card";
    "gfx_vram_size" Integer = "4", "its memory in MB";
    "gfx_accelerate_3d" Bool = "false", "3D acceleration";
    "gfx_efi_resolution" String = "", "UEFI's screen, WIDTHxHEIGHT";
    "guest_os_type" String = "Other", "VirtualBox's name of the guest's system";
    "hard_drive_interface" String = "ide", "how disks are attached";
    "sata_port_count" Integer = "1", "ports of the SATA controller";
    "nvme_port_count" Integer = "1", "ports of the NVMe controller";
    "hard_drive_discard" Bool = "false", "pass TRIM on to the image";
    "hard_drive_nonrotational" Bool = "false", "look like an SSD";
    "iso_interface" String = "ide", "how the installer CD is attached";
    "guest_additions_interface" String = "iso_interface", "how the guest additions are attached";
    "cpus" Integer = "1", "virtual CPUs";
    "memory" Integer = "512", "MB of memory";
    "bundle_iso" Bool = "false", "export the installer CD too";
};

const CHIPSETS: &[&str] = &["piix3", "ich9", "armv8", "armv8virtual"];

const ISO_RULES: &[Rule] = &[
    Rule::OneOf("chipset", CHIPSETS),
    Rule::Check("`chipset` is one of the host's own architecture: VirtualBox runs no guests of another.", |reader| {
        let Some(chipset) = reader.text("chipset") else { return };
        let host = std::env::consts::ARCH;
        let there: &[&str] = if host == "aarch64" { &["armv8", "armv8virtual"] } else { &["piix3", "ich9"] };
        if chipset.starts_with("armv8") != (host == "aarch64") && CHIPSETS.contains(&chipset.as_str()) {
            let detail =
                format!("A machine with the chipset {chipset} has another processor than this host, which is {host}.");
            let hint = format!("set chipset to one of {}", there.join(", "));
            reader.not_here("chipset", "No such machine on this host", detail, Some(hint));
        }
    }),
    Rule::OneOf("firmware", &["bios", "efi"]),
    Rule::OneOf("rtc_time_base", &["local", "UTC"]),
    Rule::OneOf(
        "nic_type",
        &["82540EM", "82543GC", "82545EM", "Am79C970A", "Am79C973", "Am79C960", "virtio", "usbnet"],
    ),
    Rule::OneOf("audio_controller", &["ac97", "hda", "sb16", "none"]),
    Rule::OneOf("usb_controller", &["ohci", "ehci", "xhci", "none"]),
    Rule::OneOf("mouse", &["ps2", "usb", "usbtablet", "usbmultitouch"]),
    Rule::OneOf("keyboard", &["ps2", "usb"]),
    Rule::OneOf("gfx_controller", &["vboxvga", "vboxsvga", "vmsvga", "qemuramfb", "none"]),
    Rule::Range("gfx_vram_size", 1, 128),
    Rule::OneOf("hard_drive_interface", &["ide", "sata", "scsi", "pcie", "virtio"]),
    Rule::Range("sata_port_count", 1, 30),
    Rule::Range("nvme_port_count", 1, 255),
    Rule::OneOf("iso_interface", &["ide", "sata", "virtio"]),
    Rule::Check("`gfx_efi_resolution` is `WIDTHxHEIGHT`.", |reader| {
        let Some(text) = reader.text("gfx_efi_resolution") else { return };
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if text.split_once('x').is_none_or(|(width, height)| !number(width) || !number(height)) {
            let detail = format!("gfx_efi_resolution is {text:?}, but must have the form WIDTHxHEIGHT.");
            reader.error("gfx_efi_resolution", "Invalid resolution", detail);
        }
    }),
    Rule::Check("Numbers of CPUs, sizes of memory and disks are not negative.", |reader| {
        for name in ["cpus", "memory", "disk_size"] {
            reader.range(name, 0..=u64::from(u32::MAX));
        }
    }),
    Rule::Check("Sizes of further disks are numbers of MB above 0.", |reader| {
        let sizes = reader.options.integers("disk_additional_size").to_vec();
        for (index, size) in sizes.into_iter().enumerate() {
            if !(1..=i64::from(u32::MAX)).contains(&size) {
                let detail = format!("disk_additional_size holds {size}, but a disk has 1 to {} MB.", u32::MAX);
                reader.error_in("disk_additional_size", index, "Value out of range", detail);
            }
        }
    }),
    Rule::OneOf("sound", &["none", "default", "null", "oss", "alsa", "pulse", "dsound", "was", "coreaudio"]),
];

define!(ISO = Builder "virtualbox-iso" true,
    "Builds an image in a new VirtualBox machine, from an installer CD.",
    ISO_OPTIONS,
    [COMMON, shared::ISO, shared::HTTP, shared::FLOPPY, shared::CD, shared::BOOT, shared::SHUTDOWN, shared::NAT,
     shared::OLD_NAT, shared::COMMUNICATOR],
    [ISO_RULES, COMMON_RULES, shared::ISO_RULES, shared::HTTP_RULES, shared::MEDIA_RULES, shared::BOOT_RULES,
     shared::SHUTDOWN_RULES, shared::NAT_RULES, shared::COMMUNICATOR_RULES,
     shared::TEMPORARY_KEY_RULES]);

const OVF_OPTIONS: &[OptionSpec] = option_table! {
    "source_path" String required = "", "path or URL of the OVF or OVA to start from";
    "checksum" String = "none", "its checksum";
    "import_flags" Strings = "", "further arguments of the import";
    "import_opts" String = "", "value of the import's --options";
    "target_path" String = "", "where a downloaded file is kept";
    "vm_name" String = "packer-NAME-TIME", "name of the machine";
    "guest_additions_interface" String = "ide", "how the guest additions are attached";
};

const OVF_RULES: &[Rule] = &[
    Rule::Check("`checksum` has one of the forms of `iso_checksum`.", |reader| {
        if let Some(text) = reader.text("checksum")
            && let Err(error) = crate::fetch::parse_checksum(&text)
        {
            reader.error("checksum", "Invalid checksum", error.to_string());
        }
    }),
    Rule::Check(
        "`import_flags` leave the machine's name and place, and which machine it is, to the build.",
        |reader| {
            let flags = reader.texts("import_flags");
            for (index, flag) in flags.iter().enumerate() {
                let Some((name, value)) = import_option(flag) else { continue };
                let instead = match name {
                    "vmname" => "set vm_name",
                    "basefolder" | "settingsfile" => {
                        "the machine is in the build's own directory; with keep_registered = true it goes to VirtualBox's default machine folder"
                    }
                    "group" => "use vboxmanage = [[\"modifyvm\", \"{{.Name}}\", \"--groups\", \"/GROUP\"]]",
                    // The only machine of a package, which is what comes after this.
                    "vsys" if value.or(flags.get(index + 1).map(String::as_str)) == Some("0") => continue,
                    "vsys" => "a package of one machine has the number 0 alone",
                    _ => continue,
                };
                let detail = format!("import_flags has {flag}, but Kiln has to find the machine again: {instead}.");
                reader.error("import_flags", "Unsupported import flag", detail);
            }
        },
    ),
];

/// Reads an option of VBoxManage's import and the value that is glued to it; a short one by its long name.
fn import_option(flag: &str) -> Option<(&str, Option<&str>)> {
    let rest = flag.strip_prefix('-')?;
    let (name, value) = match rest.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    };
    if let Some(name) = name.strip_prefix('-') {
        return Some((name, value));
    }
    // VBoxManage takes one dash for two.
    if ["vmname", "basefolder", "settingsfile", "group", "vsys", "scsitype"].contains(&name) {
        return Some((name, value));
    }
    // Those that have no value may be before it in the same word.
    let mut short = rest.trim_start_matches(['n', 'P']).chars();
    let name = match short.next()? {
        'V' => "vmname",
        'p' => "basefolder",
        'S' => "settingsfile",
        'g' => "group",
        's' => "vsys",
        _ => return None,
    };
    let value = short.as_str();
    Some((name, (!value.is_empty()).then(|| value.strip_prefix(['=', ':']).unwrap_or(value))))
}

define!(OVF = Builder "virtualbox-ovf" true,
    "Builds an image in a VirtualBox machine that is imported from an OVF or OVA.",
    OVF_OPTIONS,
    [COMMON, shared::HTTP, shared::FLOPPY, shared::CD, shared::BOOT, shared::SHUTDOWN, shared::NAT, shared::OLD_NAT,
     shared::COMMUNICATOR],
    [OVF_RULES, COMMON_RULES, shared::HTTP_RULES, shared::MEDIA_RULES, shared::BOOT_RULES, shared::SHUTDOWN_RULES,
     shared::NAT_RULES, shared::COMMUNICATOR_RULES,
     shared::TEMPORARY_KEY_RULES]);

const VM_OPTIONS: &[OptionSpec] = option_table! {
    "vm_name" String required = "", "the registered machine to work on";
    "attach_snapshot" String = "", "snapshot to start from";
    "target_snapshot" String = "", "snapshot to take at the end";
    "force_delete_snapshot" Bool = "false", "replace a snapshot of that name";
    "guest_additions_interface" String = "ide", "how the guest additions are attached";
};

const VM_RULES: &[Rule] = &[Rule::Check("`attach_snapshot` and `target_snapshot` differ.", |reader| {
    let (from, to) = (reader.text("attach_snapshot"), reader.text("target_snapshot"));
    if from.is_some() && from == to {
        let detail = "target_snapshot must not be the snapshot that the build starts from, attach_snapshot.";
        reader.error("target_snapshot", "The same snapshot twice", detail);
    }
})];

define!(VM = Builder "virtualbox-vm" true,
    "Works on a VirtualBox machine that is registered already.",
    VM_OPTIONS,
    [COMMON, shared::HTTP, shared::FLOPPY, shared::CD, shared::BOOT, shared::SHUTDOWN, shared::NAT, shared::OLD_NAT,
     shared::COMMUNICATOR],
    [VM_RULES, COMMON_RULES, shared::HTTP_RULES, shared::MEDIA_RULES, shared::BOOT_RULES, shared::SHUTDOWN_RULES,
     shared::NAT_RULES, shared::COMMUNICATOR_RULES,
     shared::TEMPORARY_KEY_RULES]);

#[cfg(test)]
mod tests {
    use super::import_option;

    #[test]
    fn reads_options_of_an_import_as_vboxmanage_does() {
        for (flag, option) in [
            ("--vsys", Some(("vsys", None))),
            ("--vsys=1", Some(("vsys", Some("1")))),
            ("--vmname:x", Some(("vmname", Some("x")))),
            ("-vmname", Some(("vmname", None))),
            ("-p", Some(("basefolder", None))),
            ("-p/x", Some(("basefolder", Some("/x")))),
            ("-p=/x", Some(("basefolder", Some("/x")))),
            ("-S/a:b", Some(("settingsfile", Some("/a:b")))),
            ("-Vx", Some(("vmname", Some("x")))),
            ("-nPg/x", Some(("group", Some("/x")))),
            ("-s0", Some(("vsys", Some("0")))),
            ("-s:1", Some(("vsys", Some("1")))),
            ("--memory", Some(("memory", None))),
            ("-scsitype", Some(("scsitype", None))),
            ("-memory", None),
            ("-n", None),
            ("-", None),
            ("x", None),
        ] {
            assert_eq!(import_option(flag), option, "{flag}");
        }
    }
}
