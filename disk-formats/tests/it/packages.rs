//! OVF and OVA packages: order, manifest, sizes, and the disk inside.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use kiln_disk_formats::package::{
    DiskController, Firmware, MachineDescription, MachineDisk, MachineNic, NicModel, VerifyProblemKind, verify,
};
use kiln_disk_formats::{
    ConvertOptions, DigestAlgorithm, ErrorKind, Format, NoProgress, OpenPolicy, Output, OutputKind, Sha256Digest,
    archived_disks, check_with, convert, convert_disks, detect, image_info, open,
};

use crate::qemu_img::{self, assert_same};
use crate::sample::{Bench, digest, names, raw_disk};

fn machine() -> MachineDescription {
    MachineDescription {
        name: "web".to_owned(),
        cpus: 2,
        memory_mib: 1024,
        firmware: Firmware::Uefi { secure_boot: false },
        nics: vec![MachineNic::default()],
        ..MachineDescription::default()
    }
}

/// Checks every line of a manifest against the files beside it.
fn check_manifest(directory: &Path, manifest: &str) -> usize {
    let text = std::fs::read_to_string(directory.join(manifest)).unwrap();
    for line in text.lines() {
        let (name, digest) = line.strip_prefix("SHA256(").unwrap().split_once(")= ").unwrap();
        assert_eq!(Sha256Digest::of(&std::fs::read(directory.join(name)).unwrap()).to_string(), digest, "{name}");
    }
    text.lines().count()
}

fn attribute<'t>(text: &'t str, name: &str) -> &'t str {
    text.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0
}

#[test]
fn an_ovf_package_is_complete_and_its_disk_is_equal() {
    let bench = Bench::new(5 << 20, 20, 1);
    let (path, report) = bench.convert("web.ovf", OutputKind::ovf(machine()));
    assert_eq!(names(bench.directory.path()), ["source.raw", "web-disk1.vmdk", "web.mf", "web.ovf"]);
    assert_eq!(check_manifest(bench.directory.path(), "web.mf"), 2);
    let text = std::fs::read_to_string(&path).unwrap();
    let disk = bench.path("web-disk1.vmdk");
    assert_eq!(attribute(&text, "ovf:size"), disk.metadata().unwrap().len().to_string());
    assert_eq!(attribute(&text, "ovf:capacity"), (5 << 20).to_string());
    assert_eq!(report.files.len(), 3);
    assert_eq!(report.files[0].path, path);
    if qemu_img::present() {
        assert_same("raw", &bench.raw, "vmdk", &disk);
    }
}

