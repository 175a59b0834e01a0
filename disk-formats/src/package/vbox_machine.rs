//! VirtualBox's own description of a machine inside an OVF. OVF has no words of its own for UEFI and TPM that VirtualBox
//! knows; where this element is present VirtualBox takes the hardware from it, and from the rest only the disks' contents.
//!
//! Element names and values are those that VirtualBox 7.2 exports. Other importers skip the element.

use sha2::{Digest, Sha256};

use super::places::Places;
use super::vendor_words::{NetworkWords, network_of_word};
use super::xml::Xml;
use crate::machine::{DiskController, Firmware, MachineDescription, MachineNic, NicModel};

/// Settings format of VirtualBox 7.0, the first with a TPM.
const VERSION_WITH_TPM: &str = "1.19-linux";
/// Settings format of VirtualBox 5.1, which everything in use reads.
const VERSION: &str = "1.16-linux";

/// Says whether a machine has something that VirtualBox does not take from OVF's own elements.
pub(crate) fn is_needed(machine: &MachineDescription) -> bool {
    machine.virtualbox_settings.is_some()
        || machine.tpm
        || machine.nested_virtualization
        || machine.firmware != Firmware::Bios
        // Elsewhere an internal network has no name, and two machines that had one each would share one.
        || machine.nics.iter().any(|nic| named_network(nic).is_some_and(|(words, _)| words.word == "Internal"))
}

/// Says which cards are on a network of a name that VirtualBox does not know, and what it makes of that.
#[must_use]
pub fn virtualbox_doubts(machine: &MachineDescription) -> Vec<String> {
    let numbered = machine.nics.iter().zip(1..).filter(|(nic, _)| network_of_word(&nic.network).is_none());
    let doubt = |(nic, number): (&MachineNic, u32)| {
        format!(
            "network card {number} is on the network {:?}, which VirtualBox takes for a bridge to the host's",
            nic.network
        )
    };
    numbered.map(doubt).collect()
}

/// Returns the kind and the name of a card's network, when VirtualBox has such a kind and it has a name there.
fn named_network(nic: &MachineNic) -> Option<(&'static NetworkWords, &str)> {
    let words = network_of_word(&nic.network).filter(|words| words.has_name)?;
    Some((words, nic.virtualbox_network.as_deref()?))
}

/// Returns the identifier that ties a disk of the package to its place in the machine: VirtualBox's own, else a UUID of version 8 from
/// their names.
pub(crate) fn disk_uuid(machine: &MachineDescription, index: usize) -> String {
    if let Some(uuid) = machine.virtualbox_settings.as_ref().and_then(|settings| settings.disks.get(index)) {
        return uuid.clone();
    }
    uuid(&format!("disk {index} of {}", machine.name))
}

