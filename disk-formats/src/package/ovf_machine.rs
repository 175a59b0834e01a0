//! A machine of an OVF descriptor: what its hardware items and VMware's and VirtualBox's extensions say.

use std::collections::HashMap;

use super::guest_names::NamedGuest;
use super::host_reach;
use super::ovf_reader::{DescribedDisk, Descriptor, is_section, units};
use super::ovf_vmware;
use super::packaged::{PackagedMachine, quoted, setting};
use super::vbox_reader;
use super::xml_tree::Element;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{
    DiskController, DiskSlot, MacAddress, MachineDisk, MachineNic, NicModel, NvramMaker, ProductInfo, VendorGuestWords,
};

/// Most machines of a package.
const MAX_MACHINES: usize = 256;
/// Most hardware items of a machine.
const MAX_ITEMS: usize = 4096;
/// Most network cards of a machine.
const MAX_NICS: usize = 64;
/// Most unread sections of a package that are kept.
const MAX_UNREAD: usize = 32;
/// The first resource type that is a vendor's own; VirtualBox describes an NVRAM with it.
const VENDORS_OWN: &str = "32768";

/// Returns the machines of a package, whose files and disks the descriptor names.
pub(super) fn machines(envelope: &Element, descriptor: &Descriptor) -> Result<Vec<PackagedMachine>> {
    let configuration = default_configuration(envelope);
    let mut systems = Vec::new();
    let mut unread = Vec::new();
    find_systems(envelope, &mut systems, &mut unread);
    if systems.len() > MAX_MACHINES {
        return Err(broken(format!("the package has {} machines, more than {MAX_MACHINES}", systems.len())));
    }
    let mut used = vec![false; descriptor.disks.len()];
    let read = systems.into_iter().map(|system| machine(system, configuration, descriptor, &mut used));
    let mut machines = read.collect::<Result<Vec<_>>>()?;
    // Of one machine all that is in the document, wherever an importer looks.
    if let [machine] = &mut machines[..] {
        machine.reaches = host_reach::of(envelope);
    }
    let unused = unused_disks(descriptor, used);
    for machine in &mut machines {
        unused.iter().for_each(|disk| machine.leave_out(disk.clone()));
        unread.iter().for_each(|name| machine.leave_out(format!("the package's section {}", quoted(name))));
    }
    Ok(machines)
}

/// Names the disks that hang on no machine, and of which no disk of a machine is a difference.
fn unused_disks(descriptor: &Descriptor, mut used: Vec<bool>) -> Vec<String> {
    let disks = &descriptor.disks;
    let mut open: Vec<usize> = (0..disks.len()).filter(|index| used[*index]).collect();
    while let Some(index) = open.pop() {
        let parent = disks[index].parent.as_ref().and_then(|parent| disks.iter().position(|disk| disk.id == *parent));
        if let Some(parent) = parent.filter(|parent| !std::mem::replace(&mut used[*parent], true)) {
            open.push(parent);
        }
    }
    let name = |(disk, _): (&DescribedDisk, bool)| match disk.capacity {
        Some(bytes) => format!("the disk {} of {bytes} bytes, which hangs on no machine", quoted(&disk.id)),
        None => format!("the disk {}, which hangs on no machine", quoted(&disk.id)),
    };
    disks.iter().zip(used).filter(|(_, used)| !used).map(name).collect()
}

/// Returns the configuration that is deployed when nobody chooses another.
fn default_configuration(envelope: &Element) -> Option<&str> {
    let sections = envelope.children.iter().filter(|child| is_section(child, "DeploymentOptionSection"));
    let configurations: Vec<_> = sections.flat_map(|section| section.all("Configuration")).collect();
    let default = configurations.iter().find(|one| matches!(one.attribute("default"), Some("true" | "1")));
    default.or(configurations.first()).and_then(|one| one.attribute("id"))
}

