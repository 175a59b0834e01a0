//! VirtualBox's own description of a machine inside an OVF, read for what OVF has no words for: UEFI, a TPM, nested virtualization, and
//! network cards. The rest of the hardware is in OVF's own items.

use super::packaged::PackagedMachine;
use super::vendor_words::{network_of_element, network_of_word};
use super::xml_tree::Element;
use crate::machine::{Firmware, MacAddress, NicModel};

/// Parts of the hardware that are read, are in OVF's own items, or say only how VirtualBox shows or speeds up the machine.
const NO_LOSS: [&str; 16] = [
    "BIOS",
    "Boot",
    "CPU",
    "Clipboard",
    "Display",
    "DragAndDrop",
    "Firmware",
    "GuestProperties",
    "HID",
    "IOMMU",
    "Memory",
    "Network",
    "Paravirt",
    "StorageControllers",
    "TrustedPlatformModule",
    "VideoCapture",
];

/// What a machine has beside its hardware that says nothing of the machine itself, or is in OVF's own items.
const NO_LOSS_BESIDE: [&str; 7] =
    ["Description", "Groups", "Hardware", "Info", "MediaRegistry", "Snapshot", "StorageControllers"];

/// Adds what the element says to a machine that OVF's own items described.
pub(super) fn add(own: &Element, machine: &mut PackagedMachine) {
    for part in own.children.iter().filter(|part| !NO_LOSS_BESIDE.contains(&part.name.as_str())) {
        match part.name.as_str() {
            "ExtraData" => name_extra_data(part, machine),
            name if is_used(part) => machine.leave_out(format!("VirtualBox's setting {name}")),
            _ => {}
        }
    }
    let Some(hardware) = own.all("Hardware").next() else { return };
    let child = |name: &'static str| hardware.all(name).next();
    let kind = |name: &'static str| child(name).and_then(|element| element.attribute("type"));
    if machine.firmware.is_none() {
        let is_efi = kind("Firmware").is_some_and(|kind| kind.to_ascii_uppercase().starts_with("EFI"));
        machine.firmware = Some(if is_efi { "efi" } else { "bios" }.to_owned());
        if is_efi {
            machine.description.firmware = Firmware::Uefi { secure_boot: false };
        }
    }
    if kind("TrustedPlatformModule").is_some_and(|kind| !kind.eq_ignore_ascii_case("none")) {
        machine.description.tpm = true;
    }
    let nested = child("CPU").and_then(|cpu| cpu.all("NestedHWVirt").next());
    machine.description.nested_virtualization |= nested.is_some_and(is_enabled);
    add_cards(child("Network"), machine);
    // Others have these two for each machine.
    if let Some(chipset) = kind("Chipset").filter(|kind| !kind.eq_ignore_ascii_case("PIIX3")) {
        machine.leave_out(format!("the chipset {chipset}"));
    }
    let clock = child("RTC").and_then(|clock| clock.attribute("localOrUTC"));
    if clock.is_some_and(|zone| zone.eq_ignore_ascii_case("UTC")) {
        machine.leave_out("the clock in UTC".to_owned());
    }
    for part in hardware.children.iter().filter(|part| !matches!(part.name.as_str(), "Chipset" | "RTC")) {
        if NO_LOSS.contains(&part.name.as_str()) || !is_used(part) {
            continue;
        }
        let what = match part.name.as_str() {
            "AudioAdapter" => "a sound card".to_owned(),
            "USB" => "USB".to_owned(),
            "UART" => "a serial port".to_owned(),
            "LPT" => "a parallel port".to_owned(),
            "SharedFolders" => "shared folders".to_owned(),
            "RemoteDisplay" => "the remote display".to_owned(),
            name => format!("VirtualBox's setting {name}"),
        };
        machine.leave_out(what);
    }
}

/// Names settings of a machine that have no words of their own: `VBoxInternal2/EfiGraphicsResolution`.
fn name_extra_data(data: &Element, machine: &mut PackagedMachine) {
    let names = data.all("ExtraDataItem").filter_map(|item| item.attribute("name"));
    // Where its window was.
    for name in names.filter(|name| !name.starts_with("GUI/")) {
        machine.leave_out(format!("VirtualBox's setting {name}"));
    }
}

/// Adds to the cards what their items do not say, when both descriptions have as many: addresses, the models that OVF has no word for,
/// and the names of networks.
fn add_cards(network: Option<&Element>, machine: &mut PackagedMachine) {
    let adapters = network.into_iter().flat_map(|network| network.all("Adapter"));
    let mut enabled: Vec<&Element> = adapters.filter(|adapter| is_enabled(adapter)).collect();
    enabled.sort_by_key(|adapter| adapter.attribute("slot").and_then(|slot| slot.parse::<u32>().ok()));
    if enabled.len() != machine.description.nics.len() {
        return;
    }
    for (nic, adapter) in machine.description.nics.iter_mut().zip(enabled) {
        nic.mac = nic.mac.or_else(|| adapter.attribute("MACAddress").and_then(MacAddress::from_text));
        match adapter.attribute("type") {
            Some(model) if model.eq_ignore_ascii_case("virtio") => nic.model = NicModel::Virtio,
            Some(model) if model.starts_with("Am79") => nic.model = NicModel::PcNet32,
            _ => {}
        }
        // A name that is none of VirtualBox's is another hypervisor's.
        if network_of_word(&nic.network).is_none() {
            continue;
        }
        // The networks that are not in use are in an element of their own.
        let networks = adapter.children.iter().filter_map(|child| Some((child, network_of_element(&child.name)?)));
        for (network, words) in networks {
            if !nic.network.eq_ignore_ascii_case(words.word) {
                words.word.clone_into(&mut nic.network);
            }
            let name = network.attribute("name").filter(|name| words.has_name && !name.is_empty());
            nic.virtualbox_network = name.map(str::to_owned);
        }
    }
    machine.networks = machine.description.nics.iter().map(|nic| nic.network.clone()).collect();
}

fn is_enabled(element: &Element) -> bool {
    matches!(element.attribute("enabled"), Some("true" | "1"))
}

/// Says whether a part of the hardware is more than an empty or disabled element.
fn is_used(part: &Element) -> bool {
    match part.attribute("enabled") {
        Some(_) => is_enabled(part),
        None => match part.name.as_str() {
            "USB" => part.all("Controllers").any(|list| !list.children.is_empty()),
            "UART" | "LPT" => part.children.iter().any(is_enabled),
            _ => !part.children.is_empty(),
        },
    }
}
