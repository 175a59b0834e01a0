//! What our own writers export of a machine: imported by VirtualBox again it is the same machine, with the same disks.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{World, iso, template};

/// Facts that are not the same of a machine and of one that is imported from its package: names, places, and times.
const ITS_OWN: [&str; 12] = [
    "name=",
    "UUID=",
    "hardwareuuid=",
    "CfgFile=",
    "SnapFldr=",
    "LogFldr=",
    "NvramFile=",
    "VMStateChangeTime=",
    "rec_screen_dest_filename=",
    "Snapshot",
    "CurrentSnapshot",
    "description=",
];

/// What VirtualBox knows of the machine's hardware.
fn hardware(facts: &str) -> Vec<String> {
    let line = |line: &str| match line.split_once("\"=\"") {
        Some((_, path)) if path.ends_with(".vdi\"") || path.ends_with(".vmdk\"") => line.replace(path, "disk\""),
        _ => line.to_owned(),
    };
    let is_its_own = |line: &&str| ITS_OWN.iter().any(|start| line.starts_with(start)) || line.contains("-ImageUUID-");
    facts.lines().filter(|line| !is_its_own(line)).map(line).collect()
}

impl World {
    fn told_of(&self, machine: &str) -> String {
        self.vboxmanage(&["showvminfo", machine, "--machinereadable"])
    }

    fn place(&self, name: &str) -> String {
        self.home.work(name).display().to_string()
    }

    /// Imports a package, and tells of the machine.
    fn imported(&self, package: &str, name: &str) -> String {
        let (package, base) = (self.place(package), self.place("imported"));
        let import = ["import", &package, "--vsys", "0", "--vmname", name, "--basefolder", &base];
        self.vboxmanage(&[&import[..], &["--options", "keepallmacs"]].concat());
        self.told_of(name)
    }

    fn is_same_disk(&self, one: &Path, other: &Path) -> bool {
        let paths = [one, other].map(|path| path.display().to_string());
        self.kiln(&["image", "compare", &paths[0], &paths[1]], &[]).status.success()
    }

    /// A machine called `base` with much that is not the default, whose second disk differs from the snapshot it stands on.
    fn makes_base(&self) {
        let machines = self.place("machines");
        self.vboxmanage(&[
            "createvm",
            "--name",
            "base",
            "--ostype",
            "Debian_64",
            "--register",
            "--basefolder",
            &machines,
            "--default",
        ]);
        let settings = "modifyvm base --chipset ich9 --firmware efi --audio-driver none --audiocontroller hda --usbxhci on \
                        --mouse usbtablet --keyboard usb --graphicscontroller vmsvga --vram 33 --accelerate3d on --rtcuseutc on \
                        --nested-hw-virt on --cpus 2 --memory 700 --nic1 nat --nictype1 virtio --nic2 intnet --intnet2 lan \
                        --natpf1 ssh,tcp,127.0.0.1,2222,,22 --description mine --uart1 0x3f8 4 --nat-localhostreachable1 on";
        self.vboxmanage(&settings.split_whitespace().collect::<Vec<_>>());
        self.vboxmanage(&["setextradata", "base", "VBoxInternal2/EfiGraphicsResolution", "800x600"]);
        self.vboxmanage(&["modifynvram", "base", "inituefivarstore"]);
        self.vboxmanage(&[
            "storagectl",
            "base",
            "--name",
            "NV",
            "--add",
            "pcie",
            "--controller",
            "NVMe",
            "--portcount",
            "4",
        ]);
        let content: Vec<u8> = (0..4 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        std::fs::write(self.home.work("a.raw"), content).unwrap();
        for (name, controller, port) in [("a.vmdk", "NV", "1"), ("b.vdi", "SATA", "2")] {
            let (image, format) = (self.place(name), &name[2..]);
            self.vboxmanage(&["convertfromraw", &self.place("a.raw"), &image, "--format", format]);
            let attach = [
                "storageattach",
                "base",
                "--storagectl",
                controller,
                "--port",
                port,
                "--type",
                "hdd",
                "--medium",
                &image,
            ];
            self.vboxmanage(&[&attach[..], &["--nonrotational", "on", "--discard", "on"]].concat());
        }
        self.vboxmanage(&["snapshot", "base", "take", "fresh"]);
        write_block(&PathBuf::from(disk_of(&self.told_of("base"), "SATA-2-0")));
    }
}

/// The image in a place of a machine.
fn disk_of(facts: &str, place: &str) -> String {
    let line = facts.lines().find_map(|line| line.strip_prefix(&format!("\"{place}\"=\"")));
    line.unwrap_or_else(|| panic!("{place} is not in {facts}")).trim_end_matches('"').to_owned()
}

/// Writes into the second block of an empty VDI, as a guest would have.
fn write_block(path: &Path) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, at).unwrap();
        u32::from_le_bytes(bytes)
    };
    let (map, data) = (number(0x154), number(0x158));
    assert_eq!((number(0x4c), number(0x184)), (4, 0), "an image that differs in nothing yet");
    file.write_all_at(&vec![0x5a; 1 << 20], u64::from(data)).unwrap();
    file.write_all_at(&0u32.to_le_bytes(), u64::from(map) + 4).unwrap();
    file.write_all_at(&1u32.to_le_bytes(), 0x184).unwrap();
}