/// Finds the machines, which may be in collections of collections; the document is of bounded depth.
///
/// `unread`: the sections of the package, or of a collection, that are for all of them and are not read.
fn find_systems<'a>(element: &'a Element, found: &mut Vec<&'a Element>, unread: &mut Vec<&'a str>) {
    const READ: [&str; 8] = [
        "Info",
        "Name",
        "References",
        "DiskSection",
        // Names of networks, which the cards have, too.
        "NetworkSection",
        "DeploymentOptionSection",
        // Texts in other languages.
        "Strings",
        // How the package was made.
        "Annotations",
    ];
    for child in &element.children {
        match child.name.as_str() {
            // Older versions say by its type which of both it is.
            "Content" if is_collection(child) => find_systems(child, found, unread),
            "VirtualSystem" | "Content" => found.push(child),
            "VirtualSystemCollection" => find_systems(child, found, unread),
            _ if READ.contains(&section_name(child)) || unread.len() > MAX_UNREAD => {}
            _ => unread.push(section_name(child)),
        }
    }
}

fn is_collection(content: &Element) -> bool {
    let is = |(name, value): (&str, &str)| name == "type" && value.ends_with("VirtualSystemCollection_Type");
    content.attributes().any(is)
}

/// What a section is, which older versions say by its type: `<Section xsi:type="ovf:DiskSection_Type">`.
fn section_name(section: &Element) -> &str {
    let kind = || section.attribute("type")?.rsplit(':').next()?.strip_suffix("_Type");
    if section.name == "Section" { kind().unwrap_or("Section") } else { &section.name }
}

/// Reads a machine, and notes which of the package's disks it has.
fn machine(
    system: &Element,
    configuration: Option<&str>,
    descriptor: &Descriptor,
    used: &mut [bool],
) -> Result<PackagedMachine> {
    let mut machine = PackagedMachine {
        name: text(system.text_of("Name")).or_else(|| text(system.attribute("id"))),
        ..PackagedMachine::default()
    };
    machine.description.name = machine.name.clone().unwrap_or_default();
    let section = |name: &'static str| system.children.iter().find(move |child| is_section(child, name));
    read_guest(section("OperatingSystemSection"), &mut machine);
    read_texts(system, &mut machine);
    if let Some(hardware) = section("VirtualHardwareSection") {
        if let Some(ways) = hardware.attribute("transport").filter(|ways| !ways.is_empty()) {
            machine.leave_out(format!("that it is told its properties by {}", quoted(ways)));
        }
        Hardware::read(hardware, configuration, &mut machine)?.describe(&mut machine, descriptor, used)?;
        ovf_vmware::read(hardware, &mut machine, descriptor)?;
    }
    machine.describe_size();
    if let Some(own) = system.all("Machine").next() {
        vbox_reader::add(own, &mut machine);
    }
    // Of several, VirtualBox's versions take the first or the last.
    machine.reaches = host_reach::of(system);
    name_sections(system, &mut machine);
    Ok(machine)
}

fn read_guest(section: Option<&Element>, machine: &mut PackagedMachine) {
    let Some(guest) = section else { return };
    let (vsphere, virtualbox) = (text(guest.attribute("osType")), text(guest.text_of("OSType")));
    machine.guest_os = vsphere.clone().or_else(|| virtualbox.clone()).or_else(|| text(guest.text_of("Description")));
    let words = VendorGuestWords { vsphere, virtualbox, workstation: None };
    let found = NamedGuest::of(words, guest.attribute("id"));
    let word =
        machine.guest_os.as_deref().or(guest.attribute("id").filter(|id| Some(*id) != Some(found.guest.words().cim)));
    if let Some(word) = word.filter(|word| found.is_guess && !is_unnamed_guest(word)) {
        let guess = found.guest.words().title;
        let what = format!("the guest type {}, which is not known ({guess} for other hypervisors)", quoted(word));
        machine.leave_out(what);
    }
    (machine.description.guest_os, machine.description.guest_words) = (found.guest, found.words);
}

/// CIM's numbers for a guest that nobody names: unknown, other, and other of 64 bits.
fn is_unnamed_guest(word: &str) -> bool {
    matches!(word, "" | "0" | "1" | "102")
}

