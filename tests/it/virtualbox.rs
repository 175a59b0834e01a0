//! The builders for VirtualBox with a real VBoxManage, out of the judges' root file system. All that is not real there is the guest: no
//! kernel module is there to run it, so `tests/virtualbox/VBoxManage` lets a process wait in its place. `./x lab virtualbox` has real guests.

mod ended;
mod exports;
mod options;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_tests::{Home, Ran, judges, root, tool};

/// A home in which `VBoxManage` is found.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) path: String,
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        let judges = judges()?;
        if !(root() && tool("unshare") && tool("pkill")) {
            return None;
        }
        let home = Home::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("virtualbox/VBoxManage");
        let directory = home.work("bin");
        std::fs::create_dir_all(&directory).unwrap();
        let wrapper = format!(
            "#!/bin/sh\nexport KILN_TEST_VBOX_ROOT='{}' KILN_TEST_VBOX_SHARE='{}'\nexec '{}' \"$@\"\n",
            judges.display(),
            home.path().display(),
            script.display()
        );
        home.write("bin/VBoxManage", &wrapper);
        assert!(Command::new("chmod").arg("755").arg(directory.join("VBoxManage")).status().unwrap().success());
        let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
        let world = Self { home, path };
        world.write_iso();
        Some(world)
    }

    /// The smallest file that VirtualBox takes for a CD.
    fn write_iso(&self) {
        let mut iso = vec![0; 64 << 10];
        iso[0x8000..0x8007].copy_from_slice(b"\x01CD001\x01");
        iso[0x8800..0x8807].copy_from_slice(b"\xffCD001\x01");
        std::fs::write(self.home.work("x.iso"), iso).unwrap();
    }

    fn kiln(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = self.home.command("kiln");
        command.args(arguments).env("PATH", &self.path).envs(environment.iter().copied());
        self.home.start_command(command).wait()
    }

    fn build(&self, template: &str) -> Ran {
        self.home.write("t.pkr.hcl", template);
        self.kiln(&["build", "-color=false", "-force", "t.pkr.hcl"], &[])
    }

    fn build_without_force(&self, template: &str) -> Ran {
        self.home.write("t.pkr.hcl", template);
        self.kiln(&["build", "-color=false", "t.pkr.hcl"], &[])
    }

    fn vboxmanage(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.home.work("bin/VBoxManage"));
        let output = command.args(arguments).current_dir(self.home.work("")).output().unwrap();
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}{complained}");
        said.into_owned()
    }

    /// What VirtualBox knew of the last machine when it was started.
    fn facts(&self) -> String {
        std::fs::read_to_string(self.home.path().join(".vbox/facts")).unwrap()
    }

    /// Every call so far, without the program.
    fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.home.path().join(".vbox/calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Names of the registered machines, in VirtualBox's order.
    pub(crate) fn machines(&self) -> Vec<String> {
        let list = self.vboxmanage(&["list", "vms"]);
        list.lines().filter_map(|line| Some(line.strip_prefix('"')?.split_once('"')?.0.to_owned())).collect()
    }

    fn output(&self, name: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.work(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

/// What has no guest to speak to.
const SILENT: &str = r#"
  communicator            = "none"
  guest_additions_mode    = "disable"
  virtualbox_version_file = ""
  acpi_shutdown           = true
  headless                = true
"#;

fn template(kind: &str, options: &str) -> String {
    format!("source \"{kind}\" \"web\" {{{SILENT}{options}}}\nbuild {{\n  sources = [\"{kind}.web\"]\n}}\n")
}

fn iso(options: &str) -> String {
    template(
        "virtualbox-iso",
        &format!("  iso_url = \"x.iso\"\n  iso_checksum = \"none\"\n  vm_name = \"web\"\n{options}"),
    )
}

#[test]
fn every_setting_of_a_new_machine_is_seen_by_virtualbox() {
    let Some(world) = World::new() else { return };
    let options = r#"
  guest_os_type            = "Debian_64"
  chipset                  = "ich9"
  firmware                 = "efi"
  nested_virt              = true
  rtc_time_base            = "UTC"
  disk_size                = 64
  disk_additional_size     = [32]
  nic_type                 = "virtio"
  audio_controller         = "hda"
  sound                    = "null"
  usb                      = true
  usb_controller           = "xhci"
  mouse                    = "usbtablet"
  keyboard                 = "usb"
  gfx_controller           = "vboxsvga"
  gfx_vram_size            = 33
  gfx_accelerate_3d        = true
  gfx_efi_resolution       = "800x600"
  hard_drive_interface     = "pcie"
  nvme_port_count          = 4
  hard_drive_discard       = true
  hard_drive_nonrotational = true
  iso_interface            = "sata"
  sata_port_count          = 20
  cpus                     = 2
  memory                   = 768
  vrdp_bind_address        = "127.0.0.2"
  vrdp_port_min            = 6110
  vrdp_port_max            = 6139
  floppy_content           = { "a.txt" = "x" }
  cd_content               = { "user-data" = "x" }
"#;
    let ran = world.build(&iso(options)).expect(0);
    let facts = world.facts();
    for fact in [
        "ostype=\"Debian (64-bit)\"",
        "chipset=\"ich9\"",
        "firmware=\"EFI\"",
        "nested-hw-virt=\"on\"",
        "rtcuseutc=\"on\"",
        "nictype1=\"virtio\"",
        "xhci=\"on\"",
        "hidpointing=\"usbtablet\"",
        "hidkeyboard=\"usbkbd\"",
        "graphicscontroller=\"vboxsvga\"",
        "vram=33",
        "accelerate3d=\"on\"",
        "cpus=2",
        "ioapic=\"on\"",
        "memory=768",
        "storagecontrollertype1=\"IntelAhci\"",
        "storagecontrollerportcount1=\"20\"",
        "storagecontrollertype2=\"NVMe\"",
        "storagecontrollerportcount2=\"4\"",
        "\"NVMe-nonrotational-0-0\"=\"on\"",
        "\"NVMe-discard-1-0\"=\"on\"",
        "vrde=\"on\"",
        "vrdeaddress=\"127.0.0.2\"",
        "boot1=\"disk\"",
        "boot2=\"dvd\"",
    ] {
        assert!(facts.lines().any(|line| line == fact), "{fact} is not among\n{facts}");
    }
    for (place, end) in [
        ("\"NVMe-0-0\"=", ".web-0.vdi\""),
        ("\"NVMe-1-0\"=", ".web-1.vdi\""),
        ("\"SATA-13-0\"=", "x.iso\""),
        ("\"SATA-15-0\"=", "cd.iso\""),
        ("\"Floppy-0-0\"=", "floppy.img\""),
    ] {
        assert!(facts.lines().any(|line| line.starts_with(place) && line.ends_with(end)), "{place} {end}: {facts}");
    }
    // Versions of VirtualBox refuse to export a machine with NVMe disks; these are our own writers.
    assert_eq!(world.output("output-web"), ["web-disk1.vmdk", "web-disk2.vmdk", "web.mf", "web.ovf"], "{}", ran.stdout);
    // What `showvminfo` does not tell, the machine's own settings do.
    let ovf = std::fs::read_to_string(world.home.work("output-web/web.ovf")).unwrap();
    for part in [
        "<AudioAdapter controller=\"HDA\" driver=\"Null\"",
        "<ExtraDataItem name=\"VBoxInternal2/EfiGraphicsResolution\" value=\"800x600\"/>",
        "ovf:capacity=\"67108864\"",
        "ovf:capacity=\"33554432\"",
    ] {
        assert!(ovf.contains(part), "{part} is not in {ovf}");
    }
    let port = facts.lines().find_map(|line| line.strip_prefix("vrdeports=\"")?.strip_suffix('"')?.parse::<u16>().ok());
    assert!(port.is_some_and(|port| (6110..=6139).contains(&port)), "{facts}");
    // Debian's extension pack speaks VNC.
    let watched = format!("The VM's screen can be watched with a VNC viewer at 127.0.0.2:{}", port.unwrap_or_default());
    assert!(ran.stdout.contains(&watched) && !ran.stdout.contains("rdp://"), "{watched}: {}", ran.stdout);
    assert_eq!(world.machines(), Vec::<String>::new());
    assert!(
        ran.stdout.contains("artifact") && ran.stdout.contains("VM files in directory: output-web"),
        "{}",
        ran.stdout
    );
}

#[test]
fn what_commands_have_changed_in_a_new_machine_is_in_its_export_whatever_its_name() {
    let Some(world) = World::new() else { return };
    let options = r#"
  iso_url         = "x.iso"
  iso_checksum    = "none"
  vm_name         = "bü"
  disk_size       = 64
  vboxmanage      = [["modifyvm", "{{.Name}}", "--description", "before {{ .HTTPPort }}", "--memory", "700"]]
  vboxmanage_post = [["modifyvm", "{{.Name}}", "--cpus", "2"]]
"#;
    world.build(&template("virtualbox-iso", options)).expect(0);
    assert!(world.facts().contains("\ndescription=\"before 0\"\n"), "{}", world.facts());
    assert_eq!(world.output("output-web"), ["bü-disk1.vmdk", "bü.mf", "bü.ovf"]);
    let ovf = std::fs::read_to_string(world.home.work("output-web/bü.ovf")).unwrap();
    assert!(ovf.contains("before 0") && ovf.contains("700 MiB of memory") && ovf.contains("2 virtual CPU"), "{ovf}");
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[test]
fn a_package_is_imported_worked_on_and_exported_by_virtualbox() {
    let Some(world) = World::new() else { return };
    world
        .build(&iso("  disk_size = 64\n  format = \"ova\"\n  output_directory = \"first\"\n  memory = 640\n"))
        .expect(0);
    let options = r#"
  source_path     = "first/web.ova"
  vm_name         = "second"
  import_flags    = ["--memory", "700"]
  vboxmanage_post = [["modifyvm", "{{.Name}}", "--description", "made by a test"]]
  export_opts     = ["--manifest", "--vsys", "0", "--version", "9.9"]
"#;
    world.build(&template("virtualbox-ovf", options)).expect(0);
    assert!(world.facts().contains("\nmemory=700\n"), "{}", world.facts());
    assert_eq!(world.output("output-web"), ["second-disk001.vmdk", "second.mf", "second.ovf"]);
    let ovf = std::fs::read_to_string(world.home.work("output-web/second.ovf")).unwrap();
    assert!(ovf.contains("9.9") && !ovf.contains("packercomm"), "{ovf}");
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[test]
fn a_package_that_is_not_whole_is_refused_before_anything_is_made() {
    let Some(world) = World::new() else { return };
    let ovf = include_str!("../virtualbox/broken.ovf");
    let build = |ovf: &str| {
        world.home.write("x.ovf", ovf);
        let ran = world.build(&template("virtualbox-ovf", "  source_path = \"x.ovf\"\n")).expect(1);
        // Diagnostics are told in lines of a terminal's width.
        format!("{}{}", ran.stdout, ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let naming = |href: &str| ovf.replace("HREF", href);
    let told = build(&naming("absent.vmdk"));
    assert!(told.contains("absent.vmdk: the file is missing"), "{told}");
    let told = build(&naming("../../../../etc/hostname"));
    assert!(told.contains("the name leads out of the directory"), "{told}");
    let entity = "<!DOCTYPE Envelope [<!ENTITY x SYSTEM \"file:///etc/hostname\">]><Envelope";
    let told = build(&naming("&x;").replacen("<Envelope", entity, 1));
    assert!(told.contains("document type"), "{told}");
    let own = |hardware: &str| {
        let machine = format!(
            "<v:Machine xmlns:v=\"http://www.virtualbox.org/ovf/machine\"><Hardware>{hardware}</Hardware></v:Machine></VirtualSystem>"
        );
        build(&naming("absent.vmdk").replacen("</VirtualSystem>", &machine, 1))
    };
    let told = own("<UART><Port slot=\"0\" enabled=\"true\" path=\"/tmp/pipe\" hostMode=\"HostPipe\"/></UART>");
    assert!(told.contains("this host's: its serial port 1 at \"/tmp/pipe\", as \"HostPipe\""), "{told}");
    let told =
        own("<MediaRegistry><DVDImages><Image uuid=\"{1}\" location=\"/etc/shadow\"/></DVDImages></MediaRegistry>");
    assert!(told.contains("Machine/Hardware/MediaRegistry, which is not known"), "{told}");
    // VirtualBox is asked what it can do, and for nothing else.
    let changing = |call: &String| !["--version", "list ", "--nologo list "].iter().any(|asks| call.starts_with(asks));
    let calls = world.calls();
    assert!(!calls.iter().any(changing), "{calls:?}");
    assert_eq!(world.machines(), Vec::<String>::new());
    assert!(!world.home.work("output-web").exists());
}

#[test]
fn a_machine_of_others_gets_a_snapshot_and_is_otherwise_left_as_it_was() {
    let Some(world) = World::new() else { return };
    let base = world.home.work("machines");
    let base = base.to_str().unwrap();
    world.vboxmanage(&["createvm", "--name", "base", "--ostype", "Debian_64", "--register", "--basefolder", base]);
    world.vboxmanage(&["storagectl", "base", "--name", "IDE", "--add", "ide"]);
    world.vboxmanage(&["snapshot", "base", "take", "fresh"]);
    let vm =
        |options: &str| template("virtualbox-vm", &format!("  vm_name = \"base\"\n  skip_export = true\n{options}"));
    let built = "  attach_snapshot = \"fresh\"\n  target_snapshot = \"built\"\n";
    let ran = world.build_without_force(&vm("  attach_snapshot = \"nothing\"\n")).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("no snapshot called nothing; it has: fresh"), "{told}");
    world.build_without_force(&vm(built)).expect(0);
    let snapshots = world.vboxmanage(&["snapshot", "base", "list", "--machinereadable"]);
    assert!(snapshots.contains("SnapshotName-1=\"built\""), "{snapshots}");
    assert!(snapshots.contains("CurrentSnapshotName=\"fresh\""), "it stands where it stood: {snapshots}");
    let ran = world.build_without_force(&vm(built)).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("a snapshot called built already") && told.contains("force_delete_snapshot"), "{told}");
    // What an exporting build has left is no business of one that exports nothing, with -force or without.
    world.home.write("output-web/web.ova", "an earlier export");
    let replacing = vm(&format!("{built}  force_delete_snapshot = true\n"));
    world.build_without_force(&replacing).expect(0);
    let ran = world.build(&replacing).expect(0);
    assert!(ran.stdout.contains("The machine base in VirtualBox; no files were exported"), "{}", ran.stdout);
    assert_eq!(world.output("output-web"), ["web.ova"]);
    assert!(!world.home.work(".output-web.unused").exists());
    assert_eq!(world.machines(), ["base"]);
}

#[test]
fn a_machine_that_is_to_stay_stays_with_its_disk() {
    let Some(world) = World::new() else { return };
    world.build(&iso("  disk_size = 64\n  keep_registered = true\n  skip_export = true\n")).expect(0);
    assert_eq!(world.machines(), ["web"]);
    assert_eq!(world.output("output-web"), ["web.vdi"]);
    let facts = world.vboxmanage(&["showvminfo", "web", "--machinereadable"]);
    assert!(facts.contains("output-web/web.vdi\"") && !facts.contains("x.iso"), "{facts}");
    let ran = world.build(&iso("  disk_size = 64\n  output_directory = \"other\"\n")).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("a machine called web is there already; registered are: web"), "{told}");
    assert_eq!(world.machines(), ["web"], "a machine of others is never removed");
}

#[test]
fn an_import_that_is_to_stay_ends_among_its_users_machines() {
    let Some(world) = World::new() else { return };
    world.build(&iso("  disk_size = 64\n  format = \"ova\"\n  output_directory = \"first\"\n")).expect(0);
    let machines = world.home.work("kept machines");
    world.vboxmanage(&["setproperty", "machinefolder", machines.to_str().unwrap()]);
    let keeping = |name: &str| {
        let options = format!(
            "  source_path = \"first/web.ova\"\n  vm_name = \"{name}\"\n  keep_registered = true\n  skip_export = true\n"
        );
        template("virtualbox-ovf", &options)
    };
    world.build(&keeping("a:b")).expect(0);
    assert_eq!(world.machines(), ["a:b"]);
    let facts = world.vboxmanage(&["showvminfo", "a:b", "--machinereadable"]);
    for file in ["a:b.vbox", "web-disk1.vmdk"] {
        let path = machines.join("a:b").join(file);
        assert!(path.exists() && facts.contains(path.to_str().unwrap()), "{}: {facts}", path.display());
    }
    let theirs = machines.join("other/other.vbox");
    std::fs::create_dir(theirs.parent().unwrap()).unwrap();
    std::fs::write(&theirs, "theirs").unwrap();
    let ran = world.build(&keeping("other")).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("where there are files of another"), "{told}");
    assert_eq!(
        (std::fs::read_to_string(&theirs).unwrap().as_str(), world.machines()),
        ("theirs", vec!["a:b".to_owned()])
    );
}

#[test]
fn a_machine_of_others_keeps_its_disks_and_gets_back_what_was_in_its_drives() {
    let Some(world) = World::new() else { return };
    let path = |name: &str| world.home.work(name).display().to_string();
    world.vboxmanage(&[
        "createvm",
        "--name",
        "base",
        "--ostype",
        "Debian_64",
        "--register",
        "--basefolder",
        &path("machines"),
    ]);
    world.vboxmanage(&["storagectl", "base", "--name", "IDE Controller", "--add", "ide"]);
    world.vboxmanage(&["storagectl", "base", "--name", "Fl", "--add", "floppy"]);
    for (place, name) in [("0", "a.vdi"), ("1", "b.vdi")] {
        world.vboxmanage(&["createmedium", "disk", "--filename", &path(name), "--size", "16"]);
        let attach =
            ["storageattach", "base", "--storagectl", "IDE Controller", "--type", "hdd", "--medium", &path(name)];
        world.vboxmanage(&[&attach[..], &["--port", place, "--device", place]].concat());
    }
    let attach = ["storageattach", "base", "--port", "0"];
    let disc = ["--storagectl", "IDE Controller", "--device", "1", "--type", "dvddrive", "--medium", &path("x.iso")];
    world.vboxmanage(&[&attach[..], &disc].concat());
    let floppy = ["--storagectl", "Fl", "--device", "0", "--type", "fdd", "--medium", "emptydrive"];
    world.vboxmanage(&[&attach[..], &floppy].concat());
    let settings =
        "modifyvm base --nic1 bridged --bridgeadapter1 lo --vrde off --vrdeport 4000 --vrdeauthtype external";
    world.vboxmanage(&settings.split(' ').collect::<Vec<_>>());
    let facts = |world: &World| -> Vec<String> {
        let facts = world.vboxmanage(&["showvminfo", "base", "--machinereadable"]);
        facts.lines().filter(|line| !line.starts_with("VMStateChangeTime")).map(ToOwned::to_owned).collect()
    };
    let before = facts(&world);
    let options = "  vm_name = \"base\"\n  skip_export = true\n  cd_content = { \"a\" = \"x\" }\n  floppy_content = { \"a\" = \"x\" }\n";
    world.build_without_force(&template("virtualbox-vm", options)).expect(0);
    let during = world.facts();
    for line in ["\"IDE Controller-1-1\"=", "\"IDE Controller-1-0\"=", "\"Fl-0-0\"="] {
        let end = if line.contains("1-1") {
            "b.vdi\""
        } else if line.contains("IDE") {
            "cd.iso\""
        } else {
            "floppy.img\""
        };
        assert!(during.lines().any(|one| one.starts_with(line) && one.ends_with(end)), "{line} {end}: {during}");
    }
    assert!(during.contains("\nvrdeauthtype=\"null\"\n"), "{during}");
    assert_eq!(facts(&world), before);
    world.vboxmanage(&["modifyvm", "base", "--vrde", "on"]);
    let display = facts(&world);
    for line in ["vrdeports=\"4000\"", "vrdeauthtype=\"external\""] {
        assert!(display.iter().any(|one| one == line), "{line}: {display:?}");
    }
}

#[test]
fn without_its_driver_virtualbox_says_what_to_do_before_anything_is_fetched_or_made() {
    let Some(world) = World::new() else { return };
    // It is not there either: whoever is told of the driver has not looked for it.
    let fetching = iso("  disk_size = 64\n").replace("\"x.iso\"", "\"http://127.0.0.1:9/x.iso\"");
    world.home.write("t.pkr.hcl", &fetching);
    let real = ("KILN_TEST_VBOX_START", "real");
    let ran = world.kiln(&["build", "-color=false", "t.pkr.hcl"], &[real]).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("no guest can be started") && told.contains("modprobe vboxdrv"), "{told}");
    assert!(!told.contains("127.0.0.1:9"), "{told}");
    let calls = world.calls();
    assert!(!calls.is_empty() && calls.iter().all(|call| call == "--version"), "{calls:?}");
    assert!(!world.home.work("output-web").exists());
    // The daemon is still that of the build.
    let seen = world.home.wait_for("the list of hypervisors", Duration::from_secs(60), || {
        let info = world.home.get("/v1/info").expect("info is JSON");
        info["hypervisors"].as_array()?.iter().find(|one| one["name"] == "virtualbox").cloned()
    });
    assert_eq!(seen["available"], true, "machines can be looked at and made: {seen}");
    assert!(seen["version"].as_str().is_some_and(|version| version.starts_with("7.")), "{seen}");
    let reason = seen["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("is not loaded") && reason.contains("modprobe vboxdrv"), "{seen}");
}

#[test]
fn a_guests_system_and_a_network_that_there_are_not_are_refused_before_anything_is_made() {
    let Some(world) = World::new() else { return };
    let ran = world.build(&iso("  disk_size = 64\n  guest_os_type = \"Linus\"\n")).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("no guest system called Linus") && told.contains("Debian_64"), "{told}");
    let bridge = "  disk_size = 64\n  vboxmanage = [[\"modifyvm\", \"{{.Name}}\", \"--nic1\", \"bridged\", \"--bridgeadapter1\", \"eth77\"]]\n";
    let ran = world.build(&iso(bridge)).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("no interface to bridge to called eth77; there are: "), "{told}");
    assert!(!world.calls().iter().any(|call| call.starts_with("createvm")), "{:?}", world.calls());
    assert_eq!(world.machines(), Vec::<String>::new());
}
