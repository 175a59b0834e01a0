//! A machine of VirtualBox, read out of the file in which it keeps the machine's settings (`NAME.vbox`): as a description, and in
//! VirtualBox's own words, which a package for VirtualBox gets as they are. What it exports itself has the same words.

use std::path::Path;

use super::described::MAX_DESCRIPTOR;
use super::guest_names::NamedGuest;
use super::packaged::PackagedMachine;
use super::vbox_reader;
use super::xml::Xml;
use super::xml_tree::{self, Element};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{DiskController, DiskSlot, MachineDisk, MachineNic, VendorGuestWords, VirtualBoxSettings};
use crate::reading::source_file::SourceFile;

/// Most network cards and disks of a machine; VirtualBox's own limits are below.
const MAX_CARDS: usize = 64;
const MAX_DISKS: usize = 1024;

/// What stays behind, by its name inside the machine: it is the host's, or of other states of the machine.
const NOT_IN_A_PACKAGE: [&str; 3] = ["MediaRegistry", "Snapshot", "Teleporter"];

/// The remote display, with the address and the port that it has on this host.
const REMOTE_DISPLAY: &str = "RemoteDisplay";

/// Reads the settings file of a machine of VirtualBox. The disks are named by the UUIDs that VirtualBox knows their images by.
///
/// # Errors
/// When the file cannot be read, or has no machine in it: VirtualBox encrypts some.
pub fn virtualbox_machine(path: &Path) -> Result<PackagedMachine> {
    read_settings(path, machine)
}

/// How a machine's remote display is set, in VBoxManage's words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VirtualBoxRemoteDisplay {
    /// Who may look: `null` is everybody.
    pub auth: String,
    /// Where it listens; empty: everywhere.
    pub address: String,
    /// The ports of which it takes one.
    pub ports: String,
}

/// Reads the settings of a machine's remote display, which VBoxManage does not tell of one that is off; `None`: they are in words of a version
/// that is not known.
///
/// # Errors
/// As [`virtualbox_machine`].
pub fn virtualbox_remote_display(path: &Path) -> Result<Option<VirtualBoxRemoteDisplay>> {
    read_settings(path, |root| {
        let own = root.all("Machine").next().filter(|_| root.name == "VirtualBox");
        Ok(own.and_then(|own| own.all("Hardware").next()).and_then(remote_display))
    })
}

fn remote_display(hardware: &Element) -> Option<VirtualBoxRemoteDisplay> {
    const KNOWN: [&str; 6] =
        ["enabled", "authType", "authTimeout", "allowMultiConnection", "reuseSingleConnection", "authLibrary"];
    let mut set = VirtualBoxRemoteDisplay { auth: "null".to_owned(), address: String::new(), ports: "3389".to_owned() };
    let Some(display) = hardware.all(REMOTE_DISPLAY).next() else { return Some(set) };
    if display.attributes().any(|(name, _)| !KNOWN.contains(&name)) {
        return None;
    }
    if let Some(auth) = display.attribute("authType") {
        set.auth = auth.to_ascii_lowercase();
    }
    for property in display.all("VRDEProperties").flat_map(|list| list.all("Property")) {
        let value = property.attribute("value").unwrap_or_default();
        match property.attribute("name") {
            Some("TCP/Address") => value.clone_into(&mut set.address),
            Some("TCP/Ports") if !value.is_empty() => value.clone_into(&mut set.ports),
            _ => {}
        }
    }
    Some(set)
}

fn read_settings<T>(path: &Path, judge: impl FnOnce(&Element) -> Result<T>) -> Result<T> {
    let read = || {
        let file = SourceFile::open(path)?;
        if file.len() > MAX_DESCRIPTOR {
            return Err(file.error(ErrorKind::TooLarge, "the settings of a machine are not so long"));
        }
        judge(&xml_tree::read_bytes(&file.read_table(0, file.len(), "the settings")?)?)
    };
    read().map_err(|error| error.with_path(path).during(Operation::Open))
}

