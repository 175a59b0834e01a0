//! How often VirtualBox is called for a whole build, and what options of it do that the other tests here do not show.

use std::process::Command;
use std::time::Duration;

use super::{World, iso, template};

/// What Packer calls for a build that nobody connects to, row by row of the tables in the reference (packer.md §4.2 to §4.4: the step's number,
/// and its calls in their order; the looks at the machine, `showvminfo`, as Packer 1.6.6 makes them on the stand-in of
/// `hypervisors/src/virtualbox`). It makes one each half second until the guest is off: how many that are depends on the guest, and one is counted.
type Steps = &'static [(&'static str, &'static [&'static str])];

/// Once for each build: GUI/RegistrationData, GUI/SuppressMessages, GUI/UpdateDate and GUI/UpdateCheckCount.
const MESSAGES: &[&str] = &["setextradata", "setextradata", "setextradata", "setextradata"];

/// §4.2, exported, with the defaults: one processor, no USB, BIOS.
const PACKERS_ISO: Steps = &[
    ("1 GetVMDefaults", &["createvm", "showvminfo", "unregistervm"]),
    ("10 SuppressMessages", MESSAGES),
    (
        "11 CreateVM: boot order, cpus, memory, usb, audio, mouse, keyboard, chipset, firmware; the model of each of eight adapters; graphics, clock, \
         3d",
        &[
            "createvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm",
            "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm", "modifyvm",
            "modifyvm", "modifyvm", "modifyvm",
        ],
    ),
    ("12 CreateDisk", &["createhd", "storagectl", "storageattach"]),
    ("13 AttachISOs", &["storageattach"]),
    ("14 ConfigureVRDP", &["modifyvm"]),
    ("18 Run", &["startvm"]),
    ("25 Shutdown", &["controlvm", "showvminfo"]),
    ("26 RemoveDevices", &["storageattach"]),
    ("28 Export", &["export"]),
    ("cleanup", &["showvminfo", "unregistervm"]),
];

/// §4.3, not exported.
const PACKERS_OVF: Steps = &[
    ("SuppressMessages", MESSAGES),
    ("Import", &["import"]),
    ("VRDP", &["modifyvm"]),
    ("Run", &["startvm"]),
    ("Shutdown", &["controlvm", "showvminfo"]),
    ("cleanup", &["showvminfo", "unregistervm"]),
];

/// §4.4, from one snapshot to another, not exported. That the tree is loaded four times is Packer 1.6.6 on the stand-in of
/// `hypervisors/src/virtualbox`: in Prepare, before each of its two steps with snapshots, and before the last restore.
const PACKERS_VM: Steps = &[
    ("Prepare", &["snapshot list"]),
    ("SuppressMessages", MESSAGES),
    ("SetSnapshot", &["snapshot list", "snapshot restore"]),
    ("VRDP", &["modifyvm"]),
    ("Run", &["startvm"]),
    ("Shutdown", &["controlvm", "showvminfo"]),
    ("CreateSnapshot", &["showvminfo", "snapshot list", "snapshot take"]),
    ("cleanup", &["showvminfo", "snapshot list", "snapshot restore"]),
];

impl World {
    /// The words that say what each call since the `before`th did. Nothing tells when a machine is off: how often it is looked at until it is
    /// depends on VirtualBox, and is taken to be as `expected`, but never less.
    fn verbs(&self, before: usize, expected: &[&str]) -> Vec<String> {
        let verb = |call: &String| {
            let mut words = call.split(' ');
            match words.next() {
                Some("list") => format!("list {}", words.next().unwrap_or_default()),
                Some("snapshot") => format!("snapshot {}", words.nth(1).unwrap_or_default()),
                first => first.unwrap_or_default().to_owned(),
            }
        };
        let mut verbs: Vec<String> = self.calls()[before..].iter().map(verb).collect();
        if let Some(off) = verbs.iter().position(|verb| verb == "controlvm").map(|index| index + 1) {
            let looks = |verbs: &mut dyn Iterator<Item = &str>| verbs.take_while(|verb| *verb == "showvminfo").count();
            let there = looks(&mut verbs[off..].iter().map(String::as_str));
            let wanted = looks(&mut expected.iter().copied().skip_while(|verb| *verb != "controlvm").skip(1));
            verbs.drain(off..off + there.saturating_sub(wanted));
        }
        verbs
    }
}

fn assert_no_more_than(packers: Steps, ours: &[String], expected: &[&str]) {
    assert_eq!(ours, expected);
    let theirs: usize = packers.iter().map(|(_, calls)| calls.len()).sum();
    assert!(ours.len() <= theirs, "{} calls, and Packer makes {theirs}: {packers:#?}", ours.len());
}

