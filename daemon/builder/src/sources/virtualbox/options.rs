//! Reads the options of the builders for VirtualBox.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::default_names;
use crate::option_values::OptionValues;
use crate::plan::{
    AdditionsMode, AdditionsPlan, ImagePlan, NewMachinePlan, OutputPlan, ShutdownPlan, ShutdownWay, VirtualBoxOrigin,
    VirtualBoxPlan, VrdpPlan,
};
use crate::sources::communicator::{self, TemporaryKey};
use crate::sources::shared;

pub(crate) fn read(kind: &str, options: OptionValues<'_>, source_name: &str, mentions_key: bool) -> VirtualBoxPlan {
    let text = |name: &str| options.text(name).unwrap_or_default();
    let vm_name = options.given("vm_name").map_or_else(|| name_with_time(source_name), str::to_owned);
    let vm = kind == "virtualbox-vm";
    let made = TemporaryKey::Made { mentioned: mentions_key, always_cleared: true };
    let key = if vm { TemporaryKey::NotMade } else { made };
    let origin = match kind {
        "virtualbox-iso" => {
            VirtualBoxOrigin::Iso { image: shared::read_image(options), machine: Box::new(read_machine(options)) }
        }
        "virtualbox-ovf" => VirtualBoxOrigin::Ovf { package: read_package(options), flags: import_flags(options) },
        _ => VirtualBoxOrigin::Vm {
            attach: options.text("attach_snapshot"),
            target: options.text("target_snapshot"),
            replace: options.flag("force_delete_snapshot"),
        },
    };
    VirtualBoxPlan {
        origin,
        output: output(options, source_name, vm),
        output_filename: options.given("output_filename").map_or_else(|| vm_name.clone(), str::to_owned),
        format: text("format"),
        export_options: options.texts("export_opts"),
        skip_export: options.flag("skip_export"),
        keep_registered: options.flag("keep_registered"),
        http: shared::read_http(options),
        floppy: shared::read_floppy(options),
        cd: shared::read_cd(options),
        boot: shared::read_boot(options),
        key_group_interval: options.duration("boot_keygroup_interval"),
        shutdown: read_shutdown(options),
        communicator: communicator::read(options, key),
        host_ports: shared::read_host_ports(options),
        skip_nat_mapping: options.flag("skip_nat_mapping") || options.flag("ssh_skip_nat_mapping"),
        headless: options.flag("headless"),
        vrdp: read_vrdp(options),
        commands: options.text_lists("vboxmanage"),
        commands_after: options.text_lists("vboxmanage_post"),
        // Empty means none, unset the default.
        version_file: options.written("virtualbox_version_file").map_or_else(
            || options.text("virtualbox_version_file"),
            |written| Some(written.to_owned()).filter(|written| !written.is_empty()),
        ),
        additions: read_additions(options),
        vm_name,
    }
}

/// The default name of a machine. Unlike a disk's, it has to be another each time: VirtualBox keeps names of machines.
fn name_with_time(source_name: &str) -> String {
    static STARTED: OnceLock<u64> = OnceLock::new();
    let started =
        STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    format!("packer-{source_name}-{started}")
}

