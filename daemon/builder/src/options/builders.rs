//! The options of the qemu, null and file builders.

use kiln_disk_formats::EXPORT_WORDS;
use kiln_template::OptionSpec;

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use super::{checks, shared};

const QEMU_OPTIONS: &[OptionSpec] = option_table! {
    "accelerator" String = "", "kvm, tcg, none, …; unset: KVM when guests really run on it, else TCG";
    "boot_steps" StringLists late = "", "[[command, description], …]; instead of boot_command";
    "cdrom_interface" String = "", "how CDs are attached: ide, sata, scsi, virtio, virtio-scsi, …; unset: the machine's own way";
    "cpu_model" String = "", "-cpu";
    "cpus" Integer = "0", "virtual CPUs";
    "sockets" Integer = "0", "CPU sockets";
    "cores" Integer = "0", "cores of each socket";
    "threads" Integer = "0", "threads of each core";
    "disk_additional_size" Strings = "", "sizes of further disks";
    "disk_cache" String = "unsafe", "cache mode while building";
    "disk_compression" Bool = "false", "compress the qcow2 image";
    "disk_detect_zeroes" String = "unmap", "off, on or unmap";
    "disk_discard" String = "unmap", "ignore or unmap";
    "disk_image" Bool = "false", "iso_url is a disk image that is booted";
    "disk_interface" String = "virtio", "ide, sata, scsi, virtio, virtio-scsi or sd";
    "disk_size" String = "40960M", "size of the disk; a bare number is MiB";
    "display" String = "gtk", "QEMU's display when not headless";
    "efi_boot" Bool = "false", "boot with UEFI";
    "efi_firmware_code" String = "found by firmware descriptors, else /usr/share/OVMF/OVMF_CODE.fd", "UEFI firmware";
    "efi_firmware_vars" String = "those of the firmware, else /usr/share/OVMF/OVMF_VARS.fd", "template of the UEFI variables";
    "efi_secure_boot" Bool = "false", "UEFI that boots only what is signed (Kiln's own option)";
    "efi_drop_efivars" Bool = "false", "leave the UEFI variables out of the artifact";
    "firmware" String = "", "BIOS image";
    "format" String = "qcow2", "format of the result (docs/formats.md); qcow2 and raw have the machine's name without an ending";
    "headless" Bool = "false", "no window";
    "iso_skip_cache" Bool = "false", "let QEMU read the ISO from its web server while the guest runs, in place of downloading it; no checksum then (QEMU needs its block driver curl; Debian: qemu-block-extra)";
    "machine_type" String = "pc; virt for ARM and RISC-V; q35 with efi_secure_boot", "-machine";
    "memory" Integer = "512", "MiB of memory";
    "net_bridge" String = "", "bridge to attach to, instead of user networking";
    "net_device" String = "virtio-net", "network adapter; none: the guest has no network, for communicator = \"guest-agent\"";
    "output_directory" String = "output-NAME", "where the image goes";
    "qemu_binary" String = "qemu-system-x86_64", "the QEMU to run";
    "qemu_img_args" Block(QEMU_IMG_ARGS) = "", "arguments of qemu-img; with one that makes another image, that program makes it";
    "qemuargs" StringLists late = "", "[[switch, value], …]; each switch replaces all defaults of that switch";
    "qmp_enable" Bool = "false", "also listen for QMP at qmp_socket_path";
    "qmp_socket_path" String = "OUTPUT_DIRECTORY/VM_NAME.monitor", "where; setting it asks for it";
    "skip_compaction" Bool = "false", "leave the disk as the guest wrote it";
    "skip_resize_disk" Bool = "false", "keep a disk image's size";
    "use_backing_file" Bool = "false", "write only what differs from the disk image";
    "use_default_display" Bool = "false", "let QEMU choose its display";
    "use_pflash" Bool = "false", "load firmware as flash";
    "vga" String = "", "-vga";
    "vm_name" String = "packer-NAME", "name of the machine and its disk";
    "vnc_bind_address" String = "127.0.0.1", "where VNC listens";
    "vnc_port_min" Integer = "5900", "lowest VNC port";
    "vnc_port_max" Integer = "6000", "highest VNC port";
    "vnc_use_password" Bool = "false", "protect VNC with a password";
    "vnc_password" String sensitive = "", "that password, at most 8 characters";
    "vtpm" Bool = "false", "attach a TPM (needs swtpm)";
    "use_tpm1" Bool = "false", "TPM 1.2";
    "tpm_device_type" String = "tpm-tis; tpm-tis-device for ARM and RISC-V", "TPM device";
    "run_once" Bool = "false", "ignored";
};

/// Talking to the guest's agent, which is reached through QEMU.
const GUEST_AGENT: &[OptionSpec] = option_table! {
    "guest_agent_timeout" Duration = "5m", "how long to wait for the guest's agent, with communicator = \"guest-agent\"";
};

