//! Machines that are noted, so that others than VirtualBox export them; and those that are left to it.

use std::path::PathBuf;

use super::stand_in::StandIn;
use crate::spec::MachineSpec;
use crate::virtualbox::media::Media;
use crate::virtualbox::spec::{Export, Notes};

/// What is noted and exported of a machine with a disk `uuid`.
fn noting(world: &StandIn) -> (MachineSpec, Notes, PathBuf) {
    let notes = Notes { settings: world.path("settings"), media: world.path("media") };
    let directory = world.path("export");
    let mut spec = world.spec(false);
    let after = &mut world.part(&mut spec).after;
    after.notes = Some(notes.clone());
    after.export = Some(Export { directory: directory.clone(), file_name: "web.ova".to_owned(), options: Vec::new() });
    (spec, notes, directory)
}

fn settings(disks: &[&str]) -> String {
    let disk = |(port, uuid): (usize, &&str)| {
        format!(
            "<AttachedDevice type=\"HardDisk\" port=\"{port}\" device=\"0\"><Image uuid=\"{{{uuid}}}\"/></AttachedDevice>"
        )
    };
    let disks: String = disks.iter().enumerate().map(disk).collect();
    format!(
        "<VirtualBox version=\"1.19-linux\"><Machine name=\"web\" OSType=\"Other\"><Hardware><Memory RAMSize=\"64\"/>\
         <StorageControllers><StorageController name=\"SATA\" type=\"AHCI\">{disks}</StorageController></StorageControllers>\
         </Hardware></Machine></VirtualBox>"
    )
}

/// An image of VirtualBox's: a text that names the file with the bytes.
fn listed(world: &StandIn, uuid: &str, parent: &str, format: &str) -> String {
    let path = world.path(&format!("{uuid}.vmdk"));
    let below = if parent == "base" { "00000000-0000-0000-0000-000000000000" } else { parent };
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\
         RW 8 FLAT \"{uuid}-flat.vmdk\" 0\nddb.uuid.image=\"{uuid}\"\nddb.uuid.parent=\"{below}\"\n"
    );
    std::fs::write(&path, text).unwrap();
    std::fs::write(world.path(&format!("{uuid}-flat.vmdk")), [0; 4096]).unwrap();
    let path = path.display();
    format!("UUID: {uuid}\nParent UUID: {parent}\nLocation: {path}\nStorage format: {format}\nEncryption: disabled\n\n")
}

/// Retires a machine with these settings and images, and tells what it called for that.
async fn retired(world: &StandIn, spec: &MachineSpec, settings: &str, media: &str) -> Vec<String> {
    std::fs::write(world.path("hdds"), media).unwrap();
    let machine = world.start(spec).await;
    let file =
        world.facts(&world.uuids()[0]).into_iter().find_map(|fact| Some(fact.strip_prefix("CfgFile=")?.to_owned()));
    std::fs::write(file.unwrap().trim_matches('"'), settings).unwrap();
    machine.power_off().await;
    let before = world.calls().len();
    machine.retire().await.unwrap();
    let calls = world.calls()[before..].to_vec();
    machine.kill().await;
    calls.iter().map(|call| call.split(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_machine_whose_disks_others_can_read_is_noted_and_not_exported() {
    let world = StandIn::new();
    let (spec, notes, directory) = noting(&world);
    let media = listed(&world, "aa", "base", "VMDK") + &listed(&world, "bb", "aa", "VMDK");
    let calls = retired(&world, &spec, &settings(&["bb", "aa"]), &media).await;
    assert_eq!(calls, ["showvminfo", "list"]);
    assert!(!directory.exists());
    assert_eq!(std::fs::read_to_string(&notes.settings).unwrap(), settings(&["bb", "aa"]));
    let chain = Media::read(&std::fs::read_to_string(&notes.media).unwrap()).chain("bb").unwrap();
    assert_eq!(
        chain.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(),
        [world.path("bb.vmdk"), world.path("aa.vmdk")]
    );
}

/// Its owner may start it while its disks are read: what comes of that is no image.
#[tokio::test]
async fn a_machine_that_was_run_while_it_was_read_is_told_of() {
    let world = StandIn::new();
    let (spec, _, _) = noting(&world);
    std::fs::write(world.path("hdds"), listed(&world, "aa", "base", "VMDK")).unwrap();
    let machine = world.start(&spec).await;
    let uuid = world.uuids().remove(0);
    std::fs::write(world.folder().join("web.vbox"), settings(&["aa"])).unwrap();
    machine.power_off().await;
    machine.still_retired().await.expect("nothing is read yet");
    machine.retire().await.unwrap();
    machine.still_retired().await.unwrap();
    world.calls_by_hand(&["startvm", &uuid]);
    let error = machine.still_retired().await.unwrap_err().to_string();
    assert!(error.contains(&uuid) && error.contains("its state is running"), "{error}");
    world.calls_by_hand(&["controlvm", &uuid, "poweroff"]);
    let error = machine.still_retired().await.unwrap_err().to_string();
    assert!(error.contains("its state is poweroff") && error.contains("leave it off"), "{error}");
    machine.kill().await;
}

#[tokio::test]
async fn what_others_cannot_read_virtualbox_exports_and_the_reason_is_noted() {
    let world = StandIn::new();
    let (spec, notes, directory) = noting(&world);
    let readable = listed(&world, "aa", "base", "VMDK");
    let gone = listed(&world, "bb", "base", "VMDK");
    let unsaid = listed(&world, "dd", "base", "VMDK").replace("Parent UUID: base", "Parent UUID: aa");
    std::fs::remove_file(world.path("bb.vmdk")).unwrap();
    for (disks, media, why) in [
        (&["aa"][..], listed(&world, "aa", "base", "QCOW"), "is of the format \"QCOW\""),
        (&["aa"], readable.replace("disabled", "enabled"), "is encrypted"),
        (&["aa", "cc"], readable.clone(), "does not know where the disk cc is"),
        (&["bb"], gone, "no such file"),
        (&["dd"], unsaid + &readable, "does not say that it lies on"),
        (&[], readable, "it has no disk"),
    ] {
        let calls = retired(&world, &spec, &settings(disks), &media).await;
        assert_eq!(calls, ["showvminfo", "list", "export"], "{why}");
        let noted = std::fs::read_to_string(&notes.media).unwrap();
        assert!(noted.starts_with(Notes::LEFT) && noted.contains(why), "{noted}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
    let calls = retired(&world, &spec, "<Envelope/>", "").await;
    assert_eq!(calls, ["showvminfo", "list", "export"]);
    assert!(std::fs::read_to_string(&notes.media).unwrap().contains("not the settings"));
}
