//! Machines of OVF descriptors as VMware, VirtualBox and nobody in particular write them.

use super::super::ovf_vmware::MAX_SETTINGS;
use super::*;
use crate::machine::{Firmware, GuestOs, MachineDescription};
use crate::package::xml_tree;

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

fn read(text: &str) -> Result<Vec<PackagedMachine>> {
    let envelope = xml_tree::read(text)?;
    machines(&envelope, &Descriptor::of(&envelope)?)
}

fn system(inside: &str) -> String {
    let disks =
        "<DiskSection><Disk ovf:diskId='d1' ovf:fileRef='f1'/><Disk ovf:diskId='d2' ovf:capacity='512'/></DiskSection>";
    let disks = if inside.contains("/disk/") { disks } else { "" };
    format!(
        "<Envelope xmlns:ovf='o' xmlns:rasd='r' xmlns:vmw='v' xmlns:vbox='b'><References><File ovf:id='f1' ovf:href='a.vmdk'/>\
         <File ovf:id='f2' ovf:href='web.nvram'/></References>{disks}<VirtualSystem ovf:id='v'>{inside}</VirtualSystem></Envelope>"
    )
}

fn item(fields: &[(&str, &str)]) -> String {
    let fields: String = fields.iter().map(|(name, value)| format!("<rasd:{name}>{value}</rasd:{name}>")).collect();
    format!("<Item>{fields}</Item>")
}

fn hardware(inside: &str) -> PackagedMachine {
    let text = system(&format!("<VirtualHardwareSection>{inside}</VirtualHardwareSection>"));
    read(&text).unwrap().remove(0)
}

#[test]
fn machines_are_found_in_collections_with_what_is_deployed_by_default() {
    let machines = read(TEXT).unwrap();
    let told = |machine: &PackagedMachine| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let words = [text(&machine.name), text(&machine.guest_os), text(&machine.firmware), machine.networks.join(",")];
        (words, machine.cpus, machine.memory)
    };
    assert_eq!(told(&machines[0]), (["one", "", "", ""].map(str::to_owned), None, None));
    let words = ["Two", "debian12_64Guest", "efi", "lan"].map(str::to_owned);
    assert_eq!(told(&machines[1]), (words, Some(8), Some(2 << 20)));
}

#[test]
fn disks_have_the_places_of_their_controllers() {
    let controller = |kind, instance, address, sub_type| {
        item(&[("Address", address), ("InstanceID", instance), ("ResourceSubType", sub_type), ("ResourceType", kind)])
    };
    let disk = |id: &str, parent, unit| {
        let resource = format!("ovf:/disk/{id}");
        item(&[("AddressOnParent", unit), ("HostResource", &resource), ("Parent", parent), ("ResourceType", "17")])
    };
    let items = [
        controller("20", "9", "0", "vmware.nvme.controller"),
        controller("6", "5", "1", "lsilogic"),
        controller("6", "4", "0", "lsilogic"),
        disk("d1", "9", "3"),
        disk("d2", "5", "8"),
    ];
    let machine = hardware(&items.concat());
    // By bus: SCSI before NVMe; a disk without a file is named by its identifier.
    assert_eq!(machine.disks, ["d2", "a.vmdk"]);
    let place = |index: usize| {
        let disk = &machine.description.disks[index];
        (disk.controller, disk.slot.map(|slot| (slot.controller, slot.unit)))
    };
    assert_eq!(place(0), (DiskController::LsiLogic, Some((1, 8))));
    assert_eq!(place(1), (DiskController::Nvme, Some((0, 3))));
    assert!(machine.left_out.is_empty(), "{:?}", machine.left_out);
    // Places that cannot be, or are taken, are given anew.
    let odd = [controller("5", "1", "0", ""), disk("d1", "1", "7"), disk("d2", "99", "0")].concat();
    let machine = hardware(&odd);
    let slots: Vec<_> = machine.description.disks.iter().map(|disk| (disk.controller, disk.slot)).collect();
    assert_eq!(slots, [(DiskController::Ide, None), (DiskController::Sata, None)]);
    let place = "of the device \"without a name\" the field AddressOnParent = \"7\"";
    assert_eq!(machine.left_out, [place, "the place of the disk \"d2\", which hangs on no known controller"]);
}