const QEMU_IMG_ARGS: &[OptionSpec] = option_table! {
    "convert" Strings = "", "for qemu-img convert";
    "create" Strings = "", "for qemu-img create";
    "resize" Strings = "", "for qemu-img resize";
};

/// Those of QEMU's `if=`, and two that are made of devices.
const CDROM_INTERFACES: &[&str] =
    &["ide", "sata", "scsi", "virtio", "virtio-scsi", "sd", "floppy", "mtd", "pflash", "xen", "none"];

const QEMU_RULES: &[Rule] = &[
    Rule::OneOf("accelerator", &["none", "kvm", "tcg", "xen", "hax", "hvf", "whpx"]),
    Rule::OneOf("disk_interface", &["ide", "sata", "scsi", "virtio", "virtio-scsi", "sd"]),
    Rule::OneOf("cdrom_interface", CDROM_INTERFACES),
    Rule::OneOf("disk_cache", &["writethrough", "writeback", "none", "unsafe", "directsync"]),
    Rule::OneOf("disk_discard", &["ignore", "unmap"]),
    Rule::OneOf("disk_detect_zeroes", &["off", "on", "unmap"]),
    Rule::OneOf("format", &EXPORT_WORDS),
    Rule::Range("cpus", 0, 4096),
    Rule::Range("sockets", 0, 4096),
    Rule::Range("cores", 0, 4096),
    Rule::Range("threads", 0, 4096),
    Rule::Range("memory", 0, 1 << 24),
    Rule::Fields("qemuargs", &checks::boot::MACHINE_FIELDS),
];

/// Rules of more than a word.
const QEMU_CHECKS: &[Rule] = &[
    Rule::Check("`disk_size` is a number of MiB, or a number with b, k, m, g or t.", checks::qemu::disk_sizes),
    Rule::Check(
        "`use_backing_file` needs `disk_image` and the format qcow2; `skip_resize_disk` needs `disk_image`.",
        checks::qemu::disk_image,
    ),
    Rule::Check(
        "A package (`ovf`, `ova`, `vmx`) describes a PC: of other machines there are disks only.",
        checks::qemu::format,
    ),
    Rule::Check(
        "`net_device = \"none\"` needs `communicator = \"guest-agent\"` or `none`, and serves nothing over HTTP.",
        checks::qemu::no_network,
    ),
    Rule::Check("`vnc_password` has at most 8 characters.", checks::qemu::vnc_password),
    Rule::Check("`output_directory` does not exist, unless `-force` is given.", checks::qemu::output),
    Rule::Check("`vm_name` holds no slash.", checks::qemu::vm_name),
    Rule::Check(
        "The firmware is on this machine: that of UEFI with its variables, and that of machines that have none of their own \
         (ARM, RISC-V).",
        checks::qemu::firmware,
    ),
    Rule::Check(
        "`qemu_img_args` holds arguments of `create` (`-o`, `-u`), `convert` (`-c`, `-C`, `-o`, `-S`, `--salvage`) and `resize` (`--preallocation`, \
         `--shrink`), and such as leave an image as it is; none that names another file or format.",
        checks::qemu::image_arguments,
    ),
    Rule::Check(
        "A warning tells of what does nothing: `disable_vnc` for typing, `disk_compression` of other formats than qcow2, and what Packer ignores too.",
        checks::qemu::without_effect,
    ),
];

define!(QEMU = Builder "qemu" true,
    "Builds an image in a QEMU machine, from an installer CD or from a disk image.",
    QEMU_OPTIONS,
    [shared::ISO, shared::HTTP, shared::FLOPPY, shared::CD, shared::BOOT, shared::BOOT_KEYS, shared::SHUTDOWN,
     shared::NAT, shared::COMMUNICATOR, GUEST_AGENT],
    [QEMU_RULES, shared::ISO_RULES, shared::HTTP_RULES, shared::MEDIA_RULES, shared::BOOT_RULES,
     shared::SHUTDOWN_RULES, shared::NAT_RULES, shared::VNC_RULES, shared::COMMUNICATOR_RULES,
     shared::TEMPORARY_KEY_RULES, QEMU_CHECKS]);

const NULL_RULES: &[Rule] = &[Rule::Check(
    "Unless `communicator` is `none`: host, user and exactly one way to log in are required.",
    checks::communicator::null,
)];

define!(NULL = Builder "null" true,
    "Makes no machine: connects to one that is there, and provisions it.",
    &[], [shared::COMMUNICATOR], [shared::COMMUNICATOR_RULES, NULL_RULES]);

const FILE_OPTIONS: &[OptionSpec] = option_table! {
    "source" String = "", "file to copy";
    "content" String = "", "text to write; instead of source";
    "target" String required = "", "file to make";
};

const FILE_RULES: &[Rule] = &[Rule::Check(
    "At most one of `source`, `content` is set; with neither, the file is empty.",
    checks::transfer::builder,
)];

define!(FILE = Builder "file" true, "Makes a file: a copy of another, or a text.", FILE_OPTIONS, [], [FILE_RULES]);
