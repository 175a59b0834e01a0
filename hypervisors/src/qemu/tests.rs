//! Machines on a real QEMU, under TCG: the boot sectors of [`guests`](super::testing::guests) stand for guests.

mod broken;
mod discs;
mod ports;
mod riscv;
mod seen;
mod tpm;
mod uefi;

use std::sync::Arc;
use std::time::Duration;

use super::testing::{Guest, Host, QEMU, missing, qemu};
use super::*;
use crate::conformance::{self, RecordingLedger};
use crate::error::{MachineError, StartError};
use crate::keyboard::{Key, KeyEvent, KeyPacing, key_for_char};
use crate::ledger::Resource;
use crate::machine::{ExitReport, Hypervisor as _};
use crate::processor::ProcessorUse;
use crate::spec::{CdromSpec, DiskFormat, DiskInterface, DiskSpec, TpmVersion};

/// Longest wait for a guest; it needs well under a second on an idle host.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came to an end in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_hypervisor() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    conformance::check(&host.hypervisor, &host.spec(Guest::Echo)).await;
    conformance::ends_by_its_button(&host.hypervisor, &host.spec(Guest::PowerButton)).await;
}

#[tokio::test]
async fn starts_paused_and_runs_the_guest_until_it_switches_off() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = host.hypervisor.start(&host.spec(Guest::PowerOff), ledger.clone()).await.unwrap();
    let info = machine.description();
    assert_eq!(info.accelerator.name, "tcg");
    assert!(info.command_line.contains(&"-S".to_owned()) && info.pid.is_some(), "{info:?}");
    assert!(info.monitor.as_ref().is_some_and(|path| path.exists()));
    assert_eq!(machine.serial_tail(100), b"", "nothing has run");
    machine.resume().await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::GuestShutdown);
    assert_eq!(machine.serial_tail(100), b"off\r\n");
    machine.kill().await;
    assert_eq!(ledger.held(), []);
    assert!(ledger.ever().iter().any(|resource| matches!(resource, Resource::Process { .. })));
    assert!(!host.anything_left());
}

#[tokio::test]
async fn the_processor_is_claimed_for_where_the_guest_may_run_on_kvm() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let usable = host.hypervisor.probe().await.accelerators.iter().any(|one| one.name == "kvm" && one.usable);
    let mut spec = host.spec(Guest::Echo);
    for (accelerator, arguments, wanted) in [
        (Accelerator::Named("kvm".to_owned()), &[][..], true),
        (Accelerator::Named("tcg".to_owned()), &[], false),
        (Accelerator::None, &[], false),
        (Accelerator::None, &["-enable-kvm"], true),
        (Accelerator::Auto, &["-accel", "kvm"], true),
        (Accelerator::Auto, &["-machine", "q35,accel=tcg"], false),
        (Accelerator::Auto, &[], usable),
    ] {
        qemu(&mut spec).accelerator = accelerator.clone();
        qemu(&mut spec).arguments = vec![arguments.iter().map(|&word| word.to_owned()).collect()];
        qemu(&mut spec).arguments.retain(|line: &Vec<String>| !line.is_empty());
        let of_host = wanted.then(|| ProcessorUse::of_host("KVM"));
        assert_eq!(host.hypervisor.processor_use(&spec).await, of_host, "{accelerator:?} {arguments:?}");
    }
}

#[tokio::test]
async fn shows_its_screen() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let machine = host.running(Guest::Echo).await;
    let screen = machine.screen().unwrap();
    let first = within(screen.capture()).await.unwrap();
    assert!(first.width >= 640 && first.height >= 350, "{first:?}");
    let again = within(screen.capture()).await.unwrap();
    machine.keyboard().unwrap().press(&KeyEvent::text("q").unwrap()).await.unwrap();
    within(async {
        while screen.capture().await.unwrap().hash() == again.hash() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let files = std::fs::read_dir(machine.description().monitor.as_ref().unwrap().parent().unwrap()).unwrap();
    let pictures = files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains("screen"));
    assert_eq!(pictures.count(), 0, "no picture is left");
    machine.kill().await;
}

#[tokio::test]
async fn a_killed_qemu_is_noticed() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let ledger = Arc::new(RecordingLedger::default());
    let machine = host.hypervisor.start(&host.spec(Guest::Echo), ledger.clone()).await.unwrap();
    machine.resume().await.unwrap();
    let pid = machine.description().pid.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let report = within(machine.exited()).await;
    assert!(matches!(&report, ExitReport::Crashed { status, .. } if status == "signal 9 (SIGKILL)"), "{report:?}");
    assert_eq!(ledger.held(), [], "even without kill");
    assert!(!host.anything_left());
    let press = machine.keyboard().unwrap().press(&KeyEvent::text("a").unwrap()).await;
    assert_eq!(press, Err(MachineError::Gone.into()));
}

#[tokio::test]
async fn a_restart_under_no_reboot_is_told_apart() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Reset);
    qemu(&mut spec).arguments = vec![vec!["-no-reboot".to_owned()]];
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::GuestReset);
    machine.kill().await;
}

