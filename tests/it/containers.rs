//! Files around disks, and files that are no disks: read, or refused by name with exit code 1 and nothing written.

use std::path::Path;
use std::process::Command;

use kiln_tests::{Home, tool};
use serde_json::Value;

use crate::images::{home, qemu_img};

/// A home with `disk.raw` and the same as `disk.vmdk`. Nothing without the tools that make containers.
fn home_with_vmdk() -> Option<Home> {
    let home = home().filter(|_| tool("tar") && tool("python3"))?;
    qemu_img(
        &home,
        &["convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "disk.raw", "disk.vmdk"],
    );
    Some(home)
}

/// Runs a tool in the home's directory.
#[track_caller]
fn run(home: &Home, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(home.work("")).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Converts a container, and compares what came out with the disk.
#[track_caller]
fn reads_as_the_disk(home: &Home, name: &str) {
    home.kiln(["convert", "--force", name, "out.raw"]).expect(0);
    let same = std::fs::read(home.work("out.raw")).unwrap() == std::fs::read(home.work("disk.raw")).unwrap();
    assert!(same, "{name}");
    std::fs::remove_file(home.work("out.raw")).unwrap();
}

/// Converts what cannot be converted, and looks at it: both say why, and what to do.
#[track_caller]
fn is_refused(home: &Home, name: &str, words: &[&str]) {
    for line in [vec!["convert", name, "out.qcow2"], vec!["image", "info", name]] {
        let ran = home.kiln(&line).expect(1);
        for word in words.iter().chain(&[name, "hint: "]) {
            assert!(ran.stderr.contains(word), "{line:?}: {word:?} is not in {}", ran.stderr);
        }
        assert_eq!(ran.stdout, "", "{line:?}");
        assert!(!home.work("out.qcow2").exists(), "{line:?}");
    }
}

/// Keeps the first bytes of a file.
fn cut(home: &Home, name: &str, cut: &str, len: impl Fn(usize) -> usize) {
    let bytes = std::fs::read(home.work(name)).unwrap();
    std::fs::write(home.work(cut), &bytes[..len(bytes.len())]).unwrap();
}

/// A descriptor of the files `a.vmdk`, `b.vmdk`…, each the one disk of a section of its own.
fn descriptor(files: &[&str]) -> String {
    let tagged = |text: &dyn Fn(usize, &str) -> String| -> String {
        files.iter().enumerate().map(|(index, file)| text(index, file)).collect()
    };
    let references = tagged(&|index, file| format!("<File ovf:id=\"f{index}\" ovf:href=\"{file}\"/>"));
    let sections = tagged(&|index, _| {
        format!(
            "<DiskSection><Info/><Disk ovf:diskId=\"d{index}\" ovf:fileRef=\"f{index}\" ovf:capacity=\"67108864\"/></DiskSection>"
        )
    });
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\" \
         xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"><References>{references}</References>{sections}\
         <VirtualSystem ovf:id=\"web\"><Info/><Name>web</Name></VirtualSystem></Envelope>\n"
    )
}

/// Packs files with Python, whose archives are in the pax format; `names` are their names in the archive.
#[track_caller]
fn pack(home: &Home, archive: &str, mode: &str, names: &[(&str, &str)]) {
    let adds: String = names.iter().map(|(file, name)| format!("; t.add({file:?}, {name:?})")).collect();
    let script =
        format!("import tarfile; t = tarfile.open({archive:?}, {mode:?}, format=tarfile.PAX_FORMAT){adds}; t.close()");
    run(home, "python3", &["-c", &script]);
}

#[test]
fn googles_archive_and_boxes_are_read() {
    let Some(home) = home_with_vmdk() else { return };
    run(&home, "tar", &["--format=oldgnu", "-Sczf", "gce.tar.gz", "disk.raw"]);
    home.write("metadata.json", "{\"provider\":\"virtualbox\"}");
    home.write("box.ovf", &descriptor(&["disk.vmdk"]));
    home.write("Vagrantfile", "Vagrant.configure(\"2\") {}");
    run(&home, "tar", &["-czf", "web.box", "./Vagrantfile", "./metadata.json", "./disk.vmdk", "./box.ovf"]);
    qemu_img(&home, &["convert", "-f", "raw", "-O", "qcow2", "disk.raw", "box.img"]);
    run(&home, "tar", &["-czf", "libvirt.box", "metadata.json", "Vagrantfile", "box.img"]);
    for name in ["gce.tar.gz", "web.box", "libvirt.box"] {
        reads_as_the_disk(&home, name);
        let ran = home.kiln(["image", "info", "--json", name]).expect(0);
        let info: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(info["virtual-size"], 64 << 20, "{name}");
        assert_eq!(info["package"]["machines"][0]["name"] == "web", name == "web.box", "{info:#}");
    }
    // A copy that was cut short, or damaged, is never a shorter disk.
    for name in ["gce.tar.gz", "web.box", "libvirt.box"] {
        for (cut_name, len) in [("half", 2), ("third", 3)] {
            let cut_name = format!("{cut_name}-{name}");
            cut(&home, name, &cut_name, |whole| whole - whole / len);
            is_refused(&home, &cut_name, &["gzip stream cannot be unpacked", "incomplete"]);
        }
        let mut bytes = std::fs::read(home.work(name)).unwrap();
        let at = bytes.len() - 6;
        bytes[at] ^= 1;
        std::fs::write(home.work("damaged"), bytes).unwrap();
        is_refused(&home, "damaged", &["gzip stream cannot be unpacked"]);
    }
}

#[test]
fn what_is_no_disk_is_refused_by_name_and_taken_as_it_is_on_request() {
    let Some(home) = home() else { return };
    qemu_img(&home, &["convert", "-f", "raw", "-O", "qed", "disk.raw", "disk.qed"]);
    std::fs::write(home.work("disk.zip"), b"PK\x03\x04\x14\0\0\0\x08\0").unwrap();
    std::fs::write(home.work("disk.luks"), [&b"LUKS\xba\xbe\0\x02"[..], &[0; 4096]].concat()).unwrap();
    std::fs::write(home.work("disk.7z"), b"7z\xbc\xaf\x27\x1c\0\x04").unwrap();
    home.write("notes.txt", "no disk here");
    run(&home, "tar", &["-cf", "notes.tar", "notes.txt"]);
    for (name, words) in [
        ("disk.qed", &["a QED image", "qemu-img convert -f qed"][..]),
        ("disk.zip", &["a ZIP archive", "`unzip`"]),
        ("disk.luks", &["a LUKS volume"]),
        ("disk.7z", &["a 7-Zip archive", "`7z x`"]),
        ("notes.tar", &["a tar archive without a disk", "notes.txt"]),
    ] {
        is_refused(&home, name, words);
        home.kiln(["convert", "-f", "raw", name, "forced.raw"]).expect(0);
        let (whole, forced) =
            (std::fs::read(home.work(name)).unwrap(), std::fs::read(home.work("forced.raw")).unwrap());
        assert!(forced.starts_with(&whole), "{name}");
        std::fs::remove_file(home.work("forced.raw")).unwrap();
    }
}

#[test]
fn an_ova_is_read_whatever_wrote_its_tar() {
    let Some(home) = home_with_vmdk() else { return };
    let long = format!("{}/disk.vmdk", "d".repeat(120));
    home.write("web.ovf", &descriptor(&["disk.vmdk"]));
    home.write("long.ovf", &descriptor(&[&long]));
    home.write("._web.ovf", "Mac OS X        \0\x05\x16\x07");
    pack(&home, "pax.ova", "w", &[("web.ovf", "web.ovf"), ("disk.vmdk", "disk.vmdk")]);
    pack(&home, "disk-first.ova", "w", &[("disk.vmdk", "disk.vmdk"), ("web.ovf", "web.ovf")]);
    pack(&home, "dot.ova", "w", &[("web.ovf", "./web.ovf"), ("disk.vmdk", "./disk.vmdk")]);
    pack(&home, "long.ova", "w", &[("long.ovf", "long.ovf"), ("disk.vmdk", &long)]);
    let forks =
        [("._web.ovf", "._web.ovf"), ("web.ovf", "web.ovf"), ("._web.ovf", "._disk.vmdk"), ("disk.vmdk", "disk.vmdk")];
    pack(&home, "macos.ova", "w", &forks);
    run(
        &home,
        "tar",
        &["--format=gnu", "--transform", &format!("s,^disk.vmdk,{long},"), "-cf", "gnu.ova", "long.ovf", "disk.vmdk"],
    );
    for name in ["pax.ova", "disk-first.ova", "dot.ova", "long.ova", "macos.ova", "gnu.ova"] {
        reads_as_the_disk(&home, name);
    }
    pack(&home, "missing.ova", "w", &[("web.ovf", "web.ovf")]);
    is_refused(&home, "missing.ova", &["names \"disk.vmdk\", which the archive does not hold"]);
    cut(&home, "pax.ova", "cut.ova", |whole| whole / 2);
    is_refused(&home, "cut.ova", &["member of the archive"]);
}

#[test]
fn each_disk_section_of_a_package_counts() {
    let Some(home) = home_with_vmdk() else { return };
    qemu_img(&home, &["create", "-q", "-f", "vmdk", "-o", "subformat=streamOptimized", "data.vmdk", "64M"]);
    home.write("two.ovf", &descriptor(&["disk.vmdk", "data.vmdk"]));
    pack(&home, "two.ova", "w", &[("two.ovf", "two.ovf"), ("disk.vmdk", "disk.vmdk"), ("data.vmdk", "data.vmdk")]);
    let ran = home.kiln(["convert", "two.ova", "one.raw"]).expect(1);
    assert!(ran.stderr.contains("holds 2 disks: \"disk.vmdk\", \"data.vmdk\""), "{}", ran.stderr);
    assert!(!home.work("one.raw").exists());
    let ran = home.kiln(["image", "info", "--json", "two.ova"]).expect(0);
    let info: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (info[0]["filename"].as_str(), info[1]["filename"].as_str()),
        (Some("two.ova:disk.vmdk"), Some("two.ova:data.vmdk"))
    );
    reads_as_the_disk(&home, "two.ova:disk.vmdk");
    home.kiln(["convert", "two.ova", "again.ova"]).expect(0);
    reads_as_the_disk(&home, "again.ova:again-disk1.vmdk");
    home.kiln(["image", "compare", "again.ova:again-disk2.vmdk", "data.vmdk"]).expect(0);
    // Half a machine is no machine.
    pack(&home, "half.ova", "w", &[("two.ovf", "two.ovf"), ("disk.vmdk", "disk.vmdk")]);
    is_refused(&home, "half.ova", &["names \"data.vmdk\", which the archive does not hold"]);
}

#[test]
fn a_descriptor_that_is_no_xml_is_told_with_its_place() {
    let Some(home) = home_with_vmdk() else { return };
    let whole = descriptor(&["disk.vmdk"]);
    for (name, text, words) in [
        ("prefix", whole.replace("<Info/>", "<vbox:Info/>"), &["the prefix of `vbox:Info` is not declared"][..]),
        ("text", format!("#!ovf\n{whole}"), &["byte 0", "text outside the root element"]),
        ("open", whole.replace("</Envelope>", ""), &["the xml ends before its root element does"]),
        ("two", whole.replace("</Envelope>", "</Envelope><Envelope/>"), &["second root element"]),
        ("entity", whole.replace("<Name>web", "<Name>&web;"), &["an entity that xml does not know"]),
        ("empty", String::new(), &["web.ovf"]),
    ] {
        home.write("web.ovf", &text);
        let archive = format!("{name}.ova");
        pack(&home, &archive, "w", &[("web.ovf", "web.ovf"), ("disk.vmdk", "disk.vmdk")]);
        is_refused(&home, &archive, words);
    }
    assert!(Path::new(&home.work("disk.vmdk")).exists() && home.leftovers().is_empty());
}
