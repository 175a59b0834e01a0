//! Reads the options of the qemu builder.

use std::path::{Path, PathBuf};

use kiln_communicators::Secret;

use crate::plan::{BootPlan, FirmwarePlan, QemuMachinePlan, QemuPlan, VncPlan};
use crate::plan_reader::PlanReader;
use crate::sources::communicator::{self, TemporaryKey};
use crate::sources::{boot, shared};
use crate::steps::output_directory;

/// Packer's default `disk_size`, 40 GiB.
const DEFAULT_DISK_SIZE: u64 = 40960 << 20;

pub(crate) fn read(reader: &mut PlanReader<'_>, source_name: &str, force: bool) -> QemuPlan {
    let format = reader.one_of("format", "qcow2", &["qcow2", "raw", "vmdk", "vmdk-sparse", "ovf", "ova"]);
    let disk_image = reader.flag("disk_image");
    let use_backing_file = reader.flag("use_backing_file");
    if use_backing_file && (!disk_image || format != "qcow2") {
        reader.error(
            "use_backing_file",
            "use_backing_file needs a qcow2 disk image",
            "use_backing_file can only be enabled for QCOW2 images and when disk_image is true.",
        );
    }
    let skip_resize_disk = reader.flag("skip_resize_disk");
    if skip_resize_disk && !disk_image {
        reader.error(
            "skip_resize_disk",
            "skip_resize_disk needs disk_image",
            "skip_resize_disk can only be used when disk_image is true.",
        );
    }
    let output_directory = PathBuf::from(reader.text_or("output_directory", &format!("output-{source_name}")));
    check_output_directory(reader, &output_directory, force);
    let vm_name = reader.text_or("vm_name", &format!("packer-{source_name}"));
    if vm_name.contains('/') || vm_name == "." || vm_name == ".." {
        reader.error(
            "vm_name",
            "Invalid vm_name",
            format!("{vm_name:?} names the disk file too, so it cannot hold a slash."),
        );
    }
    let plan = QemuPlan {
        image: shared::read_image(reader),
        disk_image,
        use_backing_file,
        skip_resize_disk,
        skip_compaction: reader.flag("skip_compaction") || use_backing_file,
        disk_compression: reader.flag("disk_compression") && format == "qcow2",
        disk_size: disk_size(reader, "disk_size", reader.text("disk_size").as_deref()).unwrap_or(DEFAULT_DISK_SIZE),
        additional_disks: reader
            .texts("disk_additional_size")
            .iter()
            .filter_map(|size| disk_size(reader, "disk_additional_size", Some(size)))
            .collect(),
        http: shared::read_http(reader, "127.0.0.1"),
        floppy: shared::read_media(reader, "floppy"),
        cd: shared::read_media(reader, "cd"),
        boot: read_boot(reader),
        shutdown: shared::read_shutdown(reader),
        communicator: communicator::read(reader, TemporaryKey::Made),
        machine: read_machine(reader),
        format,
        output_directory,
        vm_name,
    };
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
    plan
}

fn check_output_directory(reader: &mut PlanReader<'_>, directory: &Path, force: bool) {
    let Some(obstacle) = output_directory::obstacle(directory, force) else { return };
    if obstacle.passes {
        // Another build has it now, which is no fault of the template.
        reader.not_here("output_directory", "Output directory in use", obstacle.text, Some(obstacle.hint));
    } else {
        let summary = "Output directory already exists";
        reader.error_with_hint("output_directory", summary, obstacle.text, Some(obstacle.hint));
    }
}

/// `^\d+[bkmgt]?$`, a bare number counts MiB (packer.md 4.1).
fn disk_size(reader: &mut PlanReader<'_>, option: &str, text: Option<&str>) -> Option<u64> {
    let text = text?;
    let parsed = parse_disk_size(text);
    if parsed.is_none_or(|size| size == 0) {
        let detail = format!("{text:?} is not a disk size: write a number of MiB, or a number with b, K, M, G or T.");
        reader.error(option, "Invalid disk size", detail);
    }
    parsed
}

fn parse_disk_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" => 20,
        "b" => 0,
        "k" => 10,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn read_machine(reader: &mut PlanReader<'_>) -> QemuMachinePlan {
    let count = |reader: &mut PlanReader<'_>, name: &str| u32::try_from(reader.number(name, 0, 0..=4096)).unwrap_or(0);
    let topology = ["cpus", "sockets", "cores", "threads"].map(|name| count(reader, name));
    let memory = match reader.number("memory", 512, 0..=(1 << 24)) {
        // Packer takes anything below 10 for a mistake.
        0..10 => 512,
        memory => memory,
    };
    let accelerator = reader.text("accelerator");
    let optional = |reader: &mut PlanReader<'_>, name: &str, allowed: &[&str]| {
        reader.text(name)?;
        Some(reader.one_of(name, "", allowed))
    };
    let cache_modes = ["writethrough", "writeback", "none", "unsafe", "directsync"];
    QemuMachinePlan {
        binary: reader.text_or("qemu_binary", "qemu-system-x86_64"),
        machine_type: reader.text_or("machine_type", "pc"),
        accelerator,
        cpu_model: reader.text("cpu_model"),
        topology,
        memory,
        disk_interface: reader.one_of(
            "disk_interface",
            "virtio",
            &["ide", "sata", "scsi", "virtio", "virtio-scsi", "sd"],
        ),
        cdrom_interface: reader.text("cdrom_interface"),
        disk_cache: optional(reader, "disk_cache", &cache_modes),
        disk_discard: optional(reader, "disk_discard", &["ignore", "unmap"]),
        disk_detect_zeroes: optional(reader, "disk_detect_zeroes", &["off", "on", "unmap"]),
        net_device: reader.text_or("net_device", "virtio-net"),
        net_bridge: reader.text("net_bridge"),
        host_ports: host_ports(reader),
        skip_nat_mapping: reader.flag("skip_nat_mapping") || reader.flag("ssh_skip_nat_mapping"),
        headless: reader.flag("headless"),
        display: reader.text("display"),
        use_default_display: reader.flag("use_default_display"),
        vga: reader.text("vga"),
        vnc: read_vnc(reader),
        firmware: read_firmware(reader),
        drop_efivars: reader.flag("efi_drop_efivars"),
        tpm: reader.flag("vtpm").then(|| (reader.text_or("tpm_device_type", "tpm-tis"), reader.flag("use_tpm1"))),
        qemuargs: qemuargs(reader),
    }
}

