//! Rules of the qemu builder.

use kiln_disk_formats::export_named;
use kiln_hypervisors::qemu::{Architecture, ImageTool, UefiFirmwares};

use crate::default_names;
use crate::disk_size::parse_disk_size;
use crate::option_values::OptionValues;
use crate::plan::FirmwarePlan;
use crate::plan_reader::{PlanReader, Purpose};
use crate::sources::qemu::firmware;
use crate::sources::qemu::image_arguments::{self, Told};
use crate::steps::output_directory;

/// Options that do nothing for this builder, in Packer neither.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("boot_keygroup_interval", "It is for builders that type in groups of keys; this one heeds boot_key_interval."),
    ("run_once", "No part of Packer does anything with it."),
];

/// `disk_size` and `disk_additional_size`.
pub(crate) fn disk_sizes(reader: &mut PlanReader<'_>) {
    let main = reader.text("disk_size").map(|size| ("disk_size", size));
    let additional = reader.texts("disk_additional_size").into_iter().map(|size| ("disk_additional_size", size));
    for (name, text) in main.into_iter().chain(additional) {
        if parse_disk_size(&text).is_none_or(|size| size == 0) {
            let detail =
                format!("{text:?} is not a disk size: write a number of MiB, or a number with b, K, M, G or T.");
            reader.error(name, "Invalid disk size", detail);
        }
    }
}

/// `format`, of machines that packages have no words for.
pub(crate) fn format(reader: &mut PlanReader<'_>) {
    let Some(word) = reader.text("format") else { return };
    let is_package = export_named(&word).is_some_and(|(row, _)| row.is_package);
    if is_package && firmware::architecture(reader.values()) != Architecture::X86 {
        let detail = "A package describes a PC, with an x86 processor, and this machine has another: use qcow2 or raw.";
        reader.error("format", "No package for this machine", detail);
    }
}

/// `net_device`, of a guest that has no network.
pub(crate) fn no_network(reader: &mut PlanReader<'_>) {
    if reader.text("net_device").as_deref() != Some("none") {
        return;
    }
    if reader.text("communicator").is_none_or(|kind| kind == "ssh" || kind == "winrm") {
        let detail = "net_device = \"none\" leaves the guest without a network, and SSH and WinRM need one: set communicator = \"guest-agent\".";
        reader.error("net_device", "No network to connect over", detail);
    }
    for name in ["http_directory", "http_content", "net_bridge"] {
        if reader.options.is_set(name) {
            let detail = format!("net_device = \"none\" leaves the guest without a network, and {name} needs one.");
            reader.error(name, "No network in the guest", detail);
        }
    }
}

/// `use_backing_file` and `skip_resize_disk`.
pub(crate) fn disk_image(reader: &mut PlanReader<'_>) {
    let is_disk = reader.flag("disk_image");
    let is_qcow2 = reader.text("format").is_none_or(|format| format == "qcow2");
    if reader.flag("use_backing_file") && (!is_disk || !is_qcow2) {
        reader.error(
            "use_backing_file",
            "use_backing_file needs a qcow2 disk image",
            "use_backing_file can only be enabled for QCOW2 images and when disk_image is true.",
        );
    }
    if reader.flag("skip_resize_disk") && !is_disk {
        reader.error(
            "skip_resize_disk",
            "skip_resize_disk needs disk_image",
            "skip_resize_disk can only be used when disk_image is true.",
        );
    }
}

/// `output_directory`, which must not be there.
pub(crate) fn output(reader: &mut PlanReader<'_>) {
    let directory = default_names::output_directory(reader.values(), &reader.source_name);
    if reader.purpose == Purpose::Resume {
        // What is there is the build's own.
        return;
    }
    let Some(obstacle) = output_directory::obstacle(&directory, reader.force) else { return };
    if obstacle.passes {
        // Another build has it now, which is no fault of the template.
        reader.not_here("output_directory", "Output directory in use", obstacle.text, Some(obstacle.hint));
    } else {
        let summary = "Output directory already exists";
        reader.error_with_hint("output_directory", summary, obstacle.text, Some(obstacle.hint));
    }
}

/// `vm_name`.
pub(crate) fn vm_name(reader: &mut PlanReader<'_>) {
    let name = default_names::vm_name(reader.values(), &reader.source_name);
    if name.contains('/') || name == "." || name == ".." {
        let detail = format!("{name:?} names the disk file too, so it cannot hold a slash.");
        reader.error("vm_name", "Invalid vm_name", detail);
    }
}

/// `vnc_password`.
pub(crate) fn vnc_password(reader: &mut PlanReader<'_>) {
    if reader.text("vnc_password").is_some_and(|password| password.len() > 8) {
        reader.error("vnc_password", "Password too long", "vnc_password must be 8 characters long or less.");
    }
}

/// The files of UEFI exist here, where it is asked for, and secure boot is enforced.
pub(crate) fn firmware(reader: &mut PlanReader<'_>) {
    let firmwares = firmware::of_this_host(reader.values());
    firmware_among(reader, &firmwares);
}

