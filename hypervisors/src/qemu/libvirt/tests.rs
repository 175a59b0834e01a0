//! Machines on libvirt's own daemon, which each test starts for itself, as a user's (`qemu:///session`).

mod daemon;
mod golden;
mod silent;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use self::daemon::Daemon;
use super::DomainId;
use crate::conformance::{self, RecordingLedger};
use crate::error::{MachineError, StartError};
use crate::ledger::{NoLedger, Resource};
use crate::machine::{ExitReport, GivenBack, Hypervisor as _, Machine};
use crate::process_stat::ProcessStat;
use crate::qemu::QemuHypervisor;
use crate::qemu::qmp::QmpClient;
use crate::qemu::testing::{Guest, Host, QEMU, qemu};
use crate::spec::{
    CdromSpec, DiskFormat, DiskInterface, DiskSpec, Firmware, MachineSpec, NetworkMode, PortForward, TpmVersion,
    VncSpec,
};

/// Longest wait for a guest or the daemon, which looks at every QEMU when it is new.
const PATIENCE: Duration = Duration::from_secs(120);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came to an end in time")
}

/// A host whose machines run through `daemon`.
fn host(daemon: &Daemon) -> Host {
    let mut host = Host::new();
    host.hypervisor = host.hypervisor.through_libvirt(daemon.uri());
    host
}

/// What the human monitor says.
async fn asked(machine: &dyn Machine, question: &str) -> String {
    let socket = machine.description().monitor.clone().unwrap();
    let stream = UnixStream::connect(socket).await.unwrap();
    QmpClient::connect(stream, PATIENCE).await.unwrap().human(question).await.unwrap()
}

/// The domain that a ledger has been told of.
fn registered(ledger: &RecordingLedger) -> Vec<String> {
    let id = |resource: Resource| match resource {
        Resource::Registered { id, .. } => Some(id),
        _ => None,
    };
    ledger.ever().into_iter().filter_map(id).collect()
}

fn runs(pid: u32) -> bool {
    ProcessStat::of(pid).is_ok_and(|stat| !stat.ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_promises_of_a_hypervisor() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    conformance::check(&host.hypervisor, &host.spec(Guest::Echo)).await;
    conformance::ends_by_its_button(&host.hypervisor, &host.spec(Guest::PowerButton)).await;
    assert_eq!(daemon.domains(), 0);
}

#[tokio::test]
async fn runs_a_guest_until_it_switches_off() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within(host.hypervisor.start(&host.spec(Guest::PowerOff), ledger.clone())).await.unwrap();
    assert_eq!(daemon.domains(), 1);
    let info = machine.description();
    assert!(info.command_line.iter().any(|word| word.starts_with("guest=kiln-test-")), "libvirt's own: {info:?}");
    assert_eq!(machine.serial_tail(100), b"", "nothing has run");
    machine.resume().await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::GuestShutdown);
    assert_eq!(machine.serial_tail(100), b"off\r\n");
    machine.kill().await;
    assert_eq!((ledger.held(), registered(&ledger).len(), daemon.domains()), (Vec::new(), 1, 0));
    assert!(!host.anything_left());
}

