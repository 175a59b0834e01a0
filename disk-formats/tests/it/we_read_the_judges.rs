//! Everything that VirtualBox and open-vmdk write is read back equal, in all their variants.

use kiln_disk_formats::package::{DiskController, Firmware, GuestOs, MacAddress, NicModel, NvramMaker, vmx};
use kiln_disk_formats::{
    ConvertOptions, Format, NoProgress, OpenPolicy, Output, OutputKind, convert_disks, open, packaged_machine,
};

use crate::judges::Judges;
use crate::sample::{Bench, digest};

#[test]
fn virtualbox() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new((9 << 20) + 512, 40, 77);
    let variants = [
        ("VDI", "Standard"),
        ("VDI", "Fixed"),
        ("VMDK", "Standard"),
        ("VMDK", "Fixed"),
        ("VMDK", "Split2G"),
        ("VMDK", "Fixed,Split2G"),
        ("VMDK", "Stream"),
        ("VMDK", "Fixed,ESX"),
        ("VHD", "Standard"),
        ("VHD", "Fixed"),
    ];
    let (mut script, mut made) = (String::new(), Vec::new());
    for (index, (format, variant)) in variants.into_iter().enumerate() {
        let expected = Format::from_name(format).unwrap();
        // Both ways it makes images: from a raw disk, and as a copy of another image.
        let name = format!("{index}.{}", format.to_lowercase());
        script += &format!("VBoxManage convertfromraw source.raw {name} --format {format} --variant {variant}\n");
        script += &format!("VBoxManage clonemedium disk {name} copy-{name} --format {format} --variant {variant}\n");
        made.extend([(format!("copy-{name}"), expected), (name, expected)]);
    }
    judges.run(&bench, &script);
    for (name, format) in made {
        let reader = open(&bench.path(&name), None, &bench.policy()).unwrap();
        assert_eq!(reader.info().format, format, "{name}");
        assert_eq!(digest(&*reader), bench.digest(), "{name}");
    }
}

/// A machine as VirtualBox exports it is read, and written so that VirtualBox imports it with all that it had.
#[test]
fn virtualboxs_machine() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new(5 << 20, 30, 3);
    let script = "VBoxManage convertfromraw source.raw a.vdi --format VDI
        VBoxManage convertfromraw source.raw b.vdi --format VDI
        VBoxManage createvm --name web --ostype Debian12_64 --register --basefolder /judged/vms
        VBoxManage modifyvm web --cpus 2 --memory 768 --firmware efi --tpm-type 2.0 --nic1 nat --nictype1 virtio
        VBoxManage modifyvm web --nic2 intnet --intnet2 lan --nictype2 82540EM --macaddress2 080027AABBCC
        VBoxManage modifyvm web --audio-enabled on --audio-driver null
        VBoxManage modifynvram web inituefivarstore
        VBoxManage modifynvram web enrollmssignatures
        VBoxManage modifynvram web enrollorclpk
        VBoxManage modifynvram web secureboot --enable
        VBoxManage storagectl web --name SATA --add sata --portcount 4
        VBoxManage storagectl web --name SCSI --add scsi --controller LsiLogic
        VBoxManage storageattach web --storagectl SATA --port 2 --device 0 --type hdd --medium a.vdi
        VBoxManage storageattach web --storagectl SCSI --port 3 --device 0 --type hdd --medium b.vdi
        VBoxManage export web -o web.ova
        cp vms/web/web.nvram kept.nvram";
    judges.run(&bench, script);
    let path = bench.path("web.ova");
    let found = packaged_machine(&path, &OpenPolicy::deny()).unwrap().unwrap();
    let machine = &found.description;
    assert_eq!((machine.cpus, machine.memory_mib, machine.guest_os, machine.tpm), (2, 768, GuestOs::Debian12, true));
    assert_eq!(machine.firmware, Firmware::Uefi { secure_boot: true });
    let places: Vec<_> = machine.disks.iter().map(|disk| (disk.controller, disk.slot.unwrap().unit)).collect();
    assert_eq!(places, [(DiskController::LsiLogic, 3), (DiskController::Sata, 2)]);
    let cards: Vec<_> = machine.nics.iter().map(|nic| (nic.model, nic.network.as_str())).collect();
    assert_eq!(cards, [(NicModel::Virtio, "NAT"), (NicModel::E1000, "Internal")]);
    assert_eq!(machine.nics[1].virtualbox_network.as_deref(), Some("lan"));
    assert_eq!(machine.nics[1].mac, MacAddress::from_text("080027AABBCC"));
    assert_eq!(found.left_out, ["a sound card", "the clock in UTC"]);
    let nvram = std::fs::read(bench.path("kept.nvram")).unwrap();
    let read = machine.nvram.as_ref().unwrap();
    assert!(read.maker == NvramMaker::VirtualBox && *read.bytes == nvram[..]);
    // It is read, and has no boot entries yet: that is nothing to tell.
    let told = vmx::fit(&mut machine.clone());
    assert!(!told.iter().any(|what| what.contains("NVRAM")), "{told:?}");
    let readers: Vec<_> = found
        .disks
        .iter()
        .map(|name| {
            let mut policy = OpenPolicy::deny();
            policy.archived_disk = Some(name.clone());
            open(&path, None, &policy).unwrap()
        })
        .collect();
    let readers: Vec<_> = readers.iter().map(|reader| &**reader).collect();
    assert!(readers.iter().all(|reader| digest(*reader) == bench.digest()));
    let outputs = [Output::new(bench.path("again.ova"), OutputKind::ova(machine.clone()))];
    convert_disks(&readers, &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    let script = "VBoxManage import again.ova --vsys 0 --basefolder /judged/new --options keepallmacs
        VBoxManage showvminfo web --machinereadable";
    let report = judges.run(&bench, script);
    for line in [
        "cpus=2",
        "memory=768",
        "firmware=\"EFI",
        "nictype1=\"virtio\"",
        "nic1=\"nat\"",
        "nic2=\"intnet\"",
        "intnet2=\"lan\"",
        "macaddress2=\"080027AABBCC\"",
    ] {
        assert!(report.lines().any(|found| found.starts_with(line)), "{line} in {report}");
    }
    assert!(std::fs::read(bench.path("new/web/web.nvram")).unwrap() == nvram, "the NVRAM has not travelled");
}

