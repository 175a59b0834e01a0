//! The OVF envelope: version 1.x, because VMware's products refuse version 2's elements. DMTF DSP0243 and DSP8023.

use super::vbox_machine;
use super::xml::Xml;
use crate::machine::{DiskController, Firmware, MachineDescription};

/// The format of the disks, in the only spelling that ESXi accepts.
const STREAM_OPTIMIZED: &str = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";

const NAMESPACES: [(&str, &str); 8] = [
    ("xmlns", "http://schemas.dmtf.org/ovf/envelope/1"),
    ("xmlns:ovf", "http://schemas.dmtf.org/ovf/envelope/1"),
    ("xmlns:cim", "http://schemas.dmtf.org/wbem/wscim/1/common"),
    ("xmlns:rasd", "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"),
    ("xmlns:vssd", "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"),
    ("xmlns:vbox", "http://www.virtualbox.org/ovf/machine"),
    ("xmlns:vmw", "http://www.vmware.com/schema/ovf"),
    ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
];

/// A disk file of the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PackagedDisk {
    /// File name without directory.
    pub(crate) file: String,
    /// Its exact length in bytes.
    pub(crate) size: u64,
    /// The guest disk in bytes, as the VMDK states it.
    pub(crate) capacity: u64,
    /// Guest bytes in stored grains.
    pub(crate) populated: u64,
}

/// One rasd item. The schema wants its children in alphabetical order, which is the order of these fields.
#[derive(Default)]
struct Item<'a> {
    required: Option<bool>,
    address: Option<u32>,
    /// A network card's address, in the place of `address`.
    mac: Option<String>,
    address_on_parent: Option<u32>,
    allocation_units: Option<&'a str>,
    automatic_allocation: Option<bool>,
    connection: Option<&'a str>,
    description: &'a str,
    element_name: String,
    host_resource: Option<String>,
    parent: Option<u32>,
    resource_sub_type: Option<&'a str>,
    resource_type: &'a str,
    virtual_quantity: Option<u64>,
}

/// Numbers items and writes them.
struct Items<'x> {
    xml: &'x mut Xml,
    last_id: u32,
}

impl Items<'_> {
    fn push(&mut self, item: &Item<'_>) -> u32 {
        self.last_id += 1;
        let required = item.required.map(|required| ("ovf:required", if required { "true" } else { "false" }));
        self.xml.open("Item", required.as_slice());
        let mut field = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                self.xml.text(name, &[], &value);
            }
        };
        field("rasd:Address", item.address.map(|number| number.to_string()).or_else(|| item.mac.clone()));
        field("rasd:AddressOnParent", item.address_on_parent.map(|number| number.to_string()));
        field("rasd:AllocationUnits", item.allocation_units.map(str::to_owned));
        field("rasd:AutomaticAllocation", item.automatic_allocation.map(|automatic| automatic.to_string()));
        field("rasd:Caption", Some(item.element_name.clone()));
        field("rasd:Connection", item.connection.map(str::to_owned));
        field("rasd:Description", Some(item.description.to_owned()));
        field("rasd:ElementName", Some(item.element_name.clone()));
        field("rasd:HostResource", item.host_resource.clone());
        field("rasd:InstanceID", Some(self.last_id.to_string()));
        field("rasd:Parent", item.parent.map(|number| number.to_string()));
        field("rasd:ResourceSubType", item.resource_sub_type.map(str::to_owned));
        field("rasd:ResourceType", Some(item.resource_type.to_owned()));
        field("rasd:VirtualQuantity", item.virtual_quantity.map(|number| number.to_string()));
        self.xml.close();
        self.last_id
    }
}

/// Writes the envelope of a machine whose disks are in these files.
pub(crate) fn envelope(machine: &MachineDescription, disks: &[PackagedDisk]) -> String {
    let mut xml = Xml::new();
    xml.open("Envelope", &NAMESPACES);
    references(&mut xml, machine, disks);
    networks(&mut xml, machine);
    xml.open("VirtualSystem", &[("ovf:id", &machine.name)]);
    xml.text("Info", &[], "A virtual machine");
    xml.text("Name", &[], &machine.name);
    let guest = machine.guest_os.words();
    xml.open("OperatingSystemSection", &[("ovf:id", guest.cim), ("vmw:osType", guest.vmware)]);
    xml.text("Info", &[], "The kind of installed guest operating system");
    xml.text("Description", &[], guest.title);
    xml.text("vbox:OSType", &[("ovf:required", "false")], guest.virtualbox);
    xml.close();
    hardware(&mut xml, machine, disks);
    product(&mut xml, machine);
    if let Some(annotation) = &machine.annotation {
        xml.open("AnnotationSection", &[]).text("Info", &[], "A human-readable annotation");
        xml.text("Annotation", &[], annotation).close();
    }
    if let Some(eula) = &machine.eula {
        xml.open("EulaSection", &[]).text("Info", &[], "License agreement").text("License", &[], eula).close();
    }
    if vbox_machine::is_needed(machine) {
        vbox_machine::write(&mut xml, machine, disks.len());
    }
    xml.close().close();
    xml.finish()
}

