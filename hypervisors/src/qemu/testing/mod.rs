//! What the tests of this backend share: tiny guests, and a host to run them on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::hypervisor::QemuHypervisor;
use crate::ledger::NoLedger;
use crate::machine::{Hypervisor as _, Machine};
use crate::process::find_program;
use crate::qemu::spec::{Accelerator, QemuSpec};
use crate::spec::{BackendSpec, DiskFormat, DiskInterface, DiskSpec, MachineSpec};

/// The QEMU that tests run.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Tells whether a tool is missing, visibly; a failure where all tools are required.
pub(crate) fn missing(tool: &str) -> bool {
    if find_program(tool).is_some() {
        return false;
    }
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {tool}");
    eprintln!("ignored: needs {tool}");
    true
}

/// The same of a file, such as a firmware.
pub(crate) fn missing_file(path: &Path) -> bool {
    if path.is_file() {
        return false;
    }
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {}", path.display());
    eprintln!("ignored: needs {}", path.display());
    true
}

/// QEMU's part of a machine, to change it.
pub(crate) fn qemu(spec: &mut MachineSpec) -> &mut QemuSpec {
    match &mut spec.backend {
        BackendSpec::Qemu(qemu) => qemu,
        other => panic!("{other:?}"),
    }
}

/// A boot sector made from `guest.s`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Guest {
    /// Says `ready`, then sends every key to the serial port.
    Echo,
    /// The same, slowly.
    SlowEcho,
    /// Says `off` and switches off.
    PowerOff,
    /// Says `ready` and switches off when the power button is pressed.
    PowerButton,
    /// Restarts.
    Reset,
    /// Writes to its disk.
    Writer,
    /// The boot probe's payload.
    Probe,
}

impl Guest {
    const ALL: [Self; 6] = [Self::Echo, Self::SlowEcho, Self::PowerOff, Self::PowerButton, Self::Reset, Self::Writer];

    pub(crate) fn sector(self) -> &'static [u8] {
        match self {
            Self::Echo => include_bytes!("echo.bin"),
            Self::SlowEcho => include_bytes!("slow-echo.bin"),
            Self::PowerOff => include_bytes!("power-off.bin"),
            Self::PowerButton => include_bytes!("power-button.bin"),
            Self::Reset => include_bytes!("reset.bin"),
            Self::Writer => include_bytes!("writer.bin"),
            Self::Probe => super::probe::PAYLOAD,
        }
    }
}

#[test]
fn the_guests_are_made_from_their_source() {
    if missing("as") || missing("objcopy") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/qemu/testing/guest.s");
    let (object, binary) = (directory.path().join("guest.o"), directory.path().join("guest.bin"));
    for (kind, guest) in Guest::ALL.into_iter().enumerate() {
        let symbol = format!("KIND={kind}");
        let mut assemble = std::process::Command::new("as");
        assemble.args(["--32", "--defsym", &symbol, "-o"]).arg(&object).arg(source);
        assert!(assemble.status().unwrap().success());
        let mut copy = std::process::Command::new("objcopy");
        copy.args(["-O", "binary", "-j", ".text"]).arg(&object).arg(&binary);
        assert!(copy.status().unwrap().success());
        assert_eq!(std::fs::read(&binary).unwrap(), guest.sector(), "{guest:?}");
    }
}

/// Directories and a backend of a test's own.
pub(crate) struct Host {
    directory: tempfile::TempDir,
    pub(crate) hypervisor: QemuHypervisor,
}

impl Host {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("run")).unwrap();
        // One cache for all tests of a run: the probe is tested elsewhere.
        let hypervisor = QemuHypervisor::new(
            std::env::temp_dir().join(format!("kiln-test-probe-{}", rustix::process::getuid().as_raw())),
        );
        Self { directory, hypervisor }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn runtime_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("run")
    }

    /// A small machine that boots `guest` from its disk under TCG.
    pub(crate) fn spec(&self, guest: Guest) -> MachineSpec {
        let disk = self.directory.path().join("disk");
        let mut image = guest.sector().to_vec();
        image.resize(1 << 20, 0);
        std::fs::write(&disk, image).unwrap();
        let mut spec = MachineSpec::new(
            "test",
            self.runtime_dir(),
            QemuSpec { accelerator: Accelerator::Named("tcg".to_owned()), ..QemuSpec::default() },
        );
        spec.memory_mib = 16;
        spec.network.device = Some("e1000".to_owned());
        spec.disks.push(DiskSpec::new(disk, DiskFormat::Raw, DiskInterface::Ide));
        spec
    }

    pub(crate) async fn start(&self, spec: &MachineSpec) -> Box<dyn Machine> {
        self.hypervisor.start(spec, Arc::new(NoLedger)).await.unwrap()
    }

    pub(crate) async fn running(&self, guest: Guest) -> Box<dyn Machine> {
        let machine = self.start(&self.spec(guest)).await;
        machine.resume().await.unwrap();
        machine
    }

    /// Waits until the guest has written `text` to its serial port.
    pub(crate) async fn serial(&self, machine: &dyn Machine, text: &str) {
        while !String::from_utf8_lossy(&machine.serial_tail(4096)).contains(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Tells whether machines have left anything in their runtime directory.
    pub(crate) fn anything_left(&self) -> bool {
        is_occupied(&self.runtime_dir())
    }
}

fn is_occupied(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_some()
}
