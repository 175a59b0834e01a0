//! VirtualBox's own description of a machine inside an OVF, read for what OVF has no words for: UEFI, a TPM, nested virtualization, and
//! network cards. The rest of the hardware is in OVF's own items.

use super::packaged::{PackagedMachine, quoted, setting};
use super::vbox_defaults;
use super::vendor_words::{network_of_element, network_of_word};
use super::xml_tree::Element;
use crate::machine::{Firmware, MacAddress, NicModel};

/// Parts of the hardware that are read below, or say only how VirtualBox shows or records the machine.
const NO_LOSS: [&str; 10] = [
    "Boot",
    "Chipset",
    "Clipboard",
    "DragAndDrop",
    "Frontend",
    "GuestProperties",
    "Network",
    "RTC",
    "Recording",
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
            name if is_used(part) => {
                machine.leave_out(format!("VirtualBox's setting {}", quoted(name).trim_matches('"')));
            }
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
            // Whether secure boot is on is in the NVRAM alone.
            machine.description.firmware = Firmware::Uefi { secure_boot: false };
        }
    }
    if kind("TrustedPlatformModule").is_some_and(|kind| !kind.eq_ignore_ascii_case("none")) {
        machine.description.tpm = true;
    }
    let nested = child("CPU").and_then(|cpu| cpu.all("NestedHWVirt").next());
    machine.description.nested_virtualization |= nested.is_some_and(is_enabled);
    vbox_defaults::judge_size(hardware, machine);
    if let Some(uuid) = hardware.attribute("uuid").filter(|uuid| uuid.contains(|c| !matches!(c, '0' | '-' | '{' | '}')))
    {
        machine.leave_out(format!("VirtualBox's setting Hardware {}", setting("uuid", uuid)));
    }
    hardware.all("Boot").for_each(|boot| vbox_defaults::judge_boot(boot, machine));
    hardware.all("GuestProperties").for_each(|properties| vbox_defaults::judge_properties(properties, machine));
    add_cards(child("Network"), machine);
    // Others have these two for each machine.
    if let Some(chipset) = kind("Chipset").filter(|kind| !kind.eq_ignore_ascii_case("PIIX3")) {
        machine.leave_out(format!("the chipset {}", quoted(chipset).trim_matches('"')));
    }
    match child("RTC").and_then(|clock| clock.attribute("localOrUTC")) {
        Some(zone) if zone.eq_ignore_ascii_case("UTC") => machine.leave_out("the clock in UTC".to_owned()),
        Some(zone) if !zone.eq_ignore_ascii_case("local") => {
            machine.leave_out(format!("VirtualBox's setting RTC {}", setting("localOrUTC", zone)));
        }
        _ => {}
    }
    for part in hardware.children.iter().filter(|part| !NO_LOSS.contains(&part.name.as_str())) {
        let device = match part.name.as_str() {
            "AudioAdapter" => "a sound card",
            "USB" => "USB",
            "UART" => "a serial port",
            "LPT" => "a parallel port",
            "SharedFolders" => "shared folders",
            "RemoteDisplay" => "the remote display",
            name => {
                vbox_defaults::judge(name, part, machine);
                continue;
            }
        };
        if is_used(part) {
            machine.leave_out(device.to_owned());
        }
    }
    // Older versions have them beside the hardware.
    own.all("StorageControllers").for_each(|list| vbox_defaults::judge("StorageControllers", list, machine));
}

/// Names settings of a machine that have no words of their own: `VBoxInternal2/EfiGraphicsResolution`.
fn name_extra_data(data: &Element, machine: &mut PackagedMachine) {
    for item in data.all("ExtraDataItem") {
        let (name, value) = (item.attribute("name").unwrap_or_default(), item.attribute("value").unwrap_or_default());
        // Where its window was.
        if !name.starts_with("GUI/") {
            machine.leave_out(format!("VirtualBox's setting {}", setting(name, value)));
        }
    }
}

/// Adds to the cards what their items do not say, when both descriptions have as many: addresses, the models that OVF has no word for,
/// and the names of networks.
fn add_cards(network: Option<&Element>, machine: &mut PackagedMachine) {
    let adapters = network.into_iter().flat_map(|network| network.all("Adapter"));
    let mut enabled: Vec<&Element> = adapters.filter(|adapter| is_enabled(adapter)).collect();
    enabled.sort_by_key(|adapter| adapter.attribute("slot").and_then(|slot| slot.parse::<u32>().ok()));
    if enabled.len() != machine.description.nics.len() {
        if !enabled.is_empty() {
            let (ours, theirs) = (machine.description.nics.len(), enabled.len());
            machine.leave_out(format!("what VirtualBox says of {theirs} network cards, as OVF's items have {ours}"));
        }
        return;
    }
    enabled.iter().for_each(|adapter| name_card(adapter, machine));
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

/// Names what is said of a card beyond what is read of it.
fn name_card(adapter: &Element, machine: &mut PackagedMachine) {
    const MODELS: [&str; 7] = ["", "Am79C970A", "Am79C973", "82540EM", "82543GC", "82545EM", "virtio"];
    vbox_defaults::judge("Adapter", adapter, machine);
    let address = adapter.attribute("MACAddress").unwrap_or_default();
    if !address.is_empty() && MacAddress::from_text(address).is_none() {
        machine.leave_out(format!("VirtualBox's setting Adapter {}", setting("MACAddress", address)));
    }
    let model = adapter.attribute("type").unwrap_or_default();
    if !MODELS.iter().any(|known| known.eq_ignore_ascii_case(model)) {
        machine.leave_out(format!("VirtualBox's setting Adapter {}", setting("type", model)));
    }
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
            _ => !part.children.is_empty() || !part.text().is_empty(),
        },
    }
}
