//! What VirtualBox says of a machine beyond what is read: named with rubbish and with choices in it, silent with its defaults.

use super::super::vbox_reader;
use super::*;
use crate::machine::MachineNic;
use crate::package::xml_tree;

/// Reads the hardware of a machine with one network card.
fn left_out(hardware: &str) -> Vec<String> {
    machine(&format!("<Machine><Hardware>{hardware}</Hardware></Machine>"))
}

fn machine(text: &str) -> Vec<String> {
    let mut machine = PackagedMachine::default();
    machine.description.nics = vec![MachineNic::default()];
    vbox_reader::add(&xml_tree::read(text).unwrap(), &mut machine);
    machine.left_out
}

#[test]
fn each_setting_that_is_not_read_is_named() {
    let card = |inside: &str| format!("<Network><Adapter slot='0' enabled='true' {inside}</Adapter></Network>");
    let setting = |text: &str, what: &str| (text.to_owned(), format!("VirtualBox's setting {what}"));
    let table = [
        setting("<CPU count='four'/>", "CPU count = \"four\""),
        setting("<CPU count='9'/>", "CPU count = \"9\""),
        setting("<CPU hotplug='true'/>", "CPU hotplug = \"true\""),
        setting("<CPU executionCap='50'/>", "CPU executionCap = \"50\""),
        setting("<CPU CpuProfile='X'/>", "CPU CpuProfile = \"X\""),
        setting("<CPU odd='1'/>", "CPU odd = \"1\""),
        setting("<CPU><HardwareVirtEx enabled='false'/></CPU>", "CPU/HardwareVirtEx enabled = \"false\""),
        setting("<CPU><TripleFaultReset enabled='true'/></CPU>", "CPU/TripleFaultReset enabled = \"true\""),
        setting(
            "<CPU><CpuIdTree><CpuIdLeaf id='1' eax='2'/></CpuIdTree></CPU>",
            "CPU/CpuIdTree/CpuIdLeaf id = \"1\", eax = \"2\"",
        ),
        setting("<CPU><Odd enabled='true'/></CPU>", "CPU/Odd enabled = \"true\""),
        setting("<Memory RAMSize='lots'/>", "Memory RAMSize = \"lots\""),
        setting("<Memory RAMSize='1024'/>", "Memory RAMSize = \"1024\""),
        setting("<Firmware type='coreboot'/>", "Firmware type = \"coreboot\""),
        setting("<Firmware type='EFI32'/>", "Firmware type = \"EFI32\""),
        setting("<BIOS><ACPI enabled='false'/></BIOS>", "BIOS/ACPI enabled = \"false\""),
        setting("<BIOS><APIC mode='Disabled'/></BIOS>", "BIOS/APIC mode = \"Disabled\""),
        setting("<BIOS><IOAPIC enabled='false'/></BIOS>", "BIOS/IOAPIC enabled = \"false\""),
        setting("<BIOS><TimeOffset value='-3600000'/></BIOS>", "BIOS/TimeOffset value = \"-3600000\""),
        setting("<BIOS><Logo imagePath='/tmp/x.bmp'/></BIOS>", "BIOS/Logo imagePath = \"/tmp/x.bmp\""),
        setting("<BIOS><Odd>x</Odd></BIOS>", "BIOS/Odd"),
        setting("<HID Pointing='USBTablet'/>", "HID Pointing = \"USBTablet\""),
        setting("<HID Keyboard='USBKeyboard'/>", "HID Keyboard = \"USBKeyboard\""),
        setting("<Display monitorCount='4'/>", "Display monitorCount = \"4\""),
        setting("<Display controller='None'/>", "Display controller = \"None\""),
        setting("<Display VRAMSize='256'/>", "Display VRAMSize = \"256\""),
        setting("<Display accelerate3D='true'/>", "Display accelerate3D = \"true\""),
        setting("<Paravirt provider='HyperV'/>", "Paravirt provider = \"HyperV\""),
        setting("<Iommu type='Intel'/>", "Iommu type = \"Intel\""),
        setting("<TrustedPlatformModule type='v1_2'/>", "TrustedPlatformModule type = \"v1_2\""),
        setting("<Guest memoryBalloonSize='5'/>", "Guest memoryBalloonSize = \"5\""),
        setting("<RTC localOrUTC='mars'/>", "RTC localOrUTC = \"mars\""),
        setting("<HPET enabled='true'/>", "HPET enabled = \"true\""),
        setting("<Odd size='1'/>", "Odd size = \"1\""),
        setting(&card("MACAddress='rubbish'>"), "Adapter MACAddress = \"rubbish\""),
        setting(&card("type='odd'>"), "Adapter type = \"odd\""),
        setting(&card("cable='false'>"), "Adapter cable = \"false\""),
        setting(
            &card("><NAT><Forwarding name='ssh' hostport='2222'/></NAT>"),
            "Adapter/NAT/Forwarding name = \"ssh\", hostport = \"2222\"",
        ),
        setting(
            "<StorageControllers><StorageController><AttachedDevice nonrotational='true'/></StorageController></StorageControllers>",
            "StorageControllers/StorageController/AttachedDevice nonrotational = \"true\"",
        ),
        setting("<Boot><Order position='x' device='DVD'/></Boot>", "Boot/Order at the position \"x\""),
        (
            "<Boot><Order position='1' device='Network'/></Boot>".to_owned(),
            "that it starts from Network, DVD, HardDisk, None".to_owned(),
        ),
        (
            "<Boot><Order position='3' device='Odd'/></Boot>".to_owned(),
            "that it starts from Floppy, DVD, Odd, None".to_owned(),
        ),
        (
            "<GuestProperties><GuestProperty name='/my/setting' value='x'/></GuestProperties>".to_owned(),
            "the guest property /my/setting = \"x\"".to_owned(),
        ),
    ];
    for (text, what) in table {
        assert_eq!(left_out(&text), [what], "{text}");
    }
    let uuid = "<Machine><Hardware uuid='{00000000-0000-0000-0000-000000000042}'/></Machine>";
    assert_eq!(machine(uuid), ["VirtualBox's setting Hardware uuid = \"{00000000-0000-0000-0000-000000000042}\""]);
    let more = "<Network><Adapter slot='0' enabled='true'/><Adapter slot='1' enabled='true'/></Network>";
    assert_eq!(left_out(more), ["what VirtualBox says of 2 network cards, as OVF's items have 1"]);
}

