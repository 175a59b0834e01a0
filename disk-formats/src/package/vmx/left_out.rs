//! Which of the settings of a VMX say nothing of the machine: who it is and in what state it was, how windows showed it, and what VMware
//! always writes.

use crate::package::vmware_settings::is_usual_bridge;

/// Beginnings of keys that say nothing of the machine itself, whatever their value.
const OF_NO_CONSEQUENCE: [&str; 27] = [
    ".encoding",
    "checkpoint.",
    "cleanshutdown",
    "config.version",
    "extendedconfigfile",
    "gui.",
    // Of shared folders, which are named themselves.
    "hgfs.linkrootshare",
    "hgfs.maprootshare",
    "keyboardandmouseprofile",
    "migrate.",
    "monitor.phys_bits_used",
    "msg.",
    // Notes of the last start.
    "numa.autosize.cookie",
    "numa.autosize.vcpu.maxpervirtualnode",
    "proxyapps.",
    "replay.",
    // The host's place of its own file.
    "sched.swap.derivedname",
    "softpoweroff",
    "toolsinstallmanager.",
    "uuid.action",
    "uuid.location",
    "vc.uuid",
    "virtualhw.productcompatibility",
    "virtualhw.version",
    "vmotion.",
    "vmx.stats",
    "vmxstats.",
];

/// Values that are what there is without them.
const DEFAULTS: [(&str, &str); 19] = [
    ("bios.bootorder", "hdd"),
    ("bios.bootorder", "hdd,cdrom"),
    ("floppy0.present", "false"),
    ("hpet0.present", "true"),
    ("isolation.tools.hgfs.disable", "false"),
    ("powertype.poweron", "soft"),
    ("sched.cpu.affinity", "all"),
    ("sched.cpu.latencysensitivity", "normal"),
    ("sched.cpu.max", "unlimited"),
    ("sched.cpu.min", "0"),
    ("sched.cpu.shares", "normal"),
    ("sched.cpu.units", "mhz"),
    ("sched.mem.max", "unlimited"),
    ("sched.mem.min", "0"),
    ("sched.mem.minsize", "0"),
    ("sched.mem.pin", "false"),
    ("sched.mem.shares", "normal"),
    ("sched.swap.vmxswapenabled", "true"),
    ("vmci0.present", "true"),
];

/// Whether a setting, its key in lower case, says nothing of the machine.
pub(super) fn says_nothing(key: &str, value: &str) -> bool {
    OF_NO_CONSEQUENCE.iter().any(|start| key.starts_with(start))
        || value.is_empty()
        || DEFAULTS.iter().any(|(known, default)| *known == key && default.eq_ignore_ascii_case(value))
        || says_nothing_by_pattern(key, value)
}

fn says_nothing_by_pattern(key: &str, value: &str) -> bool {
    let is = |default: &str| default.eq_ignore_ascii_case(value);
    match key.split_once('.') {
        _ if is_usual_bridge(key, value) => true,
        Some(("vmci0", field)) => matches!(field, "id" | "pcislotnumber"),
        // Those that VMware makes begin so; a machine that is made of this one gets one of its own.
        Some(("uuid", "bios")) => value.starts_with("56 4d") || value.starts_with("42 "),
        // Of disks, as above.
        Some(("sched", field)) if field.starts_with("scsi") || field.starts_with("sata") => {
            field.ends_with(".shares") && is("normal") || field.ends_with(".throughputcap") && is("off")
        }
        _ => false,
    }
}

/// Whether a setting of a device, in lower case, is read, or says nothing of what the guest finds.
pub(super) fn says_nothing_of_a_device(field: &str, value: &str) -> bool {
    const READ: [&str; 11] = [
        "present",
        "filename",
        "devicetype",
        "virtualdev",
        "connectiontype",
        "vnet",
        "networkname",
        "addresstype",
        "address",
        "generatedaddress",
        "generatedaddressoffset",
    ];
    const HARMLESS: [&str; 13] = [
        "allowguestconnectioncontrol",
        "bsdname",
        "checkmacaddress",
        "ctkenabled",
        "displayname",
        "features",
        "linkstatepropagation.enable",
        "pcislotnumber",
        "redo",
        "saswwid",
        "uptcompatibility",
        "uptcompatibilityenabled",
        "wakeonpcktrcv",
    ];
    /// Values that are what there is without them.
    const DEFAULTS: [(&str, &str); 6] = [
        ("mode", "persistent"),
        ("startconnected", "true"),
        ("sharedbus", "none"),
        ("writethrough", "false"),
        ("throughputcap", "off"),
        ("shares", "normal"),
    ];
    value.is_empty()
        || READ.contains(&field)
        || HARMLESS.contains(&field)
        || DEFAULTS.iter().any(|(name, default)| *name == field && default.eq_ignore_ascii_case(value))
}
