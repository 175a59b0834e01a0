//! A VMware of the tests' own: the stand-in's tools with their state and configuration in a directory that goes with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kiln_disk_formats::{ConvertOptions, Format, OpenPolicy, Output, OutputKind, convert, create_raw, open};

use crate::ledger::NoLedger;
use crate::machine::{Hypervisor as _, Machine};
use crate::process::script::write_script;
use crate::spec::{BackendSpec, DiskFormat, DiskInterface, DiskSpec, MachineSpec, VncSpec};
use crate::vmware::VmwareHypervisor;
use crate::vmware::spec::VmwareSpec;

/// Machines of all labs answer on the same addresses, so one lab at a time starts machines, of all test programs of this host: this file
/// in the directory for temporary ones is locked. `tests/it` locks it, too.
const TURN: &str = "kiln-vmware-lab.lock";

const DISK_BYTES: u64 = 1 << 20;

/// A boot sector of the QEMU backend's tests.
#[derive(Debug, Clone, Copy)]
pub(super) enum Guest {
    /// Says `ready`, then sends every key to the serial port.
    Echo,
    /// Says `ready` and switches off when the power button is pressed.
    PowerButton,
}

impl Guest {
    fn sector(self) -> &'static [u8] {
        match self {
            Self::Echo => include_bytes!("../../qemu/testing/echo.bin"),
            Self::PowerButton => include_bytes!("../../qemu/testing/power-button.bin"),
        }
    }
}

/// VMware's part of a machine, to change it.
pub(super) fn vmware(spec: &mut MachineSpec) -> &mut VmwareSpec {
    match &mut spec.backend {
        BackendSpec::Vmware(vmware) => vmware,
        other => panic!("{other:?}"),
    }
}

/// Writes a VMDK that begins with `content`.
pub(super) fn write_disk(path: &Path, content: &[u8]) {
    let raw = path.with_extension("raw");
    create_raw(&raw, DISK_BYTES).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&std::fs::OpenOptions::new().write(true).open(&raw).unwrap(), content, 0)
        .unwrap();
    let reader = open(&raw, Some(Format::Raw), &OpenPolicy::deny()).unwrap();
    let output = Output::new(path, OutputKind::vmdk_monolithic_sparse(kiln_disk_formats::DiskAdapter::Ide));
    let silent = |_: u64, _: u64| std::ops::ControlFlow::Continue(());
    let mut options = ConvertOptions::default();
    options.overwrite = true;
    convert(&*reader, &[output], &options, &silent).unwrap();
    std::fs::remove_file(&raw).unwrap();
}

/// Directories and a backend of a test's own.
pub(super) struct Lab {
    directory: tempfile::TempDir,
    pub(super) hypervisor: VmwareHypervisor,
    /// Given up when the machines have gone and the directory with them.
    _turn: File,
}

impl Lab {
    /// Waits for its turn; `None` (said aloud) where there is no lab.
    pub(super) async fn take() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/lab/vmware");
        let tools = std::env::var_os("KILN_VMWARE_LAB").map_or(beside, PathBuf::from).join("bin");
        if !tools.join("vmrun").is_file() {
            assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {}", tools.display());
            eprintln!("ignored: needs VMware's tools or their stand-in {}", tools.display());
            return None;
        }
        for tool in ["python3", "qemu-system-x86_64", "qemu-img"] {
            if crate::process::find_program(tool).is_none() {
                assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {tool}");
                eprintln!("ignored: needs {tool}");
                return None;
            }
        }
        let turn = tokio::task::spawn_blocking(|| {
            let file = File::create(std::env::temp_dir().join(TURN))?;
            file.lock().map(|()| file)
        });
        let turn = turn.await.unwrap().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("bin");
        for name in ["run", "bin"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        for tool in ["vmrun", "vmware", "vmware-vdiskmanager", "vmware-lab-setup"] {
            let script = format!(
                "#!/bin/sh\nVMWARE_LAB_STATE='{0}/state' VMWARE_LAB_ETC='{0}/etc' exec '{1}/{tool}' \"$@\"\n",
                directory.path().display(),
                tools.canonicalize().unwrap().display()
            );
            write_script(&own.join(tool), &script);
        }
        assert!(Command::new(own.join("vmware-lab-setup")).status().unwrap().success());
        let hypervisor = VmwareHypervisor::in_places(own, directory.path().join("etc"));
        Some(Self { directory, hypervisor, _turn: turn })
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn tools(&self) -> PathBuf {
        self.directory.path().join("bin")
    }

    /// A small machine that boots `guest` from its disk.
    pub(super) fn spec(&self, guest: Guest) -> MachineSpec {
        let disk = self.directory().join("disk.vmdk");
        write_disk(&disk, guest.sector());
        spec(&self.directory().join("run"), disk)
    }

    /// A directory of a machine's own with its disks.
    pub(super) fn machine_directory(&self, name: &str, disks: &[DiskSpec]) -> PathBuf {
        let directory = self.directory().canonicalize().unwrap().join(name);
        std::fs::create_dir(&directory).unwrap();
        for disk in disks {
            std::fs::rename(&disk.path, directory.join(disk.path.file_name().unwrap())).unwrap();
        }
        directory
    }

    pub(super) async fn start(&self, spec: &MachineSpec) -> Box<dyn Machine> {
        self.hypervisor.start(spec, Arc::new(NoLedger)).await.unwrap()
    }

    /// The machines that run, by their files.
    pub(super) fn running(&self) -> Vec<String> {
        let output = Command::new(self.tools().join("vmrun")).arg("list").output().unwrap();
        listed(&output.stdout)
    }

    /// Tells whether machines have left anything in their runtime directory.
    pub(super) fn anything_left(&self) -> bool {
        std::fs::read_dir(self.directory().join("run")).unwrap().next().is_some()
    }
}

impl Drop for Lab {
    /// A test that has failed may have left a machine, whose address the next one wants.
    fn drop(&mut self) {
        let Ok(output) = Command::new(self.tools().join("vmrun")).arg("list").output() else { return };
        for vmx in listed(&output.stdout) {
            let _ = Command::new(self.tools().join("vmrun")).args(["stop", &vmx, "hard"]).status();
        }
    }
}

/// What `vmrun list` lists, below its first line.
fn listed(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().skip(1).map(ToOwned::to_owned).collect()
}

/// A machine of 16 MiB with one disk.
pub(super) fn spec(runtime: &Path, disk: PathBuf) -> MachineSpec {
    let mut spec =
        MachineSpec::new("test", runtime, VmwareSpec { disk_adapter: "ide".to_owned(), ..VmwareSpec::default() });
    spec.memory_mib = 16;
    spec.disks.push(DiskSpec::new(disk, DiskFormat::Vmdk, DiskInterface::Ide));
    spec.vnc = Some(VncSpec { bind: "127.0.0.1".to_owned(), port_min: 21_900, port_max: 22_900, password: None });
    spec
}