fn read_machine(options: OptionValues<'_>) -> NewMachinePlan {
    let text = |name: &str| options.text(name).unwrap_or_default();
    let number = |name: &str| u32::try_from(options.number(name)).unwrap_or(0);
    let size = |size: i64| u64::try_from(size).unwrap_or(0);
    let further = options.integers("disk_additional_size");
    NewMachinePlan {
        os_type: text("guest_os_type"),
        chipset: text("chipset"),
        firmware: text("firmware"),
        nested: options.is_set("nested_virt").then(|| options.flag("nested_virt")),
        clock: text("rtc_time_base"),
        disks: std::iter::once(options.number("disk_size")).chain(further).map(size).collect(),
        disk_interface: text("hard_drive_interface"),
        iso_interface: text("iso_interface"),
        ports: (number("sata_port_count"), number("nvme_port_count")),
        discard: options.flag("hard_drive_discard"),
        non_rotational: options.flag("hard_drive_nonrotational"),
        nic: text("nic_type"),
        audio: (text("audio_controller"), text("sound")),
        usb: options.flag("usb").then(|| text("usb_controller")).filter(|controller| controller != "none"),
        mouse: text("mouse"),
        keyboard: text("keyboard"),
        graphics: options.given("gfx_controller").map(str::to_owned),
        video_memory: number("gfx_vram_size"),
        accelerate_3d: options.flag("gfx_accelerate_3d"),
        efi_resolution: options.text("gfx_efi_resolution"),
        cpus: number("cpus"),
        memory: size(options.number("memory")),
        bundle_iso: options.flag("bundle_iso"),
    }
}

/// The package to import, fetched as installers are.
fn read_package(options: OptionValues<'_>) -> ImagePlan {
    let source = options.text("source_path").unwrap_or_default();
    let end = source.rsplit('.').next().unwrap_or_default().to_lowercase();
    ImagePlan {
        skip_cache: false,
        extension: if end == "ovf" { end } else { "ova".to_owned() },
        urls: vec![source],
        checksum: options.text("checksum").unwrap_or_default(),
        target_path: options.text("target_path").map(Into::into),
        written: None,
    }
}

fn import_flags(options: OptionValues<'_>) -> Vec<String> {
    let mut flags = options.texts("import_flags");
    if let Some(value) = options.text("import_opts") {
        flags.extend(["--options".to_owned(), value]);
    }
    flags
}

/// A build that leaves its machine in VirtualBox and makes no files leaves the directory of others that do alone.
fn output(options: OptionValues<'_>, source_name: &str, vm: bool) -> OutputPlan {
    let directory = default_names::output_directory(options, source_name);
    if vm && options.flag("skip_export") { OutputPlan::NoFiles(directory) } else { OutputPlan::Directory(directory) }
}

/// Whoever writes the defaults out asks for no more than others.
fn read_vrdp(options: OptionValues<'_>) -> VrdpPlan {
    let bind = options.text("vrdp_bind_address").unwrap_or_default();
    let ports = options.ports("vrdp_port_min", "vrdp_port_max");
    let other_port = |name: &str| i64::from(options.port(name)) != options.default_number(name);
    let asked_for = options.default_of("vrdp_bind_address") != Some(bind.as_str())
        || other_port("vrdp_port_min")
        || other_port("vrdp_port_max");
    VrdpPlan { bind, ports, asked_for }
}

fn read_shutdown(options: OptionValues<'_>) -> ShutdownPlan {
    let way = match (options.flag("acpi_shutdown"), options.flag("disable_shutdown")) {
        (true, _) => ShutdownWay::PowerButton,
        (false, true) => ShutdownWay::ByItself,
        (false, false) => ShutdownWay::CommandOrPowerOff,
    };
    // Packer's default gives VirtualBox time to let go of the machine; that is waited for here.
    let delay = options.given_duration("post_shutdown_delay").unwrap_or(Duration::ZERO);
    ShutdownPlan { way, delay, ..shared::read_shutdown(options) }
}

fn read_additions(options: OptionValues<'_>) -> AdditionsPlan {
    let mode = match options.text("guest_additions_mode").as_deref() {
        Some("disable") => AdditionsMode::Disable,
        Some("attach") => AdditionsMode::Attach,
        _ => AdditionsMode::Upload,
    };
    let interface = options.given("guest_additions_interface").or_else(|| options.given("iso_interface"));
    AdditionsPlan {
        mode,
        interface: interface.unwrap_or("ide").to_owned(),
        path: options.text("guest_additions_path").unwrap_or_default(),
        url: options.text("guest_additions_url"),
        sha256: options.text("guest_additions_sha256"),
    }
}
