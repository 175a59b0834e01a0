//! Reads the options of the qemu builder.

use std::path::PathBuf;

use kiln_communicators::Secret;

use crate::default_names;
use crate::disk_size::parse_disk_size;
use crate::option_values::OptionValues;
use crate::plan::{ImageArguments, ImagePlan, QemuMachinePlan, QemuPlan, VncPlan};
use crate::sources::communicator::{self, TemporaryKey};
use crate::sources::qemu::firmware;
use crate::sources::qemu::image_arguments::{self, Told};
use crate::sources::shared;

/// Packer takes less memory than this for a mistake; in MiB.
const LEAST_MEMORY: i64 = 10;

pub(crate) fn read(options: OptionValues<'_>, source_name: &str, key: TemporaryKey) -> QemuPlan {
    let text = |name: &str| options.text(name).unwrap_or_default();
    let use_backing_file = options.flag("use_backing_file");
    let format = text("format");
    QemuPlan {
        image: ImagePlan { skip_cache: options.flag("iso_skip_cache"), ..shared::read_image(options) },
        disk_image: options.flag("disk_image"),
        use_backing_file,
        skip_resize_disk: options.flag("skip_resize_disk"),
        skip_compaction: options.flag("skip_compaction") || use_backing_file,
        disk_compression: options.flag("disk_compression") && format == "qcow2",
        image_arguments: read_image_arguments(options),
        disk_size: parse_disk_size(&text("disk_size")).unwrap_or(0),
        additional_disks: options
            .texts("disk_additional_size")
            .iter()
            .filter_map(|size| parse_disk_size(size))
            .collect(),
        http: shared::read_http(options),
        floppy: shared::read_floppy(options),
        cd: shared::read_cd(options),
        boot: shared::read_boot(options),
        shutdown: shared::read_shutdown(options),
        communicator: communicator::read(options, key),
        machine: read_machine(options, source_name),
        format,
        output_directory: default_names::output_directory(options, source_name),
        vm_name: default_names::vm_name(options, source_name),
    }
}

fn read_image_arguments(options: OptionValues<'_>) -> ImageArguments {
    let of = |command: &str| match image_arguments::told(options, command) {
        Told::Image(arguments) => arguments,
        Told::Nothing | Told::Refused(_) => Vec::new(),
    };
    ImageArguments { create: of("create"), resize: of("resize"), convert: of("convert") }
}

fn read_machine(options: OptionValues<'_>, source_name: &str) -> QemuMachinePlan {
    let text = |name: &str| options.text(name).unwrap_or_default();
    let memory = options.given_number("memory").filter(|&memory| memory >= LEAST_MEMORY);
    let memory = memory.unwrap_or_else(|| options.default_number("memory"));
    let discard = text("disk_discard");
    // Where the guest's discards are ignored, zeroes cannot be unmapped.
    let detect_zeroes = match options.given("disk_detect_zeroes") {
        None if discard == "ignore" => "on".to_owned(),
        _ => text("disk_detect_zeroes"),
    };
    QemuMachinePlan {
        binary: text("qemu_binary"),
        machine_type: firmware::machine_type(options),
        accelerator: options.text("accelerator"),
        cpu_model: options.text("cpu_model"),
        topology: ["cpus", "sockets", "cores", "threads"].map(|name| u32::try_from(options.number(name)).unwrap_or(0)),
        memory: u64::try_from(memory).unwrap_or(0),
        disk_interface: text("disk_interface"),
        cdrom_interface: options.text("cdrom_interface"),
        disk_cache: text("disk_cache"),
        disk_discard: discard,
        disk_detect_zeroes: detect_zeroes,
        net_device: text("net_device"),
        net_bridge: options.text("net_bridge"),
        host_ports: shared::read_host_ports(options),
        skip_nat_mapping: options.flag("skip_nat_mapping"),
        headless: options.flag("headless"),
        display: text("display"),
        use_default_display: options.flag("use_default_display"),
        vga: options.text("vga"),
        vnc: read_vnc(options),
        firmware: firmware::choose(options, &firmware::of_this_host(options)),
        drop_efivars: options.flag("efi_drop_efivars"),
        tpm: options
            .flag("vtpm")
            .then(|| (options.given("tpm_device_type").map(str::to_owned), options.flag("use_tpm1"))),
        qmp_socket: qmp_socket(options, source_name),
        qemuargs: options.text_lists("qemuargs"),
    }
}

/// VNC is there for people: when the template asks for it in any way, or when there is no other picture.
fn read_vnc(options: OptionValues<'_>) -> Option<VncPlan> {
    let asked = ["vnc_bind_address", "vnc_port_min", "vnc_port_max", "vnc_use_password", "vnc_password"];
    if options.flag("disable_vnc") || !asked.iter().any(|name| options.is_set(name)) {
        return None;
    }
    let password = options.text("vnc_password");
    let wanted = options.flag("vnc_use_password") || password.is_some();
    Some(VncPlan {
        bind: options.text("vnc_bind_address").unwrap_or_default(),
        ports: options.ports("vnc_port_min", "vnc_port_max"),
        password: wanted.then(|| Secret::new(password.unwrap_or_default())),
    })
}

/// Packer's place for the socket is beside the disk.
fn qmp_socket(options: OptionValues<'_>, source_name: &str) -> Option<PathBuf> {
    let beside = || {
        let name = default_names::vm_name(options, source_name);
        default_names::output_directory(options, source_name).join(format!("{name}.monitor"))
    };
    let given = options.given("qmp_socket_path").map(PathBuf::from);
    given.or_else(|| options.flag("qmp_enable").then(beside))
}
