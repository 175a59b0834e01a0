//! Machines of VMX files, as Workstation and we write them.

use super::*;
use crate::machine::{GuestOs, MachineDescription};

fn machine(text: &str) -> PackagedMachine {
    Vmx::from_bytes(text.as_bytes()).unwrap().machine().unwrap()
}

const WORKSTATIONS: &str = r#".encoding = "windows-1252"
displayName = "web"
config.version = "8"
virtualHW.version = "18"
guestOS = "windows8srv-64"
memsize = "4096"
numvcpus = "4"
cpuid.coresPerSocket = "2"
firmware = "efi"
uefi.secureBoot.enabled = "TRUE"
managedVM.autoAddVTPM = "software"
nvram = "web.nvram"
vhv.enable = "TRUE"
annotation = "two|0Alines"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:1.present = "TRUE"
scsi0:1.fileName = "data.vmdk"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "web.vmdk"
scsi0:0.redo = ""
scsi1.present = "TRUE"
scsi1:3.present = "TRUE"
scsi1:3.fileName = "more.vmdk"
scsi2.present = "FALSE"
scsi2:0.present = "TRUE"
sata0.present = "TRUE"
sata0:1.present = "TRUE"
sata0:1.deviceType = "cdrom-image"
sata0:1.fileName = "C:\isos\tools.iso"
ide1:0.present = "FALSE"
nvme0.present = "TRUE"
nvme0:0.present = "TRUE"
nvme0:0.fileName = "fast.vmdk"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.connectionType = "nat"
ethernet0.addressType = "generated"
ethernet0.generatedAddress = "00:0c:29:01:02:03"
ethernet2.present = "TRUE"
ethernet2.virtualDev = "e1000e"
ethernet2.connectionType = "custom"
ethernet2.vnet = "VMnet8"
ethernet2.addressType = "static"
ethernet2.address = "00:50:56:01:02:03"
serial0.present = "TRUE"
serial0.fileName = "/dev/ttyS0"
usb.present = "TRUE"
floppy0.present = "FALSE"
uuid.bios = "56 4d"
mem.hotadd = "TRUE"
guestinfo.x = "y"
vmx.log.filename = "/tmp/log"
"#;

#[test]
fn hardware_is_read_and_what_is_not_carried_is_named() {
    let found = machine(WORKSTATIONS);
    let description = &found.description;
    assert_eq!((&*description.name, description.cpus, description.cores_per_socket), ("web", 4, Some(2)));
    assert_eq!((description.memory_mib, description.hardware_version), (4096, 18));
    assert_eq!(description.firmware, Firmware::Uefi { secure_boot: true });
    assert!(description.tpm && description.nested_virtualization);
    assert_eq!(description.annotation.as_deref(), Some("two\nlines"));
    assert_eq!(description.guest_os, GuestOs::WindowsServer);
    assert_eq!(description.guest_words.virtualbox.as_deref(), Some("Windows2012_64"));
    assert_eq!(found.disks, ["web.vmdk", "data.vmdk", "more.vmdk", "fast.vmdk"]);
    let slots: Vec<_> = description.disks.iter().map(|disk| (disk.controller, disk.slot.unwrap())).collect();
    let slot = |controller, unit| DiskSlot { controller, unit };
    assert_eq!(
        slots,
        [
            (DiskController::ParavirtualScsi, slot(0, 0)),
            (DiskController::ParavirtualScsi, slot(0, 1)),
            (DiskController::LsiLogic, slot(0, 3)),
            (DiskController::Nvme, slot(0, 0)),
        ]
    );
    let nic = |index: usize| {
        let nic = &description.nics[index];
        (nic.model, nic.network.as_str(), nic.mac.map(|mac| mac.to_string()))
    };
    assert_eq!(nic(0), (NicModel::Vmxnet3, "nat", None));
    assert_eq!(nic(1), (NicModel::E1000e, "VMnet8", Some("00:50:56:01:02:03".to_owned())));
    assert_eq!(found.nvram, Some((NvramMaker::VMware, "web.nvram".to_owned())));
    let kept: Vec<_> = description.vmware_settings.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(kept, ["guestinfo.x", "mem.hotadd"]);
    assert_eq!(
        found.left_out,
        [
            "a CD drive",
            "a serial port",
            "USB",
            "the setting vmx.log.filename, which names a file or folder of the host"
        ]
    );
}

