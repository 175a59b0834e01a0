//! What an OVF descriptor says: files, disks and machines. Versions 0.9 to 2.x (DMTF DSP0243).

use super::xml_tree::{self, Element};
use crate::error::Result;

/// A package of machines, as its descriptor describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackageFacts {
    /// The machines, in the order of the descriptor.
    pub machines: Vec<PackagedMachine>,
    /// The disks, in the order of the descriptor.
    pub disks: Vec<PackagedDiskFacts>,
}

/// A machine of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackagedMachine {
    /// Its name, else its identifier.
    pub name: Option<String>,
    /// Virtual processors.
    pub cpus: Option<u64>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// The guest's operating system, in the descriptor's words.
    pub guest_os: Option<String>,
    /// `bios` or `efi`, where VMware's extension says it.
    pub firmware: Option<String>,
    /// The networks that its cards are connected to, one for each card.
    pub networks: Vec<String>,
}

/// A disk of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PackagedDiskFacts {
    /// Its identifier in the descriptor.
    pub id: String,
    /// Its file; `None` for a disk that begins empty.
    pub file: Option<String>,
    /// The guest's disk in bytes, when the descriptor says it as a number.
    pub capacity: Option<u64>,
}

/// A file that the descriptor names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reference {
    pub(crate) id: String,
    pub(crate) href: String,
    /// Its length in bytes.
    pub(crate) size: Option<u64>,
    /// Length of its parts in bytes, when it is in parts.
    pub(crate) chunk_size: Option<u64>,
}

/// A disk that the descriptor names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DescribedDisk {
    pub(crate) id: String,
    /// Identifier of its file; `None` for a disk that begins empty.
    pub(crate) file: Option<String>,
    /// In bytes.
    pub(crate) capacity: Option<u64>,
    /// Identifier of the disk that it is a difference to.
    pub(crate) parent: Option<String>,
}

/// A descriptor that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Descriptor {
    pub(crate) references: Vec<Reference>,
    pub(crate) disks: Vec<DescribedDisk>,
    machines: Vec<PackagedMachine>,
}

impl Reference {
    /// Returns the name of a part, counted from 0.
    pub(crate) fn chunk(&self, number: usize) -> String {
        format!("{}.{number:09}", self.href)
    }
}

impl Descriptor {
    /// Reads a descriptor.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let envelope = xml_tree::read_bytes(bytes)?;
        let references = envelope.all("References").flat_map(|references| references.all("File")).filter_map(reference);
        let sections = envelope.children.iter().filter(|child| is_section(child, "DiskSection"));
        let disks = sections.flat_map(|section| section.all("Disk")).map(disk);
        let configuration = default_configuration(&envelope);
        let mut machines = Vec::new();
        find_machines(&envelope, configuration, &mut machines);
        Ok(Self { references: references.collect(), disks: disks.collect(), machines })
    }

    /// Returns the file of this identifier.
    pub(crate) fn reference(&self, id: &str) -> Option<&Reference> {
        self.references.iter().find(|reference| reference.id == id)
    }

    /// Returns what people want to know.
    pub(crate) fn facts(self) -> PackageFacts {
        let file = |disk: &DescribedDisk| Some(self.reference(disk.file.as_deref()?)?.href.clone());
        let disks = self.disks.iter().map(|disk| PackagedDiskFacts {
            id: disk.id.clone(),
            file: file(disk),
            capacity: disk.capacity,
        });
        PackageFacts { disks: disks.collect(), machines: self.machines }
    }
}

/// Sections have elements of their own since version 1.0; before, they were told by their type.
fn is_section(element: &Element, name: &str) -> bool {
    element.name == name
        || (element.name == "Section"
            && element.attribute("type").is_some_and(|kind| {
                kind.rsplit(':').next().and_then(|kind| kind.strip_suffix("_Type")).is_some_and(|kind| kind == name)
            }))
}

fn reference(file: &Element) -> Option<Reference> {
    let number = |name: &str| file.attribute(name)?.trim().parse().ok();
    Some(Reference {
        id: file.attribute("id").unwrap_or_default().to_owned(),
        href: file.attribute("href")?.to_owned(),
        size: number("size"),
        chunk_size: number("chunkSize").filter(|size| *size > 0),
    })
}

