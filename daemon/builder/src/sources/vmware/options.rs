//! Reads the options of the builders for VMware.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::default_names;
use crate::option_values::OptionValues;
use crate::plan::{
    ShutdownPlan, ShutdownWay, VmwareMachinePlan, VmwareOrigin, VmwarePlan, VmwareToolsPlan, VmwareVncPlan,
};
use crate::sources::communicator::{self, TemporaryKey};
use crate::sources::shared;
use crate::sources::vmware::package;

pub(crate) fn read(kind: &str, options: OptionValues<'_>, source_name: &str, key: TemporaryKey) -> VmwarePlan {
    let text = |name: &str| options.text(name).unwrap_or_default();
    let is_clone = kind == "vmware-vmx";
    let linked = is_clone && options.flag("linked");
    let vm_name = match options.given("vm_name") {
        Some(name) => name.to_owned(),
        None if is_clone => name_with_time(source_name),
        None => default_names::vm_name(options, source_name),
    };
    let origin = if is_clone && package::is_package(&text("source_path")) {
        VmwareOrigin::Package {
            source: text("source_path").into(),
            guest_os: options.text("guest_os_type"),
            hardware_version: u32::try_from(options.number("version")).unwrap_or(0),
        }
    } else if is_clone {
        VmwareOrigin::Vmx { source: text("source_path").into(), linked, snapshot: options.text("attach_snapshot") }
    } else {
        VmwareOrigin::Iso { image: shared::read_image(options), machine: Box::new(read_machine(options)) }
    };
    let format = text("format");
    VmwarePlan {
        origin,
        display_name: options.given("display_name").map(str::to_owned),
        output_directory: default_names::output_directory(options, source_name),
        disk_name: text("vmdk_name"),
        disk_adapter: text("disk_adapter_type").to_lowercase(),
        disk_kind: text("disk_type_id"),
        additional_disks: options.integers("disk_additional_size").into_iter().map(size).collect(),
        cdrom_adapter: options.text("cdrom_adapter_type"),
        data: options.map("vmx_data"),
        data_after: options.map("vmx_data_post"),
        without_network: options.flag("vmx_remove_ethernet_interfaces"),
        snapshot: options.text("snapshot_name"),
        ovftool_options: options.texts("ovftool_options"),
        skip_export: options.flag("skip_export"),
        format,
        // What lies over another machine's disks is left so.
        skip_compaction: options.flag("skip_compaction") || linked,
        headless: options.flag("headless"),
        vnc: (!options.flag("disable_vnc")).then(|| VmwareVncPlan {
            bind: text("vnc_bind_address"),
            ports: options.ports("vnc_port_min", "vnc_port_max"),
            password: !options.flag("vnc_disable_password"),
        }),
        tools: VmwareToolsPlan {
            mode: tools_mode(options),
            source: options.text("tools_source_path").map(Into::into),
            flavor: options.text("tools_upload_flavor"),
            path: text("tools_upload_path"),
        },
        http: shared::read_http(options),
        floppy: shared::read_floppy(options),
        cd: shared::read_cd(options),
        boot: shared::read_boot(options),
        shutdown: ShutdownPlan { way: ShutdownWay::CommandOrPowerOff, ..shared::read_shutdown(options) },
        communicator: communicator::read(options, key),
        vm_name,
    }
}

/// What is done with VMware's tools. A flavor alone has always meant that they are uploaded.
fn tools_mode(options: OptionValues<'_>) -> Option<String> {
    let by_flavor = || options.text("tools_upload_flavor").map(|_| "upload".to_owned());
    options.text("tools_mode").or_else(by_flavor).filter(|mode| mode != "disable")
}

fn size(megabytes: i64) -> u64 {
    u64::try_from(megabytes).unwrap_or(0)
}

/// The default name of a clone, another one each time.
fn name_with_time(source_name: &str) -> String {
    static STARTED: OnceLock<u64> = OnceLock::new();
    let started =
        STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    format!("packer-{source_name}-{started}")
}

fn read_machine(options: OptionValues<'_>) -> VmwareMachinePlan {
    let text = |name: &str| options.text(name).unwrap_or_default();
    let number = |name: &str| u32::try_from(options.number(name)).unwrap_or(0);
    VmwareMachinePlan {
        guest_os: text("guest_os_type"),
        hardware_version: number("version"),
        cpus: number("cpus"),
        cores: number("cores"),
        memory: size(options.number("memory")),
        disk_size: size(options.number("disk_size")),
        firmware: options.text("firmware"),
        network: text("network"),
        network_adapter: text("network_adapter_type").to_lowercase(),
        sound: options.flag("sound"),
        usb: options.flag("usb").then(|| text("usb_version")),
        serial: text("serial"),
        parallel: text("parallel"),
        nested: options.flag("vhv_enabled"),
        template: options.text("vmx_template_path").map(Into::into),
        disk_template: options.text("vmx_disk_template_path").map(Into::into),
    }
}