fn uuid(purpose: &str) -> String {
    let digest = Sha256::digest(purpose);
    let mut hex = String::new();
    for (index, byte) in digest.iter().take(16).enumerate() {
        let byte = match index {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(index, 4 | 6 | 8 | 10) {
            hex.push('-');
        }
        hex += &format!("{byte:02x}");
    }
    hex
}

/// Writes the element into a virtual system.
pub(crate) fn write(xml: &mut Xml, machine: &MachineDescription, places: &Places) {
    let id = format!("{{{}}}", uuid(&format!("machine {}", machine.name)));
    let version = match &machine.virtualbox_settings {
        Some(settings) => &settings.version,
        None if machine.tpm => VERSION_WITH_TPM,
        None => VERSION,
    };
    xml.open(
        "vbox:Machine",
        &[
            ("ovf:required", "false"),
            ("version", version),
            ("uuid", &id),
            ("name", &machine.name),
            ("OSType", machine.guest_words.virtualbox.as_deref().unwrap_or(machine.guest_os.words().virtualbox)),
        ],
    );
    xml.text("ovf:Info", &[], "The machine in VirtualBox's own words");
    if let Some(settings) = &machine.virtualbox_settings {
        xml.part(&settings.elements).close();
        return;
    }
    xml.open("Hardware", &[]);
    xml.open("CPU", &[("count", &machine.cpus.to_string())]).empty("LongMode", &[("enabled", "true")]);
    if machine.nested_virtualization {
        xml.empty("NestedHWVirt", &[("enabled", "true")]);
    }
    xml.close();
    xml.empty("Memory", &[("RAMSize", &machine.memory_mib.to_string())]);
    xml.empty("Firmware", &[("type", if machine.firmware == Firmware::Bios { "BIOS" } else { "EFI" })]);
    xml.open("BIOS", &[]).empty("IOAPIC", &[("enabled", "true")]).close();
    if machine.tpm {
        xml.empty("TrustedPlatformModule", &[("type", "v2_0"), ("location", "")]);
    }
    network(xml, machine);
    // VirtualBox 7 looks here, older ones beside the hardware; the settings format says which.
    if machine.tpm {
        storage(xml, machine, places);
        xml.close();
    } else {
        xml.close();
        storage(xml, machine, places);
    }
    xml.close();
}

fn network(xml: &mut Xml, machine: &MachineDescription) {
    xml.open("Network", &[]);
    for (slot, nic) in machine.nics.iter().enumerate() {
        let slot = slot.to_string();
        let model = match nic.model {
            NicModel::PcNet32 => "Am79C973",
            NicModel::Virtio => "virtio",
            // It has neither of VMware's own, and the 82574L in its newest versions only.
            NicModel::E1000 | NicModel::E1000e | NicModel::Vmxnet3 => "82545EM",
        };
        let mac = nic.mac.map(|mac| mac.plain());
        let mut attributes = vec![("slot", slot.as_str()), ("enabled", "true"), ("type", model)];
        attributes.extend(mac.as_deref().map(|mac| ("MACAddress", mac)));
        xml.open("Adapter", &attributes);
        match (named_network(nic), network_of_word(&nic.network)) {
            (Some((words, name)), _) => xml.empty(words.element, &[("name", name)]),
            (None, Some(words)) => xml.empty(words.element, &[]),
            // What it makes of a name that it does not know in the item.
            (None, None) => xml.empty("BridgedInterface", &[]),
        };
        xml.close();
    }
    xml.close();
}

fn storage(xml: &mut Xml, machine: &MachineDescription, places: &Places) {
    xml.open("StorageControllers", &[]);
    let mut kinds: Vec<DiskController> = Vec::new();
    for kind in &places.controllers {
        // VirtualBox has one controller of a kind, with as many ports as are needed.
        if !kinds.contains(kind) {
            kinds.push(*kind);
            controller(xml, machine, places, *kind, kinds.len() - 1);
        }
    }
    xml.close();
}

/// Writes the controller of a kind, the `number`th of the machine.
fn controller(xml: &mut Xml, machine: &MachineDescription, places: &Places, kind: DiskController, number: usize) {
    let disks = places.disks.iter().enumerate().filter(|(_, (place, _))| places.controllers[*place] == kind);
    let on_it: Vec<(usize, usize, u32)> = disks.map(|(disk, (place, unit))| (disk, *place, *unit)).collect();
    let is_one = places.controllers.iter().filter(|other| **other == kind).count() == 1;
    // What hangs on several controllers is counted through; IDE has two devices on each of two channels.
    let port = |index: usize, place: usize, unit: u32| match kind {
        DiskController::Ide => (places.number_on_bus(place) as u32, unit),
        _ if is_one => (unit, 0),
        _ => (kind.unit(index as u32), 0),
    };
    let ports = on_it.iter().enumerate().map(|(index, (_, place, unit))| port(index, *place, *unit).0 + 1).max();
    let ports = ports.unwrap_or(1);
    let (model, ports) = match kind {
        DiskController::Ide => ("PIIX4", 2),
        DiskController::Sata => ("AHCI", ports),
        DiskController::LsiLogicSas => ("LsiLogicSas", ports),
        DiskController::BusLogic => ("BusLogic", 16),
        // It has no paravirtual SCSI of VMware's.
        DiskController::LsiLogic | DiskController::ParavirtualScsi => ("LsiLogic", 16),
        DiskController::Nvme => ("NVMe", ports),
    };
    let name = kind.words().title;
    let name = if number == 0 { name.to_owned() } else { format!("{name} {number}") };
    let ports = ports.to_string();
    let attributes = [("name", name.as_str()), ("type", model), ("PortCount", &ports), ("Bootable", "true")];
    xml.open("StorageController", &attributes);
    for (index, (disk, place, unit)) in on_it.into_iter().enumerate() {
        let (port, device) = port(index, place, unit);
        let (port, device) = (port.to_string(), device.to_string());
        xml.open("AttachedDevice", &[("type", "HardDisk"), ("port", &port), ("device", &device)]);
        xml.empty("Image", &[("uuid", &format!("{{{}}}", disk_uuid(machine, disk)))]).close();
    }
    xml.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_keep_their_kind_and_name() {
        let nic = |network: &str, name: Option<&str>| MachineNic {
            network: network.to_owned(),
            virtualbox_network: name.map(str::to_owned),
            ..MachineNic::default()
        };
        let mut machine =
            MachineDescription { nics: vec![nic("Internal", Some("lan"))], ..MachineDescription::default() };
        assert!(is_needed(&machine), "only here an internal network has a name");
        machine.nics =
            vec![nic("Bridged", Some("eth0")), nic("nat", Some("x")), nic("HostOnly", None), nic("web", None)];
        assert!(!is_needed(&machine));
        assert_eq!(virtualbox_doubts(&machine).len(), 1);
        machine.nics.push(nic("Internal", Some("lan")));
        let mut xml = Xml::new();
        network(&mut xml, &machine);
        let text = xml.finish();
        for (slot, element) in [
            "<BridgedInterface name=\"eth0\"/>",
            "<NAT/>",
            "<HostOnlyInterface/>",
            "<BridgedInterface/>",
            "<InternalNetwork name=\"lan\"/>",
        ]
        .into_iter()
        .enumerate()
        {
            let adapter = text.split("<Adapter ").nth(slot + 1).unwrap();
            assert!(
                adapter.starts_with(&format!("slot=\"{slot}\"")) && adapter.contains(element),
                "{element} in {text}"
            );
        }
    }
}