#[tokio::test]
async fn what_qemu_does_not_like_is_told_in_its_words() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).machine_type = Some("pdp11".to_owned());
    let ledger = Arc::new(RecordingLedger::default());
    let error = host.hypervisor.start(&spec, ledger.clone()).await.err().unwrap();
    assert!(
        matches!(&error, StartError::EndedEarly { stderr, .. } if stderr.contains("unsupported machine type")),
        "{error}"
    );
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(ledger.held(), []);
    assert!(!host.anything_left());
    qemu(&mut spec).binary = "qemu-system-none".to_owned();
    let error = host.hypervisor.start(&spec, ledger).await.err().unwrap();
    assert!(matches!(error, StartError::ProgramMissing { .. }), "{error}");
}

/// Every character a template can type, many times over, while the guest reads them through its BIOS.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_lost() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let machine = host.running(Guest::Echo).await;
    within(host.serial(machine.as_ref(), "ready\r\n")).await;
    let all: String = (0x20..0x7f_u8).map(char::from).filter(|it| key_for_char(*it).is_some()).collect();
    let text: String = all.chars().cycle().take(1000).collect();
    let started = std::time::Instant::now();
    let press = machine.keyboard().unwrap();
    within(press.press(&KeyEvent::text(&text).unwrap())).await.unwrap();
    let typed = started.elapsed();
    eprintln!("1000 characters in {typed:?}");
    let expected = format!("ready\r\n{text}");
    within(async {
        while machine.serial_tail(4096).len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(String::from_utf8_lossy(&machine.serial_tail(4096)), expected);
    // Packer's pace: 100 ms an event, two events a character and four with Shift.
    let events = KeyEvent::text(&text).unwrap().len();
    assert!(typed < Duration::from_millis(100 / 5) * u32::try_from(events).unwrap(), "{typed:?}");
    machine.kill().await;
}

/// A guest that looks at its keyboard only now and then: without watching it, nearly everything would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_lost_on_a_slow_guest() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let machine = host.running(Guest::SlowEcho).await;
    within(host.serial(machine.as_ref(), "ready\r\n")).await;
    let text = "Ab9 ~!{}|_ the quick (x) \"";
    within(machine.keyboard().unwrap().press(&KeyEvent::text(text).unwrap())).await.unwrap();
    let expected = format!("ready\r\n{text}");
    within(host.serial(machine.as_ref(), &expected)).await;
    machine.kill().await;
}

#[tokio::test]
async fn a_fixed_pace_is_kept_and_held_keys_are_let_go() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    spec.key_pacing = KeyPacing::Fixed { per_event: Duration::from_millis(20) };
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    within(host.serial(machine.as_ref(), "ready\r\n")).await;
    let keyboard = machine.keyboard().unwrap();
    let started = std::time::Instant::now();
    keyboard.press(&KeyEvent::text("abc").unwrap()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    keyboard.press(&[KeyEvent::down(Key::ShiftLeft)]).await.unwrap();
    keyboard.release_all().await.unwrap();
    keyboard.press(&KeyEvent::text("d").unwrap()).await.unwrap();
    within(host.serial(machine.as_ref(), "ready\r\nabcd")).await;
    machine.kill().await;
}

#[tokio::test]
async fn a_full_disk_stops_the_guest_and_is_told() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Writer);
    // The writes of this drive fail with ENOSPC.
    let file = spec.disks[0].path.to_string_lossy().into_owned();
    let drive = format!(
        "if=ide,format=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={file},\
         file.inject-error.0.event=write_aio,file.inject-error.0.errno=28"
    );
    qemu(&mut spec).arguments = vec![vec!["-drive".to_owned(), drive]];
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    let report = within(machine.exited()).await;
    assert!(matches!(report, ExitReport::DiskError { no_space: true, .. }), "{report:?}");
    assert!(report.hint().is_some());
    machine.kill().await;
    assert_eq!(machine.exited().await, report, "the first cause stays");
    assert!(!host.anything_left());
}

/// Only where `/dev/kvm` is there but cannot run guests.
#[tokio::test]
async fn a_guest_that_kvm_cannot_run_is_an_internal_error() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let availability = host.hypervisor.probe().await;
    let kvm = availability.accelerators.iter().find(|one| one.name == "kvm").unwrap();
    if kvm.usable || !kvm.reason.contains("internal error") {
        eprintln!("ignored: needs a /dev/kvm that starts guests and cannot run them");
        return;
    }
    let mut spec = host.spec(Guest::Probe);
    qemu(&mut spec).accelerator = Accelerator::Named("kvm".to_owned());
    let machine = host.start(&spec).await;
    assert_eq!(machine.description().warnings.len(), 1, "{:?}", machine.description().warnings);
    machine.resume().await.unwrap();
    let report = within(machine.exited()).await;
    assert_eq!(report, ExitReport::InternalError { accelerator: "kvm".to_owned() });
    assert!(report.hint().unwrap().contains("tcg"));
    machine.kill().await;

    qemu(&mut spec).accelerator = Accelerator::Auto;
    let machine = host.start(&spec).await;
    assert_eq!(machine.description().accelerator.name, "tcg");
    assert_eq!(machine.description().accelerator.reason, kvm.reason);
    machine.kill().await;
}

