//! Descriptions of machines that reach for the host, in each way that VirtualBox has words for, and such as do not.

mod hiding;
mod saying;

use super::*;
use crate::package::xml_tree;

/// What is found in a machine with this in it.
fn found_in(inside: &str) -> Vec<HostReach> {
    of(&xml_tree::read(&format!("<Machine snapshotFolder='Snapshots'>{inside}</Machine>")).unwrap())
}

/// The same with this in its hardware.
fn found(hardware: &str) -> Vec<HostReach> {
    found_in(&format!("<Hardware>{hardware}</Hardware>"))
}

fn command(line: &str) -> Vec<String> {
    line.split(' ').map(ToOwned::to_owned).collect()
}

/// Asserts that there is one of them only, which gives something away, and returns it.
fn the_taken(found: Vec<HostReach>, inside: &str) -> HostReach {
    let [one] = &found[..] else { panic!("{inside}: {found:?}") };
    assert!(one.takes, "{inside}: {one:?}");
    one.clone()
}

#[test]
fn what_no_command_says_anew_is_never_said() {
    for inside in [
        "<StorageControllers><StorageController><AttachedDevice><HostDrive src='/dev/sr0'/></AttachedDevice></StorageController></StorageControllers>",
        "<StorageControllers><StorageController><AttachedDevice type='DVD' passthrough='true'/></StorageController></StorageControllers>",
        "<StorageControllers><StorageController><AttachedDevice type='DVD'><Image uuid='{1}'/></AttachedDevice></StorageController></StorageControllers>",
        "<BIOS><NVRAM path='/root/x.nvram'/></BIOS>",
        "<Firmware><NVRAM path='C:\\x'/></Firmware>",
        "<HostPci><Devices><Device host='1' guest='2'/></Devices></HostPci>",
    ] {
        let found = the_taken(found(inside), inside);
        assert!(found.command().is_none() && !found.is_said(&[command("modifyvm x --uart1 off")]), "{found:?}");
    }
    for inside in [
        "<MediaRegistry><DVDImages><Image uuid='x' location='/root/secret.iso'/></DVDImages></MediaRegistry>",
        "<MediaRegistry><HardDisks><HardDisk uuid='x' location='disk.vdi'/></HardDisks></MediaRegistry>",
    ] {
        assert!(the_taken(found_in(inside), inside).command().is_none());
    }
    let machine = xml_tree::read("<Machine snapshotFolder='/root/x' stateFile='x'/>").unwrap();
    assert!(of(&machine)[0].what.contains("saved memory"));
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    for (inside, place) in [
        ("<SomethingNew><Of a='1' hostPath='../../x'/></SomethingNew>", "Machine/Hardware/SomethingNew, "),
        (
            "<Network><Adapter slot='0'><VDE network='/x'/></Adapter></Network>",
            "Machine/Hardware/Network/Adapter/VDE, ",
        ),
        ("<Memory RAMSize='1' backing='/dev/mem'/>", "Machine/Hardware/Memory backing = \"/dev/mem\", "),
        ("<CPU><SharedFolder name='x' hostPath='/'/></CPU>", "Machine/Hardware/CPU/SharedFolder, "),
        ("<DVDDrive><HostDrive src='/dev/sr0'/></DVDDrive>", "Machine/Hardware/DVDDrive, "),
        ("<AudioAdapter><Property name='x' value='/x'/></AudioAdapter>", "Machine/Hardware/AudioAdapter/Property, "),
    ] {
        let found = the_taken(found(inside), inside);
        assert!(found.what.starts_with(place) && found.command().is_none(), "{found:?}");
    }
    let snapshot = "<Snapshot stateFile='x.sav'/>";
    assert!(the_taken(found_in(snapshot), snapshot).what.starts_with("Machine/Snapshot, "));
}