#[test]
fn a_disk_that_is_not_described_or_hangs_twice_is_refused() {
    let disk = |id: &str| {
        item(&[("ElementName", "Hard disk 1"), ("HostResource", &format!("ovf:/disk/{id}")), ("ResourceType", "17")])
    };
    let of = |items: &str| read(&system(&format!("<VirtualHardwareSection>{items}</VirtualHardwareSection>")));
    let error = of(&disk("d3")).unwrap_err();
    assert!(
        error.to_string().contains("disk \"Hard disk 1\" is \"d3\", which the descriptor does not describe"),
        "{error}"
    );
    assert_eq!(error.hint(), Some("it describes \"d1\", \"d2\""));
    assert!(of(&[disk("d1"), disk("d1")].concat()).unwrap_err().to_string().contains("two places"));
    let many: String = (0..5000).map(|_| disk("d1")).collect();
    assert!(of(&many).unwrap_err().to_string().contains("5000 hardware items"));
}

#[test]
fn cards_have_models_networks_and_addresses() {
    let card = |model, network, address| {
        item(&[("Address", address), ("Connection", network), ("ResourceSubType", model), ("ResourceType", "10")])
    };
    let cards = [card("PCNet32 E1000", "lan", "00:50:56:01:02:03"), card("VmxNet3", "", ""), card("Odd", "x", "1")];
    let machine = hardware(&cards.concat());
    let found: Vec<_> =
        machine.description.nics.iter().map(|nic| (nic.model, nic.network.as_str(), nic.mac.is_some())).collect();
    assert_eq!(
        found,
        [(NicModel::PcNet32, "lan", true), (NicModel::Vmxnet3, "nat", false), (NicModel::E1000, "x", false)]
    );
    let model = "the network card's model \"Odd\", in whose place there is e1000";
    assert_eq!(machine.left_out, [model, "of the device \"without a name\" the field Address = \"1\""]);
}

#[test]
fn vmwares_settings_are_read_and_those_that_reach_the_host_left_out() {
    let machine = hardware(
        "<System><VirtualSystemType>vmx-19</VirtualSystemType></System><Config vmw:key='firmware' vmw:value='efi'/>\
         <Config vmw:key='bootOptions.efiSecureBootEnabled' vmw:value='true'/><Config vmw:key='nestedHVEnabled' vmw:value='true'/>\
         <Config vmw:key='cpuHotAddEnabled' vmw:value='true'/><Config vmw:key='odd' vmw:value='1'/>\
         <ExtraConfig vmw:key='nvram' vmw:value='ovf:/file/f2'/><ExtraConfig vmw:key='guestinfo.a' vmw:value='b'/>\
         <ExtraConfig vmw:key='serial0.fileName' vmw:value='/etc/passwd'/>",
    );
    let description = &machine.description;
    assert_eq!(description.firmware, Firmware::Uefi { secure_boot: true });
    assert!(description.nested_virtualization);
    assert_eq!(description.hardware_version, 19);
    let settings: Vec<_> =
        description.vmware_settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("guestinfo.a", "b"), ("vcpu.hotadd", "TRUE")]);
    assert_eq!(machine.nvram, Some((NvramMaker::VMware, "web.nvram".to_owned())));
    assert_eq!(
        machine.left_out,
        ["VMware's setting odd = \"1\"", "VMware's setting serial0.fileName = \"/etc/passwd\""]
    );
}

#[test]
fn an_nvram_that_is_no_file_of_the_package_is_told() {
    for value in ["ovf:/file/f9", "other.nvram"] {
        let machine = hardware(&format!("<ExtraConfig vmw:key='nvram' vmw:value='{value}'/>"));
        let what = format!("the NVRAM {value:?}, which is none of the package's files");
        assert_eq!((machine.nvram, machine.left_out), (None, vec![what]));
    }
}