#[tokio::test]
async fn every_disk_and_cdrom_interface_starts() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    for machine_type in ["pc", "q35"] {
        for interface in ["ide", "sata", "scsi", "virtio", "virtio-scsi"] {
            let mut spec = host.spec(Guest::Echo);
            qemu(&mut spec).machine_type = Some(machine_type.to_owned());
            spec.memory_mib = 32;
            spec.disks[0].interface = DiskInterface::parse(interface).unwrap();
            let path = host.directory().join("a,b");
            let iso = host.directory().join("c,d.iso");
            std::fs::write(&path, [0; 4096]).unwrap();
            std::fs::write(&iso, [0; 4096]).unwrap();
            spec.disks.push(DiskSpec::new(&path, DiskFormat::Raw, spec.disks[0].interface));
            let drive =
                |interface: Option<&str>| CdromSpec { path: iso.clone(), interface: interface.map(ToOwned::to_owned) };
            // `if=virtio` makes no CD-ROM drives.
            spec.cdroms =
                if interface == "virtio" { vec![drive(None)] } else { vec![drive(Some(interface)), drive(None)] };
            let machine = host.start(&spec).await;
            machine.kill().await;
        }
    }
    assert!(!host.anything_left());
}

#[tokio::test]
async fn a_tpm_is_started_and_goes_with_the_machine() {
    if missing(QEMU) || missing("swtpm") {
        return;
    }
    let host = Host::new();
    for version in [TpmVersion::V2, TpmVersion::V1] {
        let mut spec = host.spec(Guest::Echo);
        spec.tpm = Some(version);
        assert_eq!(host.hypervisor.check(&spec), Ok(()));
        let ledger = Arc::new(RecordingLedger::default());
        let machine = host.hypervisor.start(&spec, ledger.clone()).await.unwrap();
        machine.resume().await.unwrap();
        within(host.serial(machine.as_ref(), "ready")).await;
        let processes = |held: Vec<Resource>| held.iter().filter(|one| matches!(one, Resource::Process { .. })).count();
        assert_eq!(processes(ledger.held()), 2);
        machine.kill().await;
        assert_eq!(ledger.held(), []);
        assert!(!host.anything_left());
    }
}

#[tokio::test]
async fn the_spare_monitor_answers_others() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let machine = host.running(Guest::Echo).await;
    let path = machine.description().monitor.clone().unwrap();
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let other = qmp::QmpClient::connect(stream, PATIENCE).await.unwrap();
    assert_eq!(other.status().await.unwrap(), "running");
    // Somebody else ends it.
    other.run(qapi_qmp::quit {}).await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::Killed);
    machine.kill().await;
    assert!(!host.anything_left());
}

/// The socket lies in the build's output directory, which is emptied as soon as the start is given up.
#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_of_a_start_that_is_dropped_is_gone_at_once() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let path = host.directory().join("test.monitor");
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).qmp_socket = Some(path.clone());
    let ledger = Arc::new(RecordingLedger::default());
    {
        let starting = host.hypervisor.start(&spec, ledger.clone());
        tokio::pin!(starting);
        let there = async {
            while !path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = there => {}
            _ = &mut starting => panic!("it has started, and nobody saw its monitor"),
        }
    }
    assert!(!path.exists(), "the monitor's socket is still there");
    within(async {
        while !ledger.held().is_empty() || host.anything_left() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// What public templates put into `qemuargs` most often.
#[tokio::test]
async fn common_qemuargs_do_not_get_in_the_way() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let log = host.directory().join("serial.log").to_string_lossy().into_owned();
    let log = format!("file:{log}");
    let cases: [&[[&str; 2]]; 8] = [
        &[["-nographic", ""]],
        &[["-serial", "mon:stdio"]],
        &[["-serial", &log], ["-monitor", "none"]],
        &[["-display", "none"], ["-vga", "qxl"], ["-m", "32M"], ["-smp", "cpus=2"]],
        &[["-machine", "q35"], ["-cpu", "host"]],
        &[["-device", "virtio-rng-pci"], ["-object", "rng-random,id=r,filename=/dev/urandom"]],
        &[["-device", "usb-ehci"], ["-device", "usb-kbd"], ["-rtc", "base=utc"]],
        &[["-netdev", "user,id=net0"], ["-device", "e1000,netdev=net0"]],
    ];
    for case in cases {
        let mut spec = host.spec(Guest::Echo);
        qemu(&mut spec).arguments = case.iter().map(|pair| pair.map(ToOwned::to_owned).to_vec()).collect();
        // `-device` in qemuargs drops the disk of some interfaces, not that of this one.
        let machine = host.start(&spec).await;
        machine.resume().await.unwrap();
        if !case.iter().any(|[switch, _]| *switch == "-serial") {
            within(host.serial(machine.as_ref(), "ready")).await;
        }
        machine.kill().await;
        assert_eq!(machine.exited().await, ExitReport::Killed, "{case:?}");
    }
    assert!(!host.anything_left());
}