/// Reads what is for people: product, annotation and licence.
fn read_texts(system: &Element, machine: &mut PackagedMachine) {
    let sections = |name: &'static str| system.children.iter().filter(move |child| is_section(child, name));
    machine.description.product = sections("ProductSection").next().and_then(|product| {
        let of = |name: &str| text(product.text_of(name));
        let info = ProductInfo {
            product: of("Product").unwrap_or_default(),
            vendor: of("Vendor"),
            version: of("Version"),
            product_url: of("ProductUrl"),
            vendor_url: of("VendorUrl"),
        };
        (info != ProductInfo::default()).then_some(info)
    });
    if sections("ProductSection").any(|product| product.all("Property").next().is_some()) {
        machine.leave_out("the properties that its owner is asked for (ProductSection)".to_owned());
    }
    machine.description.annotation =
        sections("AnnotationSection").next().and_then(|section| text(section.text_of("Annotation")));
    machine.description.eula = sections("EulaSection").next().and_then(|section| text(section.text_of("License")));
}

/// Names the sections that are not read.
fn name_sections(system: &Element, machine: &mut PackagedMachine) {
    const READ: [&str; 8] = [
        "Info",
        "Name",
        "OperatingSystemSection",
        "VirtualHardwareSection",
        "ProductSection",
        "AnnotationSection",
        "EulaSection",
        "Machine",
    ];
    for section in system.children.iter().filter(|section| !READ.contains(&section_name(section))) {
        match (section_name(section), section.attribute("type")) {
            // Its only disk is what a machine starts from anyway.
            ("BootOrderSection", Some("disk")) if machine.disks.len() < 2 => {}
            ("BootOrderSection", Some(device)) if section.name != "Section" => {
                machine.leave_out(format!("that it starts from {}", quoted(device)));
            }
            (name, _) => machine.leave_out(format!("the section {}", quoted(name))),
        }
    }
}

/// A hardware item.
struct Item<'a> {
    kind: &'a str,
    sub_type: &'a str,
    instance: &'a str,
    element: &'a Element,
}

impl Item<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.element.text_of(name).filter(|text| !text.is_empty())
    }

    /// Reads a number, and names what is there and is none.
    fn number<T: std::str::FromStr>(&self, name: &str, machine: &mut PackagedMachine) -> Option<T> {
        let number = self.text(name)?.parse().ok();
        if number.is_none() {
            self.leave_out(name, machine);
        }
        number
    }

    /// Names a field that is not understood.
    fn leave_out(&self, field: &str, machine: &mut PackagedMachine) {
        let value = self.text(field).unwrap_or_default();
        machine.leave_out(format!("of the device {} the field {}", quoted(self.name()), setting(field, value)));
    }

    /// What people call it.
    fn name(&self) -> &str {
        let names = ["ElementName", "Caption", "Description"];
        names.into_iter().find_map(|name| self.text(name)).unwrap_or("without a name")
    }
}

/// The hardware items that are deployed.
struct Hardware<'a>(Vec<Item<'a>>);