#[tokio::test]
async fn connections_are_closed() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    for _ in 0..3 {
        assert!(within(host.hypervisor.probe()).await.is_available());
    }
    let machine = within(host.hypervisor.start(&host.spec(Guest::Echo), Arc::new(NoLedger))).await.unwrap();
    assert!(daemon.connections() > 0, "a machine holds one");
    machine.kill().await;
    drop(machine);
    within(async {
        while daemon.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn ends_are_told_apart() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let mut spec = host.spec(Guest::Reset);
    qemu(&mut spec).arguments = vec![vec!["-no-reboot".to_owned()]];
    let machine = host.start(&spec).await;
    machine.resume().await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::GuestReset);
    machine.kill().await;

    let machine = host.running(Guest::PowerButton).await;
    within(host.serial(&*machine, "ready")).await;
    machine.power_button().await.unwrap();
    assert_eq!(within(machine.exited()).await, ExitReport::GuestShutdown);
    machine.kill().await;

    let machine = host.running(Guest::Echo).await;
    let pid = i32::try_from(machine.description().pid.unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let report = within(machine.exited()).await;
    assert!(matches!(&report, ExitReport::Crashed { status, .. } if status.contains("libvirt")), "{report:?}");
    machine.kill().await;
    assert_eq!(daemon.domains(), 0);
}

#[tokio::test]
async fn what_a_dead_worker_left_is_given_back_by_its_uuid() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within(host.hypervisor.start(&host.spec(Guest::Echo), ledger.clone())).await.unwrap();
    let neighbour = self::host(&daemon);
    let other = neighbour.start(&neighbour.spec(Guest::Echo)).await;
    let [id] = &registered(&ledger)[..] else { panic!("one domain is registered") };
    // Whoever sweeps may run QEMU without libvirt by now.
    let sweeper = QemuHypervisor::new(host.directory().join("cache"));
    assert_eq!(within(sweeper.give_back(id)).await, Ok(GivenBack::Removed));
    assert_eq!(within(sweeper.give_back(id)).await, Ok(GivenBack::WasGone));
    assert_eq!(daemon.domains(), 1, "the other machine stays");
    assert!(within(machine.exited()).await != ExitReport::GuestShutdown);
    machine.kill().await;
    other.kill().await;
}

#[tokio::test]
async fn a_machine_outlives_neither_its_daemon_nor_its_connection() {
    let Some(mut daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let ledger = Arc::new(RecordingLedger::default());
    let machine = within(host.hypervisor.start(&host.spec(Guest::Echo), ledger.clone())).await.unwrap();
    machine.resume().await.unwrap();
    within(host.serial(&*machine, "ready")).await;
    let pid = machine.description().pid.unwrap();
    daemon.kill();
    assert!(runs(pid), "QEMU does not need its daemon to go on");
    within(machine.kill()).await;
    assert!(!runs(pid));
    assert_eq!(within(machine.exited()).await, ExitReport::Killed);
    let id = registered(&ledger).remove(0);
    assert!(ledger.held().iter().any(|it| matches!(it, Resource::Registered { .. })), "nobody can say that it is gone");
    let error = within(host.hypervisor.give_back(&id)).await.unwrap_err();
    assert!(matches!(error, MachineError::Refused { .. }), "{error}");
    daemon.again();
    // It may see by itself that QEMU has gone, or be asked before.
    let given_back = within(host.hypervisor.give_back(&id)).await;
    assert!(matches!(given_back, Ok(GivenBack::WasGone | GivenBack::Removed)), "{given_back:?}");
    assert_eq!(within(host.hypervisor.give_back(&id)).await, Ok(GivenBack::WasGone));
    assert_eq!(daemon.domains(), 0);
}

#[tokio::test]
async fn devices_are_those_of_the_template() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let image = |name: &str| -> PathBuf {
        let path = host.directory().join(name);
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        path
    };
    for machine_type in ["pc", "q35"] {
        let mut spec = host.spec(Guest::Echo);
        qemu(&mut spec).machine_type = Some(machine_type.to_owned());
        qemu(&mut spec).cpu_model = Some("Nehalem".to_owned());
        let interfaces = [DiskInterface::Virtio, DiskInterface::VirtioScsi, DiskInterface::Scsi, DiskInterface::Sata];
        for (index, interface) in interfaces.into_iter().enumerate() {
            spec.disks.push(DiskSpec::new(image(&format!("{machine_type}-{index},x")), DiskFormat::Raw, interface));
        }
        for (index, interface) in [None, Some("virtio"), Some("virtio-scsi"), Some("sata")].into_iter().enumerate() {
            let path = image(&format!("{machine_type}-{index}.iso"));
            spec.cdroms.push(CdromSpec { path, interface: interface.map(ToOwned::to_owned) });
        }
        spec.floppy = Some(image(&format!("{machine_type}-floppy")));
        spec.topology.cpus = Some(2);
        spec.network.device = Some("virtio-net".to_owned());
        let machine = within(host.hypervisor.start(&spec, Arc::new(NoLedger))).await.unwrap();
        let block = asked(&*machine, "info block").await;
        for name in ["disk", "-0,x", "-1,x", "-2,x", "-3,x", "-0.iso", "-1.iso", "-2.iso", "-3.iso", "-floppy"] {
            assert!(block.contains(name), "{machine_type} has {name}:\n{block}");
        }
        let tree = asked(&*machine, "info qtree").await;
        let lsi = ["lsi", "lsi53c895a"].iter().any(|name| tree.contains(&format!("dev: {name},")));
        assert!(lsi && tree.contains("dev: virtio-scsi-pci") && tree.contains("dev: isa-fdc"), "{tree}");
        assert_eq!(asked(&*machine, "info cpus").await.matches("CPU #").count(), 2);
        let network = asked(&*machine, "info network").await;
        assert!(network.contains("virtio-net"), "{network}");
        let words = machine.description().command_line.clone();
        assert!(words.iter().any(|word| word == "Nehalem"), "{words:?}");
        machine.kill().await;
    }
}