#[test]
fn more_settings_than_a_machine_has_are_refused() {
    let with = |count: usize| {
        let setting = |n: usize| format!("<ExtraConfig vmw:key='guestinfo.{n}' vmw:value='x'/>");
        let settings: String = (0..count).map(setting).collect();
        read(&system(&format!("<VirtualHardwareSection>{settings}</VirtualHardwareSection>")))
    };
    assert_eq!(with(MAX_SETTINGS).unwrap()[0].description.vmware_settings.len(), MAX_SETTINGS);
    let error = with(MAX_SETTINGS + 1).unwrap_err();
    assert!(error.to_string().contains("1025 settings of VMware's, more than 1024"), "{error}");
}

#[test]
fn virtualboxs_own_description_adds_what_ovf_has_no_words_for() {
    let card = item(&[("Connection", "Internal"), ("ResourceType", "10")]);
    let nvram = item(&[("ElementName", "NVRAM"), ("HostResource", "ovf:/file/f2"), ("ResourceType", "32768")]);
    let text = system(&format!(
        "<OperatingSystemSection ovf:id='96'><Description>Debian_64</Description><vbox:OSType>ArchLinux_64</vbox:OSType>\
         </OperatingSystemSection><VirtualHardwareSection>{card}{nvram}</VirtualHardwareSection>\
         <vbox:Machine><Hardware><CPU><NestedHWVirt enabled='true'/></CPU><Firmware type='EFI'/>\
         <TrustedPlatformModule type='v2_0'/><Network><Adapter slot='1' enabled='false' MACAddress='080027000000'/>\
         <Adapter slot='0' enabled='true' MACAddress='080027D6B0A4' type='virtio'>\
         <DisabledModes><NAT/></DisabledModes><InternalNetwork name='lan'/></Adapter></Network><AudioAdapter enabled='true'/><USB/>\
         <UART><Port slot='0' enabled='false'/></UART><RemoteDisplay enabled='false'/><Chipset type='ICH9'/><RTC localOrUTC='UTC'/></Hardware>\
         <ExtraData><ExtraDataItem name='GUI/LastWindow' value='1'/><ExtraDataItem name='VBoxInternal2/x' value='1'/></ExtraData>\
         <StorageControllers/><Debugging tracingEnabled='true'><x/></Debugging></vbox:Machine>"
    ));
    let machine = read(&text).unwrap().remove(0);
    let description = &machine.description;
    assert_eq!((description.guest_os, machine.guest_os.as_deref()), (GuestOs::Linux64, Some("ArchLinux_64")));
    assert_eq!(description.guest_words.virtualbox.as_deref(), Some("ArchLinux_64"));
    assert_eq!(description.firmware, Firmware::Uefi { secure_boot: false });
    assert!(description.tpm && description.nested_virtualization);
    let mac = MacAddress::from_text("080027D6B0A4");
    let network = "Internal".to_owned();
    let virtualbox_network = Some("lan".to_owned());
    assert_eq!(description.nics[0], MachineNic { model: NicModel::Virtio, network, virtualbox_network, mac });
    assert_eq!(machine.nvram, Some((NvramMaker::VirtualBox, "web.nvram".to_owned())));
    let settings = ["VirtualBox's setting VBoxInternal2/x = \"1\"", "VirtualBox's setting Debugging"];
    assert_eq!(machine.left_out, [settings[0], settings[1], "the chipset ICH9", "the clock in UTC", "a sound card"]);
}

#[test]
fn texts_for_people_are_read_and_unknown_sections_named() {
    let text = system(
        "<Name>web</Name><ProductSection><Product>P</Product><Version>2</Version></ProductSection>\
         <AnnotationSection><Annotation>note</Annotation></AnnotationSection><EulaSection><License>mine</License></EulaSection>\
         <InstallSection/>",
    );
    let machine = read(&text).unwrap().remove(0);
    let product = ProductInfo { product: "P".to_owned(), version: Some("2".to_owned()), ..ProductInfo::default() };
    let expected = MachineDescription {
        name: "web".to_owned(),
        product: Some(product),
        annotation: Some("note".to_owned()),
        eula: Some("mine".to_owned()),
        ..MachineDescription::default()
    };
    assert_eq!(machine.description, expected);
    assert_eq!(machine.left_out, ["the section \"InstallSection\""]);
}

