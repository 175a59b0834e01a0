//! VMware's own settings of a machine in an OVF, `vmw:Config` and `vmw:ExtraConfig`, and which of them say nothing of the machine.

use super::ovf_reader::Descriptor;
use super::packaged::{PackagedMachine, quoted, setting};
use super::vmware_settings::{SettingWords, is_harmless, is_usual_bridge};
use super::xml_tree::Element;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{Firmware, NvramMaker};

/// Most settings of VMware's of a machine, each of which is compared with the others.
pub(super) const MAX_SETTINGS: usize = 1024;

/// What VMware's exports always say, and what there is without them.
const DEFAULTS: [(&str, &str); 11] = [
    ("flags.vbsEnabled", "false"),
    ("powerOpInfo.standbyAction", "checkpoint"),
    ("simultaneousThreads", "1"),
    ("tools.afterPowerOn", "true"),
    ("tools.afterResume", "true"),
    ("tools.beforeGuestShutdown", "true"),
    ("tools.beforeGuestStandby", "true"),
    ("vPMCEnabled", "false"),
    ("virtualICH7MPresent", "false"),
    ("virtualSMCPresent", "false"),
    ("virtualExecUsage", "hvAuto"),
];

/// The same of a device. Without a value: whatever it is, the guest finds the same.
const DEFAULTS_OF_DEVICES: [(&str, Option<&str>); 5] = [
    ("slotInfo.pciSlotNumber", None),
    ("connectable.allowGuestControl", None),
    ("wakeOnLanEnabled", None),
    ("backing.writeThrough", Some("false")),
    ("backing.exclusive", Some("false")),
];

/// Says whether a device's setting is one that nothing is lost with.
pub(super) fn says_nothing_of_a_device(key: &str, value: &str) -> bool {
    let is_default = |default: Option<&str>| default.is_none_or(|default| default.eq_ignore_ascii_case(value));
    DEFAULTS_OF_DEVICES.iter().any(|(known, default)| *known == key && is_default(*default))
}

/// Reads `vmw:Config`, `vmw:ExtraConfig`, and the version of VMware's hardware.
pub(super) fn read(hardware: &Element, machine: &mut PackagedMachine, descriptor: &Descriptor) -> Result<()> {
    let count = hardware.all("Config").chain(hardware.all("ExtraConfig")).count();
    if count > MAX_SETTINGS {
        let rule = format!("a machine has {count} settings of VMware's, more than {MAX_SETTINGS}");
        return Err(Error::new(ErrorKind::Corrupt, Operation::Read, rule));
    }
    read_settings(&settings(hardware, "Config", machine), machine);
    for (key, value) in settings(hardware, "ExtraConfig", machine) {
        read_extra(key, value, machine, descriptor);
    }
    // In the order of a VMX.
    machine.description.vmware_settings.sort_by_key(|(key, _)| key.to_ascii_lowercase());
    read_version(hardware, machine);
    Ok(())
}

/// Returns the keys and values of the settings in elements of this name.
fn settings<'a>(hardware: &'a Element, name: &'a str, machine: &mut PackagedMachine) -> Vec<(&'a str, &'a str)> {
    let mut found = Vec::new();
    for element in hardware.all(name) {
        match (element.attribute("key"), element.attribute("value")) {
            (Some(key), Some(value)) => found.push((key, value)),
            (Some(key), None) => machine.leave_out(format!("VMware's setting {}, which has no value", quoted(key))),
            (None, _) => machine.leave_out("a setting of VMware's without a name".to_owned()),
        }
    }
    found
}

fn read_settings(settings: &[(&str, &str)], machine: &mut PackagedMachine) {
    let mut secure_boot = false;
    for &(key, value) in settings {
        match key {
            "firmware" => match value.to_ascii_lowercase().as_str() {
                word @ ("bios" | "efi") => machine.firmware = Some(word.to_owned()),
                "" => {}
                _ => name(key, value, machine),
            },
            "bootOptions.efiSecureBootEnabled" => secure_boot = is_true(key, value, machine),
            "nestedHVEnabled" => machine.description.nested_virtualization = is_true(key, value, machine),
            _ => match SettingWords::of_ovf(key) {
                Some(words) => machine.description.vmware_settings.push((words.vmx.to_owned(), words.in_vmx(value))),
                None if DEFAULTS.contains(&(key, value)) => {}
                None => name(key, value, machine),
            },
        }
    }
    if machine.firmware.as_deref() == Some("efi") {
        machine.description.firmware = Firmware::Uefi { secure_boot };
    } else if secure_boot {
        machine.leave_out("secure boot, as the firmware is not EFI".to_owned());
    }
}

fn read_extra(key: &str, value: &str, machine: &mut PackagedMachine, descriptor: &Descriptor) {
    let lower = key.to_ascii_lowercase();
    match lower.as_str() {
        "nvram" => {
            let name = descriptor.file_of(value);
            // Older programs give the name itself.
            let name = name
                .or_else(|| descriptor.references.iter().find(|file| file.href == value).map(|file| file.href.clone()));
            match name {
                Some(name) => machine.found_nvram(NvramMaker::VMware, name),
                None => {
                    machine.leave_out(format!("the NVRAM {}, which is none of the package's files", quoted(value)));
                }
            }
        }
        "cpuid.corespersocket" => match value.parse().ok().filter(|cores| *cores > 0) {
            Some(cores) => machine.description.cores_per_socket = Some(cores),
            None => name(key, value, machine),
        },
        "virtualhw.productcompatibility" => {}
        _ if is_usual_bridge(&lower, value) => {}
        _ if is_harmless(&lower) => {
            let known = machine.description.vmware_settings.iter().any(|(other, _)| other.eq_ignore_ascii_case(key));
            if !known {
                machine.description.vmware_settings.push((key.to_owned(), value.to_owned()));
            }
        }
        // It could reach the host's files or devices, or is nothing that we know.
        _ => name(key, value, machine),
    }
}

/// Reads `vmx-19` among the kinds of machine that it can be.
fn read_version(hardware: &Element, machine: &mut PackagedMachine) {
    let system = hardware.all("System").next();
    let kinds = system.and_then(|system| system.text_of("VirtualSystemType")).unwrap_or_default();
    let words = || kinds.split([' ', ',', '\t', '\n', '\r']).filter(|word| !word.is_empty());
    if let Some(number) = words().find_map(|word| word.strip_prefix("vmx-")?.parse().ok()) {
        machine.description.hardware_version = number;
    } else if let Some(word) = words().find(|word| !word.starts_with("virtualbox-")) {
        machine.leave_out(format!("the kind of machine {}", quoted(word)));
    }
}

/// Reads `true` or `false`, and names what is neither.
fn is_true(key: &str, value: &str, machine: &mut PackagedMachine) -> bool {
    let is_true = value.eq_ignore_ascii_case("true");
    if !is_true && !value.eq_ignore_ascii_case("false") {
        name(key, value, machine);
    }
    is_true
}

fn name(key: &str, value: &str, machine: &mut PackagedMachine) {
    machine.leave_out(format!("VMware's setting {}", setting(key, value)));
}
