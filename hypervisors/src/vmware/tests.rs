//! The backend on the stand-in for VMware's tools that lies beside the repository (`KILN_VMWARE_LAB`, else `../shared/lab/vmware`), which
//! runs the VMX's hardware in QEMU; and on tools that are broken in one way each.

mod broken;
mod cloned;
mod lab;
mod tools;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::lab::{Guest, Lab, vmware};
use crate::conformance::{self, RecordingLedger};
use crate::error::StartError;
use crate::keyboard::{Key, KeyEvent, KeyPacing};
use crate::ledger::Resource;
use crate::machine::{ExitReport, GivenBack, Hypervisor as _, Machine};
use crate::spec::{CdromSpec, DiskFormat, DiskInterface, DiskSpec, Origin};
use crate::vmware::spec::{SerialPort, UsbVersion, VmwareFirmware};

/// Longest wait for a guest.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// Waits until the guest has written `text` to its serial port.
async fn said(machine: &dyn Machine, text: &str) {
    within(async {
        while !String::from_utf8_lossy(&machine.serial_tail(4096)).contains(text) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_hypervisor() {
    let Some(lab) = Lab::take().await else { return };
    let mut spec = lab.spec(Guest::Echo);
    // The stand-in's guest reads its keys by the BIOS, whose buffer is short.
    spec.key_pacing = KeyPacing::Fixed { per_event: Duration::from_millis(30) };
    conformance::check(&lab.hypervisor, &spec).await;
    conformance::ends_by_its_button(&lab.hypervisor, &lab.spec(Guest::PowerButton)).await;
    assert_eq!(lab.hypervisor.probe().await.version.as_deref(), Some("17.6.3"));
    assert_eq!(lab.running(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_typed_on_seen_and_found() {
    let Some(lab) = Lab::take().await else { return };
    let mut spec = lab.spec(Guest::Echo);
    spec.key_pacing = KeyPacing::Fixed { per_event: Duration::from_millis(30) };
    spec.vnc.as_mut().unwrap().password = Some("hunter22".to_owned());
    let ledger = Arc::new(RecordingLedger::default());
    let machine = lab.hypervisor.start(&spec, ledger.clone()).await.unwrap();
    said(&*machine, "ready").await;
    let text = "a:/{{B}} \"~_?";
    let mut events = KeyEvent::text(text).unwrap();
    events.push(KeyEvent::down(Key::ShiftLeft));
    within(machine.keyboard().unwrap().press(&events)).await.unwrap();
    within(machine.keyboard().unwrap().release_all()).await.unwrap();
    within(machine.keyboard().unwrap().press(&KeyEvent::text("z").unwrap())).await.unwrap();
    said(&*machine, &format!("ready\r\n{text}z")).await;
    let picture = within(machine.screen().unwrap().capture()).await.unwrap();
    assert!(picture.width >= 640 && picture.height >= 350, "{picture:?}");
    let endpoint = within(machine.endpoint(22)).await.unwrap();
    assert!(endpoint.host.starts_with("127.66.0.") && endpoint.port == 22, "{endpoint:?}");
    let network = machine.network().await;
    assert_eq!(network.addresses.len(), 1);
    assert!(network.mac_address.unwrap().starts_with("00:0c:29:"));
    let info = machine.description();
    assert!(info.command_line.join(" ").ends_with("/machine.vmx nogui"), "{info:?}");
    assert!(info.pid.is_some() && info.vnc.is_some(), "{info:?}");
    machine.kill().await;
    assert_eq!((ledger.held(), ledger.mistakes()), (vec![], vec![]));
    assert_eq!(lab.running(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ends_of_guests_and_of_their_hypervisor_are_seen() {
    let Some(lab) = Lab::take().await else { return };
    let ledger = Arc::new(RecordingLedger::default());
    let machine = lab.hypervisor.start(&lab.spec(Guest::PowerButton), ledger.clone()).await.unwrap();
    said(&*machine, "ready").await;
    within(machine.power_button()).await.unwrap();
    assert!(matches!(within(machine.exited()).await, ExitReport::Ended { .. }));
    assert_eq!(ledger.held(), [], "even without kill");
    assert!(!lab.anything_left());

    let machine = lab.hypervisor.start(&lab.spec(Guest::Echo), ledger.clone()).await.unwrap();
    let pid = i32::try_from(machine.description().pid.unwrap()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    // A stranger's exit status is nobody's to know.
    assert!(matches!(within(machine.exited()).await, ExitReport::Ended { .. }));
    assert_eq!((ledger.held(), ledger.mistakes()), (vec![], vec![]));
    assert!(!lab.anything_left());
}

#[test]
fn what_a_dead_process_left_is_given_back() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let first = runtime();
    let Some(lab) = first.block_on(Lab::take()) else { return };
    let ledger = Arc::new(RecordingLedger::default());
    let spec = lab.spec(Guest::Echo);
    let machine = first.block_on(lab.hypervisor.start(&spec, ledger.clone())).unwrap();
    // Its keeper dies without a word, as with its process.
    std::mem::forget(machine);
    first.shutdown_timeout(Duration::from_secs(5));
    assert_eq!(lab.running().len(), 1);
    let held = ledger.held();
    let id = held.iter().find_map(|one| match one {
        Resource::Registered { hypervisor, id } if hypervisor == "vmware" => Some(id.clone()),
        _ => None,
    });
    let id = id.expect("the machine is noted");
    let second = runtime();
    assert_eq!(second.block_on(lab.hypervisor.give_back(&id)), Ok(GivenBack::Removed));
    assert_eq!(lab.running(), Vec::<String>::new());
    assert_eq!(second.block_on(lab.hypervisor.give_back(&id)), Ok(GivenBack::WasGone));
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_cloned_in_full_and_linked() {
    let Some(lab) = Lab::take().await else { return };
    let mut original = lab.spec(Guest::Echo);
    let source = lab.directory().join("original/base.vmx");
    std::fs::create_dir(source.parent().unwrap()).unwrap();
    std::fs::rename(&original.disks[0].path, source.with_file_name("base.vmdk")).unwrap();
    original.disks[0].path = source.with_file_name("base.vmdk");
    vmware(&mut original).vmx = Some(source.clone());
    let machine = lab.start(&original).await;
    said(&*machine, "ready").await;
    machine.kill().await;
    assert!(source.is_file(), "the file is its owner's");
    crate::vmware::snapshot::take_with(Some(&lab.tools()), &source, "clean").await.unwrap();

    for linked in [false, true] {
        let mut spec = lab.spec(Guest::Echo);
        spec.disks.clear();
        let target = lab.directory().join(if linked { "linked/a.vmx" } else { "full/a.vmx" });
        std::fs::create_dir(target.parent().unwrap()).unwrap();
        spec.origin =
            Origin::Clone { machine: source.display().to_string(), snapshot: linked.then(|| "clean".to_owned()) };
        let part = vmware(&mut spec);
        part.vmx = Some(target.clone());
        part.linked = linked;
        let machine = lab.start(&spec).await;
        said(&*machine, "ready").await;
        let text = std::fs::read_to_string(&target).unwrap();
        assert!(text.contains("ide0:0.fileName = \"disk.vmdk\""), "{text}");
        machine.kill().await;
    }
    let mut spec = lab.spec(Guest::Echo);
    spec.origin = Origin::Clone { machine: source.display().to_string(), snapshot: Some("dirty".to_owned()) };
    let error = lab.hypervisor.start(&spec, Arc::new(RecordingLedger::default())).await.err().unwrap();
    let StartError::Setup(error) = error else { panic!("{error}") };
    assert!(error.to_string().contains("has no snapshot called dirty; there are: clean"), "{error}");
    assert!(!lab.anything_left());
}

/// Every kind of hardware starts, and the guest's hypervisor was told of it.
#[tokio::test(flavor = "multi_thread")]
async fn hardware_reaches_the_hypervisor() {
    let Some(lab) = Lab::take().await else { return };
    let iso = lab.directory().join("c d.iso");
    std::fs::write(&iso, [0; 4096]).unwrap();
    // The stand-in gives every disk, and every disc, the same place in the order of booting, so there is one of each.
    let cases: [(&str, &str, &str, &[&str]); 8] = [
        ("ide", "e1000", "ide", &["ide-hd,drive=ide0_0", "ide-cd,drive=ide0_1", "e1000,"]),
        ("lsilogic", "e1000e", "ide", &["lsi53c895a", "scsi-hd,drive=scsi0_0", "ide-cd,drive=ide0_0", "e1000e,"]),
        // Not QEMU's, so the stand-in has a relative in its place.
        ("buslogic", "e1000", "ide", &["lsi53c895a,id=scsi0", "scsi-hd,drive=scsi0_0"]),
        ("lsisas1068", "e1000", "ide", &["mptsas1068,id=scsi0", "scsi-hd,drive=scsi0_0"]),
        ("pvscsi", "vmxnet3", "sata", &["pvscsi,id=scsi0", "ide-cd,drive=sata0_0", "vmxnet3,"]),
        ("sata", "e1000", "sata", &["ahci,id=sata0", "ide-hd,drive=sata0_0", "ide-cd,drive=sata0_1"]),
        ("nvme", "e1000", "sata", &["nvme,drive=nvme0_0", "ide-cd,drive=sata0_0"]),
        ("scsi", "e1000", "scsi", &["lsi53c895a", "scsi-cd,drive=scsi0_1"]),
    ];
    for (index, (adapter, card, drives, expected)) in cases.into_iter().enumerate() {
        let mut spec = lab.spec(Guest::Echo);
        spec.cdroms = vec![CdromSpec { path: iso.clone(), interface: Some(drives.to_owned()) }];
        spec.network.device = Some(card.to_owned());
        spec.topology.cpus = Some(2);
        spec.vnc = None;
        let vmx = lab.machine_directory(&format!("hardware{index}"), &spec.disks).join("m.vmx");
        let part = vmware(&mut spec);
        part.disk_adapter = adapter.to_owned();
        part.vmx = Some(vmx.clone());
        spec.disks.iter_mut().for_each(|disk| disk.path = vmx.with_file_name(disk.path.file_name().unwrap()));
        let machine = lab.start(&spec).await;
        machine.kill().await;
        let log = std::fs::read_to_string(vmx.with_file_name("vmware.log")).unwrap();
        for words in expected.iter().chain(&["-smp 2"]) {
            assert!(log.contains(words), "{adapter}: no {words} in {log}");
        }
        let file = std::fs::read_to_string(&vmx).unwrap();
        let model = ["lsilogic", "buslogic", "lsisas1068", "pvscsi"].contains(&adapter);
        assert_eq!(file.contains(&format!("scsi0.virtualDev = \"{adapter}\"")), model, "{adapter}: {file}");
    }
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vmware/tests").join(name);
    if std::env::var_os("KILN_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}; KILN_BLESS=1 writes it");
}

#[test]
fn the_file_of_a_machine_is_as_packer_writes_it() {
    use crate::spec::{MachineSpec, NetworkMode, VncSpec};
    use crate::vmware::machine_file::{Display, configured, new_machine};
    use crate::vmware::machine_spec::VmwareMachineSpec;
    use crate::vmware::spec::{ParallelPort, VmwareSpec};

    let made = |spec: &MachineSpec, display: Option<&Display<'_>>| {
        let spec = VmwareMachineSpec::of(spec).unwrap();
        configured(new_machine(spec).unwrap(), spec, Path::new("/o"), display).unwrap().to_string()
    };
    let disk = |name: &str| DiskSpec::new(format!("/o/{name}"), DiskFormat::Vmdk, DiskInterface::Scsi);
    let drive = |path: &str| CdromSpec { path: path.into(), interface: None };
    let mut spec = MachineSpec::new("web", "/r", VmwareSpec { serial: SerialPort::None, ..VmwareSpec::default() });
    spec.disks = vec![disk("disk.vmdk")];
    spec.cdroms = vec![drive("/i/installer.iso")];
    golden("default.vmx", &made(&spec, None));

    spec.memory_mib = 1022;
    spec.topology.cpus = Some(4);
    spec.topology.cores = Some(2);
    spec.disks.push(disk("disk-1.vmdk"));
    spec.cdroms.push(drive("/w/cd.iso"));
    spec.floppy = Some("/w/floppy.img".into());
    spec.network.device = Some("vmxnet3".to_owned());
    spec.network.mode = NetworkMode::Bridge { bridge: "vmnet3".to_owned() };
    spec.vnc = Some(VncSpec {
        bind: "127.0.0.1".to_owned(),
        port_min: 5900,
        port_max: 6000,
        password: Some("hunter22".to_owned()),
    });
    let part = vmware(&mut spec);
    part.display_name = Some("The \"web\" server".to_owned());
    part.guest_os = "debian12-64".to_owned();
    part.hardware_version = 19;
    part.firmware = Some(VmwareFirmware::EfiSecure);
    part.disk_adapter = "pvscsi".to_owned();
    part.nested = true;
    part.sound = true;
    part.usb = Some(UsbVersion::V31);
    part.serial = SerialPort::Pipe { path: "/tmp/pipe".to_owned(), end: "server".to_owned(), app: true, yields: true };
    part.parallel = ParallelPort::Device { path: "/dev/lp0".to_owned(), bidirectional: true };
    part.data = BTreeMap::from([
        ("guestinfo.userdata".to_owned(), "a\nb".to_owned()),
        ("MEMSIZE".to_owned(), "2048".to_owned()),
    ]);
    let display = Display { address: "127.0.0.1:5931".parse().unwrap(), password: Some("hunter22") };
    golden("everything.vmx", &made(&spec, Some(&display)));

    let part = vmware(&mut spec);
    part.template = Some(
        "config.version = \"8\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"x.vmdk\"\n"
            .to_owned(),
    );
    spec.disks.clear();
    golden("template.vmx", &made(&spec, None));
    // A template that has put in what the build makes itself: it stays where it is, and what it lacks is put in.
    let part = vmware(&mut spec);
    part.template = Some(
        "scsi1.present = \"TRUE\"\nscsi1:3.present = \"TRUE\"\nscsi1:3.fileName = \"disk.vmdk\"\nide1:1.present = \"TRUE\"\n\
         ide1:1.fileName = \"/i/installer.iso\"\nide1:1.deviceType = \"cdrom-image\"\n"
            .to_owned(),
    );
    part.disk_template = Some("scsi1:4.present = \"TRUE\"\nscsi1:4.fileName = \"disk-1.vmdk\"\n".to_owned());
    part.data.clear();
    spec.disks = vec![disk("disk.vmdk"), disk("disk-1.vmdk"), disk("disk-2.vmdk")];
    spec.cdroms = vec![drive("/i/installer.iso"), drive("/w/cd.iso")];
    golden("template-devices.vmx", &made(&spec, None));
    let part = vmware(&mut spec);
    part.template = Some(
        "config.version = \"8\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"x.vmdk\"\n"
            .to_owned(),
    );
    part.disk_template = None;
    // More disks than there are places.
    spec.disks = vec![disk("disk.vmdk"); 90];
    let read = VmwareMachineSpec::of(&spec).unwrap();
    let error = configured(new_machine(read).unwrap(), read, Path::new("/o"), None).unwrap_err();
    assert_eq!(error.to_string(), "the machine has no place left on its scsi bus");
    // Entries of the template's that put something in place of the build's own disk.
    spec.disks = vec![disk("disk.vmdk")];
    for (key, value, instead) in [
        ("scsi0:1.fileName", "/other/x.vmdk", "/other/x.vmdk"),
        ("SCSI0:1.present", "false", "none"),
        ("scsi0.present", "FALSE", "none"),
    ] {
        vmware(&mut spec).data = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let read = VmwareMachineSpec::of(&spec).unwrap();
        let error = configured(new_machine(read).unwrap(), read, Path::new("/o"), None).unwrap_err().to_string();
        assert!(
            error.contains(" holds the machine's own disk ") && error.ends_with(&format!("there would be {instead}")),
            "{error}"
        );
    }
    // A disk of the file's own may go, and further ones may come.
    vmware(&mut spec).data = BTreeMap::from([
        ("scsi0:0.present".to_owned(), "FALSE".to_owned()),
        ("scsi0:5.present".to_owned(), "TRUE".to_owned()),
        ("scsi0:5.fileName".to_owned(), "y.vmdk".to_owned()),
    ]);
    let vmx = crate::vmware::preview(&spec).unwrap().unwrap();
    let places: Vec<String> = vmx.disks().unwrap().into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["scsi0:1", "scsi0:5"]);
}