fn machine(root: &Element) -> Result<PackagedMachine> {
    let broken = |rule: &'static str| Error::new(ErrorKind::Corrupt, Operation::Read, rule);
    let Some(own) = root.all("Machine").next().filter(|_| root.name == "VirtualBox") else {
        return Err(match root.all("MachineEncrypted").next() {
            Some(_) => Error::new(ErrorKind::Unsupported, Operation::Read, "the machine is encrypted"),
            None => broken("not the settings of a machine of VirtualBox"),
        });
    };
    let hardware = own.all("Hardware").next().ok_or_else(|| broken("the settings have no hardware"))?;
    let version = root.attribute("version").ok_or_else(|| broken("the settings do not tell their version"))?;
    let number = |of: &str, name: &str| hardware.all(of).next()?.attribute(name)?.parse::<u64>().ok();
    let mut machine = PackagedMachine {
        name: own.attribute("name").map(str::to_owned),
        cpus: Some(number("CPU", "count").unwrap_or(1)),
        memory: number("Memory", "RAMSize").and_then(|mib| mib.checked_mul(1 << 20)),
        guest_os: own.attribute("OSType").map(str::to_owned),
        ..PackagedMachine::default()
    };
    machine.describe_size();
    let words = VendorGuestWords { virtualbox: machine.guest_os.clone(), ..VendorGuestWords::default() };
    let found = NamedGuest::of(words, None);
    let description = &mut machine.description;
    (description.guest_os, description.guest_words) = (found.guest, found.words);
    // Its own word stays, whatever others call the same guest.
    description.guest_words.virtualbox.clone_from(&machine.guest_os);
    description.annotation = own.text_of("Description").filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(name) = &machine.name {
        description.name.clone_from(name);
    }
    let adapters = hardware.all("Network").flat_map(|network| network.all("Adapter"));
    let enabled = adapters.filter(|adapter| matches!(adapter.attribute("enabled"), Some("true" | "1")));
    description.nics = enabled.take(MAX_CARDS).map(|_| MachineNic::default()).collect();
    vbox_reader::add(own, &mut machine);
    // Older versions have them beside the hardware.
    for list in hardware.all("StorageControllers").chain(own.all("StorageControllers")) {
        add_disks(list, &mut machine);
    }
    if machine.disks.len() > MAX_DISKS {
        return Err(broken("the machine has more than 1024 disks"));
    }
    machine.description.virtualbox_settings = Some(VirtualBoxSettings {
        version: version.to_owned(),
        elements: elements(own).into(),
        disks: machine.disks.clone(),
    });
    Ok(machine)
}

/// Adds the disks of the controllers, in the order in which VirtualBox has them.
fn add_disks(list: &Element, machine: &mut PackagedMachine) {
    let mut kinds: Vec<DiskController> = Vec::new();
    for controller in list.all("StorageController") {
        let word = controller.attribute("type").unwrap_or_default();
        let known = kind(word);
        // What only VirtualBox has is SATA to others.
        let kind = known.unwrap_or_default();
        let number = kinds.iter().filter(|other| **other == kind).count();
        kinds.push(kind);
        for device in controller.all("AttachedDevice") {
            let Some(uuid) = image(device) else { continue };
            if known.is_none() {
                machine.leave_out(format!("the controller {word}, whose disks are on SATA for other hypervisors"));
            }
            let place = |name: &str| device.attribute(name).and_then(|number| number.parse::<u32>().ok());
            let slot = place("port").zip(place("device")).map(|(port, device)| match kind {
                DiskController::Ide => DiskSlot { controller: port, unit: device },
                _ => DiskSlot { controller: number as u32, unit: port },
            });
            let slot = slot.filter(|slot| known.is_some() && kind.has_unit(slot.unit));
            machine.description.disks.push(MachineDisk { controller: kind, slot, file: None });
            machine.disks.push(uuid.to_owned());
        }
    }
}

/// The UUID of the image of a disk; `None` for a drive.
fn image(device: &Element) -> Option<&str> {
    let is_disk = device.attribute("type") == Some("HardDisk");
    let uuid = device.all("Image").next().filter(|_| is_disk)?.attribute("uuid")?;
    Some(uuid.trim_matches(['{', '}']))
}