fn qemuargs(reader: &mut PlanReader<'_>) -> Vec<Vec<String>> {
    let arguments = reader.options.string_lists("qemuargs").to_vec();
    reader.check_late("qemuargs", arguments.iter().flatten().map(String::as_str), &shared::MACHINE_FIELDS);
    arguments
}

fn host_ports(reader: &mut PlanReader<'_>) -> (u16, u16) {
    if reader.options.is_set("ssh_host_port_min") || reader.options.is_set("ssh_host_port_max") {
        return reader.port_range("ssh_host_port_min", "ssh_host_port_max", (2222, 4444));
    }
    reader.port_range("host_port_min", "host_port_max", (2222, 4444))
}

/// VNC is there for people: when the template asks for it in any way, or when there is no other picture.
fn read_vnc(reader: &mut PlanReader<'_>) -> Option<VncPlan> {
    let ports = reader.port_range("vnc_port_min", "vnc_port_max", (5900, 6000));
    let wants_password = reader.flag("vnc_use_password") || reader.text("vnc_password").is_some();
    let password = wants_password.then(|| Secret::new(reader.text_or("vnc_password", "")));
    if password.as_ref().is_some_and(|password| password.expose().len() > 8) {
        reader.error("vnc_password", "Password too long", "vnc_password must be 8 characters long or less.");
    }
    let asked = ["vnc_bind_address", "vnc_port_min", "vnc_port_max", "vnc_use_password", "vnc_password"]
        .iter()
        .any(|name| reader.options.is_set(name));
    (asked && !reader.flag("disable_vnc")).then(|| VncPlan {
        bind: reader.text_or("vnc_bind_address", "127.0.0.1"),
        ports,
        password,
    })
}

fn read_firmware(reader: &mut PlanReader<'_>) -> FirmwarePlan {
    let (code, vars) = (reader.text("efi_firmware_code"), reader.text("efi_firmware_vars"));
    if reader.flag("efi_boot") || code.is_some() || vars.is_some() {
        let path = |given: Option<String>, name: &str| {
            given.map_or_else(|| Path::new("/usr/share/OVMF").join(name), PathBuf::from)
        };
        let firmware = FirmwarePlan::Efi { code: path(code, "OVMF_CODE.fd"), vars: path(vars, "OVMF_VARS.fd") };
        if let FirmwarePlan::Efi { code, vars } = &firmware {
            for (name, path) in [("efi_firmware_code", code), ("efi_firmware_vars", vars)] {
                if !path.is_file() {
                    let hint =
                        "on Debian, install the package ovmf (qemu-efi-aarch64 for ARM) and look for OVMF_CODE_4M.fd";
                    let detail = format!("{} does not exist.", path.display());
                    reader.not_here(name, "No UEFI firmware", detail, Some(hint.to_owned()));
                }
            }
        }
        return firmware;
    }
    match reader.text("firmware") {
        None => FirmwarePlan::Default,
        Some(path) if reader.flag("use_pflash") => FirmwarePlan::Flash(path.into()),
        Some(path) => FirmwarePlan::Bios(path.into()),
    }
}

/// Packer cannot type without VNC; Kiln can, so such a template is better than it thinks.
fn read_boot(reader: &mut PlanReader<'_>) -> BootPlan {
    let plan = boot::read_boot(reader);
    if reader.flag("disable_vnc") && !plan.commands.is_empty() {
        reader.warning(
            "disable_vnc",
            "disable_vnc has no effect on typing",
            "Kiln types the boot command without VNC.",
        );
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::parse_disk_size;

    #[test]
    fn disk_sizes_as_packer_reads_them() {
        let cases = [
            ("40960M", Some(40960 << 20)),
            ("8192", Some(8192 << 20)),
            ("10g", Some(10 << 30)),
            ("1T", Some(1 << 40)),
            ("512b", Some(512)),
            ("64K", Some(64 << 10)),
            ("", None),
            ("G", None),
            ("10GB", None),
            ("1.5G", None),
            ("-1", None),
            ("99999999999999999999", None),
            ("18446744073709551615T", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_disk_size(text), expected, "{text}");
        }
    }
}