#[test]
fn where_the_guest_is_only_seen_or_heard_it_is_told_and_taken() {
    for inside in [
        "<Network><Adapter slot='0' enabled='true'><BridgedInterface name='eth0'/></Adapter></Network>",
        "<Network><Adapter slot='0' enabled='true'><NAT><Forwarding name='ssh' hostip='127.0.0.1' hostport='2222'/></NAT></Adapter></Network>",
        "<Network><Adapter slot='0' enabled='true' promiscuousModePolicy='AllowAll'><NAT/></Adapter></Network>",
        "<Clipboard mode='GuestToHost'/>",
        "<DragAndDrop mode='GuestToHost'/>",
        "<AudioAdapter enabled='true' enabledIn='true'/>",
        "<RemoteDisplay enabled='true'><VRDEProperties><Property name='TCP/Address' value='0.0.0.0'/></VRDEProperties></RemoteDisplay>",
        "<Memory RAMSize='1' PageFusion='true'/>",
    ] {
        let found = found(inside);
        assert!(found.len() == 1 && !found[0].takes, "{inside}: {found:?}");
    }
}

#[test]
fn what_stays_in_the_machine_is_not_named() {
    let silent = "<UART><Port slot='1' enabled='true' IOBase='0x2f8' IRQ='3' hostMode='Disconnected'/></UART><LPT><Port slot='0' enabled='false'/></LPT>\
         <Network><Adapter slot='1'><BridgedInterface name='eth0'/></Adapter><Adapter slot='0' enabled='true'><DisabledModes><BridgedInterface name='eth0'/>\
         <InternalNetwork name='intnet'/></DisabledModes><NAT localhost-reachable='true'><DNS pass-domain='true'/><Alias logging='false'/></NAT></Adapter></Network>\
         <Clipboard/><DragAndDrop mode='Disabled'/><AudioAdapter enabled='true' enabledIn='false'/><BIOS><NVRAM path='x.nvram'/><Logo imagePath=''/></BIOS>\
         <TrustedPlatformModule type='v2_0' location=''/><SharedFolders/><EmulatedUSB><CardReader enabled='false'/></EmulatedUSB><HostPci><Devices/></HostPci>\
         <RemoteDisplay enabled='true'><VRDEProperties><Property name='TCP/Address' value='127.0.0.1'/><Property name='TCP/Ports' value='5938'/>\
         <Property name='Security/Method' value='TLS'/><Property name='Security/ServerCertificate' value='/home/u/m/VRDEAutoGeneratedCert.pem'/>\
         <Property name='Security/ServerPrivateKey' value='C:\\m\\VRDEAutoGeneratedPrivateKey.pem'/></VRDEProperties></RemoteDisplay>\
         <USB><Controllers><Controller name='OHCI' type='OHCI'/></Controllers></USB><Frontend><Default type='headless'/></Frontend>\
         <CPU count='2'><L1DFlushOn scheduling='true'/><LongMode enabled='true'/><CpuIdTree><CpuIdLeaf id='1' eax='1'/></CpuIdTree></CPU>";
    assert_eq!(found(silent), []);
    let beside = "<Info msgid='x'>text</Info><Description>C:\\x</Description><ExtraData><ExtraDataItem name='GUI/LastWindowPosition' value='1'/>\
         <ExtraDataItem name='VBoxInternal2/EfiGraphicsResolution' value='1x1'/><ExtraDataItem name='CustomVideoMode1' value='1x1x32'/>\
         <ExtraDataItem name='VBoxInternal/Devices/pcbios/0/Config/DmiSystemVendor' value='x'/></ExtraData><MediaRegistry><HardDisks/></MediaRegistry>\
         <Platform architecture='x86'><CPU><PAE enabled='false'/></CPU><x86><CPU><X2APIC enabled='true'/></CPU></x86></Platform>";
    assert_eq!(found_in(beside), []);
}

