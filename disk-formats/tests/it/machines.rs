//! Machines are read from what was written, by us and by others, and written anew without losing anything.

use std::path::Path;
use std::process::Command;

use kiln_disk_formats::package::vmx::Vmx;
use kiln_disk_formats::package::{
    DiskController, DiskSlot, Firmware, GuestOs, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel,
    Nvram, NvramMaker, PackagedMachine, ProductInfo,
};
use kiln_disk_formats::{
    ConvertOptions, ErrorKind, Format, NoProgress, OpenPolicy, Output, OutputKind, archived_disks, check_with,
    convert_disks, image_info, open, package_facts, packaged_machine,
};
use proptest::prelude::*;

use crate::sample::{Bench, digest, names};

fn beside(path: &Path) -> OpenPolicy {
    OpenPolicy::allow_below(vec![path.parent().unwrap().to_owned()])
}

fn disk(path: &Path, name: &str) -> OpenPolicy {
    let mut policy = beside(path);
    policy.archived_disk = Some(name.to_owned());
    policy
}

fn read(path: &Path) -> PackagedMachine {
    packaged_machine(path, &beside(path)).unwrap().unwrap()
}

fn on(controller: DiskController, number: u32, unit: u32) -> MachineDisk {
    MachineDisk { controller, slot: Some(DiskSlot { controller: number, unit }), file: None }
}

/// A machine with all that both an OVF and a VMX have words for.
fn whole_machine() -> MachineDescription {
    MachineDescription {
        name: "web & \"more\"".to_owned(),
        cpus: 4,
        cores_per_socket: Some(2),
        nested_virtualization: true,
        memory_mib: 3072,
        firmware: Firmware::Uefi { secure_boot: true },
        guest_os: GuestOs::Debian12,
        disks: vec![on(DiskController::ParavirtualScsi, 0, 2), on(DiskController::Nvme, 0, 1)],
        nics: vec![
            MachineNic {
                model: NicModel::Vmxnet3,
                network: "nat".to_owned(),
                virtualbox_network: None,
                mac: MacAddress::from_text("005056010203"),
            },
            MachineNic { model: NicModel::E1000e, network: "bridged".to_owned(), ..MachineNic::default() },
        ],
        hardware_version: 20,
        tpm: true,
        nvram: Some(Nvram { maker: NvramMaker::VMware, bytes: b"MRVN what was kept".to_vec().into(), file: None }),
        vmware_settings: vec![
            ("guestinfo.hello".to_owned(), "a \"b\" <c>".to_owned()),
            ("mem.hotadd".to_owned(), "TRUE".to_owned()),
        ],
        annotation: Some("two\nlines".to_owned()),
        ..MachineDescription::default()
    }
}

