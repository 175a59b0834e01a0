//! Descriptions of machines that reach for the host, in each way that VirtualBox has words for, and such as do not.

use super::*;
use crate::package::xml_tree;

fn found(inside: &str) -> Vec<HostReach> {
    of(&xml_tree::read(&format!("<Machine snapshotFolder='Snapshots'>{inside}</Machine>")).unwrap())
}

#[test]
fn what_leads_to_the_host_is_named_with_the_words_that_say_it_anew() {
    for (inside, what, command) in [
        (
            "<Hardware><UART><Port slot='0' enabled='true' path='/root/x' hostMode='RawFile'/></UART></Hardware>",
            "serial port 1 at \"/root/x\"",
            "modifyvm x --uart1 off",
        ),
        (
            "<UART><Port slot='1' enabled='yes' path='5000' hostMode='TCP'/></UART>",
            "serial port 2",
            "modifyvm x --uart-mode2=disconnected",
        ),
        ("<LPT><Port slot='0' enabled='1' path='/dev/lp0'/></LPT>", "parallel port 1", "modifyvm x --lptmode1 none"),
        (
            "<SharedFolders><SharedFolder name='all' hostPath='/' writable='true'/></SharedFolders>",
            "shared folder \"all\" at \"/\"",
            "sharedfolder remove x --name all",
        ),
        (
            "<ExtraData><ExtraDataItem name='VBoxInternal/PDM/Devices/x/Path' value='/tmp/x.so'/></ExtraData>",
            "PDM/Devices",
            "setextradata x VBoxInternal/PDM/Devices/x/Path",
        ),
        (
            "<DeviceFilters><DeviceFilter name='all' active='true'/></DeviceFilters>",
            "USB devices",
            "usbfilter remove 0 --target x",
        ),
        ("<EmulatedUSB><CardReader enabled='true'/></EmulatedUSB>", "smart cards", "modifyvm x --usb-card-reader off"),
        (
            "<HostPci><Devices><Device host='1' guest='2'/></Devices></HostPci>",
            "PCI device",
            "modifyvm x --pci-detach 1",
        ),
        (
            "<TrustedPlatformModule type='Host' location='/dev/tpm0'/>",
            "a TPM of this host",
            "modifyvm x --tpm-type none",
        ),
        (
            "<Network><Adapter slot='1' enabled='true' trace='true' tracefile='/root/x'/></Network>",
            "packets of card 2",
            "modifyvm x --nictrace2 off",
        ),
        (
            "<Network><Adapter slot='0' enabled='true'><NAT><TFTP prefix='/etc'/></NAT></Adapter></Network>",
            "directory \"/etc\"",
            "modifyvm x --nat-tftp-prefix1 tftp",
        ),
        (
            "<Network><Adapter slot='2' enabled='true'><GenericInterface driver='VDE'/></Adapter></Network>",
            "network driver",
            "modifyvm x --nic3 nat",
        ),
        ("<Teleporter enabled='true' port='6000'/>", "teleporter", "modifyvm x --teleporter off"),
        (
            "<Debugging><GuestDebug provider='GDB' io='TCP' address='0.0.0.0'/></Debugging>",
            "debugger",
            "modifyvm x --guest-debug-provider none",
        ),
        ("<Recording enabled='true'/>", "recording", "modifyvm x --recording off"),
        (
            "<BIOS><Logo imagePath='/etc/shadow'/></BIOS>",
            "place \"/etc/shadow\"",
            "modifyvm x --bios-logo-image-path x",
        ),
        ("<Snapshot stateFile='x.sav'/>", "saved memory", "discardstate x"),
    ] {
        let found = found(inside);
        let [one] = &found[..] else { panic!("{inside}: {found:?}") };
        assert!(one.takes && one.what.contains(what), "{inside}: {one:?}");
        let words = |line: &str| vec![line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>()];
        assert!(one.is_said(&words(command)), "{command}: {one:?}");
        assert!(!one.is_said(&words("modifyvm x --memory 512")) && !one.is_said(&[]), "{one:?}");
    }
}

#[test]
fn what_no_command_says_anew_is_never_said() {
    for inside in [
        "<StorageControllers><StorageController><AttachedDevice><HostDrive src='/dev/sr0'/></AttachedDevice></StorageController></StorageControllers>",
        "<MediaRegistry><DVDImages><Image uuid='x' location='/root/secret.iso'/></DVDImages></MediaRegistry>",
        "<MediaRegistry><HardDisks><HardDisk uuid='x' location='disk.vdi'/></HardDisks></MediaRegistry>",
        "<BIOS><NVRAM path='/root/x.nvram'/></BIOS>",
        "<SomethingNew><Of a='1' hostPath='../../x'/></SomethingNew>",
        "<NvRam path='C:\\x'/>",
    ] {
        let found = found(inside);
        assert!(found.len() == 1 && found[0].takes && found[0].said_by.is_empty(), "{inside}: {found:?}");
    }
    let machine = xml_tree::read("<Machine snapshotFolder='/root/x' stateFile='x'/>").unwrap();
    assert!(of(&machine)[0].what.contains("saved memory"));
}

#[test]
fn where_the_guest_is_only_seen_or_heard_it_is_told_and_taken() {
    for inside in [
        "<Network><Adapter slot='0' enabled='true'><BridgedInterface name='eth0'/></Adapter></Network>",
        "<Network><Adapter slot='0' enabled='true'><NAT><Forwarding name='ssh' hostport='2222'/></NAT></Adapter></Network>",
        "<Clipboard mode='Bidirectional'/>",
        "<DragAndDrop mode='HostToGuest'/>",
        "<AudioAdapter enabled='true' enabledIn='true'/>",
    ] {
        let found = found(inside);
        assert!(found.len() == 1 && !found[0].takes, "{inside}: {found:?}");
    }
}

#[test]
fn what_is_off_or_stays_in_the_machine_is_not_named() {
    let silent = "<ExtraData><ExtraDataItem name='GUI/LastWindowPosition' value='1'/><ExtraDataItem name='VBoxInternal2/EfiGraphicsResolution' value='1x1'/>\
         <ExtraDataItem name='VBoxInternal/Devices/pcbios/0/Config/DmiSystemVendor' value='x'/></ExtraData>\
         <UART><Port slot='0' enabled='false' path='/x' hostMode='RawFile'/><Port slot='1' enabled='true' hostMode='Disconnected'/></UART>\
         <Network><Adapter slot='1'><BridgedInterface name='eth0'/></Adapter><Adapter slot='0' enabled='true'><DisabledModes><BridgedInterface name='eth0'/></DisabledModes><NAT/></Adapter></Network>\
         <Clipboard/><DragAndDrop mode='Disabled'/><AudioAdapter enabled='true' enabledIn='false'/><BIOS><NVRAM path='x.nvram'/><Logo imagePath=''/></BIOS>\
         <TrustedPlatformModule type='v2_0' location=''/><VideoCapture enabled='false' file='/home/u/x.webm'/><SharedFolders/><Teleporter enabled='0' port='1'/>\
         <RemoteDisplay enabled='true'/><HostPci/><Debugging><Tracing enabled='false' config=''/></Debugging>";
    assert_eq!(found(silent), []);
}

#[test]
fn more_than_are_told_are_refused() {
    let many = found(&"<Clipboard mode='Bidirectional'/>".repeat(1000));
    assert_eq!(many.len(), MOST + 1);
    assert!(many[MOST].takes && many[..MOST].iter().all(|one| !one.takes));
    let long = "x".repeat(100_000);
    assert!(found(&format!("<SharedFolder name='{long}' hostPath='{long}'/>"))[0].what.len() < 1000);
}