#[test]
fn what_an_item_says_beyond_the_device_is_named() {
    let card = |inside: &str| {
        format!(
            "<Item><rasd:ElementName>net</rasd:ElementName><rasd:ResourceType>10</rasd:ResourceType>{inside}\
             <vmw:Config vmw:key='slotInfo.pciSlotNumber' vmw:value='160'/></Item>"
        )
    };
    let left_out = |inside: &str| hardware(&card(inside)).left_out;
    assert_eq!(left_out("<rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>"), Vec::<String>::new());
    for (inside, what) in [
        ("<rasd:AutomaticAllocation>false</rasd:AutomaticAllocation>", "that it is off until somebody switches it on"),
        (
            "<vmw:Config vmw:key='uptCompatibilityEnabled' vmw:value='true'/>",
            "VMware's setting uptCompatibilityEnabled = \"true\"",
        ),
        ("<rasd:Weight>7</rasd:Weight>", "the field Weight = \"7\""),
        ("<rasd:Odd/>", "the field Odd"),
    ] {
        assert_eq!(left_out(inside), [format!("of the device \"net\" {what}")]);
    }
    let memory =
        |inside: &[(&str, &str)]| hardware(&item(&[&[("ResourceType", "4"), ("ElementName", "m")], inside].concat()));
    assert!(memory(&[("Reservation", "0"), ("Limit", "-1")]).left_out.is_empty());
    assert_eq!(memory(&[("Reservation", "512")]).left_out, ["of the device \"m\" the field Reservation = \"512\""]);
    // Of what is left out itself, that is enough.
    let video = hardware(
        "<Item><rasd:ResourceType>24</rasd:ResourceType><vmw:Config vmw:key='videoRamSizeInKB' vmw:value='1'/></Item>",
    );
    assert_eq!(video.left_out, ["the video card's settings"]);
}

#[test]
fn sections_of_the_package_and_of_its_collections_are_named() {
    let text = TEXT.replace(
        "<VirtualSystem ovf:id=\"one\"/>",
        "<StartupSection/><Section xsi:type=\"ovf:InstallSection_Type\"/><VirtualSystem ovf:id=\"one\"><Section \
         xsi:type=\"ovf:OddSection_Type\"/><Section xsi:type=\"ovf:AnnotationSection_Type\"/></VirtualSystem>",
    );
    let machines = read(&text.replace("<References>", "<vmw:IpAssignmentSection/><References>")).unwrap();
    let of_all = ["IpAssignmentSection", "StartupSection", "InstallSection"];
    let named = of_all.map(|name| format!("the package's section {name:?}"));
    assert_eq!(machines[0].left_out[..1], ["the section \"OddSection\"".to_owned()]);
    for machine in &machines {
        assert!(machine.left_out.ends_with(&named), "{:?}", machine.left_out);
    }
}

