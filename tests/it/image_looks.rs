//! `kiln image info`, `map` and `check`: JSON key by key as qemu-img's, which is the judge.

use std::process::Command;

use kiln_tests::Home;
use serde_json::Value;

use crate::images::{damage, home, qemu_img};

/// Asserts that we say all that qemu-img says; we may say more.
#[track_caller]
fn assert_says_all_of(ours: &Value, theirs: &Value) {
    for (key, value) in theirs.as_object().unwrap() {
        assert_eq!(&ours[key], value, "{key}: {ours:#} {theirs:#}");
    }
}

#[test]
fn facts_have_qemu_imgs_keys_and_values() {
    let Some(home) = home() else { return };
    for format in ["raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx"] {
        let name = format!("disk.{format}");
        if format != "raw" {
            // Without force_size, qemu-img rounds the disk up to the geometry.
            let options: &[&str] = if format == "vpc" { &["-o", "force_size"] } else { &[] };
            let convert = ["convert", "-f", "raw", "-O", format, "disk.raw", &name];
            qemu_img(&home, &[&convert[..], options].concat());
        }
        let theirs: Value = serde_json::from_str(&qemu_img(&home, &["info", "--output=json", &name])).unwrap();
        let ran = home.kiln(["image", "info", "--output=json", "-U", &name]).expect(0);
        let ours: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_says_all_of(&ours, &theirs);
    }
    // Looks at images that are over are not listed, unless asked for.
    assert!(home.kiln(["jobs"]).expect(0).stdout.is_empty());
    assert_eq!(home.kiln(["jobs", "--all"]).expect(0).stdout.lines().count(), 7);
}

/// Compares the facts about an image with qemu-img's.
#[track_caller]
fn same_facts(home: &Home, name: &str) -> Value {
    let theirs: Value = serde_json::from_str(&qemu_img(home, &["info", "--output=json", name])).unwrap();
    let ours: Value = serde_json::from_str(&home.kiln(["image", "info", "--json", name]).expect(0).stdout).unwrap();
    assert_says_all_of(&ours, &theirs);
    ours
}

#[test]
fn facts_that_only_a_format_has_are_qemu_imgs() {
    let Some(home) = home() else { return };
    let qcow2 = ["compat=0.10", "lazy_refcounts=on,refcount_bits=8", "compression_type=zstd", "extended_l2=on"];
    for (index, options) in qcow2.iter().enumerate() {
        let name = format!("{index}.qcow2");
        qemu_img(&home, &["create", "-q", "-f", "qcow2", "-o", options, &name, "8M"]);
        same_facts(&home, &name);
    }
    let subformats =
        ["monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"];
    for subformat in subformats {
        let (name, option) = (format!("{subformat}.vmdk"), format!("subformat={subformat}"));
        qemu_img(&home, &["convert", "-f", "raw", "-O", "vmdk", "-o", &option, "disk.raw", &name]);
        same_facts(&home, &name);
    }
    qemu_img(&home, &["snapshot", "-c", "before the update", "2.qcow2"]);
    qemu_img(&home, &["snapshot", "-c", "after", "2.qcow2"]);
    assert_eq!(same_facts(&home, "2.qcow2")["snapshots"].as_array().unwrap().len(), 2);
    // The incompatible features' lowest bits: dirty, corrupt.
    damage(&home.work("3.qcow2"), 79, &[16 + 1]);
    assert_eq!(same_facts(&home, "3.qcow2")["dirty-flag"], true);
    damage(&home.work("3.qcow2"), 79, &[16 + 2]);
    assert_eq!(same_facts(&home, "3.qcow2")["format-specific"]["data"]["corrupt"], true);
    let ran = home.kiln(["image", "info", "2.qcow2"]).expect(0);
    assert!(
        ran.stdout.contains("before the update") && ran.stdout.contains("    compression type: zstd\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn facts_need_neither_the_backing_file_nor_the_key() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["create", "-q", "-u", "-f", "qcow2", "-b", "gone.raw", "-F", "raw", "over.qcow2", "8M"]);
    assert_eq!(same_facts(&home, "over.qcow2")["backing-filename-format"], "raw");
    let ran = home.kiln(["image", "info", "--backing-chain", "over.qcow2"]).expect(1);
    assert!(ran.stderr.contains("gone.raw"), "{}", ran.stderr);
    let secret = ["create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc"];
    let options = ["-o", "encrypt.format=aes,encrypt.key-secret=s", "secret.qcow2", "8M"];
    qemu_img(&home, &[&secret[..], &options].concat());
    assert_eq!(same_facts(&home, "secret.qcow2")["encrypted"], true);
    home.kiln(["image", "compare", "secret.qcow2", "disk.raw"]).expect(2);
}

/// A raw disk belongs to its guest, which may write there what looks like an image with a backing file.
#[test]
fn a_chain_takes_formats_from_what_names_them() {
    let Some(home) = home() else { return };
    home.write("secret", "of somebody else");
    qemu_img(&home, &["create", "-q", "-u", "-f", "qcow2", "-b", "secret", "-F", "raw", "guest.raw", "8M"]);
    qemu_img(&home, &["create", "-q", "-f", "qcow2", "-b", "guest.raw", "-F", "raw", "over.qcow2"]);
    let ran = home.kiln(["image", "info", "--json", "--backing-chain", "over.qcow2"]).expect(0);
    let chain: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let formats: Vec<_> = chain.iter().map(|image| image["format"].as_str().unwrap()).collect();
    assert_eq!(formats, ["qcow2", "raw"]);
}

#[test]
fn the_map_covers_the_disk() {
    let Some(home) = home() else { return };
    home.kiln(["convert", "disk.raw", "disk.qcow2"]).expect(0);
    let ran = home.kiln(["image", "map", "--output=json", "disk.qcow2"]).expect(0);
    let map: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let mut end = 0;
    for extent in &map {
        assert_eq!(extent["start"], end);
        end += extent["length"].as_u64().unwrap();
    }
    assert_eq!(end, 64 << 20);
    let theirs: Vec<Value> = serde_json::from_str(&qemu_img(&home, &["map", "--output=json", "disk.qcow2"])).unwrap();
    let data = |map: &[Value]| -> u64 {
        map.iter().filter(|extent| extent["data"] == true).map(|extent| extent["length"].as_u64().unwrap()).sum()
    };
    assert_eq!(data(&map), data(&theirs));
    let text = home.kiln(["image", "map", "disk.qcow2"]).expect(0).stdout;
    let (head, lines) = text.split_once('\n').unwrap();
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), ["offset", "length", "content"]);
    assert_eq!(lines.lines().count(), map.len());
    let column = |line: &str, word: &str| line.find(word).unwrap();
    let first = lines.lines().find(|line| line.ends_with("data")).unwrap();
    assert_eq!(column(head, "length"), first.rfind("0x").unwrap());
    assert_eq!(column(head, "content"), column(first, "data"));
}

