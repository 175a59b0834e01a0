//! The options of the two VMware builders.

use kiln_hypervisors::vmware::{is_known_guest, known_guests};
use kiln_template::{OptionSpec, did_you_mean};

use super::define::define;
use super::option_table::option_table;
use super::rule::Rule;
use super::shared;
use crate::plan_reader::PlanReader;
use crate::sources::vmware::{package, ports};

/// What both have beside the groups of every builder.
const COMMON: &[OptionSpec] = option_table! {
    "fusion_app_path" String = "/Applications/VMware Fusion.app", "where VMware Fusion lies (macOS)";
    "remote_type" String = "", "was for ESX servers, which newer versions of Packer's plugin do not know";
    "headless" Bool = "false", "no window";
    "vnc_disable_password" Bool = "false", "VNC without a password";
    "disk_adapter_type" String = "lsilogic", "how disks are attached: ide, sata, nvme, scsi, or a kind of SCSI adapter";
    "disk_additional_size" Integers = "", "sizes of further disks in MB";
    "vmdk_name" String = "disk", "name of the disk file, without extension";
    "disk_type_id" String = "1", "vmware-vdiskmanager's disk type: 0 one growing file, 1 several growing files, …";
    "cdrom_adapter_type" String = "", "how CDs are attached; by default it depends on the disks";
    "display_name" String = "vm_name", "the machine's name in VMware's windows";
    "snapshot_name" String = "", "snapshot to take at the end";
    "vmx_data" Map = "", "entries of the VMX file before the machine starts";
    "vmx_data_post" Map = "", "entries of the VMX file after it is off";
    "vmx_remove_ethernet_interfaces" Bool = "false", "remove the network adapters at the end";
    "version" Integer = "21", "version of the virtual hardware";
    "format" String = "vmx", "format of the result";
    "ovftool_options" Strings = "", "arguments of ovftool, which exports then; without them Kiln does";
    "skip_export" Bool = "false", "make no OVF or OVA";
    "skip_compaction" Bool = "false", "leave the disks as the guest wrote them";
    "tools_mode" String = "", "how the guest gets VMware Tools";
    "tools_source_path" String = "", "ISO file with VMware Tools";
    "tools_upload_flavor" String = "", "which of VMware's own ISO files";
    "tools_upload_path" String late = "{{ .Flavor }}.iso", "where they are uploaded to";
    "output_directory" String = "output-NAME", "where the image goes";
};

/// Names of guest systems that are told in place of an unknown one.
const ALIKE: usize = 8;