impl<'a> Hardware<'a> {
    /// Reads the items of the configuration, and names those of others.
    fn read(hardware: &'a Element, configuration: Option<&str>, machine: &mut PackagedMachine) -> Result<Self> {
        let kinds = ["Item", "StorageItem", "EthernetPortItem"];
        let items = hardware.children.iter().filter(|item| kinds.contains(&item.name.as_str()));
        let items = items.map(|element| Item {
            kind: element.text_of("ResourceType").unwrap_or_default(),
            sub_type: element.text_of("ResourceSubType").unwrap_or_default(),
            instance: element.text_of("InstanceID").or(element.text_of("InstanceId")).unwrap_or_default(),
            element,
        });
        let is_deployed = |item: &Item<'_>| {
            let configurations = item.element.attribute("configuration").unwrap_or_default();
            let is_chosen = |name: &str| configuration == Some(name);
            if !configurations.is_empty() && !configurations.split_whitespace().any(is_chosen) {
                machine.leave_out(format!("the configuration {}", quoted(configurations)));
                return false;
            }
            // It says which other values are possible.
            if let Some(bound) = item.element.attribute("bound") {
                machine.leave_out(format!("of the device {} the bound {}", quoted(item.name()), quoted(bound)));
                return false;
            }
            true
        };
        let items: Vec<Item<'a>> = items.filter(is_deployed).collect();
        if items.len() > MAX_ITEMS {
            return Err(broken(format!("a machine has {} hardware items, more than {MAX_ITEMS}", items.len())));
        }
        Ok(Self(items))
    }

    fn describe(&self, machine: &mut PackagedMachine, descriptor: &Descriptor, used: &mut [bool]) -> Result<()> {
        for item in &self.0 {
            name_fields(item, machine);
            match item.kind {
                "3" => read_processors(item, machine),
                "4" => read_memory(item, machine),
                "10" => add_nic(item, machine),
                "1" if item.sub_type.eq_ignore_ascii_case("vmware.vtpm") => machine.description.tpm = true,
                VENDORS_OWN => match item.text("HostResource").and_then(|resource| descriptor.file_of(resource)) {
                    // Only its name and its file tell what it is.
                    Some(file) if item.name().eq_ignore_ascii_case("nvram") => {
                        machine.found_nvram(NvramMaker::VirtualBox, file);
                    }
                    _ => name_device(item, machine),
                },
                _ => name_device(item, machine),
            }
        }
        self.describe_disks(machine, descriptor, used)
    }

    fn describe_disks(&self, machine: &mut PackagedMachine, descriptor: &Descriptor, used: &mut [bool]) -> Result<()> {
        // Controllers by their instance; each is the n-th of its kind.
        let mut controllers: HashMap<&str, (DiskController, u32)> = HashMap::new();
        let mut counts: HashMap<DiskController, u32> = HashMap::new();
        let items = self.0.iter().filter(|item| matches!(item.kind, "5" | "6" | "20"));
        let with_place = items.map(|item| (item.number::<u64>("Address", machine).unwrap_or_default(), item));
        let mut ordered: Vec<(u64, &Item<'_>)> = with_place.collect();
        ordered.sort_by_key(|(address, _)| *address);
        for (_, item) in ordered {
            let Some(kind) = controller(item, machine) else { continue };
            let count = counts.entry(kind).or_default();
            controllers.insert(item.instance, (kind, *count));
            *count += 1;
        }
        let mut found: Vec<(usize, MachineDisk)> = Vec::new();
        let mut attached = vec![false; descriptor.disks.len()];
        for item in self.0.iter().filter(|item| item.kind == "17") {
            let resource = item.text("HostResource").unwrap_or_default();
            let Some(id) = disk_of(resource) else {
                // Without one it is a disk that the importer makes.
                machine.leave_out(format!("the disk {}, which no file or size stands for", quoted(item.name())));
                continue;
            };
            let Some(index) = descriptor.disks.iter().position(|disk| disk.id == id) else {
                let known: Vec<_> = descriptor.disks.iter().take(8).map(|disk| format!("{:?}", disk.id)).collect();
                let rule =
                    format!("the machine's disk {:?} is {id:?}, which the descriptor does not describe", item.name());
                return Err(broken(rule).with_hint(match known.is_empty() {
                    true => "it describes no disk".to_owned(),
                    false => format!("it describes {}", known.join(", ")),
                }));
            };
            if std::mem::replace(&mut attached[index], true) {
                return Err(broken(format!("the disk {id:?} hangs at two places of one machine")));
            }
            let parent = item.text("Parent").and_then(|parent| controllers.get(parent));
            used[index] = true;
            let disk = match (parent, item.number("AddressOnParent", machine)) {
                (Some((kind, number)), Some(unit)) if kind.has_unit(unit) => {
                    MachineDisk { controller: *kind, slot: Some(DiskSlot { controller: *number, unit }), file: None }
                }
                (Some((kind, _)), unit) => {
                    if unit.is_some() {
                        item.leave_out("AddressOnParent", machine);
                    }
                    MachineDisk { controller: *kind, ..MachineDisk::default() }
                }
                (None, _) => {
                    machine
                        .leave_out(format!("the place of the disk {}, which hangs on no known controller", quoted(id)));
                    MachineDisk::default()
                }
            };
            found.push((index, disk));
        }
        spread_clashes(&mut found);
        found.sort_by_key(|(_, disk)| order(disk));
        for (index, disk) in found {
            machine.disks.push(descriptor.disk_name(&descriptor.disks[index]).to_owned());
            machine.description.disks.push(disk);
        }
        Ok(())
    }
}

