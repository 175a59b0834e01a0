//! Names that this host's QEMU has, and such as it has not.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::error::StartError;
use crate::machine::Hypervisor as _;
use crate::qemu::hypervisor::QemuHypervisor;
use crate::qemu::spec::QemuSpec;
use crate::qemu::testing::{QEMU, missing, qemu};
use crate::spec::{CdromSpec, DiskFormat, DiskInterface, DiskSpec, MachineSpec, TpmVersion};

/// A QEMU that writes a line to a file at each of its starts, and a backend that knows nothing yet.
struct Counted {
    directory: tempfile::TempDir,
    hypervisor: QemuHypervisor,
}

impl Counted {
    /// One that first does `what`.
    fn new(program: &str, what: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(program);
        let starts = directory.path().join("starts");
        let script = format!("#!/bin/sh\necho start >> '{}'\n{what}\nexec {program} \"$@\"\n", starts.display());
        crate::process::script::write_script(&path, &script);
        let hypervisor = QemuHypervisor::new(directory.path().join("cache"));
        Self { directory, hypervisor }
    }

    fn spec(&self, program: &str) -> MachineSpec {
        let binary = self.directory.path().join(program).display().to_string();
        let mut spec = MachineSpec::new("x", self.directory.path(), QemuSpec { binary, ..QemuSpec::default() });
        spec.disks.push(DiskSpec::new(PathBuf::from("/none"), DiskFormat::Raw, DiskInterface::Virtio));
        spec
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.directory.path().join("starts")).unwrap_or_default().lines().count()
    }

    /// What it complains about, each as `setting: problem`.
    async fn complaints(&self, spec: &MachineSpec) -> Vec<Unsupported> {
        match self.hypervisor.look_first(spec).await {
            Ok(()) => Vec::new(),
            Err(StartError::Unsupported(all)) => all,
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn unknown_names_are_told_with_those_there_are() {
    if missing(QEMU) {
        return;
    }
    let host = Counted::new(QEMU, "");
    let mut spec = host.spec(QEMU);
    spec.network.device = Some("e1001".to_owned());
    spec.tpm = Some(TpmVersion::V2);
    spec.window = true;
    spec.cdroms.push(CdromSpec { path: "/none".into(), interface: Some("sata".to_owned()) });
    let part = qemu(&mut spec);
    part.machine_type = Some("q36,usb=on".to_owned());
    part.cpu_model = Some("skylake-client,+vmx".to_owned());
    part.vga = Some("cirus".to_owned());
    part.display = Some("telepathy".to_owned());
    part.tpm_device = Some("tpm-tiss".to_owned());
    part.arguments = [["-device", "virtio-rgn,bus=x"], ["-device", "{{ .Name }}"], ["-device", "e1001,netdev=user.0"]]
        .map(|argument| argument.map(ToOwned::to_owned).to_vec())
        .to_vec();
    let mut complaints = host.complaints(&spec).await;
    // Own devices replace all that options make.
    assert_eq!(complaints.pop().unwrap().setting, "qemuargs");
    assert_eq!(complaints.len(), 5, "{complaints:#?}");
    qemu(&mut spec).arguments.clear();
    let complaints = host.complaints(&spec).await;
    let words = [
        ("machine_type", "has no machine type called q36 (it has q35, "),
        ("cpu_model", "has no CPU model called skylake-client (it has Skylake-Client, "),
        ("display", "has no display called telepathy (it has "),
        ("vga", "has no display adapter called cirus (it has cirrus, "),
        ("net_device", "has no network adapter called e1001 (it has e1000, "),
        ("tpm_device_type", "has no TPM device called tpm-tiss (it has tpm-tis, tpm-crb"),
    ];
    assert_eq!(complaints.len(), words.len(), "{complaints:#?}");
    for (complaint, (setting, words)) in complaints.iter().zip(words) {
        assert_eq!(complaint.setting, setting);
        assert!(complaint.problem.contains(words), "{complaint}");
        assert!(complaint.hint.as_ref().is_some_and(|hint| hint.contains(" -machine none -")), "{complaint:?}");
        assert!(complaint.problem.len() < 500, "{complaint}");
    }
    assert!(
        !complaints[4].problem.contains("isa-debug-exit"),
        "only what is in its place is listed: {}",
        complaints[4]
    );
}

#[tokio::test]
async fn what_is_there_is_known_after_one_question() {
    for (program, machine, processor, screen) in [
        (QEMU, "q35", "Skylake-Client,+vmx", "std"),
        ("qemu-system-aarch64", "virt-7.2,gic-version=3", "cortex-a53", "none"),
        ("qemu-system-riscv64", "virt", "rv64,v=true", "none"),
    ] {
        if missing(program) {
            continue;
        }
        let host = Counted::new(program, "");
        let mut spec = host.spec(program);
        for device in ["virtio-net", "virtio-net-pci", "e1000-82540em", "e1000"] {
            spec.network.device = Some(device.to_owned());
            assert_eq!(host.complaints(&spec).await, [], "{program} {device}");
        }
        let asked = host.starts();
        assert!((1..=3).contains(&asked), "{asked} starts");
        spec.tpm = Some(TpmVersion::V2);
        spec.disks[0].interface = DiskInterface::Scsi;
        spec.cdroms.push(CdromSpec { path: "/none".into(), interface: Some("virtio-scsi".to_owned()) });
        let part = qemu(&mut spec);
        part.machine_type = Some(machine.to_owned());
        part.vga = Some(screen.to_owned());
        for processor in [processor, "host", "max,pmu=off"] {
            if program == "qemu-system-riscv64" && processor.starts_with("max") {
                continue;
            }
            qemu(&mut spec).cpu_model = Some(processor.to_owned());
            assert_eq!(host.complaints(&spec).await, [], "{program} {processor}");
        }
        assert_eq!(host.starts(), asked, "{program}: answered from what is known");
        let again = QemuHypervisor::new(host.directory.path().join("cache"));
        again.look_first(&spec).await.unwrap();
        assert_eq!(host.starts(), asked, "{program}: and so in the next process");
    }
}

/// Several builds of a job look at once; one asks.
#[tokio::test]
async fn several_at_once_ask_once() {
    if missing(QEMU) {
        return;
    }
    let host = Arc::new(Counted::new(QEMU, ""));
    let spec = host.spec(QEMU);
    let looks = (0..8).map(|_| host.hypervisor.look_first(&spec));
    for look in futures_util::future::join_all(looks).await {
        look.unwrap();
    }
    assert!(host.starts() <= 3, "{} starts", host.starts());
}

/// Devices come as modules of other packages, which leave the program as it is.
#[tokio::test]
async fn a_name_that_was_not_there_yesterday_is_asked_for_again() {
    if missing(QEMU) {
        return;
    }
    let list = "$(dirname \"$0\")/hidden";
    let host = Counted::new(QEMU, &format!("if [ -e \"{list}\" ]; then case \"$*\" in *-vga*) exit 0;; esac; fi"));
    let hidden = host.directory.path().join("hidden");
    let mut spec = host.spec(QEMU);
    qemu(&mut spec).vga = Some("cirus".to_owned());
    std::fs::write(&hidden, "").unwrap();
    assert_eq!(host.complaints(&spec).await, [], "what it does not tell is left to its start");
    std::fs::remove_file(&hidden).unwrap();
    let program = host.directory.path().join(QEMU);
    // Another state of the program's file: it is asked again.
    // Not opened for writing: a neighbour's child would have it open for a moment, and then it could not be run.
    std::fs::File::open(&program).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(host.complaints(&spec).await.len(), 1);
    let before = host.starts();
    assert_eq!(host.complaints(&spec).await.len(), 1);
    assert!(host.starts() > before, "a refusal is never from memory");
    qemu(&mut spec).vga = Some("cirrus".to_owned());
    assert_eq!(host.complaints(&spec).await, []);
}

/// One that answers nothing about itself is left to its start; one that is no QEMU is told at once.
#[tokio::test]
async fn one_that_cannot_be_asked() {
    let hypervisor = QemuHypervisor::new(tempfile::tempdir().unwrap().path().to_owned());
    let spec =
        |binary: &str| MachineSpec::new("x", "/tmp", QemuSpec { binary: binary.to_owned(), ..QemuSpec::default() });
    let error = hypervisor.look_first(&spec("/bin/true")).await.unwrap_err();
    assert!(error.to_string().contains("does not work as a QEMU"), "{error}");
    assert!(hypervisor.look_first(&spec("/nonexistent/qemu")).await.is_ok(), "told where it is needed");
}

/// A build that starts as the one before it starts no QEMU to ask.
#[tokio::test]
async fn the_next_look_starts_nothing() {
    if missing(QEMU) {
        return;
    }
    let host = Counted::new(QEMU, "");
    let spec = host.spec(QEMU);
    host.hypervisor.look_first(&spec).await.unwrap();
    let asked = host.starts();
    host.hypervisor.look_first(&spec).await.unwrap();
    assert_eq!((asked > 0, host.starts()), (true, asked));
}