const COMMON_RULES: &[Rule] = &[
    Rule::Check("`fusion_app_path` and `network_name` have no effect, which is told.", |reader| {
        reader.without_effect("fusion_app_path", "It is for VMware Fusion on macOS.");
        reader.without_effect("network_name", "It is for ESX servers.");
    }),
    Rule::OneOf("format", &["vmx", "ovf", "ova"]),
    Rule::OneOf("tools_mode", &["upload", "attach", "disable"]),
    Rule::Exists("tools_source_path"),
    Rule::Fields("tools_upload_path", &["Flavor"]),
    Rule::OneOf("cdrom_adapter_type", &["ide", "sata", "scsi"]),
    Rule::Check("`disable_vnc` excludes `boot_command`, which is typed by VNC.", |reader| {
        if reader.flag("disable_vnc") && !reader.texts("boot_command").is_empty() {
            let detail = "A boot command is typed by VNC; it cannot be used when VNC is disabled.";
            reader.error("disable_vnc", "Options that exclude each other", detail);
        }
    }),
    Rule::Check(
        "`disk_adapter_type` is `ide`, `sata`, `nvme`, `scsi`, or a SCSI adapter of VMware's: `lsilogic`, `lsisas1068`, \
         `buslogic`, `pvscsi`; in any case of letters.",
        |reader| {
            if let Some(text) = reader.text("disk_adapter_type")
                && !DISK_ADAPTERS.contains(&text.to_lowercase().as_str())
            {
                let detail = format!("disk_adapter_type is {text:?}, but must be one of {}.", DISK_ADAPTERS.join(", "));
                reader.error("disk_adapter_type", "Unsupported value", detail);
            }
        },
    ),
    Rule::Check("`disk_type_id` is a number from 0 to 5.", |reader| {
        if let Some(text) = reader.text("disk_type_id")
            && !["0", "1", "2", "3", "4", "5"].contains(&text.as_str())
        {
            let detail = format!("disk_type_id is {text:?}, but vmware-vdiskmanager's disk types are 0 to 5.");
            reader.error("disk_type_id", "Unsupported value", detail);
        }
    }),
    Rule::Check("Sizes of further disks are above 0 and below 62 TB.", |reader| {
        let sizes = reader.options.integers("disk_additional_size").to_vec();
        for (index, size) in sizes.into_iter().enumerate() {
            if !(1..=MAX_DISK_MB).contains(&size) {
                let detail = format!("disk_additional_size holds {size}, but a disk has 1 to {MAX_DISK_MB} MB.");
                reader.error_in("disk_additional_size", index, "Value out of range", detail);
            }
        }
    }),
    Rule::Check("`vm_name` and `vmdk_name` are names of files, not paths.", |reader| {
        for name in ["vm_name", "vmdk_name"] {
            if let Some(text) = reader.text(name)
                && (text.contains('/') || text.starts_with('.') || text.contains('\0'))
            {
                let detail = format!("{name} is {text:?}, but must be the name of a file in the output directory.");
                reader.error(name, "Not a name", detail);
            }
        }
    }),
    Rule::Check("`remote_type` cannot be set: machines are built here, not on an ESX server.", no_remote),
    Rule::Check(
        "`tools_mode = \"attach\"` needs `tools_source_path` and excludes `tools_upload_flavor` and `tools_upload_path`; \
         `upload` needs `tools_upload_flavor` or `tools_source_path`.",
        tools,
    ),
];

/// What disks can hang on.
const DISK_ADAPTERS: [&str; 8] = ["ide", "sata", "nvme", "scsi", "lsilogic", "lsisas1068", "buslogic", "pvscsi"];

/// The largest disk of VMware's, in MB.
const MAX_DISK_MB: i64 = 62 * 1024 * 1024;

fn no_remote(reader: &mut PlanReader<'_>) {
    if reader.text("remote_type").is_some() {
        reader.error_with_hint(
            "remote_type",
            "ESX servers are not supported",
            "remote_type is for building on an ESX server, which neither current Packer nor Kiln does with this builder.",
            Some("remove remote_type and the other remote_ options to build with VMware Workstation here"),
        );
    }
}

fn tools(reader: &mut PlanReader<'_>) {
    let source = reader.text("tools_source_path").is_some();
    match reader.text("tools_mode").as_deref() {
        Some("attach") => {
            if !source {
                let detail = "tools_mode is \"attach\": tools_source_path must name the ISO file.";
                reader.error("tools_mode", "Missing tools_source_path", detail);
            }
            for name in ["tools_upload_flavor", "tools_upload_path"] {
                if reader.text(name).is_some() {
                    let detail = format!("{name} is for tools_mode = \"upload\", but tools_mode is \"attach\".");
                    reader.error(name, "Options that exclude each other", detail);
                }
            }
        }
        Some("upload") if !source && reader.text("tools_upload_flavor").is_none() => {
            let detail = "tools_mode is \"upload\": set tools_upload_flavor or tools_source_path.";
            reader.error("tools_mode", "Missing tools_upload_flavor", detail);
        }
        None if reader.text("tools_upload_flavor").is_none() => {
            // Packer takes them, too.
            for name in ["tools_source_path", "tools_upload_path"] {
                if reader.text(name).is_some() {
                    let detail =
                        format!("{name} has no effect without tools_mode: set it to \"upload\" or \"attach\".");
                    reader.warning(name, "Missing tools_mode", detail);
                }
            }
        }
        _ => {}
    }
}