/// Takes the places of disks away that others have already: importers give them others, and so do we.
fn spread_clashes(disks: &mut [(usize, MachineDisk)]) {
    let mut taken: Vec<(DiskController, DiskSlot)> = Vec::new();
    for (_, disk) in disks {
        let Some(slot) = disk.slot else { continue };
        if taken.contains(&(disk.controller, slot)) {
            disk.slot = None;
        } else {
            taken.push((disk.controller, slot));
        }
    }
}

/// The order of a machine's disks: by bus, as a BIOS looks for one to start from, then by place.
fn order(disk: &MachineDisk) -> (usize, DiskSlot) {
    let bus = ["ide", "scsi", "sata", "nvme"].into_iter().position(|bus| bus == disk.controller.bus().0);
    (bus.unwrap_or_default(), disk.slot.unwrap_or(DiskSlot { controller: u32::MAX, unit: 0 }))
}

/// Returns the identifier of the disk of a resource, in the spellings of all versions.
fn disk_of(resource: &str) -> Option<&str> {
    let path = resource.strip_prefix("ovf:").unwrap_or(resource);
    path.trim_start_matches('/').strip_prefix("disk/").filter(|id| !id.is_empty())
}

fn controller(item: &Item<'_>, machine: &mut PackagedMachine) -> Option<DiskController> {
    let word = item.sub_type.to_ascii_lowercase();
    let instead = |machine: &mut PackagedMachine, kind: DiskController| {
        let title = kind.words().title;
        machine.leave_out(format!("the controller {}, in whose place there is a {title}", quoted(item.sub_type)));
        Some(kind)
    };
    match (item.kind, word.as_str()) {
        ("5", _) => Some(DiskController::Ide),
        ("6", "" | "lsilogic") => Some(DiskController::LsiLogic),
        ("6", "lsilogicsas") => Some(DiskController::LsiLogicSas),
        ("6", "buslogic") => Some(DiskController::BusLogic),
        ("6", "virtualscsi" | "pvscsi") => Some(DiskController::ParavirtualScsi),
        ("6", _) => instead(machine, DiskController::LsiLogic),
        ("20", word) if word.contains("nvme") => Some(DiskController::Nvme),
        ("20", word) if word.is_empty() || word.contains("ahci") || word.contains("sata") => Some(DiskController::Sata),
        ("20", _) => instead(machine, DiskController::Sata),
        _ => None,
    }
}

fn read_processors(item: &Item<'_>, machine: &mut PackagedMachine) {
    // In which a share of the host's time is counted.
    if item.text("AllocationUnits").is_some_and(|unit| !unit.to_ascii_lowercase().contains("hertz")) {
        item.leave_out("AllocationUnits", machine);
    }
    if let Some(cpus) = item.number("VirtualQuantity", machine)
        && let Some(before) = machine.cpus.replace(cpus).filter(|before| *before != cpus)
    {
        machine.leave_out(format!("{before} processors, beside which there are {cpus}"));
    }
    match item.number::<u32>("CoresPerSocket", machine) {
        Some(0) => item.leave_out("CoresPerSocket", machine),
        Some(cores) => machine.description.cores_per_socket = Some(cores),
        None => {}
    }
}

fn read_memory(item: &Item<'_>, machine: &mut PackagedMachine) {
    let Some(unit) = units(item.text("AllocationUnits").unwrap_or("byte * 2^20")) else {
        item.leave_out("AllocationUnits", machine);
        return item.leave_out("VirtualQuantity", machine);
    };
    let Some(quantity) = item.number::<u64>("VirtualQuantity", machine) else { return };
    let Some(memory) = quantity.checked_mul(unit) else { return item.leave_out("VirtualQuantity", machine) };
    if let Some(before) = machine.memory.replace(memory).filter(|before| *before != memory) {
        machine.leave_out(format!("{before} bytes of memory, beside which there are {memory}"));
    }
}