/// [`firmware`] where the host has `firmwares`.
pub(crate) fn firmware_among(reader: &mut PlanReader<'_>, firmwares: &UefiFirmwares) {
    let lacks = lacking_firmware(reader.values(), firmwares);
    let passed_over = firmwares.unreadable().iter().map(|problem| format!(" {problem}.")).collect::<String>();
    if lacks.is_empty() && !passed_over.is_empty() {
        reader.warning("efi_boot", "Firmware descriptors were passed over", passed_over.trim_start());
    }
    for Lack { option, summary, detail, hint } in lacks {
        reader.not_here(option, summary, detail + &passed_over, Some(hint));
    }
}

/// Something that the firmware lacks here.
struct Lack {
    option: &'static str,
    summary: &'static str,
    detail: String,
    hint: String,
}

fn lacking_firmware(values: OptionValues<'_>, firmwares: &UefiFirmwares) -> Vec<Lack> {
    let package = match firmware::architecture(values) {
        Architecture::Aarch64 => "qemu-efi-aarch64",
        Architecture::Riscv64 => "qemu-efi-riscv64, or u-boot-qemu",
        _ => "ovmf",
    };
    let install = format!("on Debian, install the package {package}");
    if let Some((option, detail)) = firmware::secure_boot_gap(values, firmwares) {
        if option == "efi_secure_boot" {
            return vec![Lack { option, summary: "No UEFI firmware with secure boot", detail, hint: install }];
        }
        let hint = "leave efi_firmware_code and efi_firmware_vars out, and a firmware with keys enrolled is looked for; or name \
                    a code with secure boot, and variables with keys enrolled"
            .to_owned();
        return vec![Lack { option, summary: "Secure boot would not be enforced", detail, hint }];
    }
    match firmware::choose(values, firmwares) {
        FirmwarePlan::Efi(efi) => [("efi_firmware_code", &efi.code), ("efi_firmware_vars", &efi.vars)]
            .into_iter()
            .filter(|(_, path)| !path.is_file())
            .map(|(option, path)| {
                let detail = format!("{} does not exist.", path.display());
                Lack { option, summary: "No UEFI firmware", detail, hint: install.clone() }
            })
            .collect(),
        FirmwarePlan::BootLoader(path) if !path.is_file() => {
            let detail = format!(
                "The machine has no firmware of its own: no firmware descriptor of this host fits, and there is \
                 no {}.",
                path.display()
            );
            vec![Lack { option: "qemu_binary", summary: "No firmware", detail, hint: install }]
        }
        FirmwarePlan::Default if firmware::needs_firmware(values) => {
            let detail =
                "The machine has no firmware of its own, and no firmware descriptor of this host fits.".to_owned();
            vec![Lack { option: "qemu_binary", summary: "No firmware", detail, hint: install }]
        }
        _ => Vec::new(),
    }
}

/// `qemu_img_args`: what would reach beyond the image is refused, and what does nothing is told.
pub(crate) fn image_arguments(reader: &mut PlanReader<'_>) {
    if reader.options.block("qemu_img_args").is_none() {
        return;
    }
    let is_disk = reader.flag("disk_image");
    let is_qcow2 = reader.text("format").is_none_or(|format| format == "qcow2");
    let is_left_alone =
        (reader.flag("skip_compaction") || reader.flag("use_backing_file")) && !reader.flag("disk_compression");
    let mut acts = false;
    for command in image_arguments::commands() {
        let idle = match (command, image_arguments::told(reader.values(), command)) {
            (_, Told::Nothing) => continue,
            (_, Told::Refused(why)) => {
                let hint = "remove it: Kiln says itself which files are read and written, and in which format";
                reader.error_with_hint("qemu_img_args", "qemu_img_args reaches beyond the image", why, Some(hint));
                return;
            }
            ("convert", Told::Image(_)) if !is_qcow2 => "only a disk that leaves as qcow2 is converted",
            ("convert", Told::Image(_)) if is_left_alone => "the disk is left as the guest wrote it",
            ("resize", Told::Image(_)) if !is_disk || reader.flag("skip_resize_disk") => "no disk image is resized",
            (_, Told::Image(_)) => "",
        };
        acts = true;
        if !idle.is_empty() {
            let detail = format!("What it has for {command} does nothing: {idle}.");
            reader.warning("qemu_img_args", "qemu_img_args has no effect", detail);
        }
    }
    if !acts {
        let detail = "Kiln writes images itself, and runs qemu-img only for what makes other images.";
        reader.warning("qemu_img_args", "qemu_img_args has no effect", detail);
    } else if let Err(error) = ImageTool::find() {
        reader.not_here("qemu_img_args", "No qemu-img", format!("{error}."), error.hint());
    }
}

/// What Packer needs and Kiln does without.
pub(crate) fn without_effect(reader: &mut PlanReader<'_>) {
    if reader.flag("disable_vnc")
        && (!reader.texts("boot_command").concat().is_empty() || !reader.options.string_lists("boot_steps").is_empty())
    {
        reader.warning(
            "disable_vnc",
            "disable_vnc has no effect on typing",
            "Kiln types the boot command without VNC.",
        );
    }
    if reader.flag("disk_compression") && reader.text("format").is_some_and(|format| format != "qcow2") {
        let detail = "Only qcow2 is compressed by it; other formats are compressed or not by what they are.";
        reader.warning("disk_compression", "disk_compression has no effect", detail);
    }
    for (name, why) in WITHOUT_EFFECT {
        reader.without_effect(name, why);
    }
}
