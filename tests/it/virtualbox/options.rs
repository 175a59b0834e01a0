//! How often VirtualBox is called for a whole build, and what options of it do that the other tests here do not show.

use std::process::Command;
use std::time::Duration;

use super::{World, iso, template};

/// How often Packer calls VBoxManage for the same: a machine of its defaults, made and exported, whose guest nobody connects to. Until and
/// with `startvm`: the version, a machine for its defaults (3), the messages (4), createvm, 19 times modifyvm and 8 times for the models of
/// adapters, createhd, storagectl, storageattach twice, the remote display, startvm. Then the power button, at least one look at the state,
/// the CD taken out, the export, and the machine unregistered.
const PACKERS_CALLS: usize = 43 + 5;

#[test]
fn a_whole_build_calls_virtualbox_less_often_than_packer() {
    let Some(world) = World::new() else { return };
    world.build(&iso("  disk_size = 64\n")).expect(0);
    let all = world.calls();
    assert!(all.len() < PACKERS_CALLS, "{all:#?}");
    let mut calls: Vec<String> = all.iter().map(|call| call.split(' ').take(1).collect()).collect();
    // Nothing tells when a machine is off: it is looked at until it is.
    calls.dedup_by(|one, before| one == before && one == "showvminfo");
    let expected = [
        // Before anything is fetched, and again when it is made.
        "--version",
        "list",
        "list",
        "--version",
        "list",
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
        "list",
        "controlvm",
        "showvminfo",
        "storageattach",
        "showvminfo",
        "list",
        "showvminfo",
        "unregistervm",
    ];
    assert_eq!(calls, expected);
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
