//! What scripts written for qemu-img ask of `kiln convert` and `kiln image`, with qemu-img as the judge.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use serde_json::Value;

use crate::images::{damage, home, qemu_img};

#[test]
fn maps_are_qemu_imgs_field_by_field() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["convert", "-c", "-f", "raw", "-O", "qcow2", "disk.raw", "base.qcow2"]);
    qemu_img(&home, &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "over.qcow2", "70M"]);
    qemu_img(&home, &["convert", "-f", "raw", "-O", "vmdk", "disk.raw", "a.vmdk"]);
    for name in ["disk.raw", "base.qcow2", "over.qcow2", "a.vmdk"] {
        for part in [&[][..], &["-s", "20M", "-l", "1M"]] {
            let map = |text: String| serde_json::from_str::<Vec<Value>>(&text).unwrap();
            let theirs = map(qemu_img(&home, &[&["map", "--output=json", name], part].concat()));
            let ours = home.kiln([&["image", "map", "--output=json", "-U", name], part].concat()).expect(0);
            let ours = map(ours.stdout);
            assert_eq!(ours.len(), theirs.len(), "{name}: {ours:#?} {theirs:#?}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                for (key, value) in theirs.as_object().unwrap() {
                    assert_eq!(&ours[key], value, "{name}, {key}: {ours:#} {theirs:#}");
                }
                assert!(ours["compressed"].is_boolean());
            }
        }
    }
}

#[test]
fn flags_are_taken_or_refused_with_a_way() {
    let Some(home) = home() else { return };
    let line = "convert -p -q -W -m 4 -t none -T none -S 4k -f raw -O qcow2 disk.raw a.qcow2";
    assert!(home.kiln(line.split(' ')).expect(0).stdout.is_empty());
    qemu_img(&home, &["snapshot", "-c", "before", "a.qcow2"]);
    let write = Command::new("qemu-io").args(["-c", "write -P 5 1M 1M", "a.qcow2"]).current_dir(home.work("")).output();
    assert!(write.unwrap().status.success());
    home.kiln(["convert", "-l", "snapshot.name=before", "a.qcow2", "before.raw"]).expect(0);
    home.kiln(["image", "compare", "-s", "-q", "-T", "none", "before.raw", "disk.raw"]).expect(0);
    home.kiln(["image", "compare", "-q", "a.qcow2", "disk.raw"]).expect(1);
    let ran = home.kiln(["convert", "-l", "never", "a.qcow2", "never.raw"]).expect(1);
    assert!(ran.stderr.contains("never") && ran.stderr.contains("\"before\""), "{}", ran.stderr);
    for (line, way) in [
        ("convert -n disk.raw a.qcow2", "--force"),
        ("convert -S 0 disk.raw b.qcow2", "fallocate"),
        ("convert -B disk.raw -F raw a.qcow2 b.qcow2", "qemu-img create"),
        ("image check -r all a.qcow2", "never repaired"),
    ] {
        let ran = home.kiln(line.split(' ')).expect(1);
        assert!(ran.stderr.contains("hint: ") && ran.stderr.contains(way), "{line}: {}", ran.stderr);
    }
    assert!(!home.work("b.qcow2").exists() && !home.work("never.raw").exists());
}

#[test]
fn of_an_ova_all_disks_go_into_packages_and_one_is_chosen_for_the_rest() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["create", "-q", "-f", "raw", "data.raw", "3M"]);
    damage(&home.work("data.raw"), 1 << 20, b"the second disk");
    home.kiln(["convert", "-f", "raw", "disk.raw", "--disk", "data.raw", "two.ova"]).expect(0);
    for line in ["convert two.ova a.qcow2", "image map two.ova", "image check two.ova"] {
        let ran = home.kiln(line.split(' ')).expect(1);
        let said = &ran.stderr;
        assert!(said.contains("two-disk1.vmdk") && said.contains("two-disk2.vmdk") && said.contains(":NAME"), "{said}");
    }
    home.kiln(["convert", "two.ova:two-disk2.vmdk", "a.qcow2"]).expect(0);
    home.kiln(["image", "compare", "a.qcow2", "data.raw"]).expect(0);
    home.kiln(["image", "check", "two.ova:two-disk1.vmdk"]).expect(0);
    home.kiln(["convert", "two.ova", "again.ovf"]).expect(0);
    home.kiln(["image", "verify", "again.ovf"]).expect(0);
    home.kiln(["image", "compare", "again-disk1.vmdk", "disk.raw"]).expect(0);
    home.kiln(["image", "compare", "again-disk2.vmdk", "data.raw"]).expect(0);
}

#[test]
fn a_forced_overwrite_keeps_mode_and_link() {
    let Some(home) = home() else { return };
    std::fs::create_dir(home.work("store")).unwrap();
    home.write("store/real.qcow2", "old");
    std::fs::set_permissions(home.work("store/real.qcow2"), std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("store/real.qcow2", home.work("link.qcow2")).unwrap();
    home.kiln(["convert", "disk.raw", "link.qcow2"]).expect(1);
    home.kiln(["convert", "--force", "disk.raw", "link.qcow2"]).expect(0);
    assert!(home.work("link.qcow2").is_symlink());
    assert_eq!(home.work("store/real.qcow2").metadata().unwrap().permissions().mode() & 0o777, 0o640);
    home.kiln(["image", "compare", "store/real.qcow2", "disk.raw"]).expect(0);
    let ran = home.kiln(["convert", "--force", "disk.raw", "link.qcow2", "store/real.qcow2"]).expect(1);
    assert!(ran.stderr.contains("two outputs have the same name"), "{}", ran.stderr);
}

#[test]
fn damaged_tables_and_senseless_machines_are_refused_before_anything_is_written() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["convert", "-f", "raw", "-O", "vdi", "disk.raw", "a.vdi"]);
    let bytes = std::fs::read(home.work("a.vdi")).unwrap();
    let map = u64::from(u32::from_le_bytes(bytes[0x154..0x158].try_into().unwrap()));
    let first = bytes[map as usize..map as usize + 4].to_vec();
    damage(&home.work("a.vdi"), map + 20 * 4, &first);
    let ran = home.kiln(["convert", "a.vdi", "b.raw"]).expect(1);
    let place = format!("offset {:#x}", map + 80);
    for word in ["a.vdi", "is used twice", "guest offset 0x1400000", &place] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let ran = home.kiln(["convert", "disk.raw", "--nic", "virtio", "m.vmx"]).expect(1);
    assert!(ran.stderr.contains("vmxnet3"), "{}", ran.stderr);
    let ran = home.kiln(["convert", "disk.raw", "-o", "hwversion=x", "m.vmdk"]).expect(1);
    assert!(ran.stderr.contains("hwversion=x"), "{}", ran.stderr);
    for name in ["b.raw", "m.vmx", "m.vmdk"] {
        assert!(!home.work(name).exists(), "{name}");
    }
}