/// Converts every disk of a package, in the machine's order, to another package of its machine; returns the path.
fn again(bench: &Bench, from: &Path, name: &str, kind: fn(MachineDescription) -> OutputKind) -> std::path::PathBuf {
    let machine = read(from);
    let readers: Vec<_> = machine.disks.iter().map(|name| open(from, None, &disk(from, name)).unwrap()).collect();
    let readers: Vec<_> = readers.iter().map(|reader| &**reader).collect();
    let path = bench.path(name);
    let outputs = [Output::new(&path, kind(machine.description))];
    convert_disks(&readers, &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    path
}

#[test]
fn a_machine_goes_through_every_package_and_back() {
    let (bench, second) = (Bench::new(5 << 20, 20, 1), Bench::new(3 << 20, 10, 2));
    let mut machine = whole_machine();
    let ova = bench.path("a.ova");
    let readers = [bench.reader(), second.reader()];
    let readers = [&*readers[0], &*readers[1]];
    let outputs = [Output::new(&ova, OutputKind::ova(machine.clone()))];
    convert_disks(&readers, &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    std::fs::create_dir(bench.path("v")).unwrap();
    std::fs::create_dir(bench.path("o")).unwrap();
    let vmx = again(&bench, &ova, "v/b.vmx", OutputKind::vmx);
    let ovf = again(&bench, &vmx, "o/c.ovf", OutputKind::ovf);
    let last = again(&bench, &ovf, "d.ova", OutputKind::ova);
    machine.vmware_settings.sort();
    for path in [&ova, &vmx, &ovf, &last] {
        let mut found = read(path);
        found.description.vmware_settings.sort();
        assert_eq!(found.description, machine, "{}", path.display());
        assert_eq!(found.left_out, Vec::<String>::new(), "{}", path.display());
        let digests: Vec<_> =
            found.disks.iter().map(|name| digest(&*open(path, None, &disk(path, name)).unwrap())).collect();
        assert_eq!(digests, [bench.digest(), second.digest()], "{}", path.display());
        assert!(check_with(path, None, &disk(path, &found.disks[1])).unwrap().is_clean());
        assert_eq!(image_info(path, None, &disk(path, &found.disks[0])).unwrap().virtual_size, 5 << 20);
        assert_eq!(package_facts(path).unwrap().unwrap().disks.len(), 2);
        assert_eq!(archived_disks(path).unwrap().len(), 2);
        let error = open(path, None, &beside(path)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::SeveralDisks);
    }
    // The same machine gives the same bytes, however often it was read.
    assert!(std::fs::read(&ova).unwrap() == std::fs::read(&last).unwrap());
    let stem = "web _ _more_";
    let files = ["-disk1.vmdk", "-disk2.vmdk", ".nvram"].map(|end| format!("{stem}{end}"));
    assert_eq!(names(&bench.path("v")), [&["b.vmx".to_owned()][..], &files].concat());
    assert_eq!(std::fs::read(bench.path("v").join("web _ _more_.nvram")).unwrap(), b"MRVN what was kept");
}

/// What the guest sees is the same in an OVA, in the bundle that is made of it, and in the qcow2 made of that.
#[test]
fn conversions_of_one_guest_hold_the_same_content() {
    let bench = Bench::new(6 << 20, 30, 7);
    let (ova, _) = bench.convert("a.ova", OutputKind::ova(whole_but_one_disk()));
    let vmx = again(&bench, &ova, "b.vmx", OutputKind::vmx);
    let qcow2 = bench.path("c.qcow2");
    let reader = open(&vmx, None, &beside(&vmx)).unwrap();
    let outputs = [Output::new(&qcow2, OutputKind::qcow2_compressed())];
    let report = convert_disks(&[&*reader], &outputs, &ConvertOptions::default(), &NoProgress).unwrap();
    assert_eq!(report.disks[0].content_digest, Some(bench.digest()));
    for path in [&ova, &vmx, &qcow2] {
        assert_eq!(digest(&*open(path, None, &beside(path)).unwrap()), bench.digest(), "{}", path.display());
    }
}

#[test]
fn one_makers_nvram_travels_only_where_it_is_read() {
    let bench = Bench::new(1 << 20, 2, 1);
    let nvram = Nvram { maker: NvramMaker::VirtualBox, bytes: b"kept".to_vec().into(), file: None };
    let machine = MachineDescription {
        firmware: Firmware::Uefi { secure_boot: false },
        nvram: Some(nvram.clone()),
        product: Some(ProductInfo { product: "P".to_owned(), ..ProductInfo::default() }),
        eula: Some("mine".to_owned()),
        ..MachineDescription::default()
    };
    let (ova, _) = bench.convert("a.ova", OutputKind::ova(machine.clone()));
    let found = read(&ova).description;
    assert_eq!((found.nvram, found.product, found.eula), (Some(nvram), machine.product.clone(), machine.eula.clone()));
    let (_, report) = bench.convert("a.vmx", OutputKind::vmx(machine));
    assert_eq!(report.files.len(), 2, "VMware cannot read VirtualBox's NVRAM");
}

#[test]
fn files_that_a_descriptor_names_need_the_policys_word() {
    let bench = Bench::new(1 << 20, 2, 1);
    let (vmx, _) = bench.convert("a.vmx", OutputKind::vmx(whole_but_one_disk()));
    assert_eq!(open(&vmx, None, &OpenPolicy::deny()).err().unwrap().kind(), ErrorKind::Refused);
    assert_eq!(packaged_machine(&vmx, &OpenPolicy::deny()).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(digest(&*open(&vmx, None, &beside(&vmx)).unwrap()), bench.digest());
    // Outside, by a path or by a link.
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.vmdk");
    std::fs::copy(bench.path("web-disk1.vmdk"), &secret).unwrap();
    std::os::unix::fs::symlink(&secret, bench.path("link.vmdk")).unwrap();
    for name in [secret.to_str().unwrap(), "../secret.vmdk", "link.vmdk"] {
        let mut text = Vmx::read(&vmx).unwrap();
        text.set("sata0:0.fileName", name).unwrap();
        let path = bench.path("hostile.vmx");
        std::fs::write(&path, text.to_string()).unwrap();
        let kind = open(&path, None, &beside(&path)).err().unwrap().kind();
        let expected = if name.starts_with("..") { ErrorKind::NotFound } else { ErrorKind::Refused };
        assert_eq!(kind, expected, "{name}");
    }
}

#[test]
fn files_that_an_ovf_names_outside_are_refused() {
    let bench = Bench::new(1 << 20, 2, 1);
    let path = bench.path("hostile.ovf");
    for (href, kind) in [
        ("/etc/passwd", ErrorKind::Refused),
        ("../../../../../../etc/passwd", ErrorKind::Refused),
        ("http://x/a", ErrorKind::Refused),
    ] {
        let text = format!(
            "<Envelope><References><File id='f' href='{href}'/></References><DiskSection><Disk diskId='d' fileRef='f'/></DiskSection></Envelope>"
        );
        std::fs::write(&path, text).unwrap();
        let error = open(&path, None, &beside(&path)).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

fn whole_but_one_disk() -> MachineDescription {
    MachineDescription { name: "web".to_owned(), disks: vec![], ..whole_machine() }
}

#[test]
fn a_disk_that_is_missing_is_named_with_those_that_are_there() {
    let bench = Bench::new(1 << 20, 2, 1);
    for (name, kind) in [
        ("a.ovf", OutputKind::ovf(whole_but_one_disk())),
        ("b.vmx", OutputKind::vmx(MachineDescription { name: "other".to_owned(), ..whole_but_one_disk() })),
    ] {
        let (path, _) = bench.convert(name, kind);
        let own = archived_disks(&path).unwrap().remove(0);
        std::fs::rename(bench.path(&own), bench.path("moved.vmdk")).unwrap();
        let error = open(&path, None, &beside(&path)).err().unwrap();
        assert!(error.to_string().contains(&format!("names the disk {own:?}, which is not there")), "{error}");
        assert!(error.hint().unwrap().contains("\"moved.vmdk\""), "{:?}", error.hint());
        std::fs::remove_file(bench.path("moved.vmdk")).unwrap();
        let error = open(&path, None, &disk(&path, "none.vmdk")).err().unwrap();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::InvalidInput, Some(format!("it has {own:?}").as_str())));
    }
}

#[test]
fn texts_that_are_none_are_refused_with_their_place() {
    let bench = Bench::new(1 << 20, 2, 1);
    for (name, text, words) in [
        ("a.vmx", "memsize = \"512\"\nhello\n", "line 2 is not of the form"),
        ("a.ovf", "<Envelope><x></Envelope>", "not well-formed xml"),
        ("b.ovf", "<!DOCTYPE a [<!ENTITY x 'y'>]><Envelope>&x;</Envelope>", "document type"),
        ("c.ovf", "<Envelope/>", "a machine without a disk"),
        ("d.vmx", "memsize = \"512\"", "a machine without a disk"),
    ] {
        let path = bench.path(name);
        std::fs::write(&path, text).unwrap();
        let error = open(&path, None, &beside(&path)).err().unwrap();
        assert!(error.to_string().contains(words) && error.to_string().contains(name), "{error}");
    }
    let many: String = (0..10_000).map(|n| format!("<Disk diskId='d{n}' capacity='512'/>")).collect();
    let path = bench.path("many.ovf");
    std::fs::write(&path, format!("<Envelope><DiskSection>{many}</DiskSection></Envelope>")).unwrap();
    let error = open(&path, None, &beside(&path)).err().unwrap();
    assert!(error.to_string().contains("10000 disks, more than 256"), "{error}");
    let error = package_facts(&path).unwrap_err();
    assert!(error.to_string().contains("10000 disks, more than 256"), "{error}");
    // The bytes of a raw disk may have any name.
    assert!(open(&path, Some(Format::Raw), &OpenPolicy::deny()).is_ok());
}

#[test]
fn of_several_machines_that_with_the_chosen_disk_is_taken() {
    let bench = Bench::new(1 << 20, 2, 1);
    let path = bench.path("two.ovf");
    let system = |name: &str, disk: &str| {
        format!(
            "<VirtualSystem id='{name}'><VirtualHardwareSection><Item><HostResource>ovf:/disk/{disk}</HostResource>\
             <ResourceType>17</ResourceType></Item></VirtualHardwareSection></VirtualSystem>"
        )
    };
    let text = format!(
        "<Envelope><References><File id='f1' href='a.vmdk'/><File id='f2' href='b.vmdk'/><File id='f3' href='c.vmdk'/></References>\
         <DiskSection><Disk diskId='d1' fileRef='f1'/><Disk diskId='d2' fileRef='f2'/><Disk diskId='d3' fileRef='f3'/></DiskSection>\
         <VirtualSystemCollection>{}{}</VirtualSystemCollection></Envelope>",
        system("one", "d1"),
        system("two", "d2")
    );
    std::fs::write(&path, text).unwrap();
    assert!(packaged_machine(&path, &beside(&path)).is_err());
    for (chosen, name) in [("a.vmdk", Some("one")), ("b.vmdk", Some("two")), ("c.vmdk", None)] {
        let found = packaged_machine(&path, &disk(&path, chosen)).unwrap();
        assert_eq!(found.and_then(|machine| machine.name).as_deref(), name, "{chosen}");
    }
}

#[test]
fn an_nvram_that_is_not_there_is_told() {
    let bench = Bench::new(1 << 20, 2, 1);
    for (file, kind) in
        [("a.vmx", OutputKind::vmx(whole_but_one_disk())), ("b.ovf", OutputKind::ovf(whole_but_one_disk()))]
    {
        bench.convert(file, kind);
        std::fs::remove_file(bench.path("web.nvram")).unwrap();
        std::fs::remove_file(bench.path("web-disk1.vmdk")).unwrap();
    }
    let machine = read(&bench.path("a.vmx"));
    assert!(machine.description.nvram.is_none());
    assert!(machine.left_out.contains(&"the NVRAM \"web.nvram\", which is not there".to_owned()), "{machine:?}");
    let path = bench.path("b.ovf");
    let error = packaged_machine(&path, &beside(&path)).unwrap_err();
    assert!(error.to_string().contains("it names the NVRAM \"web.nvram\", which is not there"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn of_several_machines_none_is_taken() {
    let bench = Bench::new(1 << 20, 2, 1);
    let path = bench.path("two.ovf");
    let text = "<Envelope><VirtualSystemCollection><VirtualSystem id='a'/><VirtualSystem id='b'/></VirtualSystemCollection></Envelope>";
    std::fs::write(&path, text).unwrap();
    let error = packaged_machine(&path, &beside(&path)).unwrap_err();
    assert!(error.to_string().contains("it describes 2 machines: \"a\", \"b\""), "{error}");
    assert!(packaged_machine(&bench.raw, &beside(&bench.raw)).unwrap().is_none());
}

#[test]
fn vmwares_box_is_read_by_its_vmx() {
    let bench = Bench::new(2 << 20, 2, 1);
    std::fs::create_dir(bench.path("box")).unwrap();
    bench.convert("box/web.vmx", OutputKind::vmx(whole_but_one_disk()));
    std::fs::write(bench.path("box/metadata.json"), r#"{"provider":"vmware_desktop"}"#).unwrap();
    let (archive, folder) = (bench.path("web.box"), bench.path("box"));
    let tar = Command::new("tar").arg("-czf").arg(archive).arg("-C").arg(folder).arg(".").status().unwrap();
    assert!(tar.success());
    let path = bench.path("web.box");
    let machine = packaged_machine(&path, &OpenPolicy::deny()).unwrap().unwrap();
    assert_eq!((&*machine.description.name, machine.description.cpus), ("web", 4));
    assert_eq!(machine.description.nvram.unwrap().bytes[..4], *b"MRVN");
    assert_eq!(machine.disks, ["web-disk1.vmdk"]);
    assert_eq!(digest(&*open(&path, None, &OpenPolicy::deny()).unwrap()), bench.digest());
}

proptest! {
    /// Whatever the settings are, they are written and read as the same.
    #[test]
    fn settings_come_back(settings in proptest::collection::btree_map("[a-z][a-z0-9.:_-]{0,20}", "[^\0]{0,40}", 0..40)) {
        let mut vmx = Vmx::new();
        for (key, value) in &settings {
            vmx.set(key, value).unwrap();
        }
        let read = Vmx::from_bytes(vmx.to_string().as_bytes()).unwrap();
        for (key, value) in &settings {
            prop_assert_eq!(read.get(key), Some(value.as_str()));
        }
        prop_assert_eq!(read.to_string(), vmx.to_string());
    }

    /// Bytes from anywhere are settings, or an error; what is read is written and read as the same.
    #[test]
    fn any_text_is_read_or_refused(text in "((scsi|sata|ide|nvme|ethernet|virtualHW|num)[0-9]{0,2}(:[0-9]{1,2})?\\.(present|fileName|virtualDev|version)|memsize|[^\n]{0,6}) ?= ?\"?(TRUE|a|[0-9]{1,4}|[^\n]{0,8})\"?\n{1,2}") {
        if let Ok(vmx) = Vmx::from_bytes(text.as_bytes()) {
            let read = Vmx::from_bytes(vmx.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read.to_string(), vmx.to_string());
            if let Ok(disks) = vmx.disks() {
                prop_assert!(disks.len() <= 64);
            }
        }
    }
}