fn kind(word: &str) -> Option<DiskController> {
    Some(match word {
        "PIIX3" | "PIIX4" | "ICH6" => DiskController::Ide,
        "AHCI" => DiskController::Sata,
        "LsiLogic" => DiskController::LsiLogic,
        "LsiLogicSas" => DiskController::LsiLogicSas,
        "BusLogic" => DiskController::BusLogic,
        "NVMe" => DiskController::Nvme,
        _ => return None,
    })
}

/// Writes what is inside the machine, without what stays behind.
fn elements(own: &Element) -> String {
    let mut xml = Xml::new_part();
    for child in own.children.iter().filter(|child| !NOT_IN_A_PACKAGE.contains(&child.name.as_str())) {
        write(&mut xml, child, &own.name);
    }
    xml.finish()
}

fn write(xml: &mut Xml, element: &Element, parent: &str) {
    let stays_behind = match element.name.as_str() {
        REMOTE_DISPLAY => parent == "Hardware",
        // Its place on this host; a package has it as a file.
        "NVRAM" => parent == "BIOS",
        _ => false,
    };
    if stays_behind {
        return;
    }
    let attributes: Vec<(&str, &str)> = element.attributes().collect();
    // What is in a drive is no part of the machine.
    let is_drive = element.name == "AttachedDevice" && element.attribute("type") != Some("HardDisk");
    match (element.children.is_empty() || is_drive, element.text()) {
        (true, "") => {
            xml.empty(&element.name, &attributes);
        }
        (true, text) => {
            xml.text(&element.name, &attributes, text);
        }
        (false, _) => {
            xml.open(&element.name, &attributes);
            element.children.iter().for_each(|child| write(xml, child, &element.name));
            xml.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Firmware;

    /// As VirtualBox 7.2 writes them, shortened.
    const SETTINGS: &str = r#"<?xml version="1.0"?>
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.19-linux">
  <Machine uuid="{7a080eb5-688e-4ef9-bcc0-153ac8ffe515}" name="m" OSType="Debian_64" currentSnapshot="{1}" snapshotFolder="Snapshots">
    <Description>a &lt;b&gt;
c</Description>
    <MediaRegistry><HardDisks><HardDisk uuid="{aa}" location="/secret/place.vdi" format="VDI" type="Normal"/></HardDisks></MediaRegistry>
    <ExtraData><ExtraDataItem name="VBoxInternal2/EfiGraphicsResolution" value="800x600"/></ExtraData>
    <Snapshot uuid="{1}" name="s"><Hardware><Memory RAMSize="1"/></Hardware></Snapshot>
    <Hardware>
      <CPU count="2"><NestedHWVirt enabled="true"/></CPU>
      <Memory RAMSize="700"/>
      <Display controller="VMSVGA" VRAMSize="33"/>
      <RemoteDisplay enabled="true"><VRDEProperties><Property name="TCP/Ports" value="5900"/></VRDEProperties></RemoteDisplay>
      <Firmware type="EFI"/>
      <BIOS><IOAPIC enabled="true"/><NVRAM path="Snapshots/x.nvram"/></BIOS>
      <TrustedPlatformModule type="v2_0" location=""/>
      <Network>
        <Adapter slot="0" enabled="true" MACAddress="080027ECB7EC" type="virtio"><NAT/></Adapter>
        <Adapter slot="1" enabled="true" type="82540EM"><InternalNetwork name="lan"/></Adapter>
        <Adapter slot="8" cable="false"/>
      </Network>
      <StorageControllers>
        <StorageController name="IDE" type="PIIX4" PortCount="2">
          <AttachedDevice type="DVD" port="0" device="1"><Image uuid="{dd}"/></AttachedDevice>
          <AttachedDevice type="HardDisk" port="1" device="0"><Image uuid="{aa}"/></AttachedDevice>
        </StorageController>
        <StorageController name="NV" type="NVMe" PortCount="4">
          <AttachedDevice type="HardDisk" port="3" device="0"><Image uuid="{bb}"/></AttachedDevice>
        </StorageController>
        <StorageController name="V" type="VirtioSCSI" PortCount="1">
          <AttachedDevice type="HardDisk" port="0" device="0"><Image uuid="{cc}"/></AttachedDevice>
        </StorageController>
      </StorageControllers>
    </Hardware>
  </Machine>
</VirtualBox>"#;

    #[test]
    fn a_machine_is_described_by_its_settings() {
        let read = machine(&xml_tree::read(SETTINGS).unwrap()).unwrap();
        let description = &read.description;
        assert_eq!((description.name.as_str(), description.cpus, description.memory_mib), ("m", 2, 700));
        assert_eq!(description.firmware, Firmware::Uefi { secure_boot: false });
        assert!(description.tpm && description.nested_virtualization);
        assert_eq!(description.annotation.as_deref(), Some("a <b>\nc"));
        assert_eq!(description.guest_words.virtualbox.as_deref(), Some("Debian_64"));
        let nics: Vec<_> = description.nics.iter().map(|nic| (nic.network.to_lowercase(), nic.mac.is_some())).collect();
        assert_eq!(nics, [("nat".to_owned(), true), ("internal".to_owned(), false)]);
        assert_eq!(read.disks, ["aa", "bb", "cc"]);
        let slot = |controller, unit| Some(DiskSlot { controller, unit });
        let places: Vec<_> = description.disks.iter().map(|disk| (disk.controller, disk.slot)).collect();
        assert_eq!(
            places,
            [(DiskController::Ide, slot(1, 0)), (DiskController::Nvme, slot(0, 3)), (DiskController::Sata, None)]
        );
        assert!(read.left_out.iter().any(|what| what.contains("VirtioSCSI")), "{:?}", read.left_out);
    }

    #[test]
    fn virtualboxs_own_words_are_kept_but_for_what_is_the_hosts() {
        let settings = machine(&xml_tree::read(SETTINGS).unwrap()).unwrap().description.virtualbox_settings.unwrap();
        let own = xml_tree::read(&format!("<x>{}</x>", settings.elements)).unwrap();
        let text = &settings.elements;
        for kept in [
            r#"<Display controller="VMSVGA" VRAMSize="33"/>"#,
            r#"<ExtraDataItem name="VBoxInternal2/EfiGraphicsResolution" value="800x600"/>"#,
            r#"<StorageController name="V" type="VirtioSCSI" PortCount="1">"#,
            r#"<AttachedDevice type="DVD" port="0" device="1"/>"#,
            r#"<Image uuid="{cc}"/>"#,
            r#"<InternalNetwork name="lan"/>"#,
            r#"<IOAPIC enabled="true"/>"#,
        ] {
            assert!(text.contains(kept), "{kept} is not in {text}");
        }
        for gone in ["secret", "Snapshot", "RemoteDisplay", "5900", "NVRAM", "{dd}"] {
            assert!(!text.contains(gone), "{gone} is in {text}");
        }
        assert_eq!(own.text_of("Description"), Some("a <b>\nc"));
        assert_eq!((settings.version.as_str(), settings.disks.len()), ("1.19-linux", 3));
    }

    #[test]
    fn the_remote_display_is_told_with_virtualboxs_defaults() {
        let told = |display: &str| {
            let hardware = xml_tree::read(&format!("<Hardware>{display}</Hardware>")).unwrap();
            remote_display(&hardware).map(|set| [set.auth, set.address, set.ports].join(" "))
        };
        assert_eq!(told("").as_deref(), Some("null  3389"));
        // As VirtualBox 7.2.22 writes it.
        let set = "<RemoteDisplay authType='External'><VRDEProperties><Property name='TCP/Address' value='1.2.3.4'/>\
                   <Property name='TCP/Ports' value='4000-4010'/><Property name='Security/Method' value='TLS'/></VRDEProperties></RemoteDisplay>";
        assert_eq!(told(set).as_deref(), Some("external 1.2.3.4 4000-4010"));
        assert_eq!(told("<RemoteDisplay enabled='true' port='3389'/>"), None);
    }

    #[test]
    fn what_is_no_machine_of_virtualbox_is_refused() {
        for (text, words) in [
            ("<Envelope/>", "not the settings"),
            ("<VirtualBox version='1.20-linux'><MachineEncrypted/></VirtualBox>", "the machine is encrypted"),
            ("<VirtualBox version='1.19-linux'><Machine/></VirtualBox>", "no hardware"),
            ("<VirtualBox><Machine><Hardware/></Machine></VirtualBox>", "their version"),
        ] {
            let error = machine(&xml_tree::read(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