/// What VirtualBox 7.2 exports of a machine that has its defaults, and of one with a disk, EFI and a TPM.
#[test]
fn what_virtualbox_exports_by_itself_is_not_named() {
    let exported = "<vbox:Machine xmlns:vbox='http://www.virtualbox.org/ovf/machine' xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1' ovf:required='false' \
         version='1.19-linux' uuid='{9db05e9c-fbb2-481a-8e7f-1c13b10ac292}' name='d' OSType='Ubuntu24_LTS_64' snapshotFolder='Snapshots' lastStateChange='2026-11-30T12:51:43Z'>\
         <ovf:Info>Complete VirtualBox machine configuration in VirtualBox format</ovf:Info><Hardware><Memory RAMSize='1024'/><HID Pointing='USBTablet'/>\
         <Paravirt provider='Default'/><Boot><Order position='1' device='HardDisk'/></Boot><Display controller='VMSVGA' VRAMSize='16'/><Firmware type='EFI'/>\
         <BIOS><IOAPIC enabled='true'/><SmbiosUuidLittleEndian enabled='true'/><AutoSerialNumGen enabled='true'/><NVRAM path='d.nvram'/></BIOS>\
         <TrustedPlatformModule type='v2_0' location=''/><USB><Controllers><Controller name='OHCI' type='OHCI'/></Controllers></USB>\
         <Network><Adapter slot='0' enabled='true' MACAddress='0800271A1A51' type='82540EM'><NAT/></Adapter><Adapter slot='1' type='82540EM'/></Network>\
         <AudioAdapter useDefault='true' driver='ALSA' enabled='true'/><Clipboard/><GuestProperties><GuestProperty name='/x' value='1' timestamp='1' flags=''/></GuestProperties>\
         <StorageControllers><StorageController name='SATA' type='AHCI' PortCount='4' useHostIOCache='true' Bootable='true' IDE0MasterEmulationPort='0' \
         IDE0SlaveEmulationPort='1' IDE1MasterEmulationPort='2' IDE1SlaveEmulationPort='3'><AttachedDevice nonrotational='true' discard='true' type='HardDisk' \
         hotpluggable='true' port='2' device='0'><Image uuid='{7a26635c-16c5-4e26-ad39-f38c1b12a3ec}'/></AttachedDevice>\
         <AttachedDevice passthrough='false' type='DVD' hotpluggable='false' port='3' device='0'/></StorageController></StorageControllers><RTC localOrUTC='UTC'/>\
         <Chipset type='ICH9'/><CPU executionCap='50'><HardwareVirtExLargePages enabled='false'/><PAE enabled='false'/><LongMode enabled='true'/><X2APIC enabled='true'/></CPU>\
         <HPET enabled='true'/></Hardware></vbox:Machine>";
    assert_eq!(of(&xml_tree::read(exported).unwrap()), []);
}

#[test]
fn a_disc_that_is_in_the_package_is_the_packages() {
    let drive = "<StorageControllers><StorageController name='IDE'><AttachedDevice type='DVD'><Image uuid='{1-2}'/></AttachedDevice></StorageController></StorageControllers>";
    let package = |uuid: &str| {
        let disks = format!("<DiskSection><Disk v:uuid='{uuid}'/></DiskSection>");
        let machine = format!("<v:Machine><Hardware>{drive}</Hardware></v:Machine>");
        let text = format!("<Envelope xmlns:v='v'>{disks}<VirtualSystem>{machine}</VirtualSystem></Envelope>");
        of(&xml_tree::read(&text).unwrap())
    };
    assert_eq!(package("1-2"), []);
    assert!(the_taken(package("1-3"), drive).what.contains("the medium \"{1-2}\" of this host's VirtualBox"));
}

#[test]
fn more_than_are_told_are_refused() {
    let many = found(&"<Clipboard mode='GuestToHost'/>".repeat(1000));
    assert_eq!(many.len(), MOST + 1);
    assert!(many[MOST].takes && many[..MOST].iter().all(|one| !one.takes));
    let long = "x".repeat(100_000);
    let found =
        found(&format!("<SharedFolders><SharedFolder name='{long}' hostPath='{long}'/></SharedFolders><{long}/>"));
    assert!(found.len() == 2 && found.iter().all(|one| one.what.len() < 1000));
}
