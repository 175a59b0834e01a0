//! What we write is accepted by VirtualBox and open-vmdk and holds, as they read it, what the source holds.

use std::path::Path;

use kiln_disk_formats::package::{
    DiskController, Firmware, GuestOs, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel, Nvram,
    NvramMaker,
};
use kiln_disk_formats::{
    Compression, DigestAlgorithm, DiskAdapter, Format, OutputKind, VhdVariant, VmdkOptions, VmdkSubformat, open,
};

use crate::judges::Judges;
use crate::sample::{Bench, digest};

const SIZES: [u64; 2] = [(5 << 20) + 512, 70 << 20];

fn vmdks() -> Vec<(String, OutputKind)> {
    let mut kinds: Vec<_> = VmdkSubformat::ALL
        .into_iter()
        .map(|subformat| {
            let options = VmdkOptions { subformat, ..VmdkOptions::default() };
            (format!("{subformat}.vmdk"), OutputKind::Vmdk(options))
        })
        .collect();
    for compression in [Compression::Fast, Compression::Best] {
        let options = VmdkOptions {
            subformat: VmdkSubformat::StreamOptimized,
            compression,
            adapter: DiskAdapter::Ide,
            hardware_version: Some(10),
        };
        kinds.push((format!("stream-{compression:?}.vmdk"), OutputKind::Vmdk(options)));
    }
    kinds
}