/// What VirtualBox 4.3, 6.1 and 7.2 write of machines that nobody changed.
#[test]
fn virtualboxs_defaults_are_not_named() {
    let older = "<CPU count='1' hotplug='false'><HardwareVirtEx enabled='true' exclusive='true'/>\
        <HardwareVirtExNestedPaging enabled='true'/><HardwareVirtExVPID enabled='true'/><PAE enabled='true'/>\
        <HardwareVirtExLargePages enabled='false'/><HardwareVirtForce enabled='false'/></CPU>\
        <Memory RAMSize='512' PageFusion='false'/><HID Pointing='PS2Mouse' Keyboard='PS2Keyboard'/><HPET enabled='false'/>\
        <Chipset type='PIIX3'/><Boot><Order position='1' device='HardDisk'/><Order position='2' device='DVD'/>\
        <Order position='3' device='None'/><Order position='4' device='None'/></Boot>\
        <Display VRAMSize='8' monitorCount='1' accelerate3D='false' accelerate2DVideo='false'/>\
        <VideoCapture enabled='false' screens='1' file='Test.webm'/><RemoteDisplay enabled='false' authType='Null'/>\
        <BIOS><ACPI enabled='true'/><IOAPIC enabled='true'/><Logo fadeIn='true' fadeOut='true' displayTime='0'/>\
        <BootMenu mode='MessageAndMenu'/><TimeOffset value='0'/><PXEDebug enabled='false'/></BIOS><USB><Controllers/><DeviceFilters/></USB>\
        <Network><Adapter slot='0' enabled='true' MACAddress='080027D6B0A4' cable='true' speed='0' type='82540EM'>\
        <DisabledModes><NAT><DNS odd='1'/></NAT></DisabledModes>\
        <NAT><DNS pass-domain='true' use-proxy='false' use-host-resolver='false'/>\
        <Alias logging='false' proxy-only='false' use-same-ports='false'/></NAT></Adapter>\
        <Adapter slot='1' enabled='false' cable='false' odd='1'/></Network>\
        <UART><Port slot='0' enabled='false' hostMode='Disconnected'/></UART><LPT><Port slot='0' enabled='false'/></LPT>\
        <AudioAdapter enabled='false'/><RTC localOrUTC='local'/><SharedFolders/><Clipboard mode='Disabled'/><DragAndDrop mode='Disabled'/>\
        <IO><IoCache enabled='true' size='5'/><BandwidthGroups/></IO><HostPci><Devices/></HostPci>\
        <EmulatedUSB><CardReader enabled='false'/></EmulatedUSB><Guest memoryBalloonSize='0'/>\
        <GuestProperties><GuestProperty name='/VirtualBox/HostInfo/GUI/LanguageID' value='en_US'/></GuestProperties>\
        <StorageControllers><StorageController name='SATA' type='AHCI' PortCount='1' useHostIOCache='false' Bootable='true' \
        IDE0MasterEmulationPort='0' IDE0SlaveEmulationPort='1' IDE1MasterEmulationPort='2' IDE1SlaveEmulationPort='3'>\
        <AttachedDevice nonrotational='false' discard='false' type='HardDisk' hotpluggable='false' port='0' device='0'><Image uuid='{1}'/>\
        </AttachedDevice><AttachedDevice passthrough='false' type='DVD' hotpluggable='false' port='1' device='0'/></StorageController>\
        </StorageControllers>";
    let newer = "<Memory RAMSize='512'/><Firmware type='EFI'/><BIOS><IOAPIC enabled='true'/><SmbiosUuidLittleEndian enabled='true'/>\
        <AutoSerialNumGen enabled='true'/><NVRAM path='x.nvram'/></BIOS><TrustedPlatformModule type='v2_0' location=''/>\
        <Network><Adapter slot='0' enabled='true' MACAddress='08002730E272' type='82540EM'><NAT localhost-reachable='true'/></Adapter></Network>\
        <Clipboard/><Paravirt provider='Default'/><CPU><HardwareVirtExLargePages enabled='false'/><PAE enabled='false'/>\
        <LongMode enabled='true'/><X2APIC enabled='true'/></CPU>";
    for text in [older, newer, "<Firmware/>", ""] {
        assert_eq!(left_out(text), Vec::<String>::new());
    }
}

#[test]
fn warnings_of_a_hostile_description_are_few_and_short() {
    let long = "x".repeat(300);
    let odd: String = (0..500).map(|n| format!("<Odd{n}{long} a{long}='{long}' b='{long}'/>")).collect();
    let found = left_out(&format!("{odd}<CPU>{odd}</CPU>"));
    assert!(found.len() == 65 && found.iter().all(|what| what.len() < 300), "{}", found.len());
}
