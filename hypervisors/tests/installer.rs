//! Keys and network of a real Linux: the installer CD that `tests/guests/make-installer` makes, named by `KILN_TEST_ISO`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_hypervisors::qemu::QemuSpec;
use kiln_hypervisors::{
    BootOrder, CdromSpec, DhcpState, ForwardState, GuestNetwork, Hypervisor, KeyEvent, Machine, MachineSpec,
    NetworkMode, NoLedger, PortForward,
};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(300);

#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn installer() -> Option<PathBuf> {
    let found = std::env::var_os("KILN_TEST_ISO").map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        let required = std::env::var("KILN_TEST_REQUIRE").as_deref() == Ok("all");
        assert!(!required, "the test needs KILN_TEST_ISO to name an installer CD");
        eprintln!("ignored: needs KILN_TEST_ISO to name an installer CD");
    }
    found
}

async fn serial(machine: &dyn Machine, text: &str) -> String {
    let seen = || String::from_utf8_lossy(&machine.serial_tail(1 << 20)).into_owned();
    let wait = async {
        while !seen().contains(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("{text:?} never came; the serial port has:\n{}", seen());
    }
    seen()
}

/// 1000 characters, each of those a US keyboard has, in lines a terminal takes.
fn lines() -> Vec<String> {
    let all = (0x20..0x7f_u8).map(char::from);
    let text: Vec<char> = all.cycle().take(1000).collect();
    // A blank at the end of a line would not be seen to be lost.
    let lines = text.chunks(50).map(|line| format!("{}.", line.iter().collect::<String>()));
    lines.chain(["the end".to_owned()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linux_console_gets_every_key() {
    let Some(iso) = installer() else { return };
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let hypervisor = kiln_hypervisors::qemu::QemuHypervisor::new(directory.path().join("cache"));
    let mut spec = MachineSpec::new("keys", &run, QemuSpec::default());
    spec.boot = BootOrder::CdromOnce;
    spec.cdroms.push(CdromSpec { path: iso, interface: None });
    let forward = Some(PortForward { guest_port: 22, host_min: 2222, host_max: 4444 });
    spec.network.mode = NetworkMode::User { forward };
    let machine = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
    machine.resume().await.unwrap();
    let machine = machine.as_ref();
    let keyboard = machine.keyboard().unwrap();

    serial(machine, "boot:").await;
    let started = Instant::now();
    keyboard.press(&KeyEvent::text("keys\n").unwrap()).await.unwrap();
    eprintln!("the boot prompt was answered in {:?}", started.elapsed());
    serial(machine, "KEYS READY").await;
    assert_eq!(machine.network().await.forward_state, ForwardState::Idle);

    let started = Instant::now();
    let lines = lines();
    let events = KeyEvent::text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    keyboard.press(&events).await.unwrap();
    eprintln!("{} events in {:?}", events.len(), started.elapsed());
    let last = lines.last().unwrap();
    let seen = serial(machine, &format!("KEYS:{last}")).await;
    let got: Vec<&str> =
        seen.lines().filter_map(|line| line.split_once("KEYS:").map(|(_, text)| text.trim_end_matches('\r'))).collect();
    assert_eq!(got, lines);
    let packer = Duration::from_millis(100) * u32::try_from(events.len()).unwrap();
    assert!(started.elapsed() < packer, "faster than Packer's {packer:?}");

    machine.power_button().await.unwrap();
    machine.kill().await;
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
}

/// No address, then an address and a closed port: the two are told apart.
#[tokio::test(flavor = "multi_thread")]
async fn a_guests_way_to_its_address_is_seen() {
    let Some(iso) = installer() else { return };
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run");
    std::fs::create_dir(&run).unwrap();
    let hypervisor = kiln_hypervisors::qemu::QemuHypervisor::new(directory.path().join("cache"));
    let mut spec = MachineSpec::new("address", &run, QemuSpec::default());
    spec.boot = BootOrder::CdromOnce;
    spec.cdroms.push(CdromSpec { path: iso, interface: None });
    let forward = Some(PortForward { guest_port: 22, host_min: 2222, host_max: 4444 });
    spec.network.mode = NetworkMode::User { forward };
    let machine = hypervisor.start(&spec, Arc::new(NoLedger)).await.unwrap();
    machine.resume().await.unwrap();
    let machine = machine.as_ref();
    let reach = async |what: &str, reached: &dyn Fn(&GuestNetwork) -> bool| {
        let wait = async {
            while !reached(&machine.network().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{what} never came: {:?}", machine.network().await);
        }
    };
    serial(machine, "boot:").await;
    let port = machine.endpoint(22).await.unwrap().port;
    let connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    reach("no answer", &|network| network.forward_state == ForwardState::NoAnswer).await;
    let network = machine.network().await;
    assert_eq!((network.guest_seen, network.dhcp), (false, Some(DhcpState::Silent)), "{network:?}");
    drop(connection);

    let command = KeyEvent::text("install answers=http://10.0.2.2:9/none\n").unwrap();
    machine.keyboard().unwrap().press(&command).await.unwrap();
    reach("an address", &|network| network.dhcp == Some(DhcpState::Answered)).await;
    let network = machine.network().await;
    assert!(
        network.guest_seen && network.addresses == ["10.0.2.15".parse::<std::net::IpAddr>().unwrap()],
        "{network:?}"
    );
    // Nothing listens in the installer: QEMU takes the connection, asks the guest, and closes it.
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, connection.read(&mut [0])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    reach("a closed port", &|network| network.forward_state == ForwardState::Idle).await;
    machine.kill().await;
}