/// Fails the test unless an image has the bench's content; what is behind its end must be zero.
fn assert_content(bench: &Bench, path: &Path, format: Format) {
    let reader = open(path, Some(format), &bench.policy()).unwrap();
    let size = bench.reader().virtual_size();
    assert!(reader.virtual_size() >= size && reader.virtual_size() < size + (1 << 20), "{}", path.display());
    let wanted = std::fs::read(&bench.raw).unwrap();
    let mut found = vec![0; reader.virtual_size() as usize];
    reader.read_at(0, &mut found).unwrap();
    assert!(found[..wanted.len()] == wanted, "{} has another content", path.display());
    assert!(found[wanted.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn virtualbox_reads_every_disk() {
    let Some(judges) = Judges::present() else { return };
    for size in SIZES {
        let bench = Bench::new(size, 30, size);
        let mut kinds = vmdks();
        kinds.extend([
            ("disk.vdi".to_owned(), OutputKind::Vdi),
            ("dynamic.vhd".to_owned(), OutputKind::Vhd(VhdVariant::Dynamic)),
            ("fixed.vhd".to_owned(), OutputKind::Vhd(VhdVariant::Fixed)),
        ]);
        let mut script = String::new();
        for (name, kind) in &kinds {
            bench.convert(name, kind.clone());
            script += &format!("VBoxManage clonemedium disk {name} {name}.out --format VDI\n");
            // Images of one content have one identifier, which VirtualBox wants to know once.
            script += &format!("VBoxManage showmediuminfo disk {name}\nVBoxManage closemedium disk {name}\n");
        }
        judges.run(&bench, &script);
        for (name, _) in &kinds {
            assert_content(&bench, &bench.path(&format!("{name}.out")), Format::Vdi);
        }
    }
}

#[test]
fn open_vmdk_reads_every_vmdk() {
    let Some(judges) = Judges::present() else { return };
    for size in SIZES {
        let bench = Bench::new(size, 30, size);
        let mut script = String::new();
        // It reads files, not descriptors of several.
        let is_one = |name: &str| name.starts_with("stream") || name.starts_with("monolithicSparse");
        let kinds: Vec<_> = vmdks().into_iter().filter(|(name, _)| is_one(name)).collect();
        for (name, kind) in &kinds {
            bench.convert(name, kind.clone());
            script += &format!("vmdk-convert -i --detailed {name}\nvmdk-convert {name} again-{name}\n");
        }
        judges.run(&bench, &script);
        for (name, _) in &kinds {
            assert_content(&bench, &bench.path(&format!("again-{name}")), Format::Vmdk);
        }
    }
}

fn machine(name: &str) -> MachineDescription {
    MachineDescription {
        name: name.to_owned(),
        cpus: 2,
        memory_mib: 768,
        nics: vec![MachineNic::default(), MachineNic { model: NicModel::Virtio, ..MachineNic::default() }],
        ..MachineDescription::default()
    }
}

/// Imports a package and returns what VirtualBox then says about the machine; its disk is left as `disk.vdi`.
fn import(judges: &Judges, bench: &Bench, file: &str, name: &str) -> String {
    let script = format!(
        "rm -rf vms disk.vdi; VBoxManage import {file} --vsys 0 --eula accept --basefolder /judged/vms --options importtovdi
        VBoxManage showvminfo {name} --machinereadable
        uuid=$(VBoxManage showvminfo {name} --machinereadable | sed -n 's/.*-ImageUUID-[0-9]*-[0-9]*\"=\"\\(.*\\)\"/\\1/p' | head -n 1)
        VBoxManage clonemedium disk $uuid disk.vdi --format VDI"
    );
    judges.run(bench, &script)
}

#[test]
fn virtualbox_imports_every_package() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new(5 << 20, 30, 3);
    let controllers = [
        DiskController::Sata,
        DiskController::Ide,
        DiskController::LsiLogic,
        DiskController::LsiLogicSas,
        DiskController::BusLogic,
        DiskController::Nvme,
    ];
    for (index, controller) in controllers.into_iter().enumerate() {
        let name = format!("m{index}");
        let manifest = [DigestAlgorithm::Sha256, DigestAlgorithm::Sha1][index % 2];
        let disks = vec![MachineDisk { controller, ..MachineDisk::default() }];
        let machine = MachineDescription { disks, manifest, eula: Some("Be kind.".to_owned()), ..machine(&name) };
        bench.convert(&format!("{name}.ovf"), OutputKind::ovf(machine.clone()));
        bench.convert(&format!("{name}.ova"), OutputKind::ova(machine));
        for file in [format!("{name}.ovf"), format!("{name}.ova")] {
            let report = import(judges, &bench, &file, &name);
            for line in ["cpus=2", "memory=768", "firmware=\"BIOS\"", "nictype1=\"82545EM\"", "nictype2=\"virtio\""] {
                assert!(report.lines().any(|found| found.starts_with(line)), "{line} in {report}");
            }
            assert_content(&bench, &bench.path("disk.vdi"), Format::Vdi);
        }
    }
}

#[test]
fn virtualbox_knows_every_guest_system() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new(1 << 20, 3, 3);
    for guest_os in GuestOs::ALL {
        let name = guest_os.name();
        bench.convert(&format!("{name}.ova"), OutputKind::ova(MachineDescription { guest_os, ..machine(name) }));
    }
    let dry = |guest: GuestOs| format!("VBoxManage import {}.ova --dry-run\n", guest.name());
    let report = judges.run(&bench, &GuestOs::ALL.map(dry).concat());
    // What VirtualBox does not know it calls "Other", so the names in its answers tell.
    let suggested: Vec<_> = report.lines().filter_map(|line| line.split_once("Suggested OS type: \"")).collect();
    assert_eq!(suggested.len(), GuestOs::ALL.len(), "{report}");
    for (guest, (_, found)) in GuestOs::ALL.iter().zip(suggested) {
        let found = found.trim_end_matches('"');
        assert_eq!(GuestOs::from_name(found).map(|_| ()), Some(()), "{guest:?} became {found}");
        assert!(!found.starts_with("Other") || guest.name().starts_with("other"), "{guest:?} became {found}");
    }
}

#[test]
fn virtualbox_gives_an_uefi_machine_its_firmware_and_tpm() {
    let Some(judges) = Judges::present() else { return };
    let bench = Bench::new(5 << 20, 30, 3);
    let firmware = Firmware::Uefi { secure_boot: false };
    for (name, controller, tpm) in [
        ("sata", DiskController::Sata, true),
        ("nvme", DiskController::Nvme, false),
        ("ide", DiskController::Ide, true),
        ("scsi", DiskController::ParavirtualScsi, false),
    ] {
        let disks = vec![MachineDisk { controller, ..MachineDisk::default() }];
        let mac = MacAddress::from_text("08:00:27:aa:bb:cc");
        let nics = vec![MachineNic { mac, ..MachineNic::default() }];
        // VMware's is none of its business, and in nobody's way.
        let nvram = Nvram { maker: NvramMaker::VMware, bytes: vec![7; 1000].into(), file: None };
        let nvram = Some(nvram).filter(|_| name == "sata");
        let machine = MachineDescription { firmware, tpm, disks, nics, nvram, ..machine(name) };
        let file = format!("{name}.ova");
        bench.convert(&file, OutputKind::ova(machine));
        let report = import(judges, &bench, &file, name);
        let settings = std::fs::read_to_string(bench.path(&format!("vms/{name}/{name}.vbox"))).unwrap();
        assert_eq!(settings.contains("<TrustedPlatformModule type=\"v2_0\""), tpm, "{settings}");
        for line in ["cpus=2", "memory=768", "firmware=\"EFI", "nictype1=\"82545EM\"", "ostype=\"Other Linux (64-bit)"]
        {
            assert!(report.lines().any(|found| found.starts_with(line)), "{line} in {report}");
        }
        assert_content(&bench, &bench.path("disk.vdi"), Format::Vdi);
        assert_eq!(digest(&*open(&bench.path("disk.vdi"), None, &bench.policy()).unwrap()), bench.digest());
    }
}
