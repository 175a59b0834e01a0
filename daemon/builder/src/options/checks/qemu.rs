//! Rules of the qemu builder.

use kiln_hypervisors::qemu::Architecture;

use crate::default_names;
use crate::disk_size::parse_disk_size;
use crate::plan::FirmwarePlan;
use crate::plan_reader::{PlanReader, Purpose};
use crate::sources::qemu::firmware;
use crate::steps::output_directory;

/// Options that do nothing for this builder, in Packer neither.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("boot_keygroup_interval", "It is for builders that type in groups of keys; this one heeds boot_key_interval."),
    ("http_interface", "The guest reaches the server through QEMU, or by the address of net_bridge."),
    ("run_once", "No part of Packer does anything with it."),
    ("ssh_clear_authorized_keys", "The temporary key is in the guest only where the template has put it."),
    ("ssh_keypair_name", "It is for builders of clouds."),
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

/// The files of UEFI exist here, where it is asked for.
pub(crate) fn firmware(reader: &mut PlanReader<'_>) {
    let values = reader.values();
    let package = match firmware::architecture(values) {
        Architecture::Aarch64 => "qemu-efi-aarch64",
        Architecture::Riscv64 => "qemu-efi-riscv64, or u-boot-qemu",
        _ => "ovmf",
    };
    let hint = Some(format!("on Debian, install the package {package}"));
    match firmware::choose(values) {
        FirmwarePlan::Efi(efi) if firmware::is_unknown(&efi) && efi.secure_boot => {
            let detail = "No firmware descriptor of this host names one that boots only what is signed, with keys enrolled, \
                 for this machine type.";
            reader.not_here("efi_secure_boot", "No UEFI firmware with secure boot", detail, hint);
        }
        FirmwarePlan::Efi(efi) => {
            for (name, path) in [("efi_firmware_code", &efi.code), ("efi_firmware_vars", &efi.vars)] {
                if !path.is_file() {
                    let detail = format!("{} does not exist.", path.display());
                    reader.not_here(name, "No UEFI firmware", detail, hint.clone());
                }
            }
        }
        FirmwarePlan::BootLoader(path) if !path.is_file() => {
            let detail = format!(
                "The machine has no firmware of its own: no firmware descriptor of this host fits, and there is \
                 no {}.",
                path.display()
            );
            reader.not_here("qemu_binary", "No firmware", detail, hint);
        }
        FirmwarePlan::Default if firmware::needs_firmware(values) => {
            let detail = "The machine has no firmware of its own, and no firmware descriptor of this host fits.";
            reader.not_here("qemu_binary", "No firmware", detail, hint);
        }
        _ => {}
    }
}

/// Arguments of `qemu-img` that leave its images as they are; `true`: a value follows.
const HARMLESS: &[(&str, &str, bool)] = &[
    // Kiln writes the format of a backing file down by itself.
    ("create", "-F", true),
    ("create", "-q", false),
    ("convert", "-m", true),
    ("convert", "-p", false),
    ("convert", "-q", false),
    ("convert", "-t", true),
    ("convert", "-T", true),
    ("convert", "-W", false),
    ("resize", "-q", false),
];

/// `qemu_img_args`: what would make another image is refused, the rest is told to do nothing.
pub(crate) fn image_arguments(reader: &mut PlanReader<'_>) {
    let Some(block) = reader.options.block("qemu_img_args") else { return };
    let mut refused = Vec::new();
    for command in ["create", "convert", "resize"] {
        let mut arguments = block.strings(command).iter();
        while let Some(argument) = arguments.next() {
            match HARMLESS.iter().find(|(of, name, _)| *of == command && name == argument) {
                Some((_, _, true)) => drop(arguments.next()),
                Some(_) => {}
                None => refused.push(format!("{command}: {argument}")),
            }
        }
    }
    if refused.is_empty() {
        let detail = "Kiln writes images itself and runs no qemu-img.";
        reader.warning("qemu_img_args", "qemu_img_args has no effect", detail);
        return;
    }
    let detail =
        format!("Kiln writes images itself and runs no qemu-img; it has nothing to do for {}.", refused.join(", "));
    let hint =
        "remove it; disk_compression compresses, and the export post-processor has format_options such as cluster_size";
    reader.error_with_hint("qemu_img_args", "qemu_img_args is not heeded", detail, Some(hint));
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
    for (name, detail) in WITHOUT_EFFECT {
        if reader.options.is_set(name) {
            reader.warning(name, format!("{name} has no effect"), *detail);
        }
    }
}