#[test]
fn whole_builds_call_virtualbox_no_more_often_than_packer() {
    let Some(world) = World::new() else { return };
    world.build(&iso("  disk_size = 64\n")).expect(0);
    let expected = [
        // Before anything is fetched.
        "--version",
        "list vms",
        "list ostypes",
        // The name may have been taken since.
        "list vms",
        "createvm",
        "createvm",
        "modifyvm",
        "storagectl",
        "storageattach",
        "storageattach",
        "modifyvm",
        "startvm",
        // Whether its remote display is served, and by what.
        "showvminfo",
        "list extpacks",
        "controlvm",
        "showvminfo",
        "storageattach",
        "showvminfo",
        // What it is like when others begin to read its disks, and whether it was left alone until they had.
        "showvminfo",
        "list hdds",
        "showvminfo",
        "unregistervm",
    ];
    assert_no_more_than(PACKERS_ISO, &world.verbs(0, &expected), &expected);

    let before = world.calls().len();
    let silent = "  skip_export = true\n";
    let options = format!(
        "  source_path = \"output-web/web.ovf\"\n  vm_name = \"second\"\n  output_directory = \"second\"\n{silent}"
    );
    world.build(&template("virtualbox-ovf", &options)).expect(0);
    let expected = [
        "--version",
        "list vms",
        "list vms",
        "import",
        "modifyvm",
        "startvm",
        "showvminfo",
        "list extpacks",
        "controlvm",
        "showvminfo",
        "unregistervm",
    ];
    assert_no_more_than(PACKERS_OVF, &world.verbs(before, &expected), &expected);

    let base = world.home.work("machines").display().to_string();
    world.vboxmanage(&["createvm", "--name", "base", "--ostype", "Debian_64", "--register", "--basefolder", &base]);
    world.vboxmanage(&["snapshot", "base", "take", "fresh"]);
    let before = world.calls().len();
    let options =
        format!("  vm_name = \"base\"\n  attach_snapshot = \"fresh\"\n  target_snapshot = \"built\"\n{silent}");
    world.build_without_force(&template("virtualbox-vm", &options)).expect(0);
    let expected = [
        "--version",
        // With its snapshots; and once more when it is held against other builds.
        "showvminfo",
        "showvminfo",
        "snapshot restore",
        "showvminfo",
        "modifyvm",
        "startvm",
        "showvminfo",
        "list extpacks",
        "controlvm",
        "showvminfo",
        // What in it is still ours.
        "showvminfo",
        "modifyvm",
        "snapshot take",
        "showvminfo",
        "snapshot restore",
    ];
    assert_no_more_than(PACKERS_VM, &world.verbs(before, &expected), &expected);
}

#[test]
fn guest_additions_are_attached_where_the_template_wants_them_and_the_installer_may_stay() {
    let Some(world) = World::new() else { return };
    let sum = Command::new("sha256sum").arg(world.home.work("x.iso")).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap().split(' ').next().unwrap().to_owned();
    std::fs::copy(world.home.work("x.iso"), world.home.work("tools.iso")).unwrap();
    let attaching = |sum: &str| {
        let options = format!(
            "  disk_size = 64\n  bundle_iso = true\n  guest_additions_url = \"tools.iso\"\n  guest_additions_sha256 = \"{sum}\"\n\
             \x20 guest_additions_interface = \"sata\"\n"
        );
        iso(&options).replace("\"disable\"", "\"attach\"")
    };
    let ran = world.build(&attaching(&"0".repeat(64))).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains(&sum), "{told}");
    world.build(&attaching(&sum)).expect(0);
    let facts = world.facts();
    for (place, end) in [("\"SATA-14-0\"=", "tools.iso\""), ("\"IDE-0-1\"=", "x.iso\"")] {
        assert!(facts.lines().any(|line| line.starts_with(place) && line.ends_with(end)), "{place} {end}: {facts}");
    }
    let calls = world.calls();
    let taken_out = |place: &str| calls.iter().any(|call| call.contains(place) && call.ends_with("--medium none"));
    assert!(taken_out("--storagectl SATA --port 14") && !taken_out("--storagectl IDE --port 0"), "{calls:#?}");
    // With the installer in it, VirtualBox exports it.
    assert_eq!(world.output("output-web"), ["web-disk001.vmdk", "web.ovf"]);
}