#[test]
fn a_machine_of_others_is_exported_with_all_that_virtualbox_knows_of_it() {
    let Some(world) = World::new() else { return };
    world.makes_base();
    let before = world.told_of("base");
    let options =
        "  vm_name = \"base\"\n  target_snapshot = \"built\"\n  output_filename = \"out\"\n  format = \"ova\"\n";
    let ran = world.build_without_force(&template("virtualbox-vm", options)).expect(0);
    assert_eq!(world.output("output-web"), ["out.ova"], "{}", ran.stdout);
    let told = world.imported("output-web/out.ova", "again");
    assert_eq!(hardware(&told), hardware(&before));
    // VirtualBox itself is the judge of what its chain of images holds.
    for (place, name) in [("NV-1-0", "nv.vdi"), ("SATA-2-0", "sata.vdi")] {
        world.vboxmanage(&["clonemedium", "disk", &disk_of(&before, place), &world.place(name), "--format", "VDI"]);
        assert!(world.is_same_disk(&world.home.work(name), Path::new(&disk_of(&told, place))), "{place}");
    }
    assert!(!world.is_same_disk(&world.home.work("a.raw"), Path::new(&disk_of(&told, "SATA-2-0"))));
    let nvram = |facts: &str| {
        let path =
            facts.lines().find_map(|line| line.strip_prefix("NvramFile=\"")).unwrap().trim_end_matches('"').to_owned();
        std::fs::read(path).unwrap()
    };
    assert!(nvram(&told) == nvram(&before));
    let now = world.told_of("base");
    assert_eq!(hardware(&now), hardware(&before), "its owner finds it as it was");
    assert!(now.contains("SnapshotName-1=\"built\""), "{now}");

    // What came of it is imported, worked on and exported in turn.
    let options = r#"
  source_path     = "output-web/out.ova"
  vm_name         = "second"
  output_directory = "second"
  import_opts     = "keepallmacs"
  vboxmanage_post = [["modifyvm", "{{.Name}}", "--description", "made by a test", "--memory", "701"]]
"#;
    world.build(&template("virtualbox-ovf", options)).expect(0);
    assert_eq!(
        world.output("second"),
        ["second-disk1.vmdk", "second-disk2.vmdk", "second.mf", "second.nvram", "second.ovf"]
    );
    let ovf = std::fs::read_to_string(world.home.work("second/second.ovf")).unwrap();
    assert!(ovf.contains("made by a test") && !ovf.contains("packercomm") && !ovf.contains("RemoteDisplay"), "{ovf}");
    let told = world.imported("second/second.ovf", "third");
    let expected: Vec<String> = hardware(&before).iter().map(|line| line.replace("memory=700", "memory=701")).collect();
    assert_eq!(hardware(&told), expected);
    assert!(world.is_same_disk(&world.home.work("sata.vdi"), Path::new(&disk_of(&told, "SATA-2-0"))));
    assert_eq!(world.machines(), ["base", "again", "third"]);
}

#[test]
fn a_disk_that_only_virtualbox_can_read_is_exported_by_it() {
    let Some(world) = World::new() else { return };
    let (machines, disk) = (world.place("machines"), world.place("x.hdd"));
    world.vboxmanage(&["createvm", "--name", "base", "--ostype", "Debian_64", "--register", "--basefolder", &machines]);
    world.vboxmanage(&["storagectl", "base", "--name", "IDE", "--add", "ide"]);
    world.vboxmanage(&["createmedium", "disk", "--filename", &disk, "--size", "16", "--format", "Parallels"]);
    let attach = ["storageattach", "base", "--storagectl", "IDE", "--port", "0", "--device", "0", "--type", "hdd"];
    world.vboxmanage(&[&attach[..], &["--medium", &disk]].concat());
    let ran = world.build_without_force(&template("virtualbox-vm", "  vm_name = \"base\"\n")).expect(0);
    assert!(
        ran.stdout.contains("VirtualBox has exported the machine itself: ") && ran.stdout.contains("Parallels"),
        "{}",
        ran.stdout
    );
    assert_eq!(world.output("output-web"), ["base-disk001.vmdk", "base.ovf"]);
}

#[test]
fn hardware_that_ovf_has_no_words_for_is_in_a_new_machines_export() {
    let Some(world) = World::new() else { return };
    let options = "  disk_size = 64\n  disk_additional_size = [32]\n  hard_drive_interface = \"virtio\"\n  chipset = \"ich9\"\n  usb = true\n\
                     gfx_controller = \"vmsvga\"\n  mouse = \"usbtablet\"\n  vboxmanage = [[\"modifyvm\", \"{{.Name}}\", \"--memory\", \"640\"]]\n";
    world.build(&iso(options)).expect(0);
    assert_eq!(world.output("output-web"), ["web-disk1.vmdk", "web-disk2.vmdk", "web.mf", "web.ovf"]);
    let told = world.imported("output-web/web.ovf", "again");
    for fact in [
        "storagecontrollertype1=\"VirtioSCSI\"",
        "\"VirtioSCSI-0-0\"=",
        "\"VirtioSCSI-1-0\"=",
        "chipset=\"ich9\"",
        "graphicscontroller=\"vmsvga\"",
        "hidpointing=\"usbtablet\"",
        "ehci=\"on\"",
        "memory=640",
        "nic1=\"nat\"",
    ] {
        assert!(told.lines().any(|line| line.starts_with(fact)), "{fact} is not in {told}");
    }
    assert!(!told.contains("packercomm"), "{told}");
}
