//! The OVF envelope: version 1.x, because VMware's products refuse version 2's elements. DMTF DSP0243 and DSP8023.

use super::file_names::nvram_files;
use super::places::Places;
use super::vbox_machine;
use super::vmware_settings::SettingWords;
use super::xml::Xml;
use crate::machine::{DiskController, Firmware, MachineDescription, NvramMaker};

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

/// The resource type by which VirtualBox 7.2 describes an NVRAM.
const VIRTUALBOX_NVRAM: &str = "32768";

/// VMware's own settings: those with a name in an OVF, and those with a VMX's.
const CONFIG: &str = "vmw:Config";
const EXTRA: &str = "vmw:ExtraConfig";

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
    cores_per_socket: Option<u32>,
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
        if let Some(cores) = item.cores_per_socket {
            self.xml.text("vmw:CoresPerSocket", &[("ovf:required", "false")], &cores.to_string());
        }
        self.xml.close();
        self.last_id
    }
}

/// Writes the envelope of a machine whose disks are in these files, and hang at these places.
pub(crate) fn envelope(machine: &MachineDescription, places: &Places, disks: &[PackagedDisk]) -> String {
    let mut xml = Xml::new();
    xml.open("Envelope", &NAMESPACES);
    references(&mut xml, machine, disks);
    networks(&mut xml, machine);
    xml.open("VirtualSystem", &[("ovf:id", &machine.name)]);
    xml.text("Info", &[], "A virtual machine");
    xml.text("Name", &[], &machine.name);
    let guest = machine.guest_os.words();
    let names = &machine.guest_words;
    let vsphere = names.vsphere.as_deref().unwrap_or(guest.vmware);
    xml.open("OperatingSystemSection", &[("ovf:id", guest.cim), ("vmw:osType", vsphere)]);
    xml.text("Info", &[], "The kind of installed guest operating system");
    xml.text("Description", &[], guest.title);
    let virtualbox = names.virtualbox.as_deref().unwrap_or(guest.virtualbox);
    xml.text("vbox:OSType", &[("ovf:required", "false")], virtualbox);
    xml.close();
    hardware(&mut xml, machine, places);
    product(&mut xml, machine);
    if let Some(annotation) = &machine.annotation {
        xml.open("AnnotationSection", &[]).text("Info", &[], "A human-readable annotation");
        xml.text("Annotation", &[], annotation).close();
    }
    if let Some(eula) = &machine.eula {
        xml.open("EulaSection", &[]).text("Info", &[], "License agreement").text("License", &[], eula).close();
    }
    if vbox_machine::is_needed(machine) {
        vbox_machine::write(&mut xml, machine, places);
    }
    xml.close().close();
    xml.finish()
}