const ISO_OPTIONS: &[OptionSpec] = option_table! {
    "vm_name" String = "packer-NAME", "name of the machine and its VMX file";
    "firmware" String = "", "the machine's firmware; unset: VMware's BIOS";
    "cpus" Integer = "0", "virtual CPUs; 0 leaves it to VMware";
    "cores" Integer = "0", "cores of each socket; 0 leaves it to VMware";
    "memory" Integer = "512", "MB of memory";
    "network" String = "nat", "nat, hostonly, bridged, or a virtual network such as vmnet3";
    "network_name" String = "", "a network of an ESX server; of no use here";
    "network_adapter_type" String = "e1000", "network adapter";
    "sound" Bool = "false", "sound card";
    "usb" Bool = "false", "USB";
    "usb_version" String = "3.1", "version of USB";
    "serial" String = "none", "serial port: FILE:…, DEVICE:…, PIPE:…, AUTO or NONE";
    "parallel" String = "none", "parallel port: FILE:…, DEVICE:…, AUTO or NONE";
    "disk_size" Integer = "40000", "size of the disk in MB";
    "guest_os_type" String = "other-64", "VMware's name of the guest's system";
    "vmx_template_path" String = "", "Go template of the VMX file";
    "vmx_disk_template_path" String = "", "Go template of a further disk's part of the VMX file";
    "vhv_enabled" Bool = "false", "let the guest run machines of its own";
};

/// A name that is not in the table may be a newer VMware's: `vmx_data` says it past us, and says that it is meant.
fn guest_system(reader: &mut PlanReader<'_>) {
    let Some(given) = reader.text("guest_os_type").filter(|given| !is_known_guest(given)) else { return };
    let is_set_directly = |key: &String| key.eq_ignore_ascii_case("guestOS");
    if reader.options.is_unusable("vmx_data") || reader.map("vmx_data").keys().any(is_set_directly) {
        return;
    }
    let beginning: String = given.to_lowercase().chars().take_while(char::is_ascii_alphabetic).collect();
    let alike = known_guests().filter(|known| !beginning.is_empty() && known.starts_with(&beginning));
    let mut near: Vec<String> = alike.take(ALIKE).map(str::to_owned).collect();
    if near.is_empty() {
        near.extend(did_you_mean(&given, known_guests()));
    }
    let near = if near.is_empty() {
        format!("there are: {}", known_guests().collect::<Vec<_>>().join(", "))
    } else {
        format!("near it are: {}", near.join(", "))
    };
    let detail = format!(
        "guest_os_type is {given:?}, which VMware Workstation 17.6 does not know, and may take for another system or refuse; {near}."
    );
    let hint = format!("write one of them; where VMware is newer and knows it, vmx_data = {{ guestOS = {given:?} }}");
    reader.not_here("guest_os_type", "Unknown guest system", detail, Some(hint));
}

const ISO_RULES: &[Rule] = &[
    Rule::Check(
        "`guest_os_type` is one of VMware's names; one that only a newer VMware knows is set by `vmx_data`, as `guestOS`.",
        guest_system,
    ),
    Rule::OneOf("firmware", &["bios", "efi", "efi-secure"]),
    Rule::OneOf("usb_version", &["2.0", "3.1", "3.2"]),
    Rule::Requires("usb_version", "usb"),
    Rule::Check("`network_adapter_type` is `vmxnet3`, `e1000e` or `e1000`, in any case of letters.", |reader| {
        if let Some(text) = reader.text("network_adapter_type")
            && !["vmxnet3", "e1000e", "e1000"].contains(&text.to_lowercase().as_str())
        {
            let detail = format!("network_adapter_type is {text:?}, but must be one of vmxnet3, e1000e, e1000.");
            reader.error("network_adapter_type", "Unsupported value", detail);
        }
    }),
    Rule::Check(
        "`serial` and `parallel` begin with one of the words above, and have the parts that it needs.",
        |reader| {
            for (name, problem) in [
                ("serial", reader.text("serial").and_then(|text| ports::serial(&text).err())),
                ("parallel", reader.text("parallel").and_then(|text| ports::parallel(&text).err())),
            ] {
                if let Some(problem) = problem {
                    reader.error(name, "Unsupported value", format!("{name}: {problem}."));
                }
            }
        },
    ),
    Rule::Exists("vmx_template_path"),
    Rule::Exists("vmx_disk_template_path"),
    Rule::Check("Numbers of CPUs, sizes of memory and disks are not negative.", |reader| {
        for name in ["cpus", "cores", "memory", "disk_size"] {
            reader.range(name, 0..=u64::from(u32::MAX));
        }
    }),
];

