//! Which commands say anew what leads to the host, and which only look as if they did.

use super::*;

#[test]
fn what_leads_to_the_host_is_named_with_the_words_that_say_it_anew() {
    for (inside, what, said) in [
        (
            "<UART><Port slot='0' enabled='true' path='/root/x' hostMode='RawFile'/></UART>",
            "serial port 1 at \"/root/x\"",
            "modifyvm x --uart1 off",
        ),
        (
            "<UART><Port slot='1' enabled='yes' path='5000' hostMode='TCP'/></UART>",
            "serial port 2",
            "modifyvm x --uart-mode2=disconnected",
        ),
        (
            "<Uart><Port slot='0' enabled='true' path='/x' hostMode='HostPipe'/></Uart>",
            "serial port 1",
            "modifyvm x --uartmode1 file /tmp/mine",
        ),
        (
            "<LPT><Port slot='0' enabled='1' path='/dev/lp0'/></LPT>",
            "parallel port 1",
            "modifyvm x --lptmode1 /dev/lp1",
        ),
        ("<Lpt><Port slot='0' path='/dev/lp0'/></Lpt>", "parallel port 1", "modifyvm x --lpt1 off"),
        (
            "<SharedFolders><SharedFolder name='all' hostPath='/' writable='true'/></SharedFolders>",
            "shared folder \"all\" at \"/\"",
            "sharedfolder remove x --name all",
        ),
        (
            "<USB><DeviceFilters><DeviceFilter name='all' active='true'/></DeviceFilters></USB>",
            "USB devices",
            "usbfilter remove 0 --target x",
        ),
        ("<EmulatedUSB><CardReader enabled='true'/></EmulatedUSB>", "smart cards", "modifyvm x --usb-card-reader off"),
        (
            "<TrustedPlatformModule type='Host' location='/dev/tpm0'/>",
            "a TPM of this host",
            "modifyvm x --tpm-type none",
        ),
        (
            "<TrustedPlatformModule type='Swtpm' location='h:1'/>",
            "a TPM of this host",
            "modifyvm x --tpm-location mine",
        ),
        (
            "<Network><Adapter slot='1' enabled='true' trace='true' tracefile='/root/x'/></Network>",
            "packets of card 2",
            "modifyvm x --nictrace2 off",
        ),
        (
            "<Network><Adapter slot='1' trace='true'/></Network>",
            "packets of card 2",
            "modifyvm x --nic-trace-file2 mine",
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
        (
            "<Network><Adapter slot='1' enabled='true'><NAT localhost-reachable='true'/></Adapter></Network>",
            "card 2 what listens",
            "modifyvm x --nat-localhostreachable2 off",
        ),
        (
            "<Network><Adapter slot='0' enabled='true'><NAT><Forwarding name='ssh' hostport='22'/></NAT></Adapter></Network>",
            "from everywhere",
            "modifyvm x --natpf1 delete ssh",
        ),
        (
            "<Network><Adapter slot='0'><NAT><Forwarding name='a' hostip='0.0.0.0'/></NAT></Adapter></Network>",
            "from everywhere",
            "modifyvm x --nat-pf1 delete a",
        ),
        ("<RemoteDisplay authLibrary='/tmp/x.so'/>", "a library", "modifyvm x --vrde-auth-library null"),
        ("<RemoteDisplay VRDEExtPack='x'/>", "a library", "modifyvm x --vrdeextpack default"),
        (
            "<RemoteDisplay><VRDEProperties><Property name='Security/CACertificate' value='/x'/></VRDEProperties></RemoteDisplay>",
            "remote display \"Security",
            "modifyvm x --vrdeproperty Security/CACertificate=",
        ),
        ("<Clipboard mode='Bidirectional'/>", "Clipboard", "modifyvm x --clipboard-mode disabled"),
        ("<Clipboard mode='HostToGuest'/>", "Clipboard", "modifyvm x --clipboard hosttoguest"),
        (
            "<Clipboard fileTransfersEnabled='true'/>",
            "by its clipboard",
            "modifyvm x --clipboard-file-transfers disabled",
        ),
        ("<DragAndDrop mode='HostToGuest'/>", "DragAndDrop", "modifyvm x --draganddrop disabled"),
        ("<Paravirt provider='HyperV' debug='enabled=1'/>", "a debugger", "modifyvm x --paravirt-debug x"),
        ("<Frontend><Default type='evil'/></Frontend>", "program \"evil\"", "modifyvm x --default-frontend gui"),
        (
            "<BIOS><Logo imagePath='/etc/shadow'/></BIOS>",
            "place \"/etc/shadow\"",
            "modifyvm x --bios-logo-image-path x",
        ),
        ("<CPU><L1DFlushOn scheduling='false'/></CPU>", "caches", "modifyvm x --l1d-flush-on-sched on"),
        (
            "<VideoCapture enabled='true' file='/home/u/.profile'/>",
            "\"/home/u/.profile\"",
            "modifyvm x --recording-file mine",
        ),
    ] {
        assert_said(found(inside), inside, what, said);
    }
    for (inside, what, said) in [
        (
            "<ExtraData><ExtraDataItem name='VBoxInternal/PDM/Devices/x/Path' value='/tmp/x.so'/></ExtraData>",
            "PDM/Devices",
            "setextradata x VBoxInternal/PDM/Devices/x/Path",
        ),
        (
            "<ExtraData><ExtraDataItem name='VBoxInternal/Devices/pcbios/0/Config/DmiUseHostInfo' value='1'/></ExtraData>",
            "DmiUseHostInfo",
            "setextradata x VBoxInternal/Devices/pcbios/0/Config/DmiUseHostInfo",
        ),
        (
            "<ExtraData><ExtraDataItem name='VBoxInternal2/EfiRomFile' value='/x'/></ExtraData>",
            "EfiRomFile",
            "setextradata x VBoxInternal2/EfiRomFile",
        ),
        ("<Teleporter enabled='true' port='6000'/>", "teleporter", "modifyvm x --teleporter off"),
        (
            "<Debugging><GuestDebug provider='GDB' io='TCP' address='0.0.0.0'/></Debugging>",
            "debugger",
            "modifyvm x --guest-debug-provider none",
        ),
        ("<Debugging><Tracing enabled='true' config='x'/></Debugging>", "tracing", "modifyvm x --tracing-enabled off"),
        ("<Autostart enabled='true'/>", "starts with this host", "modifyvm x --autostart-enabled off"),
        ("<Recording enabled='true'/>", "recording", "modifyvm x --recording off"),
    ] {
        assert_said(found_in(inside), inside, what, said);
    }
}

fn assert_said(found: Vec<HostReach>, inside: &str, what: &str, said: &str) {
    let one = the_taken(found, inside);
    assert!(one.what.contains(what), "{inside}: {one:?}");
    assert!(one.is_said(&[command(said)]) && one.command().is_some(), "{said}: {one:?}");
    assert!(!one.is_said(&[command("modifyvm x --memory 512")]) && !one.is_said(&[]), "{one:?}");
}

#[test]
fn a_command_that_leaves_the_place_as_the_package_has_it_says_nothing() {
    let port = "<UART><Port slot='0' enabled='true' path='/x' hostMode='HostPipe'/></UART>";
    let trace = "<Network><Adapter slot='0' trace='true' tracefile='/x'/></Network>";
    let folder = "<SharedFolders><SharedFolder name='add' hostPath='/'/></SharedFolders>";
    let option = "<SharedFolders><SharedFolder name='--name' hostPath='/'/></SharedFolders>";
    let capture = "<VideoCapture enabled='true' file='/home/u/.profile'/>";
    let filters = "<USB><DeviceFilters><DeviceFilter active='true'/></DeviceFilters></USB>";
    let generic = "<Network><Adapter slot='0' enabled='true'><GenericInterface driver='x'/></Adapter></Network>";
    let forward = "<Network><Adapter slot='0'><NAT><Forwarding name='ssh'/></NAT></Adapter></Network>";
    for (inside, said) in [
        (port, "modifyvm x --uart1 0x3F8 4"),
        (port, "modifyvm x --uart2 off"),
        (port, "modifyvm x --uart1"),
        (port, "modifyvm x --description --uartmode1x off"),
        (port, "controlvm x --uart1 off"),
        ("<LPT><Port slot='0' path='/dev/lp0'/></LPT>", "modifyvm x --lpt1 0x378 7"),
        (trace, "modifyvm x --nictrace1 on"),
        (folder, "sharedfolder add x --name other --hostpath /x"),
        (folder, "sharedfolder add x --name add --hostpath /x"),
        (option, "sharedfolder remove x --name other"),
        (folder, "sharedfolder remove x --name add --transient"),
        (capture, "modifyvm x --recording on"),
        (capture, "modifyvm x --videocap on"),
        (filters, "usbfilter add 0 --target x --name y"),
        (filters, "usbfilter remove 1 --target x"),
        (generic, "modifyvm x --nic1 generic"),
        (forward, "modifyvm x --natpf1 ssh,tcp,,22,,22"),
        (forward, "modifyvm x --natpf1 delete other"),
    ] {
        let one = the_taken(found(inside), inside);
        assert!(!one.is_said(&[command(said)]), "{said}: {one:?}");
    }
    // What is switched off, and then on again, is where the package has it.
    let again = [command("modifyvm x --uart1 off"), command("modifyvm x --uart1 0x3F8 4")];
    assert!(!the_taken(found(port), port).is_said(&again));
}

#[test]
fn what_is_off_in_the_package_is_so_until_a_command_switches_it_on() {
    for (hardware, on, named) in [
        (
            "<UART><Port slot='0' enabled='false' path='/x' hostMode='RawFile'/></UART>",
            "modifyvm x --uart1 0x3F8 4",
            "modifyvm x --uartmode1 file /y",
        ),
        ("<LPT><Port slot='0' enabled='0' path='/x'/></LPT>", "modifyvm x --lpt1 0x378 7", "modifyvm x --lptmode1 /y"),
        (
            "<VideoCapture enabled='false' file='/home/u/x.webm'/>",
            "modifyvm x --recording on",
            "modifyvm x --recordingfile y",
        ),
        (
            "<Network><Adapter slot='0' tracefile='/x'/></Network>",
            "modifyvm x --nictrace1 on",
            "modifyvm x --nictracefile1 y",
        ),
        (
            "<TrustedPlatformModule type='None' location='/dev/tpm0'/>",
            "modifyvm x --tpm-type host",
            "modifyvm x --tpm-location y",
        ),
        (
            "<Network><Adapter slot='1' enabled='true'><DisabledModes><NAT localhost-reachable='true'/></DisabledModes></Adapter></Network>",
            "modifyvm x --nic2 nat",
            "modifyvm x --nat-localhostreachable2 off",
        ),
        (
            "<Network><Adapter slot='0'><DisabledModes><GenericInterface driver='x'/></DisabledModes></Adapter></Network>",
            "modifyvm x --nic1 generic",
            "modifyvm x --nic1 nat",
        ),
    ] {
        let one = the_taken(found(hardware), hardware);
        assert!(one.is_said(&[]) && one.is_said(&[command("modifyvm x --memory 512")]), "{one:?}");
        assert!(!one.is_said(&[command(on)]), "{one:?}");
        assert!(one.is_said(&[command(named)]), "{one:?}");
    }
    let teleporter = the_taken(found_in("<Teleporter enabled='0' port='1'/>"), "teleporter");
    assert!(teleporter.is_said(&[]) && !teleporter.is_said(&[command("modifyvm x --teleporter on")]));
}

#[test]
fn filters_for_usb_devices_are_counted_as_they_go() {
    let two = "<USB><DeviceFilters><DeviceFilter name='a' active='true'/><DeviceFilter name='b' active='true'/></DeviceFilters></USB>";
    let [first, second] = &found(two)[..] else { panic!("{two}") };
    let remove = |index: u32| command(&format!("usbfilter remove {index} --target x"));
    assert!(first.is_said(&[remove(0)]) && !second.is_said(&[remove(0)]));
    assert!(second.is_said(&[remove(0), remove(0)]) && second.is_said(&[remove(1)]));
    let add = command("usbfilter add 0 --target x --name mine");
    assert!(!first.is_said(&[add.clone(), remove(0)]) && first.is_said(&[add, remove(1)]));
}