/// A package is told as its descriptor says it; of a machine with two disks, both.
#[test]
fn a_package_is_told_with_each_of_its_disks() {
    let Some(home) = home() else { return };
    let line =
        "convert disk.raw --name web --cpus 2 --memory 2G --firmware efi --guest-os debian-64 --nic virtio:lan web.ova";
    let ran = home.kiln(line.split(' ')).expect(0);
    assert!(ran.stdout.lines().last().unwrap().starts_with("converted in "), "{}", ran.stdout);
    let ran = home.kiln(["image", "info", "web.ova"]).expect(0);
    let told = ran.stdout.split_once("\n\nimage: web.ova\nfile format: vmdk\n").unwrap().0;
    let told: Vec<_> = told.lines().map(str::trim_start).collect();
    let (machine, rest) = told.split_at(3);
    assert_eq!(machine, ["machine: web", "processors: 2", "memory: 2 GiB"]);
    assert!(rest[0].starts_with("guest OS: debian"), "{rest:?}");
    let devices = ["disk: web-disk1.vmdk, sata 0:0", "network card: virtio, network lan"];
    assert_eq!(rest[1..], [&["firmware: efi"], &devices[..], &["disk: web-disk1.vmdk, 64 MiB"]].concat());
    let info = |name: &str| -> Value {
        serde_json::from_str(&home.kiln(["image", "info", "--json", name]).expect(0).stdout).unwrap()
    };
    let one = info("web.ova");
    let machine = &one["package"]["machines"][0];
    assert_eq!(
        (&machine["name"], &machine["cpus"], &machine["memory"]),
        (&"web".into(), &2.into(), &(2u64 << 30).into())
    );
    assert_eq!(one["package"]["disks"][0]["filename"], "web-disk1.vmdk");
    assert_eq!(one["virtual-size"], 64 << 20);
    // One disk of it, or the bytes as they are, is not the package.
    assert!(info("web.ova:web-disk1.vmdk").get("package").is_none());
    let ran = home.kiln(["image", "info", "--json", "-f", "raw", "web.ova"]).expect(0);
    assert!(!ran.stdout.contains("package"), "{}", ran.stdout);
    assert!(info("disk.raw").get("package").is_none());

    let ran = home.kiln(["convert", "-q", "disk.raw", "--disk", "disk.raw", "two.ova"]).expect(0);
    assert_eq!(ran.stdout, "");
    let two = info("two.ova");
    assert_eq!(two[0]["package"]["disks"].as_array().unwrap().len(), 2);
    let names: Vec<_> = two.as_array().unwrap().iter().map(|disk| disk["filename"].as_str().unwrap()).collect();
    assert_eq!(names, ["two.ova:two-disk1.vmdk", "two.ova:two-disk2.vmdk"]);
    let ran = home.kiln(["image", "info", "two.ova"]).expect(0);
    assert_eq!(ran.stdout.matches("\nimage: two.ova:").count(), 2, "{}", ran.stdout);
}