/// What VirtualBox always says of a machine is no warning; what somebody chose is one.
#[test]
fn virtualboxs_choices() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new(1 << 20, 10, 4);
    let systems = ["Debian12_64", "Windows11_64", "WindowsXP", "Other", "FreeBSD_64"];
    let mut script = String::new();
    for system in systems {
        script +=
            &format!("VBoxManage createvm --name {system} --ostype {system} --register --basefolder /judged/vms\n");
        script += &format!("VBoxManage export {system} -o {system}.ovf\n");
    }
    script += "VBoxManage createvm --name web --ostype Debian12_64 --register --basefolder /judged/vms
        VBoxManage modifyvm web --acpi off --cpuexecutioncap 50 --monitor-count 4 --boot1 net --mouse usbtablet --hpet on
        VBoxManage modifyvm web --firmware-system-time-offset=-3600000 --cableconnected1 off --paravirt-provider hyperv
        VBoxManage guestproperty set web /my/setting x
        VBoxManage export web -o web.ovf";
    judges.run(&bench, &script);
    let left_out = |name: &str| {
        let path = bench.path(&format!("{name}.ovf"));
        packaged_machine(&path, &OpenPolicy::deny()).unwrap().unwrap().left_out
    };
    for system in systems {
        let known = ["a sound card", "the clock in UTC"];
        let more: Vec<_> = left_out(system).into_iter().filter(|what| !known.contains(&&**what)).collect();
        assert_eq!(more, Vec::<String>::new(), "{system}");
    }
    let found = left_out("web");
    for what in [
        "VirtualBox's setting BIOS/ACPI enabled = \"false\"",
        "VirtualBox's setting BIOS/TimeOffset value = \"-3600000\"",
        "VirtualBox's setting CPU executionCap = \"50\"",
        "VirtualBox's setting Display monitorCount = \"4\"",
        "VirtualBox's setting HID Pointing = \"USBTablet\"",
        "VirtualBox's setting HPET enabled = \"true\"",
        "VirtualBox's setting Paravirt provider = \"HyperV\"",
        "VirtualBox's setting Adapter cable = \"false\"",
        "the guest property /my/setting = \"x\"",
    ] {
        assert!(found.iter().any(|found| found == what), "{what} in {found:?}");
    }
    assert!(found.iter().any(|what| what.starts_with("that it starts from Network, ")), "{found:?}");
}

#[test]
fn open_vmdk() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new((9 << 20) + 65536, 40, 78);
    let options = ["", "-c 1", "-c 9", "-n 1", "-n 4 --noreorder", "-t 12325", "-s 4096"];
    let script: String = options
        .iter()
        .enumerate()
        .map(|(index, options)| format!("vmdk-convert {options} source.raw {index}.vmdk\n"))
        .collect();
    judges.run(&bench, &script);
    for (index, options) in options.iter().enumerate() {
        let reader = open(&bench.path(&format!("{index}.vmdk")), None, &bench.policy()).unwrap();
        assert_eq!(reader.info().format, Format::Vmdk);
        assert_eq!(digest(&*reader), bench.digest(), "{options}");
    }
}