fn add_nic(item: &Item<'_>, machine: &mut PackagedMachine) {
    if machine.description.nics.len() == MAX_NICS {
        return machine.leave_out(format!("network cards after the {MAX_NICS}th"));
    }
    // Several may be allowed: `PCNet32 E1000`.
    let mut words = item.sub_type.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
    let is_said = words.peek().is_some();
    let model = words.find_map(NicModel::from_word);
    if model.is_none() && is_said {
        let what = format!("the network card's model {}, in whose place there is e1000", quoted(item.sub_type));
        machine.leave_out(what);
    }
    let mac = item.text("Address").and_then(MacAddress::from_text);
    if mac.is_none() && item.text("Address").is_some() {
        item.leave_out("Address", machine);
    }
    let network = text(item.text("Connection"));
    machine.networks.extend(network.clone());
    machine.description.nics.push(MachineNic {
        model: model.unwrap_or_default(),
        network: network.unwrap_or_else(|| MachineNic::default().network),
        virtualbox_network: None,
        mac,
    });
}

/// Names what an item says of a device beyond what a description holds. Of a device that is left out, that says it all.
fn name_fields(item: &Item<'_>, machine: &mut PackagedMachine) {
    const READ: [&str; 18] = [
        "Address",
        "AddressOnParent",
        "AllocationUnits",
        "Caption",
        "Connection",
        "CoresPerSocket",
        "Description",
        "ElementName",
        "HostResource",
        "InstanceID",
        "InstanceId",
        "Parent",
        "ResourceSubType",
        "ResourceType",
        "VirtualQuantity",
        // Of what is there anyway: whether a guest sees it as one of these, and what the quantity is counted in.
        "ConsumerVisibility",
        "VirtualQuantityUnits",
        "AutomaticDeallocation",
    ];
    let is_kept = matches!(item.kind, "3" | "4" | "5" | "6" | "10" | "17" | "20") || item.sub_type.ends_with("vtpm");
    if !is_kept {
        return;
    }
    for field in &item.element.children {
        let value = field.text().trim();
        let what = match field.name.as_str() {
            // One of each, unless it is what a machine has so much of.
            "VirtualQuantity" if matches!(item.kind, "5" | "6" | "10" | "20") && !matches!(value, "" | "1") => {
                format!("the field {}", setting("VirtualQuantity", value))
            }
            name if READ.contains(&name) => continue,
            "AutomaticAllocation" if item.kind != "10" || !matches!(value, "false" | "0") => continue,
            "AutomaticAllocation" => "that it is off until somebody switches it on".to_owned(),
            // None, which is what there is without them.
            "Reservation" if value == "0" => continue,
            "Limit" if value.starts_with('-') => continue,
            "Config" => match (field.attribute("key"), field.attribute("value")) {
                (Some(key), Some(value)) if ovf_vmware::says_nothing_of_a_device(key, value) => continue,
                (Some(key), value) => format!("VMware's setting {}", setting(key, value.unwrap_or_default())),
                (None, _) => "a setting of VMware's without a name".to_owned(),
            },
            name if value.is_empty() => format!("the field {}", quoted(name).trim_matches('"')),
            name => format!("the field {}", setting(name, value)),
        };
        machine.leave_out(format!("of the device {} {what}", quoted(item.name())));
    }
}

/// Names a device that a description does not hold.
fn name_device(item: &Item<'_>, machine: &mut PackagedMachine) {
    let what = match item.kind {
        "5" | "6" | "17" | "20" => return,
        // VMware's own channel to the guest, which a VMX always has.
        "1" if item.sub_type.eq_ignore_ascii_case("vmware.vmci") => return,
        "14" => "a floppy drive".to_owned(),
        "15" | "16" => "a CD drive".to_owned(),
        "21" => "a serial port".to_owned(),
        "22" => "a parallel port".to_owned(),
        "23" => "USB".to_owned(),
        "24" => "the video card's settings".to_owned(),
        "35" => "a sound card".to_owned(),
        kind => format!("the device {} of the resource type {}", quoted(item.name()), quoted(kind)),
    };
    machine.leave_out(what);
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn broken(rule: String) -> Error {
    Error::new(ErrorKind::Corrupt, Operation::Read, rule)
}

#[cfg(test)]
mod tests;