/// A machine in files is converted, told and checked as one in an archive, and what it loses is said.
#[test]
fn a_machine_is_converted_told_and_checked() {
    let Some(home) = home() else { return };
    home.kiln(["convert", "-q", "disk.raw", "--cpus", "3", "--nic", "virtio:lan", "web.ova"]).expect(0);
    let ran = home.kiln(["convert", "web.ova", "web.vmx"]).expect(0);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("Warning: web.vmx: network card 1 is vmxnet3"), "{said}");
    let ran = home.kiln(["image", "info", "web.vmx"]).expect(0);
    for line in ["    processors: 3", "    network card: vmxnet3, network nat", "    disk: web-disk1.vmdk, sata 0:0"] {
        assert!(ran.stdout.lines().any(|found| found == line), "{line}: {}", ran.stdout);
    }
    home.kiln(["image", "check", "web.vmx"]).expect(0);
    home.kiln(["convert", "-q", "web.vmx", "again.raw"]).expect(0);
    home.kiln(["image", "compare", "disk.raw", "again.raw"]).expect(0);
    // A disk that is not there: nothing is written, and those that are there are named.
    std::fs::rename(home.work("web-disk1.vmdk"), home.work("moved.vmdk")).unwrap();
    let ran = home.kiln(["convert", "web.vmx", "lost.ova"]).expect(1);
    assert!(ran.stderr.contains("web.vmx: it names the disk \"web-disk1.vmdk\", which is not there"), "{}", ran.stderr);
    assert!(ran.stderr.contains("moved.vmdk"), "{}", ran.stderr);
    assert!(!home.work("lost.ova").exists());
}

/// Checks an image with both; returns our JSON and exit code.
#[track_caller]
fn check_with_both(home: &Home, name: &str) -> (Value, i32) {
    let output = Command::new("qemu-img").args(["check", "--output=json", name]).current_dir(home.work("")).output();
    let output = output.unwrap();
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = output.status.code().unwrap();
    let ran = home.kiln(["image", "check", "--output=json", name]).expect(code);
    let ours: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_says_all_of(&ours, &theirs);
    (ours, code)
}

#[test]
fn checks_find_and_exit_as_qemu_imgs() {
    let Some(home) = home() else { return };
    for (name, options) in [
        ("a.qcow2", &["-O", "qcow2"][..]),
        ("b.qcow2", &["-c", "-O", "qcow2"]),
        ("c.vdi", &["-O", "vdi"]),
        ("d.vhdx", &["-O", "vhdx"]),
        ("e.vmdk", &["-O", "vmdk"]),
        ("f.vmdk", &["-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"]),
    ] {
        qemu_img(&home, &[&["convert", "-f", "raw"], options, &["disk.raw", name]].concat());
        let (ours, code) = check_with_both(&home, name);
        assert!(code == 0 && ours.get("findings").is_none(), "{ours:#}");
    }
    let ran = home.kiln(["image", "check", "a.qcow2"]).expect(0);
    assert!(
        ran.stdout.starts_with("No errors were found on the image.\n") && ran.stdout.contains("/1024 = "),
        "{}",
        ran.stdout
    );
    // The first table of the disk is lost: its clusters leak.
    let number = |offset: u64| {
        let bytes = std::fs::read(home.work("a.qcow2")).unwrap();
        u64::from_be_bytes(bytes[offset as usize..][..8].try_into().unwrap())
    };
    let (l1, counts) = (number(40), number(number(48)));
    damage(&home.work("a.qcow2"), l1, &[0; 8]);
    let (ours, code) = check_with_both(&home, "a.qcow2");
    assert_eq!((code, &ours["findings"][0]["kind"]), (3, &"leak".into()));
    // The L1 table counts as unused, so it may be written over.
    damage(&home.work("a.qcow2"), counts + l1 / 65536 * 2, &[0; 2]);
    let (ours, code) = check_with_both(&home, "a.qcow2");
    assert!(code == 2 && ours["corruptions"].as_u64() > Some(0), "{ours:#}");
    let ran = home.kiln(["image", "check", "a.qcow2"]).expect(2);
    assert!(ran.stdout.contains(&format!("ERROR offset {l1:#x}: ")), "{}", ran.stdout);
    assert!(home.kiln(["image", "check", "-q", "a.qcow2"]).expect(2).stdout.is_empty());
}

#[test]
fn what_cannot_be_checked_is_told() {
    let Some(home) = home() else { return };
    let ran = home.kiln(["image", "check", "-f", "raw", "disk.raw"]).expect(63);
    assert!(ran.stderr.contains("disk.raw: the structure of raw images cannot be checked"), "{}", ran.stderr);
    let ran = home.kiln(["image", "check", "--json", "none.qcow2"]).expect(1);
    assert!(ran.stderr.contains("none.qcow2: no such file") && ran.stdout.is_empty(), "{}", ran.stderr);
}