#[test]
fn settings_that_could_reach_the_host_do_not_travel() {
    let keys = [
        "debugStub.listen.guest64.remote",
        "isolation.tools.copy.disable",
        "hgfs.mapRootShare",
        "encryption.keySafe",
        "vtpm.ekCRT",
        "anything.else",
    ];
    let lines: String = keys.iter().map(|key| format!("{key} = \"TRUE\"\n")).collect();
    let found = machine(&format!("{lines}guestinfo.x = \"y\"\ndisk.EnableUUID = \"TRUE\"\n"));
    let kept: Vec<_> = found.description.vmware_settings.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(kept, ["disk.EnableUUID", "guestinfo.x"]);
    assert_eq!(found.left_out.len(), keys.len(), "{:?}", found.left_out);
    for key in keys {
        let what = format!("the setting {key}, which could reach the host");
        assert!(found.left_out.contains(&what), "{what} in {:?}", found.left_out);
    }
}

#[test]
fn what_was_written_is_read() {
    let scsi = |unit| MachineDisk {
        controller: DiskController::LsiLogicSas,
        slot: Some(DiskSlot { controller: 0, unit }),
        file: None,
    };
    let written = MachineDescription {
        name: "a \"b\"".to_owned(),
        cpus: 3,
        memory_mib: 2048,
        firmware: Firmware::Uefi { secure_boot: false },
        guest_os: GuestOs::Debian12,
        disks: vec![scsi(0), scsi(8)],
        nics: vec![MachineNic { network: "hostonly".to_owned(), ..MachineNic::default() }],
        hardware_version: 20,
        annotation: Some("note".to_owned()),
        vmware_settings: vec![("mem.hotadd".to_owned(), "TRUE".to_owned())],
        ..MachineDescription::default()
    };
    let files = ["a.vmdk".to_owned(), "b.vmdk".to_owned()];
    let vmx = Vmx::of_machine(&written, &files).unwrap();
    let read = Vmx::from_bytes(vmx.to_string().as_bytes()).unwrap().machine().unwrap();
    assert_eq!(read.description, written);
    assert_eq!((read.disks, read.left_out), (files.to_vec(), vec![]));
}

#[test]
fn what_vmware_would_not_start_is_refused() {
    for (text, words) in [
        ("memsize = \"lots\"", "memsize is \"lots\", which is no number"),
        ("virtualHW.version = \"300\"", "virtualHW.version is 300"),
        ("sata0.present = \"TRUE\"\nsata0:0.present = \"TRUE\"", "the disk sata0:0 has no file"),
        ("scsi9:0.present = \"TRUE\"\nscsi9:0.fileName = \"a\"", "hangs where no machine"),
        ("scsi0:7.present = \"TRUE\"\nscsi0:7.fileName = \"a\"", "hangs where no machine"),
        ("ide0:2.present = \"TRUE\"\nide0:2.fileName = \"a\"", "hangs where no machine"),
    ] {
        let error = Vmx::from_bytes(text.as_bytes()).unwrap().machine().unwrap_err();
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
    let many: String =
        (0..4000).map(|n| format!("scsi{n}:0.present = \"TRUE\"\nscsi{n}:0.fileName = \"a\"\n")).collect();
    assert!(Vmx::from_bytes(many.as_bytes()).unwrap().machine().is_err());
}

#[test]
fn disks_are_listed_with_their_keys() {
    let vmx = Vmx::from_bytes(WORKSTATIONS.as_bytes()).unwrap();
    let disks = vmx.disks().unwrap();
    assert_eq!(disks[0], ("scsi0:0".to_owned(), "web.vmdk"));
    assert_eq!(disks[3], ("nvme0:0".to_owned(), "fast.vmdk"));
}

#[test]
fn settings_of_disks_controllers_and_cards_that_are_not_carried_are_named() {
    let with = |lines: &str| machine(&format!("{WORKSTATIONS}{lines}")).left_out;
    let before = with("");
    let ordinary = "scsi0:0.mode = \"persistent\"\nscsi0.pciSlotNumber = \"160\"\nethernet0.startConnected = \"TRUE\"\n\
                    scsi0.sharedBus = \"none\"\nserial0.yieldOnMsrRead = \"TRUE\"\n\
                    sata0:1.startConnected = \"FALSE\"\nide1:0.clientDevice = \"TRUE\"\n";
    assert_eq!(with(ordinary), before);
    for line in [
        "scsi0:0.mode = \"independent-nonpersistent\"",
        "ethernet0.startConnected = \"FALSE\"",
        "scsi0.sharedBus = \"physical\"",
        "nvme0:0.odd = \"1\"",
    ] {
        let mut left_out = with(&format!("{line}\n"));
        left_out.retain(|what| !before.contains(what));
        assert_eq!(left_out, [format!("the setting {line}")]);
    }
}