#[test]
fn the_way_to_the_guest_has_the_ports_of_the_template_and_a_machine_the_window_it_wants() {
    let Some(world) = World::new() else { return };
    let connecting = |options: &str| {
        let options = format!(
            "  disk_size = 64\n  ssh_username = \"root\"\n  ssh_password = \"x\"\n  ssh_port = 2200\n  ssh_timeout = \"1s\"\n\
             \x20 host_port_min = 23100\n  host_port_max = 23139\n{options}"
        );
        let text = iso(&options).replacen("\"none\"", "\"ssh\"", 1);
        text.replacen("headless                = true", "headless                = false", 1)
    };
    // There is no guest that would answer.
    world.build(&connecting("")).expect(1);
    let facts = world.facts();
    let forwarding = facts.lines().find_map(|line| line.strip_prefix("Forwarding(0)=\"packercomm,tcp,127.0.0.1,"));
    let port = forwarding.and_then(|rest| rest.strip_suffix(",,2200\"")?.parse::<u16>().ok());
    assert!(port.is_some_and(|port| (23100..=23139).contains(&port)), "{facts}");
    let calls = world.calls();
    assert!(calls.iter().any(|call| call.starts_with("startvm ") && call.ends_with(" --type gui")), "{calls:#?}");
    world.build(&connecting("  skip_nat_mapping = true\n")).expect(1);
    assert!(!world.facts().contains("packercomm") && world.calls().len() > calls.len(), "{}", world.facts());
    assert_eq!(world.machines(), Vec::<String>::new());
}

#[test]
fn a_machine_with_line_breaks_in_its_name_is_in_nobodys_way() {
    let Some(world) = World::new() else { return };
    let base = world.home.work("machines").display().to_string();
    world.vboxmanage(&["createvm", "--name", "base", "--ostype", "Debian_64", "--register", "--basefolder", &base]);
    let description = "one\nVMState=\"running\"\nCfgFile=\"/x\"\nlast";
    world.vboxmanage(&["modifyvm", "base", "--description", description, "--name", "a\nb"]);
    assert!(world.vboxmanage(&["list", "vms"]).contains("\"a\nb\" {"));
    world.build(&iso("  disk_size = 64\n")).expect(0);
    assert!(world.vboxmanage(&["list", "vms"]).contains("\"a\nb\" {"), "it stays");
    // It can be worked on, too: what is in its description is no fact about it.
    let list = world.vboxmanage(&["list", "vms"]);
    let uuid = list.split_once("\" {").unwrap().1.split_once('}').unwrap().0.to_owned();
    let options = format!("  vm_name = \"{uuid}\"\n  target_snapshot = \"built\"\n  skip_export = true\n");
    world.build_without_force(&template("virtualbox-vm", &options)).expect(0);
    assert!(world.vboxmanage(&["snapshot", &uuid, "list"]).contains("built"));
}

#[test]
fn a_tpm_and_secure_boot_are_seen_by_virtualbox_and_in_the_export() {
    let Some(world) = World::new() else { return };
    let options = r#"
  guest_os_type = "Windows11_64"
  firmware      = "efi"
  disk_size     = 64
  vboxmanage = [
    ["modifynvram", "{{.Name}}", "inituefivarstore"],
    ["modifynvram", "{{.Name}}", "enrollmssignatures"],
    ["modifynvram", "{{.Name}}", "enrollorclpk"],
    ["modifynvram", "{{.Name}}", "secureboot", "--enable"],
    ["modifyvm", "{{.Name}}", "--tpm-type", "2.0"],
  ]
"#;
    world.build(&iso(options)).expect(0);
    let facts = world.facts();
    assert!(facts.contains("\nSecureBoot=\"on\"\n") && facts.contains("\nfirmware=\"EFI\"\n"), "{facts}");
    let ovf = std::fs::read_to_string(world.home.work("output-web/web.ovf")).unwrap();
    assert!(ovf.contains("<TrustedPlatformModule type=\"v2_0\""), "{ovf}");
    let calls = world.calls();
    let order: Vec<usize> =
        ["inituefivarstore", "enrollmssignatures", "enrollorclpk", "secureboot", "--tpm-type", "startvm"]
            .map(|word| calls.iter().position(|call| call.contains(word)).unwrap())
            .to_vec();
    assert!(order.is_sorted(), "{calls:#?}");
}

#[test]
fn a_machine_that_is_off_is_left_alone_for_as_long_as_the_template_wants() {
    let Some(world) = World::new() else { return };
    // Longer than the rest of the step takes.
    let delay = Duration::from_secs(8);
    world.build(&iso("  disk_size = 64\n  post_shutdown_delay = \"8s\"\n")).expect(0);
    let shown = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&world.kiln(arguments, &[]).expect(0).stdout).expect("it is JSON")
    };
    let jobs = shown(&["jobs", "--json"]);
    let id = jobs["jobs"][0]["id"].as_str().unwrap_or_else(|| panic!("{jobs}"));
    let job = shown(&["jobs", "show", "--json", id]);
    let steps = job["builds"][0]["steps"].as_array().cloned().unwrap_or_default();
    let step = steps.iter().find(|step| step["name"] == "shut-down").unwrap_or_else(|| panic!("{job}"));
    let took = Duration::from_micros(step["elapsed_us"].as_u64().unwrap());
    assert!(took >= delay, "{took:?}");
}
