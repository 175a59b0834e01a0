//! What VirtualBox's own description of a machine says beyond what is read of it: each attribute is judged, and those are silent that are
//! VirtualBox's defaults, or say only how the host runs or shows the machine.

use super::packaged::{PackagedMachine, quoted, setting};
use super::xml_tree::Element;

/// An element, by its place below the hardware, and the attributes of it that are known, with those of their values that say nothing of
/// the machine; with none, no value does.
type Known = (&'static str, &'static [(&'static str, &'static [&'static str])]);

const ANY: &[&str] = &[];
const OFF: &[&str] = &["false"];
const ON: &[&str] = &["true"];
const NONE: &[&str] = &["0"];

const KNOWN: &[Known] = &[
    // Compared with what was read, below.
    ("Memory", &[("RAMSize", ANY), ("PageFusion", ANY)]),
    (
        "CPU",
        &[
            ("count", ANY),
            ("hotplug", OFF),
            ("executionCap", &["100"]),
            ("CpuIdPortabilityLevel", NONE),
            ("CpuProfile", &["host"]),
        ],
    ),
    // With hotplug alone, which is named.
    ("CPU/CpuTree", &[]),
    ("CPU/CpuTree/Cpu", &[("id", ANY)]),
    ("CPU/CpuIdTree", &[]),
    ("CPU/APIC", &[("enabled", ON)]),
    ("CPU/HardwareVirtEx", &[("enabled", ON), ("exclusive", ANY)]),
    ("CPU/NestedHWVirt", &[("enabled", ANY)]),
    ("CPU/SpecCtrl", &[("enabled", OFF)]),
    ("CPU/TripleFaultReset", &[("enabled", OFF)]),
    // VirtualBox chooses these by the guest's system, and others have them always.
    ("CPU/LongMode", &[("enabled", ANY)]),
    ("CPU/PAE", &[("enabled", ANY)]),
    ("CPU/X2APIC", &[("enabled", ANY)]),
    // How the host runs it.
    ("CPU/HardwareVirtExLargePages", &[("enabled", ANY)]),
    ("CPU/HardwareVirtExNestedPaging", &[("enabled", ANY)]),
    ("CPU/HardwareVirtExUX", &[("enabled", ANY)]),
    ("CPU/HardwareVirtExVPID", &[("enabled", ANY)]),
    ("CPU/HardwareVirtForce", &[("enabled", ANY)]),
    ("CPU/IBPBOn", &[("vmexit", ANY), ("vmentry", ANY)]),
    ("CPU/L1DFlushOn", &[("scheduling", ANY), ("vmentry", ANY)]),
    ("CPU/MDSClearOn", &[("scheduling", ANY), ("vmentry", ANY)]),
    ("CPU/VirtVmsaveVmload", &[("enabled", ANY)]),
    ("Firmware", &[("type", &["", "BIOS", "EFI", "EFI64"])]),
    ("BIOS", &[]),
    ("BIOS/ACPI", &[("enabled", ON)]),
    ("BIOS/APIC", &[("mode", &["APIC", "X2APIC"])]),
    ("BIOS/AutoSerialNumGen", &[("enabled", ANY)]),
    ("BIOS/BootMenu", &[("mode", &["MessageAndMenu"])]),
    ("BIOS/IOAPIC", &[("enabled", ON)]),
    ("BIOS/Logo", &[("fadeIn", ANY), ("fadeOut", ANY), ("displayTime", ANY), ("imagePath", &[""])]),
    // Its place on the host; in a package it is a file.
    ("BIOS/NVRAM", &[("path", ANY)]),
    ("BIOS/PXEDebug", &[("enabled", OFF)]),
    ("BIOS/SmbiosUuidLittleEndian", &[("enabled", ANY)]),
    ("BIOS/TimeOffset", &[("value", NONE)]),
    ("HID", &[("Pointing", &["PS2Mouse"]), ("Keyboard", &["PS2Keyboard"])]),
    ("Paravirt", &[("provider", &["Default"])]),
    ("Iommu", &[("type", &["None"])]),
    ("IOMMU", &[("type", &["None"])]),
    (
        "Display",
        &[
            // Each hypervisor has one of its own.
            ("controller", &["VBoxVGA", "VBoxSVGA", "VMSVGA"]),
            ("VRAMSize", ANY),
            ("monitorCount", &["1"]),
            ("accelerate3D", OFF),
            ("accelerate2DVideo", OFF),
        ],
    ),
    ("TrustedPlatformModule", &[("type", &["None", "v2_0"]), ("location", &[""])]),
    ("Guest", &[("memoryBalloonSize", NONE), ("statisticsUpdateInterval", ANY)]),
    ("IO", &[]),
    ("IO/IoCache", &[("enabled", ANY), ("size", ANY)]),
    ("IO/BandwidthGroups", &[]),
    ("HostPci", &[]),
    ("HostPci/Devices", &[]),
    ("EmulatedUSB", &[]),
    ("EmulatedUSB/CardReader", &[("enabled", OFF)]),
    // Numbers of a card that are read elsewhere, and what is told of the host's ends of its cable.
    (
        "Adapter",
        &[
            ("slot", ANY),
            ("enabled", ANY),
            ("MACAddress", ANY),
            ("type", ANY),
            ("cable", ON),
            ("speed", NONE),
            ("bootPriority", NONE),
            ("promiscuousModePolicy", &["Deny"]),
            ("trace", OFF),
            ("tracefile", ANY),
        ],
    ),
    ("Adapter/NAT", &[("localhost-reachable", ANY), ("network", &[""]), ("hostip", &[""])]),
    ("Adapter/NAT/DNS", &[("pass-domain", ON), ("use-proxy", OFF), ("use-host-resolver", OFF)]),
    ("Adapter/NAT/Alias", &[("logging", OFF), ("proxy-only", OFF), ("use-same-ports", OFF)]),
    ("Adapter/BridgedInterface", &[("name", ANY)]),
    ("Adapter/HostOnlyInterface", &[("name", ANY)]),
    ("Adapter/InternalNetwork", &[("name", ANY)]),
    ("Adapter/NATNetwork", &[("name", ANY)]),
    ("StorageControllers", &[]),
    (
        "StorageControllers/StorageController",
        &[
            ("name", ANY),
            ("type", ANY),
            ("PortCount", ANY),
            ("Instance", ANY),
            ("useHostIOCache", ANY),
            ("Bootable", ON),
            ("IDE0MasterEmulationPort", ANY),
            ("IDE0SlaveEmulationPort", ANY),
            ("IDE1MasterEmulationPort", ANY),
            ("IDE1SlaveEmulationPort", ANY),
        ],
    ),
    (
        "StorageControllers/StorageController/AttachedDevice",
        &[
            ("type", ANY),
            ("port", ANY),
            ("device", ANY),
            ("passthrough", OFF),
            ("tempeject", OFF),
            ("hotpluggable", OFF),
            ("nonrotational", OFF),
            ("discard", OFF),
            ("bandwidthGroup", &[""]),
        ],
    ),
    ("StorageControllers/StorageController/AttachedDevice/Image", &[("uuid", ANY)]),
];

/// Names what an element at this place says, if it is not known to say nothing.
pub(super) fn judge(place: &str, element: &Element, machine: &mut PackagedMachine) {
    let Some((_, known)) = KNOWN.iter().find(|(known, _)| *known == place) else {
        return name_unknown(place, element, machine);
    };
    for (name, value) in element.attributes() {
        let values = known.iter().find(|(known, _)| *known == name).map(|(_, values)| *values);
        if !values.is_some_and(|values| values.is_empty() || values.iter().any(|known| is_same(known, value))) {
            machine.leave_out(format!("VirtualBox's setting {place} {}", setting(name, value)));
        }
    }
    // Of a card: the networks that are not in use.
    for child in element.children.iter().filter(|child| child.name != "DisabledModes") {
        judge(&format!("{place}/{}", child.name), child, machine);
    }
}

/// Names an element that is not known, with what it says; not if it says that it is not there.
fn name_unknown(place: &str, element: &Element, machine: &mut PackagedMachine) {
    const MOST: usize = 4;
    let is_there = element.attribute("enabled").is_none_or(|value| is_same("true", value));
    let is_empty = element.children.is_empty() && element.text().is_empty() && element.attributes().next().is_none();
    if is_there && !is_empty {
        let attributes = element.attributes().take(MOST).map(|(name, value)| setting(name, value));
        let attributes = attributes.collect::<Vec<_>>().join(", ");
        let between = if attributes.is_empty() { "" } else { " " };
        machine.leave_out(format!("VirtualBox's setting {}{between}{attributes}", quoted(place).trim_matches('"')));
    }
}

/// Names processors and memory that are others than OVF's own items say; VirtualBox itself takes these.
pub(super) fn judge_size(hardware: &Element, machine: &mut PackagedMachine) {
    let said = |part: &'static str, name: &'static str| hardware.all(part).next().and_then(|part| part.attribute(name));
    let (cpus, memory) = (u64::from(machine.description.cpus), machine.description.memory_mib);
    for (part, name, read) in [("CPU", "count", cpus), ("Memory", "RAMSize", memory)] {
        if let Some(value) = said(part, name).filter(|value| value.parse() != Ok(read)) {
            machine.leave_out(format!("VirtualBox's setting {part} {}", setting(name, value)));
        }
    }
    // VirtualBox chooses up to so many MiB by the guest's system.
    const VIDEO_MEMORY: u32 = 128;
    let is_usual = |value: &str| value.parse::<u32>().is_ok_and(|mib| mib <= VIDEO_MEMORY);
    if let Some(value) = said("Display", "VRAMSize").filter(|value| !is_usual(value)) {
        machine.leave_out(format!("VirtualBox's setting Display {}", setting("VRAMSize", value)));
    }
}

/// Names an order in which a machine does not start from its disks, or from the network before them.
pub(super) fn judge_boot(boot: &Element, machine: &mut PackagedMachine) {
    let mut order = ["Floppy", "DVD", "HardDisk", "None"];
    for entry in boot.all("Order") {
        let (position, device) = (entry.attribute("position"), entry.attribute("device").unwrap_or_default());
        let place = position.and_then(|position| position.parse::<usize>().ok()?.checked_sub(1));
        match place.and_then(|place| order.get_mut(place)) {
            Some(place) => *place = device,
            None => {
                let position = quoted(position.unwrap_or_default());
                machine.leave_out(format!("VirtualBox's setting Boot/Order at the position {position}"));
            }
        }
    }
    let at = |device: &str| order.iter().position(|one| one.eq_ignore_ascii_case(device));
    let is_before = |other: Option<usize>, disk| other.is_some_and(|other| other < disk);
    let is_known =
        |one: &&str| ["None", "Floppy", "DVD", "HardDisk", "Network"].iter().any(|known| is_same(known, one));
    let is_usual = at("HardDisk").is_some_and(|disk| !is_before(at("Network"), disk)) && order.iter().all(is_known);
    if !is_usual {
        let order = order.map(|device| quoted(device).trim_matches('"').to_owned());
        machine.leave_out(format!("that it starts from {}", order.join(", ")));
    }
}

/// Names what a guest can ask for, but for what VirtualBox itself notes there.
pub(super) fn judge_properties(properties: &Element, machine: &mut PackagedMachine) {
    for property in properties.all("GuestProperty") {
        let (name, value) = (property.attribute("name").unwrap_or_default(), property.attribute("value"));
        if !name.starts_with("/VirtualBox/") {
            machine.leave_out(format!("the guest property {}", setting(name, value.unwrap_or_default())));
        }
    }
}

fn is_same(known: &str, value: &str) -> bool {
    known.eq_ignore_ascii_case(value) || matches!((known, value), ("true", "1") | ("false", "0"))
}

#[cfg(test)]
mod tests;
