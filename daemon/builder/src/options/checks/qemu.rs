//! Rules of the qemu builder.

use std::path::Path;

use crate::default_names;
use crate::disk_size::parse_disk_size;
use crate::plan_reader::{PlanReader, Purpose};
use crate::steps::output_directory;

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
    let names = ["efi_firmware_code", "efi_firmware_vars"];
    if !reader.flag("efi_boot") && names.iter().all(|name| reader.text(name).is_none()) {
        return;
    }
    for name in names {
        let path = reader.values().text(name).unwrap_or_default();
        if !Path::new(&path).is_file() {
            let hint = "on Debian, install the package ovmf (qemu-efi-aarch64 for ARM) and look for OVMF_CODE_4M.fd";
            let detail = format!("{path} does not exist.");
            reader.not_here(name, "No UEFI firmware", detail, Some(hint.to_owned()));
        }
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
    if reader.options.is_set("qemu_img_args") {
        reader.warning(
            "qemu_img_args",
            "qemu_img_args has no effect",
            "Kiln writes images itself and runs no qemu-img; use format, disk_compression or an export post-processor.",
        );
    }
    if reader.flag("qmp_enable") || reader.options.is_set("qmp_socket_path") {
        reader.warning(
            "qmp_enable",
            "qmp_enable has no effect",
            "Kiln always drives QEMU over QMP, on a socket of its own; add a second one with qemuargs if you need it.",
        );
    }
}