define!(ISO = Builder "vmware-iso" true,
    "Builds an image in a new VMware Workstation machine, from an installer CD.",
    ISO_OPTIONS,
    [COMMON, shared::ISO, shared::HTTP, shared::FLOPPY, shared::CD, shared::BOOT, shared::BOOT_KEYS, shared::VNC_PORTS,
     shared::SHUTDOWN, shared::COMMUNICATOR],
    [ISO_RULES, COMMON_RULES, shared::ISO_RULES, shared::HTTP_RULES, shared::MEDIA_RULES, shared::BOOT_RULES,
     shared::VNC_RULES, shared::SHUTDOWN_RULES, shared::COMMUNICATOR_RULES,
     shared::TEMPORARY_KEY_RULES]);

const VMX_OPTIONS: &[OptionSpec] = option_table! {
    "source_path" String required = "", "the VMX, OVF or OVA file to clone";
    "linked" Bool = "false", "share the disks with the original";
    "attach_snapshot" String = "", "snapshot of the original to clone";
    "vm_name" String = "packer-NAME-TIME", "name of the machine and its VMX file";
    "guest_os_type" String = "", "VMware's name of the guest's system, for OVF and OVA";
};

const VMX_RULES: &[Rule] = &[
    Rule::Check(
        "`guest_os_type` is one of VMware's names; one that only a newer VMware knows is set by `vmx_data`, as `guestOS`.",
        guest_system,
    ),
    Rule::Check(
        "`guest_os_type` and `version` are for an OVF or OVA in `source_path`: a clone has what its original has.",
        |reader| {
            if package::is_package(&reader.text("source_path").unwrap_or_default()) {
                return;
            }
            for name in ["guest_os_type", "version"] {
                reader
                    .without_effect(name, "The clone of a VMX file has what its original has; vmx_data can change it.");
            }
        },
    ),
    Rule::Check(
        "`linked` and `attach_snapshot` are for VMX files: an OVF or OVA in `source_path` has neither.",
        |reader| {
            if !package::is_package(&reader.text("source_path").unwrap_or_default()) {
                return;
            }
            for (name, is_set) in
                [("linked", reader.flag("linked")), ("attach_snapshot", reader.text("attach_snapshot").is_some())]
            {
                if is_set {
                    let detail =
                        format!("{name} needs a VMX file, but source_path is a package, whose disks are copied.");
                    let hint = "remove it; or make a machine of the package first: kiln convert IN.ova OUT.vmx";
                    reader.error_with_hint(name, "Options that exclude each other", detail, Some(hint));
                }
            }
        },
    ),
];

define!(VMX = Builder "vmware-vmx" true,
    "Builds an image in a clone of a VMware Workstation machine.",
    VMX_OPTIONS,
    [COMMON, shared::HTTP, shared::FLOPPY, shared::CD, shared::BOOT, shared::BOOT_KEYS, shared::VNC_PORTS,
     shared::SHUTDOWN, shared::COMMUNICATOR],
    [VMX_RULES, COMMON_RULES, shared::HTTP_RULES, shared::MEDIA_RULES, shared::BOOT_RULES, shared::VNC_RULES,
     shared::SHUTDOWN_RULES, shared::COMMUNICATOR_RULES,
     shared::TEMPORARY_KEY_RULES]);