fn references(xml: &mut Xml, machine: &MachineDescription, disks: &[PackagedDisk]) {
    xml.open("References", &[]);
    for (index, disk) in disks.iter().enumerate() {
        let (id, size) = (format!("file{}", index + 1), disk.size.to_string());
        xml.empty("File", &[("ovf:id", &id), ("ovf:href", &disk.file), ("ovf:size", &size)]);
    }
    xml.close();
    xml.open("DiskSection", &[]).text("Info", &[], "Virtual disk information");
    for (index, disk) in disks.iter().enumerate() {
        let (id, file) = (format!("vmdisk{}", index + 1), format!("file{}", index + 1));
        let (capacity, populated) = (disk.capacity.to_string(), disk.populated.to_string());
        // VirtualBox ignores capacityAllocationUnits, so the capacity is in bytes.
        let uuid = vbox_machine::disk_uuid(machine, index);
        let mut attributes = vec![
            ("ovf:capacity", capacity.as_str()),
            ("ovf:capacityAllocationUnits", "byte"),
            ("ovf:diskId", &id),
            ("ovf:fileRef", &file),
            ("ovf:format", STREAM_OPTIMIZED),
            ("ovf:populatedSize", &populated),
        ];
        if vbox_machine::is_needed(machine) {
            attributes.push(("vbox:uuid", &uuid));
        }
        xml.empty("Disk", &attributes);
    }
    xml.close();
}

fn networks(xml: &mut Xml, machine: &MachineDescription) {
    xml.open("NetworkSection", &[]).text("Info", &[], "The list of logical networks");
    let mut names: Vec<&str> = Vec::new();
    for nic in &machine.nics {
        if !names.contains(&nic.network.as_str()) {
            names.push(&nic.network);
            xml.open("Network", &[("ovf:name", &nic.network)]);
            xml.text("Description", &[], &format!("The {} network", nic.network)).close();
        }
    }
    xml.close();
}

fn hardware(xml: &mut Xml, machine: &MachineDescription, disks: &[PackagedDisk]) {
    xml.open("VirtualHardwareSection", &[]).text("Info", &[], "Virtual hardware requirements");
    xml.open("System", &[]);
    xml.text("vssd:ElementName", &[], "Virtual Hardware Family");
    xml.text("vssd:InstanceID", &[], "0");
    xml.text("vssd:VirtualSystemIdentifier", &[], &machine.name);
    xml.text("vssd:VirtualSystemType", &[], &format!("vmx-{:02}", machine.hardware_version));
    xml.close();
    let mut items = Items { xml, last_id: 0 };
    items.push(&Item {
        allocation_units: Some("hertz * 10^6"),
        description: "Number of Virtual CPUs",
        element_name: format!("{} virtual CPU(s)", machine.cpus),
        resource_type: "3",
        virtual_quantity: Some(u64::from(machine.cpus)),
        ..Item::default()
    });
    items.push(&Item {
        // VirtualBox compares this text verbatim.
        allocation_units: Some("byte * 2^20"),
        description: "Memory Size",
        element_name: format!("{} MiB of memory", machine.memory_mib),
        resource_type: "4",
        virtual_quantity: Some(machine.memory_mib),
        ..Item::default()
    });
    disk_items(&mut items, machine, disks.len());
    for (index, nic) in (0u32..).zip(&machine.nics) {
        items.push(&Item {
            mac: nic.mac.map(|mac| mac.to_string()),
            address_on_parent: Some(7 + index),
            automatic_allocation: Some(true),
            connection: Some(&nic.network),
            description: "Ethernet adapter",
            element_name: format!("Network adapter {}", index + 1),
            resource_sub_type: Some(nic.model.word()),
            resource_type: "10",
            ..Item::default()
        });
    }
    if machine.tpm {
        items.push(&Item {
            required: Some(false),
            automatic_allocation: Some(false),
            description: "Virtual TPM",
            element_name: "Virtual TPM".to_owned(),
            resource_sub_type: Some("vmware.vtpm"),
            resource_type: "1",
            ..Item::default()
        });
    }
    let mut config = |key: &str, value: &str| {
        xml.empty("vmw:Config", &[("ovf:required", "false"), ("vmw:key", key), ("vmw:value", value)]);
    };
    match machine.firmware {
        Firmware::Bios => config("firmware", "bios"),
        Firmware::Uefi { secure_boot } => {
            config("firmware", "efi");
            config("bootOptions.efiSecureBootEnabled", if secure_boot { "true" } else { "false" });
        }
    }
    xml.close();
}