fn references(xml: &mut Xml, machine: &MachineDescription, disks: &[PackagedDisk]) {
    xml.open("References", &[]);
    // In the order of an archive: importers read it in one go, and VirtualBox wants its NVRAM first.
    for (index, file) in nvram_files(machine).iter().enumerate() {
        let (id, size) = (nvram_id(disks.len() + index), file.bytes.len().to_string());
        xml.empty("File", &[("ovf:id", &id), ("ovf:href", &file.name), ("ovf:size", &size)]);
    }
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

/// Returns the identifier of an NVRAM's file, whose number comes after those of the disks and of other NVRAMs.
fn nvram_id(before: usize) -> String {
    format!("file{}", before + 1)
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

fn hardware(xml: &mut Xml, machine: &MachineDescription, places: &Places) {
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
        cores_per_socket: machine.cores_per_socket,
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
    disk_items(&mut items, places);
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
    let nvrams = nvram_files(machine);
    let nvram = |maker| {
        let index = nvrams.iter().position(|file| file.maker == maker)?;
        Some(format!("ovf:/file/{}", nvram_id(places.disks.len() + index)))
    };
    if let Some(file) = nvram(NvramMaker::VirtualBox) {
        items.push(&Item {
            // Versions before 7.2 know nothing of it, and refuse what they do not know unless it can be left out.
            required: Some(false),
            description: "NVRAM",
            element_name: "NVRAM".to_owned(),
            host_resource: Some(file),
            resource_type: VIRTUALBOX_NVRAM,
            ..Item::default()
        });
    }
    let mut line = |name: &str, key: &str, value: &str| {
        xml.empty(name, &[("ovf:required", "false"), ("vmw:key", key), ("vmw:value", value)]);
    };
    match machine.firmware {
        Firmware::Bios => line(CONFIG, "firmware", "bios"),
        Firmware::Uefi { secure_boot } => {
            line(CONFIG, "firmware", "efi");
            line(CONFIG, "bootOptions.efiSecureBootEnabled", if secure_boot { "true" } else { "false" });
        }
    }
    if machine.nested_virtualization {
        line(CONFIG, "nestedHVEnabled", "true");
    }
    for (key, value) in &machine.vmware_settings {
        match SettingWords::of_vmx(key) {
            Some(setting) => line(CONFIG, setting.ovf, &setting.in_ovf(value)),
            None => line(EXTRA, key, value),
        }
    }
    if let Some(file) = nvram(NvramMaker::VMware) {
        line(EXTRA, "nvram", &file);
    }
    xml.close();
}

/// Writes the disks, each controller before the first disk on it.
fn disk_items(items: &mut Items<'_>, places: &Places) {
    let mut ids: Vec<Option<u32>> = vec![None; places.controllers.len()];
    for (index, (place, unit)) in places.disks.iter().enumerate() {
        let words = places.controllers[*place].words();
        let parent = ids[*place].unwrap_or_else(|| {
            let of_type = |kind: &&DiskController| kind.words().resource_type == words.resource_type;
            let address = places.controllers[..*place].iter().filter(of_type).count() as u32;
            items.push(&Item {
                address: Some(address),
                description: words.title,
                element_name: format!("{} {address}", words.title),
                resource_sub_type: Some(words.sub_type),
                resource_type: words.resource_type,
                ..Item::default()
            })
        });
        ids[*place] = Some(parent);
        items.push(&Item {
            address_on_parent: Some(*unit),
            description: "Disk image",
            element_name: format!("Hard disk {}", index + 1),
            host_resource: Some(format!("ovf:/disk/vmdisk{}", index + 1)),
            parent: Some(parent),
            resource_type: "17",
            ..Item::default()
        });
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
    use crate::machine::{MachineDisk, MachineNic, Nvram};

    fn written(machine: &MachineDescription, count: usize) -> String {
        let disks: Vec<PackagedDisk> = (1..=count)
            .map(|n| PackagedDisk { file: format!("m-disk{n}.vmdk"), size: 1000, capacity: 1 << 20, populated: 65536 })
            .collect();
        let text = envelope(machine, &Places::of(machine, count).unwrap(), &disks);
        let mut reader = quick_xml::Reader::from_str(&text);
        while !matches!(reader.read_event().unwrap(), quick_xml::events::Event::Eof) {}
        text
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
        let text = written(&machine, 1);
        assert!(text.contains(r#"<File ovf:id="file1" ovf:href="m-disk1.vmdk" ovf:size="1000"/>"#));
        assert!(text.contains("<Name>a &amp; b</Name>"));
        assert_eq!(text.matches("<Network ovf:name").count(), 1);
        assert!(text.contains(r#"vmw:key="firmware" vmw:value="efi""#));
    }

    #[test]
    fn disks_share_controllers_until_they_are_full() {
        let ide = MachineDisk { controller: DiskController::Ide, ..MachineDisk::default() };
        let machine =
            MachineDescription { disks: vec![ide.clone(), ide.clone(), ide], ..MachineDescription::default() };
        let text = written(&machine, 4);
        assert_eq!(text.matches("<rasd:ResourceType>5</rasd:ResourceType>").count(), 2);
        assert_eq!(text.matches("<rasd:ResourceType>20</rasd:ResourceType>").count(), 1);
        assert_eq!(text.matches("<rasd:ResourceType>17</rasd:ResourceType>").count(), 4);
    }

    #[test]
    fn each_makers_nvram_is_where_that_maker_looks_for_it() {
        let with = |maker| MachineDescription {
            name: "m".to_owned(),
            nvram: Some(Nvram { maker, bytes: vec![7; 12].into(), file: None }),
            ..MachineDescription::default()
        };
        let file = r#"<File ovf:id="file2" ovf:href="m.nvram" ovf:size="12"/>"#;
        let vmware = written(&with(NvramMaker::VMware), 1);
        assert!(vmware.contains(file) && vmware.contains(r#"vmw:key="nvram" vmw:value="ovf:/file/file2""#), "{vmware}");
        assert!(!vmware.contains(VIRTUALBOX_NVRAM));
        let virtualbox = written(&with(NvramMaker::VirtualBox), 1);
        assert!(virtualbox.contains(file) && !virtualbox.contains(r#"vmw:key="nvram""#), "{virtualbox}");
        let item = virtualbox.split("<Item").find(|item| item.contains(VIRTUALBOX_NVRAM)).unwrap();
        assert!(item.starts_with(r#" ovf:required="false">"#) && item.contains("ovf:/file/file2"), "{item}");
    }

    #[test]
    fn vmwares_settings_have_their_names_in_an_ovf() {
        let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let machine = MachineDescription {
            cpus: 4,
            cores_per_socket: Some(2),
            nested_virtualization: true,
            vmware_settings: vec![setting("mem.hotadd", "TRUE"), setting("guestinfo.a", "b")],
            ..MachineDescription::default()
        };
        let text = written(&machine, 1);
        for part in [
            r#"<vmw:CoresPerSocket ovf:required="false">2</vmw:CoresPerSocket>"#,
            r#"<vmw:Config ovf:required="false" vmw:key="nestedHVEnabled" vmw:value="true"/>"#,
            r#"<vmw:Config ovf:required="false" vmw:key="memoryHotAddEnabled" vmw:value="true"/>"#,
            r#"<vmw:ExtraConfig ovf:required="false" vmw:key="guestinfo.a" vmw:value="b"/>"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