#[tokio::test]
async fn the_templates_own_switches_replace_ours_as_ever() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut spec = host.spec(Guest::Echo);
    let disk = spec.disks[0].path.clone();
    spec.network.mode = NetworkMode::User {
        forward: Some(PortForward { guest_port: 22, host_min: port, host_max: port.saturating_add(20) }),
    };
    let line = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let netdev = format!("user,id=user.0,hostfwd=tcp:127.0.0.1:{}-:22", crate::qemu::SSH_HOST_PORT);
    qemu(&mut spec).arguments = vec![
        line(&["-m", "32M"]),
        line(&["-smp", "cpus=2,sockets=2"]),
        line(&["-machine", "type=q35,accel=tcg,hpet=off"]),
        line(&["-drive", &format!("file={},if=ide,format=raw", disk.display())]),
        line(&["-netdev", &netdev]),
        line(&["-device", "virtio-rng-pci"]),
        line(&["-vga", "none"]),
    ];
    let machine = within(host.hypervisor.start(&spec, Arc::new(NoLedger))).await.unwrap();
    let forwarded = machine.endpoint(22).await.unwrap().port;
    assert!(forwarded > port, "the taken port is passed over");
    let usernet = asked(&*machine, "info usernet").await;
    assert!(usernet.contains(&forwarded.to_string()), "{usernet}");
    let tree = asked(&*machine, "info qtree").await;
    assert!(tree.contains("dev: virtio-rng-pci") && !tree.contains("dev: VGA"), "{tree}");
    assert!(asked(&*machine, "info memory_size_summary").await.contains(&(32_u64 << 20).to_string()));
    machine.resume().await.unwrap();
    within(host.serial(&*machine, "ready")).await;
    machine.kill().await;

    // Ours, where the template has none.
    qemu(&mut spec).arguments.clear();
    let machine = within(host.hypervisor.start(&spec, Arc::new(NoLedger))).await.unwrap();
    assert!(machine.endpoint(22).await.unwrap().port > port);
    machine.kill().await;
    spec.network.mode =
        NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: port, host_max: port }) };
    let error = within(host.hypervisor.start(&spec, Arc::new(NoLedger))).await.err().unwrap();
    assert!(matches!(error, StartError::NoFreePort { .. }), "{error}");
    assert_eq!(daemon.domains(), 0);
    assert!(!host.anything_left());
}