/// Each field that is read, with what nobody understands in it, and what is said of it.
#[test]
fn rubbish_in_each_field_is_named() {
    let of =
        |kind: &str, fields: &[(&str, &str)]| item(&[&[("ElementName", "d"), ("ResourceType", kind)], fields].concat());
    let field = |kind: &str, name: &str, value: &str| {
        (of(kind, &[(name, value)]), format!("of the device \"d\" the field {name} = {value:?}"))
    };
    let config = |key: &str, value: &str| {
        let text = format!("<vmw:Config ovf:required='true' vmw:key='{key}' vmw:value='{value}'/>");
        (text, format!("VMware's setting {key} = {value:?}"))
    };
    let said = |text: String, what: &str| (text, what.to_owned());
    let controller = item(&[("InstanceID", "3"), ("ResourceType", "20")]);
    let disk = |unit: &str| {
        let resource = ("HostResource", "ovf:/disk/d1");
        let disk = of("17", &[("Parent", "3"), ("AddressOnParent", unit), resource]);
        let rest = of("17", &[("Parent", "3"), ("AddressOnParent", "0"), ("HostResource", "ovf:/disk/d2")]);
        (format!("{controller}{disk}{rest}"), format!("of the device \"d\" the field AddressOnParent = {unit:?}"))
    };
    let table = [
        field("3", "VirtualQuantity", "four"),
        field("3", "VirtualQuantity", "-1"),
        field("3", "AllocationUnits", "furlongs"),
        field("3", "CoresPerSocket", "two"),
        field("3", "CoresPerSocket", "0"),
        field("4", "VirtualQuantity", "lots"),
        field("4", "VirtualQuantity", "18446744073709551615"),
        field("4", "AllocationUnits", "furlongs"),
        field("10", "Address", "zz:notamac"),
        field("10", "VirtualQuantity", "2"),
        field("20", "Address", "first"),
        disk("second"),
        disk("4096"),
        said(
            of("3", &[("VirtualQuantity", "4")]) + &of("3", &[("VirtualQuantity", "2")]),
            "4 processors, beside which there are 2",
        ),
        said(
            of("4", &[("VirtualQuantity", "4")]) + &of("4", &[("VirtualQuantity", "8")]),
            "4194304 bytes of memory, beside which there are 8388608",
        ),
        said(of("6", &[("ResourceSubType", "odd")]), "the controller \"odd\", in whose place there is a "),
        said(of("10", &[]).replace("<Item>", "<Item ovf:bound='min'>"), "of the device \"d\" the bound \"min\""),
        said(of("10", &[]).replace("<Item>", "<Item ovf:configuration='big'>"), "the configuration \"big\""),
        said(of("77", &[]), "the device \"d\" of the resource type \"77\""),
        config("firmware", "coreboot"),
        config("bootOptions.efiSecureBootEnabled", "maybe"),
        config("nestedHVEnabled", "maybe"),
        config("tools.afterPowerOn", "false"),
        config("odd", "1"),
        said(config("bootOptions.efiSecureBootEnabled", "true").0, "secure boot, as the firmware is not EFI"),
        said("<vmw:Config vmw:key='odd'/>".to_owned(), "VMware's setting \"odd\", which has no value"),
        said(
            "<vmw:ExtraConfig vmw:key='cpuid.coresPerSocket' vmw:value='x'/>".to_owned(),
            "VMware's setting cpuid.coresPerSocket = \"x\"",
        ),
        said(
            "<System><VirtualSystemType>vmx-1000</VirtualSystemType></System>".to_owned(),
            "the kind of machine \"vmx-1000\"",
        ),
        said(
            "<System><VirtualSystemType>xen-3</VirtualSystemType></System>".to_owned(),
            "the kind of machine \"xen-3\"",
        ),
    ];
    for (text, what) in table {
        let left_out = hardware(&text).left_out;
        assert!(left_out.iter().any(|found| found.starts_with(&what)), "{what}: {left_out:?}");
    }
    for (text, what) in [
        ("<VirtualHardwareSection ovf:transport='iso'/>", "that it is told its properties by \"iso\""),
        ("<vmw:BootOrderSection vmw:type='net'/>", "that it starts from \"net\""),
        ("<BootOrderSection/>", "the section \"BootOrderSection\""),
        ("<OperatingSystemSection ovf:id='9999'/>", "the guest type \"9999\", which is not known ("),
    ] {
        let left_out = &read(&system(text)).unwrap()[0].left_out;
        assert!(left_out.len() == 1 && left_out[0].starts_with(what), "{what}: {left_out:?}");
    }
}

