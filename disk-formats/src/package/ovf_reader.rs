//! The files and disks that a descriptor names: an OVF of the versions 0.9 to 2.x (DMTF DSP0243), or a VMX.

use super::packaged::PackagedDiskFacts;
use super::vmx::Vmx;
use super::xml_tree::{self, Element};
use crate::error::{Error, ErrorKind, Operation, Result};

/// Most disks of a package.
const MAX_DISKS: usize = 256;
/// Most files of a package.
const MAX_FILES: usize = 1024;

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

/// What a descriptor names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Descriptor {
    pub(crate) references: Vec<Reference>,
    pub(crate) disks: Vec<DescribedDisk>,
}

impl Reference {
    /// Returns the name of a part, counted from 0.
    pub(crate) fn chunk(&self, number: usize) -> String {
        format!("{}.{number:09}", self.href)
    }
}

impl Descriptor {
    /// Reads an OVF.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        Self::of(&xml_tree::read_bytes(bytes)?)
    }

    /// Returns what an OVF names. Its parts are looked up among each other, so they are few.
    pub(crate) fn of(envelope: &Element) -> Result<Self> {
        let references = envelope.all("References").flat_map(|references| references.all("File")).filter_map(reference);
        let sections = envelope.children.iter().filter(|child| is_section(child, "DiskSection"));
        let disks = sections.flat_map(|section| section.all("Disk")).map(disk);
        let found = Self { references: references.collect(), disks: disks.collect() };
        let counts = [("disks", found.disks.len(), MAX_DISKS), ("files", found.references.len(), MAX_FILES)];
        if let Some((what, count, limit)) = counts.into_iter().find(|(_, count, limit)| count > limit) {
            let rule = format!("the descriptor names {count} {what}, more than {limit}");
            return Err(Error::new(ErrorKind::Unsupported, Operation::Read, rule));
        }
        Ok(found)
    }

    /// Returns what a VMX names; a disk's identifier is its place, and a file's its name.
    pub(crate) fn of_vmx(vmx: &Vmx) -> Result<Self> {
        let mut descriptor = Self::default();
        for (slot, file) in vmx.disks()? {
            if descriptor.reference(file).is_none() {
                let reference = Reference { id: file.to_owned(), href: file.to_owned(), ..Reference::default() };
                descriptor.references.push(reference);
            }
            descriptor.disks.push(DescribedDisk { id: slot, file: Some(file.to_owned()), ..DescribedDisk::default() });
        }
        Ok(descriptor)
    }

    /// Returns the name by which a disk is chosen: that of its file, else its identifier.
    pub(crate) fn disk_name<'a>(&'a self, disk: &'a DescribedDisk) -> &'a str {
        let reference = disk.file.as_deref().and_then(|file| self.reference(file));
        reference.map_or(&disk.id, |reference| &reference.href)
    }

    /// Returns the file of this identifier.
    pub(crate) fn reference(&self, id: &str) -> Option<&Reference> {
        self.references.iter().find(|reference| reference.id == id)
    }

    /// Returns the name of the file of a resource, `ovf:/file/file1`.
    pub(super) fn file_of(&self, resource: &str) -> Option<String> {
        let path = resource.strip_prefix("ovf:").unwrap_or(resource);
        let id = path.trim_start_matches('/').strip_prefix("file/")?;
        self.reference(id).map(|reference| reference.href.clone())
    }

    /// Returns what people want to know of the disks.
    pub(crate) fn disk_facts(&self) -> Vec<PackagedDiskFacts> {
        let file = |disk: &DescribedDisk| Some(self.reference(disk.file.as_deref()?)?.href.clone());
        let facts =
            |disk: &DescribedDisk| PackagedDiskFacts { id: disk.id.clone(), file: file(disk), capacity: disk.capacity };
        self.disks.iter().map(facts).collect()
    }
}

/// Sections have elements of their own since version 1.0; before, they were told by their type.
pub(super) fn is_section(element: &Element, name: &str) -> bool {
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
pub(super) fn units(text: &str) -> Option<u64> {
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
            descriptor.disk_facts().into_iter().map(|disk| (disk.id, disk.file, disk.capacity)).collect();
        let expected = [("d1", Some("a.vmdk"), Some(3 << 30)), ("d2", Some("b.vmdk"), None), ("d3", None, Some(1024))];
        let expected = expected.map(|(id, file, capacity)| (id.to_owned(), file.map(str::to_owned), capacity));
        assert_eq!(facts, expected);
    }

    #[test]
    fn more_disks_and_files_than_a_package_has_are_refused() {
        let disks = |count: usize| {
            let disk = |n: usize| format!("<Disk diskId='d{n}' fileRef='f{n}'/>");
            format!("<DiskSection>{}</DiskSection>", (0..count).map(disk).collect::<String>())
        };
        let files = |count: usize| {
            let file = |n: usize| format!("<File id='f{n}' href='{n}.vmdk'/>");
            format!("<References>{}</References>", (0..count).map(file).collect::<String>())
        };
        let read = |inside: String| Descriptor::read(format!("<Envelope>{inside}</Envelope>").as_bytes());
        assert_eq!(read(files(MAX_FILES) + &disks(MAX_DISKS)).unwrap().disk_facts().len(), MAX_DISKS);
        let error = read(disks(MAX_DISKS + 1)).unwrap_err();
        assert!(error.to_string().contains("names 257 disks, more than 256"), "{error}");
        let error = read(files(MAX_FILES + 1)).unwrap_err();
        assert!(error.to_string().contains("names 1025 files, more than 1024"), "{error}");
    }

    #[test]
    fn a_vmx_names_its_disks_by_their_files() {
        let vmx = Vmx::from_bytes(
            b"sata0.present = \"TRUE\"\nsata0:0.present = \"TRUE\"\nsata0:0.fileName = \"a.vmdk\"\nsata0:1.present = \"TRUE\"\nsata0:1.fileName = \"a.vmdk\"",
        );
        let descriptor = Descriptor::of_vmx(&vmx.unwrap()).unwrap();
        assert_eq!(descriptor.references.len(), 1);
        let names: Vec<_> = descriptor.disks.iter().map(|disk| (&*disk.id, descriptor.disk_name(disk))).collect();
        assert_eq!(names, [("sata0:0", "a.vmdk"), ("sata0:1", "a.vmdk")]);
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
