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
        "hgfs.unknown",
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
        let value = if key.starts_with("encryption") || key.ends_with("CRT") { "" } else { " = \"TRUE\"" };
        let what = format!("the setting {key}{value}");
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

/// Each line with what nobody understands in it, and what is said of it.
#[test]
fn rubbish_in_each_setting_is_named() {
    let with = |lines: &str| machine(lines).left_out;
    for line in [
        "firmware = \"coreboot\"",
        "firmware = \"efi-secure\"",
        "cpuid.coresPerSocket = \"0\"",
        "vhv.enable = \"perhaps\"",
        "vtpm.present = \"perhaps\"",
        "uefi.secureBoot.enabled = \"perhaps\"",
        "sched.cpu.max = \"500\"",
        "sched.mem.pin = \"TRUE\"",
        "sched.scsi0:0.throughputCap = \"100\"",
        "numa.autosize = \"FALSE\"",
        "virtualHW.odd = \"1\"",
        "uuid.bios = \"11 22 33\"",
        "bios.bootOrder = \"ethernet0\"",
        "bios.bootDelay = \"5000\"",
        "cpuid.1.eax = \"0\"",
        "monitor.virtual_mmu = \"software\"",
        "rtc.diffFromUTC = \"3600\"",
        "isolation.tools.hgfs.disable = \"TRUE\"",
        "powerType.powerOn = \"hard\"",
    ] {
        assert_eq!(with(&format!("{line}\n")), [format!("the setting {line}")]);
    }
    let card = "ethernet0.present = \"TRUE\"\n";
    for (lines, what) in [
        (
            "ethernet0.addressType = \"static\"\nethernet0.address = \"not-a-mac\"\n",
            "the setting ethernet0.address = \"not-a-mac\"",
        ),
        (
            "ethernet0.virtualDev = \"odd\"\n",
            "the model \"odd\" of the network card ethernet0, in whose place there is e1000",
        ),
        ("ethernet10.present = \"TRUE\"\nethernet10.virtualDev = \"e1000\"\n", "the device ethernet10"),
        ("ethernet01.present = \"TRUE\"\n", "the device ethernet01"),
        ("scsi0:x.present = \"TRUE\"\n", "the device scsi0:x"),
        ("scsi0:99999999999.present = \"TRUE\"\n", "the device scsi0:99999999999"),
        ("odd7.present = \"TRUE\"\n", "the device odd7"),
        ("vmx.log.fileName = \"/tmp/x\"\n", "the setting vmx.log.fileName, which names a file or folder of the host"),
    ] {
        assert_eq!(with(&format!("{card}{lines}")), [what]);
    }
    let found = machine("firmware = \"coreboot\"\n");
    assert_eq!((found.firmware, found.description.firmware), (None, Firmware::Bios));
}

#[test]
fn settings_of_the_guest_alone_travel_unless_they_are_what_there_is_anyway() {
    let found = machine(
        "hpet0.present = \"FALSE\"\nvmci0.unrestricted = \"TRUE\"\nvmci0.odd = \"1\"\npciBridge4.present = \"FALSE\"\n\
         pciBridge5.present = \"TRUE\"\n",
    );
    // Bridges are those that the written machine's devices need.
    assert_eq!(found.left_out, ["the setting pciBridge4.present = \"FALSE\"", "the setting vmci0.odd = \"1\""]);
    let written = Vmx::of_machine(&found.description, &[]).unwrap();
    for (key, value) in [("hpet0.present", "FALSE"), ("vmci0.unrestricted", "TRUE"), ("pciBridge4.present", "TRUE")] {
        assert_eq!(written.get(key), Some(value), "{key}");
    }
}

#[test]
fn what_vmware_always_writes_is_not_named() {
    // Packer's default, what Workstation adds at the first start, and what ESXi writes.
    let lines = r#".encoding = "UTF-8"
bios.bootOrder = "hdd,cdrom"
checkpoint.vmState = ""
cleanShutdown = "TRUE"
config.version = "8"
displayName = "web"
ehci.present = "FALSE"
ethernet0.addressType = "generated"
ethernet0.bsdName = "en0"
ethernet0.connectionType = "nat"
ethernet0.displayName = "Ethernet"
ethernet0.generatedAddress = "00:0c:29:01:02:03"
ethernet0.generatedAddressOffset = "0"
ethernet0.linkStatePropagation.enable = "FALSE"
ethernet0.pciSlotNumber = "33"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "e1000"
ethernet0.wakeOnPcktRcv = "FALSE"
extendedConfigFile = "web.vmxf"
floppy0.present = "FALSE"
guestOS = "other-64"
gui.fullScreenAtPowerOn = "FALSE"
hgfs.linkRootShare = "TRUE"
hgfs.mapRootShare = "TRUE"
hpet0.present = "TRUE"
isolation.tools.hgfs.disable = "FALSE"
memsize = "512"
monitor.phys_bits_used = "45"
msg.autoAnswer = "TRUE"
numa.autosize.cookie = "10012"
numa.autosize.vcpu.maxPerVirtualNode = "1"
nvram = "web.nvram"
pciBridge0.pciSlotNumber = "17"
pciBridge0.present = "TRUE"
pciBridge4.functions = "8"
pciBridge4.present = "TRUE"
pciBridge4.virtualDev = "pcieRootPort"
powerType.powerOn = "soft"
proxyApps.publishToHost = "FALSE"
replay.supported = "FALSE"
sched.cpu.affinity = "all"
sched.cpu.latencySensitivity = "normal"
sched.cpu.min = "0"
sched.cpu.shares = "normal"
sched.cpu.units = "mhz"
sched.mem.min = "0"
sched.mem.minSize = "0"
sched.mem.shares = "normal"
sched.scsi0:0.shares = "normal"
sched.scsi0:0.throughputCap = "off"
sched.swap.derivedName = "/vmfs/volumes/1/web/web.vswp"
scsi0.pciSlotNumber = "16"
scsi0.present = "TRUE"
scsi0.virtualDev = "lsilogic"
scsi0:0.fileName = "disk.vmdk"
scsi0:0.present = "TRUE"
scsi0:0.redo = ""
softPowerOff = "FALSE"
sound.present = "FALSE"
usb.present = "FALSE"
uuid.action = "create"
uuid.bios = "56 4d 4d 9b c5 fd 3c 1c-7c 7b 3d 49 cf 6d 4c 4b"
uuid.location = "56 4d 4d 9b c5 fd 3c 1c-7c 7b 3d 49 cf 6d 4c 4b"
vhv.enable = "FALSE"
virtualHW.productCompatibility = "hosted"
virtualHW.version = "21"
vmci0.id = "1861462627"
vmci0.pciSlotNumber = "35"
vmci0.present = "TRUE"
vmotion.checkpointFBSize = "65536000"
"#;
    let found = machine(lines);
    assert_eq!((found.left_out, found.description.vmware_settings), (vec![], vec![]));
}

#[test]
fn warnings_of_a_hostile_file_are_few_and_short() {
    let (key, long) = ("x".repeat(200), "x".repeat(1_000));
    let lines: String = (0..500).map(|n| format!("odd{n}.{key} = \"{long}\"\nodd.{n}{key} = \"{long}\"\n")).collect();
    let left_out = machine(&lines).left_out;
    assert!(left_out.len() == 65 && left_out.iter().all(|what| what.len() < 300), "{}", left_out.len());
}
