//! One template with sources for QEMU, VMware and VirtualBox, built in parallel in one job: QEMU is real, VMware's tools are the stand-in, and
//! VirtualBox is real but for the guest, which no kernel module runs here. `./x lab three` has real guests in all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kiln_tests::{installer, vmware_tools};

use crate::virtualbox::World;
use crate::vmware::Lab;

/// The template, with nobody in VirtualBox's machine to provision.
fn template() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("side_by_side/three.pkr.hcl");
    let text = std::fs::read_to_string(path).unwrap();
    ["shell", "file"].iter().fold(text, |text, kind| {
        let head = format!("provisioner \"{kind}\" {{\n");
        assert!(text.contains(&head), "{head}");
        text.replace(&head, &format!("{head}    except = [\"virtualbox-iso.guest\"]\n"))
    })
}

/// What a guest holds: the digest of each file.
fn content(world: &World, kind: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(world.home.work(&format!("content-{kind}"))).unwrap();
    let line = |line: &str| line.split_once("  ").map(|(digest, path)| (path.to_owned(), digest.to_owned()));
    text.lines().filter_map(line).collect()
}

#[test]
fn three_hypervisors_build_one_template_in_one_job() {
    let (Some(world), Some(tools), Some(iso)) = (World::new(), vmware_tools(), installer()) else { return };
    let _turn = Lab::turn();
    // VirtualBox sees files of the home only.
    std::fs::copy(iso, world.home.work("kiln-tiny.iso")).unwrap();
    world.home.write("three.pkr.hcl", &template());
    let path = format!("{}:{}", tools.display(), world.path);
    let build = |more: &[&str], start: &str| {
        let mut command = world.home.command("kiln");
        let own = ["build", "-color=false", "-var", "iso=kiln-tiny.iso", "-var", "virtualbox_guest=false"];
        command.args(own).args(more).arg("three.pkr.hcl").env("PATH", &path).env("KILN_TEST_VBOX_START", start);
        world.home.start_command(command).wait()
    };

    let ran = build(&[], "").expect(0);
    for source in ["qemu.guest", "vmware-iso.guest", "virtualbox-iso.guest"] {
        assert!(ran.stdout.contains(&format!("--> {source}: ")), "{source}: {}", ran.stdout);
    }
    let (qemu, vmware) = (content(&world, "qemu"), content(&world, "vmware-iso"));
    let differs: Vec<_> =
        qemu.keys().chain(vmware.keys()).filter(|path| qemu.get(*path) != vmware.get(*path)).collect();
    assert!(differs.is_empty(), "the guests differ in {differs:?}");
    assert!(qemu.len() > 100, "{qemu:?}");
    assert!(ran.stdout.matches("content digest ").count() == 2, "{}", ran.stdout);
    assert_nothing_runs(&world, &tools);

    // Where there is no driver, VirtualBox's own words are told with what to do, and its machine goes as the others do.
    let ran = build(&["-force", "-only=virtualbox-iso.guest"], "real").expect(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("modprobe vboxdrv"), "{said}");
    assert_nothing_runs(&world, &tools);
}

#[track_caller]
fn assert_nothing_runs(world: &World, tools: &Path) {
    assert_eq!(world.machines(), Vec::<String>::new());
    let output = Command::new(tools.join("vmrun")).arg("list").output().unwrap();
    let (said, home) = (String::from_utf8_lossy(&output.stdout).into_owned(), world.home.path().display().to_string());
    assert!(!said.contains(&home), "{said}");
    let mut leftovers = world.home.leftovers();
    // VirtualBox's own services end by themselves, seconds after the last call.
    leftovers.processes.retain(|(_, line)| !line.contains("/VBoxSVC ") && !line.contains("/VBoxXPCOMIPCD"));
    assert!(leftovers.is_empty(), "{leftovers:?}");
}
