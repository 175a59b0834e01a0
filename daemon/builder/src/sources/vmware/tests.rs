//! The end of a build for VMware on files alone: nothing is lost by a failure, and nothing is left by a build that fails.

use std::path::Path;

use kiln_disk_formats::package::{DiskController, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel};
use kiln_disk_formats::{ConvertOptions, Format, OpenPolicy, Output, OutputKind, convert_disks, open};
use kiln_hypervisors::NetworkMode;
use kiln_hypervisors::vmware::preview;

use super::{disks, finish, machine, places};
use crate::export::GuestDisk;
use crate::machine_build::Media;
use crate::plan::{SourcePlan, VmwarePlan};
use crate::plan_tests::component::{Body, running, source};
use crate::steps::output_directory;
use crate::steps::output_directory::tests::Job;

/// The plan of a source of `kind` with these options, as HCL, beside those that it needs.
fn plan_of(kind: &str, out: &Path, options: &[(&'static str, &str)]) -> VmwarePlan {
    let definition = running().find(|definition| definition.schema.kind == kind).unwrap();
    let mut body = Body::from([
        ("vm_name", "\"guest\"".to_owned()),
        ("output_directory", format!("{:?}", out.display().to_string())),
        ("ssh_username", "\"u\"".to_owned()),
    ]);
    body.extend(options.iter().map(|(name, value)| (*name, (*value).to_owned())));
    match source(definition, &body) {
        SourcePlan::Vmware(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

/// Writes a machine that is off, as a build has it before it ends.
fn write_machine(plan: &VmwarePlan) {
    let work = places::work(plan);
    std::fs::create_dir(&work).unwrap();
    let vmx =
        "scsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"disk.vmdk\"\nmemsize = \"512\"\n";
    std::fs::write(places::work_vmx(plan), vmx).unwrap();
    for name in ["disk.vmdk", "disk-s001.vmdk", "guest.vmsd", "vmware.log"] {
        std::fs::write(work.join(name), name).unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_that_fails_loses_no_disk_however_often_it_is_tried() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    // There is no such program, or it knows no such machine.
    let plan = plan_of("vmware-iso", &out, &[("skip_compaction", "true"), ("snapshot_name", "\"done\"")]);
    let context = job.context(false);
    let held = output_directory::prepare(&out, &[], &context).await.unwrap();
    write_machine(&plan);
    for _ in 0..3 {
        finish::finish(&plan, &held.directory, &context).await.unwrap_err();
        for name in ["disk.vmdk", "disk-s001.vmdk"] {
            assert_eq!(std::fs::read_to_string(places::work(&plan).join(name)).unwrap(), name);
        }
    }
}

#[tokio::test]
async fn what_has_been_moved_goes_with_a_build_that_fails_after_it() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let plan = plan_of("vmware-iso", &out, &[("skip_compaction", "true")]);
    let context = job.context(false);
    let held = output_directory::prepare(&out, &[], &context).await.unwrap();
    write_machine(&plan);
    // As a snapshot leaves it, with a directory of its own.
    std::fs::create_dir_all(places::finished(&plan).join("guest-snapshot-1")).unwrap();
    for name in ["guest.vmx", "disk.vmdk", "disk-s001.vmdk", "guest-snapshot-1/disk.vmdk"] {
        std::fs::write(places::finished(&plan).join(name), name).unwrap();
    }
    finish::finish(&plan, &held.directory, &context).await.unwrap();
    assert!(out.join("guest-snapshot-1/disk.vmdk").is_file() && out.join("disk-s001.vmdk").is_file());
    context.clean_up(None).await;
    assert!(!out.exists(), "{:?}", std::fs::read_dir(&out).map(|entries| entries.flatten().collect::<Vec<_>>()));
}

#[test]
fn a_disk_that_is_taken_out_at_the_end_is_not_exported() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let plan = plan_of("vmware-iso", &out, &[("vmx_data_post", "{ \"scsi0:1.present\" = \"FALSE\" }")]);
    write_machine(&plan);
    let vmx = std::fs::read_to_string(places::work_vmx(&plan)).unwrap();
    let second = "scsi0:1.present = \"TRUE\"\nscsi0:1.fileName = \"disk-1.vmdk\"\n";
    std::fs::write(places::work_vmx(&plan), vmx + second).unwrap();
    let names = |disks: Vec<GuestDisk>| {
        disks.into_iter().map(|disk| disk.path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(disks::readable(&plan)), ["disk.vmdk", "disk-1.vmdk"]);
    assert_eq!(names(disks::exported(&plan)), ["disk.vmdk"]);
    assert_eq!(machine::describe(&plan).disks.len(), 1);
}

/// What a build gives the hypervisor before anything is made.
fn media(place: &Path) -> Media {
    Media {
        image: Some(place.join("installer.iso")),
        floppy: None,
        cd: None,
        tools: None,
        work: place.to_owned(),
        sockets: place.to_owned(),
    }
}

#[test]
fn a_vmx_file_is_rendered_of_templates() {
    let place = tempfile::tempdir().unwrap();
    let (template, disks) = (place.path().join("machine.vmx"), place.path().join("disk.vmx"));
    std::fs::write(
        &template,
        "displayname = \"{{ .Name }}\"\nguestos = \"{{ .GuestOS }}\"\nnumvcpus = \"{{ .CpuCount }}\"\n\
         memsize = \"{{ .MemorySize }}\"\nvhv.enable = \"{{ if .HardwareAssistedVirtualization }}TRUE{{ else }}FALSE{{ end }}\"\n\
         ethernet0.connectiontype = \"{{ .NetworkType }}\"\nethernet0.vnet = \"{{ .Network_Device }}\"\n\
         {{ if .SecureBoot }}uefi.secureboot.enabled = \"TRUE\"{{ end }}\nsound.present = \"{{ .SoundPresent }}\"\n\
         {{ .DiskType }}0:0.filename = \"{{ .DiskName }}.vmdk\"\n{{ .DiskType }}0:0.present = \"TRUE\"\n\
         {{ .DiskType }}0.virtualdev = \"{{ .ScsiDiskAdapterType }}\"\n{{ .DiskType }}0.present = \"{{ .SCSI_Present }}\"\n\
         {{ .CdromType }}0:{{ .CdromTypePrimarySecondary }}.filename = \"{{ .ISOPath }}\"\n\
         serial0.present = \"{{ .SerialPresent }}\"\nserial0.filename = \"{{ .SerialFilename }}\"\n",
    )
    .unwrap();
    std::fs::write(
        &disks,
        "{{ .DiskType }}0:{{ .DiskUnit }}.filename = \"{{ .DiskName }}-{{ .DiskNumber }}.vmdk\"\n\
         {{ .DiskType }}0:{{ .DiskUnit }}.present = \"TRUE\"\n",
    )
    .unwrap();
    let path = |path: &Path| format!("{:?}", path.display().to_string());
    let options = [
        ("vmx_template_path", path(&template)),
        ("vmx_disk_template_path", path(&disks)),
        ("disk_additional_size", "[1, 1]".to_owned()),
        ("disk_adapter_type", "\"pvscsi\"".to_owned()),
        ("guest_os_type", "\"debian12-64\"".to_owned()),
        ("memory", "1024".to_owned()),
        ("vhv_enabled", "true".to_owned()),
        ("network", "\"vmnet3\"".to_owned()),
        ("serial", "\"FILE:/s.log\"".to_owned()),
    ];
    let options: Vec<(&str, &str)> = options.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let plan = plan_of("vmware-iso", &place.path().join("out"), &options);
    let vmx = preview(&machine::spec(&plan, &media(place.path())).unwrap()).unwrap().unwrap();
    let installer = place.path().join("installer.iso").display().to_string();
    for (key, value) in [
        ("displayName", "guest"),
        ("guestOS", "debian12-64"),
        ("memsize", "1024"),
        ("vhv.enable", "TRUE"),
        ("ethernet0.connectionType", "custom"),
        ("ethernet0.vnet", "vmnet3"),
        ("sound.present", "FALSE"),
        ("scsi0.virtualDev", "pvscsi"),
        ("scsi0.present", "TRUE"),
        ("scsi0:0.fileName", "disk.vmdk"),
        ("scsi0:1.fileName", "disk-1.vmdk"),
        ("scsi0:2.fileName", "disk-2.vmdk"),
        ("ide0:0.fileName", &installer),
        ("serial0.present", "TRUE"),
        ("serial0.fileName", "/s.log"),
    ] {
        assert_eq!(vmx.get(key), Some(value), "{key}");
    }
    // Nothing is put in twice, and nothing is left of what the template does not have.
    assert_eq!(vmx.disks().unwrap().len(), 3);
    assert_eq!(vmx.get("numvcpus"), None);
    assert_eq!((vmx.get("uefi.secureBoot.enabled"), vmx.get("hpet0.present")), (None, None));
    for (text, words) in [
        ("{{ .Nmae }}", "machine.vmx cannot be rendered"),
        ("{{ if }}", "machine.vmx cannot be rendered"),
        ("no line of a VMX file", "machine.vmx gives no VMX file"),
    ] {
        std::fs::write(&template, text).unwrap();
        let error = machine::spec(&plan, &media(place.path())).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    std::fs::remove_file(&template).unwrap();
    let error = machine::spec(&plan, &media(place.path())).unwrap_err().to_string();
    assert!(error.contains("machine.vmx cannot be read: No such file"), "{error}");
}

/// Writes an OVA with two disks whose contents begin with `first` and `second`.
fn write_ova(path: &Path) {
    let raw = |name: &str, byte: u8| {
        let raw = path.with_file_name(name);
        std::fs::write(&raw, vec![byte; 1 << 20]).unwrap();
        open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap()
    };
    let (first, second) = (raw("first.raw", 1), raw("second.raw", 2));
    let disk = || MachineDisk { controller: DiskController::ParavirtualScsi, ..MachineDisk::default() };
    let machine = MachineDescription {
        name: "appliance".to_owned(),
        cpus: 3,
        memory_mib: 1024,
        hardware_version: 19,
        disks: vec![disk(), disk()],
        nics: vec![MachineNic {
            model: NicModel::Virtio,
            network: "lan".to_owned(),
            mac: MacAddress::from_text("080027D6B0A4"),
            ..MachineNic::default()
        }],
        ..MachineDescription::default()
    };
    let silent = |_: u64, _: u64| std::ops::ControlFlow::Continue(());
    let output = Output::new(path, OutputKind::Ova(Box::new(machine)));
    convert_disks(&[&*first, &*second], &[output], &ConvertOptions::default(), &silent).unwrap();
}

#[tokio::test]
async fn a_package_becomes_a_machine() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let ova = place.path().join("appliance.ova");
    write_ova(&ova);
    let (source, out) = (format!("{:?}", ova.display().to_string()), place.path().join("out"));
    let options = [("source_path", source.as_str()), ("guest_os_type", "\"debian12-64\""), ("version", "18")];
    let plan = plan_of("vmware-vmx", &out, &options);
    let network = machine::network(&plan);
    assert_eq!(network.mode, NetworkMode::User { forward: None }, "VMware has no network of that name");
    let before = preview(&machine::spec(&plan, &media(place.path())).unwrap()).unwrap().unwrap();
    std::fs::create_dir(&out).unwrap();
    disks::create(&plan, &job.context(false)).await.unwrap();
    let vmx = preview(&machine::spec(&plan, &media(place.path())).unwrap()).unwrap().unwrap();
    for (key, value) in [
        ("displayName", "guest"),
        ("numvcpus", "3"),
        ("memsize", "1024"),
        ("guestOS", "debian12-64"),
        ("virtualHW.version", "18"),
        ("scsi0.virtualDev", "pvscsi"),
        ("scsi0:0.fileName", "guest-1.vmdk"),
        ("scsi0:1.fileName", "guest-2.vmdk"),
        ("ethernet0.virtualDev", "vmxnet3"),
    ] {
        assert_eq!((before.get(key), vmx.get(key)), (Some(value), Some(value)), "{key}");
    }
    // Two machines of one package may meet on one network.
    assert_eq!((vmx.get("ethernet0.address"), vmx.get("ethernet0.addressType")), (None, Some("generated")));
    for (name, byte) in [("guest-1.vmdk", 1), ("guest-2.vmdk", 2)] {
        let disk = open(&places::work(&plan).join(name), Some(Format::Vmdk), &OpenPolicy::deny()).unwrap();
        let mut start = [0; 4];
        disk.read_at(0, &mut start).unwrap();
        assert_eq!(start, [byte; 4], "{name}");
    }
    // A package that is cut off, or none.
    for (bytes, words) in [(&std::fs::read(&ova).unwrap()[..3000], "appliance.ova"), (b"no package", "appliance.ova")] {
        std::fs::write(&ova, bytes).unwrap();
        let error = machine::spec(&plan_of("vmware-vmx", &place.path().join("new"), &options), &media(place.path()));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_moved_machine_is_no_machine_any_more() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let plan = plan_of("vmware-iso", &out, &[("skip_compaction", "true")]);
    let context = job.context(false);
    let held = output_directory::prepare(&out, &[], &context).await.unwrap();
    write_machine(&plan);
    finish::finish(&plan, &held.directory, &context).await.unwrap();
    assert_eq!(places::current(&plan), Some(places::final_vmx(&plan)));
    // As a removal leaves it that fails half way: the directory and a disk, but no file of a machine.
    let work = places::work(&plan);
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("disk.vmdk"), "half of it").unwrap();
    assert_eq!(places::current(&plan), Some(places::final_vmx(&plan)));
    finish::finish(&plan, &held.directory, &context).await.unwrap();
    assert!(!work.exists());
    assert_eq!(std::fs::read_to_string(out.join("disk.vmdk")).unwrap(), "disk.vmdk");
}

#[test]
fn a_disk_and_a_package_of_one_name_do_not_lie_beside_each_other() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("out");
    let names = ["guest-disk1.vmdk".to_owned(), "data.vmdk".to_owned()];
    for (format, more, wanted) in [
        ("\"ovf\"", None, Some("guest-disk1.vmdk")),
        ("\"ova\"", None, None),
        ("\"vmx\"", None, None),
        ("\"ovf\"", Some(("skip_export", "true")), None),
    ] {
        let options: Vec<_> = [("format", format)].into_iter().chain(more).collect();
        let plan = plan_of("vmware-iso", &out, &options);
        assert_eq!(places::disk_in_the_way(&plan, &names).as_deref(), wanted, "{format} {more:?}");
        // Not more disks than there are.
        assert_eq!(places::disk_in_the_way(&plan, &["guest-disk2.vmdk".to_owned()]), None);
    }
}