#[test]
fn what_programs_always_write_is_not_named() {
    let virtualboxs = "<System><VirtualSystemType>virtualbox-2.2</VirtualSystemType></System>";
    let vmwares = "<System><VirtualSystemType>vmx-07 vmx-13</VirtualSystemType></System>\
        <Item><rasd:ElementName>d</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>\
        <Item><rasd:HostResource>ovf:/disk/d1</rasd:HostResource><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType>\
        <vmw:Config vmw:key='backing.writeThrough' vmw:value='false'/></Item>\
        <Item><rasd:HostResource>ovf:/disk/d2</rasd:HostResource><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>\
        <vmw:Config vmw:key='firmware' vmw:value='bios'/><vmw:Config vmw:key='bootOptions.efiSecureBootEnabled' vmw:value='false'/>\
        <vmw:Config vmw:key='nestedHVEnabled' vmw:value='false'/><vmw:Config vmw:key='flags.vbsEnabled' vmw:value='false'/>\
        <vmw:Config vmw:key='tools.afterPowerOn' vmw:value='true'/><vmw:Config vmw:key='vPMCEnabled' vmw:value='false'/>\
        <vmw:Config vmw:key='powerOpInfo.standbyAction' vmw:value='checkpoint'/>";
    for text in [virtualboxs, vmwares] {
        assert_eq!(hardware(text).left_out, Vec::<String>::new());
    }
    let order = "<OperatingSystemSection ovf:id='1'/><vmw:BootOrderSection vmw:instanceId='8' vmw:type='disk'/>";
    assert_eq!(read(&system(order)).unwrap()[0].left_out, Vec::<String>::new());
}

#[test]
fn disks_that_hang_on_no_machine_are_named() {
    let text = "<Envelope><DiskSection><Disk diskId='base'/><Disk diskId='used' parentRef='base'/>\
                <Disk diskId='empty' capacity='10' capacityAllocationUnits='byte * 2^30'/><Disk diskId='loop' parentRef='loop'/>\
                </DiskSection><VirtualSystem><VirtualHardwareSection><Item><ResourceType>20</ResourceType><InstanceID>1</InstanceID>\
                </Item><Item><ResourceType>17</ResourceType><Parent>1</Parent><HostResource>/disk/used</HostResource></Item>\
                </VirtualHardwareSection></VirtualSystem></Envelope>";
    let named = ["the disk \"empty\" of 10737418240 bytes", "the disk \"loop\""]
        .map(|disk| format!("{disk}, which hangs on no machine"));
    assert_eq!(read(text).unwrap()[0].left_out, named);
}

#[test]
fn warnings_of_a_hostile_package_are_few_and_short() {
    let long = "x".repeat(2_000);
    let odd = |n: usize| format!("{n}{long}");
    let items: String = (0..500).map(|n| item(&[("ElementName", &odd(n)), ("ResourceType", &odd(n))])).collect();
    let left_out = hardware(&items).left_out;
    assert!(left_out.len() == 65 && left_out.iter().all(|what| what.len() < 300), "{}", left_out.len());
}

#[test]
fn older_descriptors_say_by_its_type_what_a_content_is() {
    let own = "<vbox:Machine><Hardware><SharedFolders><SharedFolder name='x' hostPath='/'/></SharedFolders></Hardware></vbox:Machine>";
    let collection = |systems: &str| {
        let kind = "<Content xmlns:xsi='x' xsi:type='ovf:VirtualSystemCollection_Type'><VirtualSystem";
        let text = system("").replace("<VirtualSystem", kind);
        let text = text.replace("</VirtualSystem>", &format!("{own}</VirtualSystem>{systems}</Content>"));
        read(&text).unwrap()
    };
    let machines = collection("");
    assert!(machines.len() == 1 && machines[0].reaches.len() == 1, "{machines:?}");
    let second = format!("<Content xsi:type='ovf:VirtualSystem_Type'>{own}</Content>");
    assert_eq!(collection(&second).len(), 2);
    // Where nobody knows a machine, it is its neighbour's.
    let beside = system("").replace("</Envelope>", &format!("<Annotations>{own}</Annotations></Envelope>"));
    assert_eq!(read(&beside).unwrap()[0].reaches.len(), 1, "{beside}");
}