/// Writes controllers, each as often as its disks need, and the disks on them.
fn disk_items(items: &mut Items<'_>, machine: &MachineDescription, disks: usize) {
    // Kind, instance id and number of disks so far of every controller.
    let mut controllers: Vec<(DiskController, u32, u32)> = Vec::new();
    for index in 0..disks {
        let kind = machine.disks.get(index).map(|disk| disk.controller).unwrap_or_default();
        let words = kind.words();
        let usable = controllers.iter().position(|(other, _, used)| *other == kind && *used < words.slots);
        let place = usable.unwrap_or_else(|| {
            let bus = controllers.iter().filter(|(other, _, _)| other.words().resource_type == words.resource_type);
            let address = bus.count() as u32;
            let id = items.push(&Item {
                address: Some(address),
                description: words.title,
                element_name: format!("{} {address}", words.title),
                resource_sub_type: Some(words.sub_type),
                resource_type: words.resource_type,
                ..Item::default()
            });
            controllers.push((kind, id, 0));
            controllers.len() - 1
        });
        let (_, parent, used) = &mut controllers[place];
        let item = Item {
            address_on_parent: Some(kind.unit(*used)),
            description: "Disk image",
            element_name: format!("Hard disk {}", index + 1),
            host_resource: Some(format!("ovf:/disk/vmdisk{}", index + 1)),
            parent: Some(*parent),
            resource_type: "17",
            ..Item::default()
        };
        *used += 1;
        items.push(&item);
    }
}

fn product(xml: &mut Xml, machine: &MachineDescription) {
    let Some(product) = &machine.product else { return };
    xml.open("ProductSection", &[]).text("Info", &[], "Meta-information about the installed software");
    xml.text("Product", &[], &product.product);
    let fields = [
        ("Vendor", &product.vendor),
        ("Version", &product.version),
        ("ProductUrl", &product.product_url),
        ("VendorUrl", &product.vendor_url),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            xml.text(name, &[], value);
        }
    }
    xml.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{MachineDisk, MachineNic};

    fn disks(count: usize) -> Vec<PackagedDisk> {
        (1..=count)
            .map(|n| PackagedDisk { file: format!("m-disk{n}.vmdk"), size: 1000, capacity: 1 << 20, populated: 65536 })
            .collect()
    }

    #[test]
    fn an_envelope_is_well_formed_and_names_its_disk() {
        let machine = MachineDescription {
            name: "a & b".to_owned(),
            nics: vec![MachineNic::default(), MachineNic::default()],
            firmware: Firmware::Uefi { secure_boot: true },
            annotation: Some("<note>".to_owned()),
            ..MachineDescription::default()
        };
        let text = envelope(&machine, &disks(1));
        let mut reader = quick_xml::Reader::from_str(&text);
        while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
        assert!(text.contains(r#"<File ovf:id="file1" ovf:href="m-disk1.vmdk" ovf:size="1000"/>"#));
        assert!(text.contains("<Name>a &amp; b</Name>"));
        assert_eq!(text.matches("<Network ovf:name").count(), 1);
        assert!(text.contains(r#"vmw:key="firmware" vmw:value="efi""#));
    }

    #[test]
    fn disks_share_controllers_until_they_are_full() {
        let ide = MachineDisk { controller: DiskController::Ide, file: None };
        let machine =
            MachineDescription { disks: vec![ide.clone(), ide.clone(), ide], ..MachineDescription::default() };
        let text = envelope(&machine, &disks(4));
        assert_eq!(text.matches("<rasd:ResourceType>5</rasd:ResourceType>").count(), 2);
        assert_eq!(text.matches("<rasd:ResourceType>20</rasd:ResourceType>").count(), 1);
        assert_eq!(text.matches("<rasd:ResourceType>17</rasd:ResourceType>").count(), 4);
    }

    #[test]
    fn scsi_disks_leave_out_the_controllers_own_number() {
        assert_eq!(DiskController::LsiLogic.unit(6), 6);
        assert_eq!(DiskController::LsiLogic.unit(7), 8);
        assert_eq!(DiskController::Sata.unit(7), 7);
    }
}