fn disk(disk: &Element) -> DescribedDisk {
    let text = |name: &str| disk.attribute(name).map(str::to_owned);
    let unit = units(disk.attribute("capacityAllocationUnits").unwrap_or("byte"));
    let capacity = disk.attribute("capacity").and_then(|number| number.trim().parse::<u64>().ok());
    DescribedDisk {
        id: text("diskId").unwrap_or_default(),
        file: text("fileRef").filter(|file| !file.is_empty()),
        capacity: capacity.zip(unit).and_then(|(number, unit)| number.checked_mul(unit)),
        parent: text("parentRef").filter(|parent| !parent.is_empty()),
    }
}

/// Reads programmatic units (DSP0004, C.1), such as `byte * 2^20`, and the words of version 0.9; in bytes.
fn units(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let word = match text.as_str() {
        "bytes" => 0,
        "kilobytes" | "kb" => 10,
        "megabytes" | "mb" => 20,
        "gigabytes" | "gb" => 30,
        "terabytes" | "tb" => 40,
        _ => {
            let mut factors = text.split('*').map(str::trim);
            let base: u64 = match factors.next()? {
                "byte" => 1,
                "kilobyte" => 1000,
                "megabyte" => 1_000_000,
                "gigabyte" => 1_000_000_000,
                _ => return None,
            };
            return factors.try_fold(base, |product, factor| {
                let factor = match factor.split_once('^') {
                    Some((base, power)) => base.trim().parse::<u64>().ok()?.checked_pow(power.trim().parse().ok()?)?,
                    None => factor.parse().ok()?,
                };
                product.checked_mul(factor)
            });
        }
    };
    Some(1 << word)
}

/// Returns the configuration that is deployed when nobody chooses another.
fn default_configuration(envelope: &Element) -> Option<&str> {
    let sections = envelope.children.iter().filter(|child| is_section(child, "DeploymentOptionSection"));
    let configurations: Vec<_> = sections.flat_map(|section| section.all("Configuration")).collect();
    let default = configurations.iter().find(|one| matches!(one.attribute("default"), Some("true" | "1")));
    default.or(configurations.first()).and_then(|one| one.attribute("id"))
}

/// Finds the machines, which may be in collections of collections; the document is of bounded depth.
fn find_machines(element: &Element, configuration: Option<&str>, machines: &mut Vec<PackagedMachine>) {
    for child in &element.children {
        match child.name.as_str() {
            "VirtualSystem" | "Content" => machines.push(machine(child, configuration)),
            "VirtualSystemCollection" => find_machines(child, configuration, machines),
            _ => {}
        }
    }
}