#[tokio::test]
async fn firmware_tpm_and_vnc() {
    let code = Path::new("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd");
    let Some(daemon) = Daemon::start() else { return };
    if crate::qemu::testing::missing("swtpm") || daemon::missing_file(code) {
        return;
    }
    let host = host(&daemon);
    let vars = host.directory().join("vars");
    std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &vars).unwrap();
    let mut spec = host.spec(Guest::Echo);
    spec.memory_mib = 128;
    spec.firmware = Firmware::Efi { code: code.into(), vars: vars.clone() };
    spec.tpm = Some(TpmVersion::V2);
    spec.vnc = Some(VncSpec {
        bind: "127.0.0.1".to_owned(),
        port_min: 5900,
        port_max: 6000,
        password: Some("hunter22".to_owned()),
    });
    (qemu(&mut spec).machine_type, qemu(&mut spec).secure_flash) = (Some("q35".to_owned()), true);
    let machine = within(host.hypervisor.start(&spec, Arc::new(NoLedger))).await.unwrap();
    let tree = asked(&*machine, "info qtree").await;
    assert!(tree.contains("dev: tpm-tis"), "{tree}");
    assert!(tree.contains("secure = true"), "the flash is guarded: {tree}");
    assert!(asked(&*machine, "info block").await.contains(&vars.display().to_string()));
    let address = machine.description().vnc.unwrap();
    tokio::net::TcpStream::connect(address).await.unwrap();
    machine.resume().await.unwrap();
    let picture = within(machine.screen().unwrap().capture()).await.unwrap();
    assert!(picture.width > 0);
    machine.kill().await;
    assert!(vars.exists(), "the variables are the build's own");
    assert!(!host.anything_left());
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let Some(daemon) = Daemon::start() else { return };
    let host = host(&daemon);
    let refused = async |spec: &MachineSpec| {
        let ledger = Arc::new(RecordingLedger::default());
        let error = within(host.hypervisor.start(spec, ledger.clone())).await.err().unwrap();
        within(async {
            while !ledger.held().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).machine_type = Some("pc-of-tomorrow".to_owned());
    let (error, hint) = refused(&spec).await;
    assert!(error.contains("pc-of-tomorrow") && hint.contains("-machine help"), "{error}\n{hint}");
    let mut spec = host.spec(Guest::Echo);
    spec.disks[0].path = host.directory().join("absent");
    let (error, hint) = refused(&spec).await;
    assert!(error.contains("absent") && !hint.is_empty(), "{error}\n{hint}");
    let mut spec = host.spec(Guest::Echo);
    qemu(&mut spec).arguments = vec![vec!["-nonsense".to_owned()]];
    let (error, hint) = refused(&spec).await;
    assert!(error.contains("nonsense") && !hint.is_empty(), "{error}\n{hint}");
    assert_eq!(daemon.domains(), 0);

    let nowhere = format!("qemu:///session?socket={}", host.directory().join("no-socket").display());
    let absent = Host::new();
    let hypervisor = absent.hypervisor.through_libvirt(nowhere);
    let probed = within(hypervisor.probe()).await;
    assert!(probed.reason.is_some_and(|reason| reason.contains("no-socket")));
    assert!(probed.hint.is_some_and(|hint| hint.contains("libvirtd")));
    let spec = host.spec(Guest::Echo);
    let error = within(hypervisor.start(&spec, Arc::new(NoLedger))).await.err().unwrap();
    assert!(error.hint().is_some_and(|hint| hint.contains("libvirtd")), "{error}");
    assert!(!host.anything_left());

    let remote = Host::new().hypervisor.through_libvirt("qemu+ssh://elsewhere/system".to_owned());
    assert!(within(remote.probe()).await.reason.is_some_and(|reason| reason.contains("qemu+ssh")));
    assert_eq!(remote.check(&spec).unwrap_err()[0].setting, "KILN_LIBVIRT");
}

#[test]
fn the_ledgers_names_are_read_back() {
    let id = DomainId::new("qemu:///session?socket=/a b/c");
    assert_eq!(DomainId::parse(&id.to_string()), Some(id));
    for other in [
        "",
        "kiln-conformance-nothing",
        "libvirt x qemu:///session",
        "libvirt",
        "other 67e55044-10b1-426f-9247-bb680e5fe0c8 q",
    ] {
        assert_eq!(DomainId::parse(other), None, "{other:?}");
    }
}