#[test]
fn an_ova_is_a_plain_tar_in_the_order_that_importers_want() {
    let bench = Bench::new(5 << 20, 20, 1);
    let (path, _) = bench.convert("x.ova", OutputKind::ova(machine()));
    let unpacked = bench.path("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let listing = Command::new("tar").arg("-xvf").arg(&path).arg("-C").arg(&unpacked).output().unwrap();
    assert!(listing.status.success(), "{listing:?}");
    let listed: Vec<_> = String::from_utf8(listing.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(listed, ["web.ovf", "web.mf", "web-disk1.vmdk"]);
    assert_eq!(check_manifest(&unpacked, "web.mf"), 2);
    let text = std::fs::read_to_string(unpacked.join("web.ovf")).unwrap();
    let disk = unpacked.join("web-disk1.vmdk");
    assert_eq!(attribute(&text, "ovf:size"), disk.metadata().unwrap().len().to_string());
    if qemu_img::present() {
        assert_same("raw", &bench.raw, "vmdk", &disk);
    }
}

#[test]
fn manifests_have_other_digests_on_request() {
    let bench = Bench::new(3 << 20, 10, 9);
    for (algorithm, tool) in [(DigestAlgorithm::Sha1, "sha1sum"), (DigestAlgorithm::Sha512, "sha512sum")] {
        let machine = MachineDescription { manifest: algorithm, ..machine() };
        bench.convert(&format!("{algorithm}.ova"), OutputKind::ova(machine.clone()));
        let unpacked = bench.path(tool);
        std::fs::create_dir(&unpacked).unwrap();
        let ova = bench.path(&format!("{algorithm}.ova"));
        assert!(Command::new("tar").arg("-xf").arg(ova).arg("-C").arg(&unpacked).status().unwrap().success());
        let manifest = std::fs::read_to_string(unpacked.join("web.mf")).unwrap();
        for name in ["web.ovf", "web-disk1.vmdk"] {
            let judged = Command::new(tool).arg(unpacked.join(name)).output().unwrap().stdout;
            let digest = String::from_utf8(judged).unwrap().split(' ').next().unwrap().to_owned();
            assert!(manifest.contains(&format!("{algorithm}({name})= {digest}\n")), "{manifest}");
        }
    }
    let machine = MachineDescription { manifest: DigestAlgorithm::Md5, ..machine() };
    let outputs = [Output::new(bench.path("x.ova"), OutputKind::ova(machine))];
    assert!(convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).is_err());
}

#[test]
fn packages_of_one_pass_hold_the_same_disk_file() {
    let bench = Bench::new(3 << 20, 10, 9);
    let outputs = [
        Output::new(bench.path("web.ovf"), OutputKind::ovf(machine())),
        Output::new(bench.path("web.ova"), OutputKind::ova(machine())),
    ];
    convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    let disk = std::fs::read(bench.path("web-disk1.vmdk")).unwrap();
    let ova = std::fs::read(bench.path("web.ova")).unwrap();
    let start = ova.len() - 1024 - disk.len();
    assert!(ova[start..start + disk.len()] == disk);
}

#[test]
fn a_machine_can_have_several_disks() {
    let (first, second) = (Bench::new(3 << 20, 10, 1), Bench::new(2 << 20, 10, 2));
    let nvme =
        MachineDisk { controller: DiskController::Nvme, file: Some("data.vmdk".to_owned()), ..MachineDisk::default() };
    let machine = MachineDescription { disks: vec![MachineDisk::default(), nvme], ..machine() };
    let outputs = [Output::new(first.path("web.ovf"), OutputKind::ovf(machine))];
    let readers = [first.reader(), second.reader()];
    let readers = [&*readers[0], &*readers[1]];
    let report = convert_disks(&readers, &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    assert_eq!(report.disks[0].content_digest, Some(first.digest()));
    assert_eq!(report.disks[1].content_digest, Some(second.digest()));
    assert_eq!(check_manifest(first.directory.path(), "web.mf"), 3);
    if qemu_img::present() {
        assert_same("raw", &first.raw, "vmdk", &first.path("web-disk1.vmdk"));
        assert_same("raw", &second.raw, "vmdk", &first.path("data.vmdk"));
    }
    let single = [Output::new(first.path("x.raw"), OutputKind::Raw)];
    assert!(convert_disks(&readers, &single, &ConvertOptions::default(), &NoProgress).is_err());
}

#[test]
fn instance_ids_are_unique() {
    let bench = Bench::new(1 << 20, 1, 1);
    let (path, _) = bench.convert("web.ovf", OutputKind::ovf(machine()));
    let text = std::fs::read_to_string(path).unwrap();
    let mut seen = HashMap::new();
    for part in text.split("<rasd:InstanceID>").skip(1) {
        *seen.entry(part.split_once('<').unwrap().0).or_insert(0) += 1;
    }
    assert!(seen.len() >= 5 && seen.values().all(|count| *count == 1), "{seen:?}");
}

#[test]
fn a_vmx_bundle_is_complete_and_its_disk_is_equal() {
    let bench = Bench::new(5 << 20, 20, 1);
    let (path, report) = bench.convert("web.vmx", OutputKind::vmx(machine()));
    assert_eq!(names(bench.directory.path()), ["source.raw", "web-disk1.vmdk", "web.vmx"]);
    assert_eq!(report.files.len(), 2);
    assert!(std::fs::read_to_string(path).unwrap().contains("sata0:0.fileName = \"web-disk1.vmdk\""));
    if qemu_img::present() {
        assert_same("raw", &bench.raw, "vmdk", &bench.path("web-disk1.vmdk"));
    }
}

/// An OVA of a machine with two disks, and the second disk.
fn two_disks(bench: &Bench) -> (std::path::PathBuf, std::path::PathBuf) {
    let (ova, second) = (bench.path("two.ova"), bench.path("second.raw"));
    raw_disk(&second, 3 << 20, 5, 8);
    let other = open(&second, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    let outputs = [Output::new(&ova, OutputKind::ova(machine()))];
    convert_disks(&[&*bench.reader(), &*other], &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    (ova, second)
}

#[test]
fn of_an_ova_with_several_disks_one_must_be_chosen() {
    let bench = Bench::new(5 << 20, 20, 1);
    let (ova, second) = two_disks(&bench);
    let listed = archived_disks(&ova).unwrap();
    assert_eq!(listed, ["web-disk1.vmdk", "web-disk2.vmdk"]);
    let deny = OpenPolicy::deny;
    for error in [
        open(&ova, None, &deny()).err().unwrap(),
        image_info(&ova, None, &deny()).unwrap_err(),
        check_with(&ova, None, &deny()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::SeveralDisks);
        assert!(listed.iter().all(|name| error.to_string().contains(name.as_str())), "{error}");
    }
    let choose = |name: &str| {
        let mut policy = OpenPolicy::deny();
        policy.archived_disk = Some(name.to_owned());
        policy
    };
    assert_eq!(digest(&*open(&ova, None, &choose(&listed[0])).unwrap()), bench.digest());
    let wanted = digest(&*open(&second, Some(Format::Raw), &deny()).unwrap());
    assert_eq!(digest(&*open(&ova, None, &choose(&listed[1])).unwrap()), wanted);
    assert!(check_with(&ova, None, &choose(&listed[1])).unwrap().is_clean());
    let error = open(&ova, None, &choose("web-disk3.vmdk")).err().unwrap();
    assert!(error.hint().unwrap().contains("web-disk2.vmdk"), "{error}");
    assert_eq!(open(&bench.raw, None, &choose("x")).err().unwrap().kind(), ErrorKind::InvalidInput);
    assert_eq!(detect(&ova).unwrap(), Format::Vmdk);
}

/// A CD, or another file of the package, is no disk because it lies beside one.
#[test]
fn only_what_the_descriptor_calls_a_disk_is_one() {
    let bench = Bench::new(5 << 20, 20, 1);
    let (ova, _) = bench.convert("one.ova", OutputKind::ova(machine()));
    let unpacked = bench.path("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    let tar = |arguments: &[&str]| {
        assert!(Command::new("tar").current_dir(&unpacked).args(arguments).status().unwrap().success());
    };
    tar(&["xf", ova.to_str().unwrap()]);
    std::fs::write(unpacked.join("tools.img"), "beside").unwrap();
    std::fs::rename(unpacked.join("web-disk1.vmdk"), unpacked.join("disk.bin")).unwrap();
    let text = std::fs::read_to_string(unpacked.join("web.ovf")).unwrap().replace("web-disk1.vmdk", "disk.bin");
    std::fs::write(unpacked.join("web.ovf"), text).unwrap();
    tar(&["cf", "../again.ova", "--format=ustar", "web.ovf", "tools.img", "disk.bin"]);
    assert_eq!(archived_disks(&bench.path("again.ova")).unwrap(), ["disk.bin"]);
    assert_eq!(digest(&*open(&bench.path("again.ova"), None, &OpenPolicy::deny()).unwrap()), bench.digest());
}

/// Names in a descriptor and its manifest are seen from where these lie.
#[test]
fn a_package_in_a_folder_of_its_archive_is_read_and_verified() {
    let bench = Bench::new(5 << 20, 20, 1);
    let (ova, _) = bench.convert("one.ova", OutputKind::ova(machine()));
    std::fs::create_dir(bench.path("vm")).unwrap();
    let tar = |arguments: &[&str]| {
        let tar = Command::new("tar").current_dir(bench.directory.path()).args(arguments).status().unwrap();
        assert!(tar.success(), "{arguments:?}");
    };
    tar(&["xf", ova.to_str().unwrap(), "-C", "vm"]);
    // Of the same name, but none of the package's.
    std::fs::write(bench.path("web-disk1.vmdk"), "another").unwrap();
    tar(&["cf", "folder.ova", "web-disk1.vmdk", "vm"]);
    let folder = bench.path("folder.ova");
    assert_eq!(archived_disks(&folder).unwrap(), ["web-disk1.vmdk"]);
    assert_eq!(digest(&*open(&folder, None, &OpenPolicy::deny()).unwrap()), bench.digest());
    let found = verify(&folder, &NoProgress).unwrap();
    assert_eq!((found.verified.len(), found.problems), (2, vec![]));
    tar(&["cf", "missing.ova", "web-disk1.vmdk", "vm/web.ovf", "vm/web.mf"]);
    let error = open(&bench.path("missing.ova"), None, &OpenPolicy::deny()).err().unwrap();
    assert!(error.to_string().contains("names \"web-disk1.vmdk\", which the archive does not hold"), "{error}");
    let found = verify(&bench.path("missing.ova"), &NoProgress).unwrap();
    assert!(matches!(found.problems[..], [ref one] if one.kind == VerifyProblemKind::Missing), "{found:?}");
}

#[test]
fn vmware_has_no_virtio_card() {
    let bench = Bench::new(1 << 20, 1, 1);
    let virtio = MachineNic { model: NicModel::Virtio, ..MachineNic::default() };
    let outputs =
        [Output::new(bench.path("a.vmx"), OutputKind::vmx(MachineDescription { nics: vec![virtio], ..machine() }))];
    let error = convert(&*bench.reader(), &outputs, &ConvertOptions::default(), &NoProgress).unwrap_err();
    assert!(error.hint().unwrap().contains("vmxnet3"), "{error}");
    assert_eq!(names(bench.directory.path()), ["source.raw"]);
}