fn machine(system: &Element, configuration: Option<&str>) -> PackagedMachine {
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let mut machine = PackagedMachine {
        name: text(system.text_of("Name")).or_else(|| text(system.attribute("id"))),
        ..PackagedMachine::default()
    };
    let section = |name: &'static str| system.children.iter().find(move |child| is_section(child, name));
    if let Some(guest) = section("OperatingSystemSection") {
        machine.guest_os = text(guest.attribute("osType"))
            .or_else(|| text(guest.text_of("OSType")))
            .or_else(|| text(guest.text_of("Description")));
    }
    let Some(hardware) = section("VirtualHardwareSection") else { return machine };
    let kinds = ["Item", "StorageItem", "EthernetPortItem"];
    for item in hardware.children.iter().filter(|item| kinds.contains(&item.name.as_str())) {
        let applies = item.attribute("configuration").is_none_or(|names| {
            configuration.is_some_and(|chosen| names.split_whitespace().any(|name| name == chosen))
        });
        // Items with bounds say which other values are possible.
        if !applies || item.attribute("bound").is_some() {
            continue;
        }
        let quantity = item.text_of("VirtualQuantity").and_then(|number| number.parse::<u64>().ok());
        match item.text_of("ResourceType") {
            Some("3") => machine.cpus = quantity.or(machine.cpus),
            Some("4") => {
                let unit = units(item.text_of("AllocationUnits").unwrap_or("byte * 2^20"));
                machine.memory = quantity.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
            }
            Some("10") => machine.networks.extend(text(item.text_of("Connection"))),
            _ => {}
        }
    }
    let firmware = hardware.all("Config").find(|config| config.attribute("key") == Some("firmware"));
    machine.firmware = text(firmware.and_then(|config| config.attribute("value")));
    machine
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"<?xml version="1.0"?>
        <Envelope xmlns:ovf="o" xmlns:rasd="r" xmlns:vmw="v" xmlns:xsi="x">
        <References><File ovf:href="a.vmdk" ovf:id="f1" ovf:size="7" ovf:chunkSize="4"/><File ovf:href="b.vmdk" ovf:id="f2"/></References>
        <DiskSection><Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="3" ovf:capacityAllocationUnits="byte * 2^30"/></DiskSection>
        <DiskSection><Disk ovf:diskId="d2" ovf:fileRef="f2" ovf:capacity="${size}"/></DiskSection>
        <Section xsi:type="ovf:DiskSection_Type"><Disk ovf:diskId="d3" ovf:capacity="1024" ovf:parentRef="d1"/></Section>
        <DeploymentOptionSection><Configuration ovf:id="small"/><Configuration ovf:id="big" ovf:default="true"/></DeploymentOptionSection>
        <VirtualSystemCollection ovf:id="c"><VirtualSystem ovf:id="one"/><VirtualSystem ovf:id="two"><Name>Two</Name>
          <OperatingSystemSection ovf:id="96" vmw:osType="debian12_64Guest"/>
          <VirtualHardwareSection>
            <Item ovf:configuration="small"><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity></Item>
            <Item ovf:configuration="big"><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>8</rasd:VirtualQuantity></Item>
            <Item ovf:bound="max"><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>99</rasd:VirtualQuantity></Item>
            <Item><rasd:AllocationUnits>MegaBytes</rasd:AllocationUnits><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>2</rasd:VirtualQuantity></Item>
            <Item><rasd:Connection>lan</rasd:Connection><rasd:ResourceType>10</rasd:ResourceType></Item>
            <vmw:Config vmw:key="firmware" vmw:value="efi"/>
          </VirtualHardwareSection></VirtualSystem></VirtualSystemCollection></Envelope>"#;

    #[test]
    fn files_and_the_disks_of_all_sections_are_read() {
        let descriptor = Descriptor::read(TEXT.as_bytes()).unwrap();
        let first = descriptor.reference("f1").unwrap();
        assert_eq!((first.size, first.chunk_size, first.chunk(1)), (Some(7), Some(4), "a.vmdk.000000001".to_owned()));
        assert_eq!(descriptor.disks[2].parent.as_deref(), Some("d1"));
        let facts: Vec<_> =
            descriptor.facts().disks.into_iter().map(|disk| (disk.id, disk.file, disk.capacity)).collect();
        let expected = [("d1", Some("a.vmdk"), Some(3 << 30)), ("d2", Some("b.vmdk"), None), ("d3", None, Some(1024))];
        let expected = expected.map(|(id, file, capacity)| (id.to_owned(), file.map(str::to_owned), capacity));
        assert_eq!(facts, expected);
    }

    #[test]
    fn machines_are_found_in_collections_with_what_is_deployed_by_default() {
        let machines = Descriptor::read(TEXT.as_bytes()).unwrap().machines;
        assert_eq!(machines[0], PackagedMachine { name: Some("one".to_owned()), ..PackagedMachine::default() });
        assert_eq!(
            machines[1],
            PackagedMachine {
                name: Some("Two".to_owned()),
                cpus: Some(8),
                memory: Some(2 << 20),
                guest_os: Some("debian12_64Guest".to_owned()),
                firmware: Some("efi".to_owned()),
                networks: vec!["lan".to_owned()],
            }
        );
    }

    #[test]
    fn units_are_products() {
        for (text, bytes) in [
            ("byte", Some(1)),
            ("byte*2^30", Some(1 << 30)),
            ("byte * 2^ 10 * 3", Some(3072)),
            ("MegaBytes", Some(1 << 20)),
            ("byte * 10^6", Some(1_000_000)),
            ("hertz * 10^6", None),
            ("byte * 2^99", None),
            ("byte * x", None),
        ] {
            assert_eq!(units(text), bytes, "{text}");
        }
    }
}
