//! Ports of the host that lead to a guest, and those of its screen: promised, passed over, taken.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use super::within;
use crate::error::StartError;
use crate::guest_network::{Endpoint, ForwardState};
use crate::ledger::NoLedger;
use crate::machine::{Hypervisor as _, Machine};
use crate::port_lease::{PortLease, PortRange};
use crate::qemu::SSH_HOST_PORT;
use crate::qemu::arguments::VNC_PORT_BASE;
use crate::qemu::testing::{Guest, Host, QEMU, missing, qemu};
use crate::spec::{NetworkMode, PortForward, VncSpec};

pub(super) fn forward(host_min: u16, host_max: u16) -> NetworkMode {
    NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min, host_max }) }
}

/// The host's port that leads to the guest's port 22.
pub(super) async fn forwarded(machine: &dyn Machine) -> u16 {
    let Endpoint { host, port } = machine.endpoint(22).await.unwrap();
    assert_eq!(host, "127.0.0.1");
    port
}

#[tokio::test]
async fn a_taken_port_is_passed_over() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut spec = host.spec(Guest::Echo);
    spec.network.mode = forward(port, port.saturating_add(20));
    let machine = host.start(&spec).await;
    let forwarded = forwarded(&*machine).await;
    assert!(forwarded > port);
    machine.resume().await.unwrap();
    // Nobody answers in this guest: QEMU takes the connection and keeps asking for the guest.
    let _connection = tokio::net::TcpStream::connect(("127.0.0.1", forwarded)).await.unwrap();
    within(async {
        while machine.network().await.forward_state != ForwardState::NoAnswer {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(!machine.network().await.guest_seen);
    machine.kill().await;
    TcpListener::bind(("127.0.0.1", forwarded)).expect("the port is free again");

    spec.network.mode = forward(port, port);
    let error = host.hypervisor.start(&spec, Arc::new(NoLedger)).await.err().unwrap();
    assert!(matches!(error, StartError::NoFreePort { min, max, .. } if (min, max) == (port, port)), "{error}");
    assert!(error.hint().is_some());
    assert!(!host.anything_left());
}

#[tokio::test]
async fn a_port_in_the_templates_own_netdev_is_found_by_trying() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut spec = host.spec(Guest::Echo);
    spec.network.mode = forward(port, port.saturating_add(20));
    let netdev = format!("user,id=user.0,hostfwd=tcp:127.0.0.1:{SSH_HOST_PORT}-:22");
    qemu(&mut spec).arguments = vec![vec!["-netdev".to_owned(), netdev]];
    let machine = host.start(&spec).await;
    let forwarded = forwarded(&*machine).await;
    assert!(forwarded > port);
    assert!(machine.description().command_line.iter().any(|it| it.contains(&format!("127.0.0.1:{forwarded}-:22"))));
    machine.kill().await;
    assert!(!host.anything_left());
}

/// Nobody listens on it yet: the other one, such as VMware, binds its port itself, and does without when it is taken.
#[tokio::test]
async fn a_port_promised_to_another_hypervisor_is_passed_over() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().max(VNC_PORT_BASE);
    let range = || PortRange::new("VNC", "127.0.0.1", (first, first.saturating_add(40)));
    let mut promised: Vec<_> = (0..2).map(|_| range().next_free().unwrap()).collect();
    promised.iter_mut().for_each(PortLease::hand_over);
    let mut spec = host.spec(Guest::Echo);
    let last = first.saturating_add(40);
    spec.network.mode = forward(first, last);
    spec.vnc = Some(VncSpec { bind: "127.0.0.1".to_owned(), port_min: first, port_max: last, password: None });
    let machine = host.start(&spec).await;
    let own = [forwarded(&*machine).await, machine.description().vnc.unwrap().port()];
    assert!(own.iter().all(|port| promised.iter().all(|one| one.number() != *port)), "{own:?} {promised:?}");
    // And the other way round: what this one has no other gets, whether it looks or asks for the promise alone.
    let mut rest = range();
    while let Ok(lease) = rest.next_promised() {
        assert!(!own.contains(&lease.number()), "{own:?} {lease:?}");
    }
    machine.kill().await;
    // A program that a neighbouring test is just starting has a copy of every port of ours for a moment.
    within(async {
        loop {
            let mut all = range();
            let given_back: Vec<_> = std::iter::from_fn(|| all.next_free().ok()).map(|lease| lease.number()).collect();
            if own.iter().all(|port| given_back.contains(port)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Another of its rules is at fault, which no other port of ours would help.
#[tokio::test]
async fn a_fixed_port_of_the_template_that_is_taken_is_told_at_once() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let fixed = taken.local_addr().unwrap().port();
    let mut spec = host.spec(Guest::Echo);
    spec.network.mode = forward(2222, 4444);
    let netdev = format!("user,id=user.0,hostfwd=tcp:127.0.0.1:{fixed}-:80,hostfwd=tcp:127.0.0.1:{SSH_HOST_PORT}-:22");
    qemu(&mut spec).arguments = vec![vec!["-netdev".to_owned(), netdev]];
    let error = within(host.hypervisor.start(&spec, Arc::new(NoLedger))).await.err().unwrap();
    let StartError::EndedEarly { stderr, .. } = &error else { panic!("{error}") };
    assert!(stderr.contains(&format!("127.0.0.1:{fixed}-:80")), "{error}");
    assert!(!host.anything_left());
}

#[tokio::test]
async fn a_port_that_nobody_forwards_is_not_taken_for_the_guests() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    // Of a server of this machine.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let guest_port = server.local_addr().unwrap().port();
    let forward = PortForward { guest_port, host_min: 20_000, host_max: 20_100 };
    spec.network.mode = NetworkMode::User { forward: Some(forward) };
    qemu(&mut spec).arguments = vec![vec!["-netdev".to_owned(), "user,id=user.0".to_owned()]];
    let machine = host.start(&spec).await;
    let warnings = &machine.description().warnings;
    let told = format!("forwards nothing to the guest's port {guest_port}: name the guest's address as ssh_host");
    assert!(warnings.iter().any(|warning| warning.contains(&told)), "{warnings:?}");
    let asking = machine.endpoint(guest_port);
    tokio::pin!(asking);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut asking).await.is_err());
    machine.kill().await;
    assert_eq!(within(asking).await, None);
    assert!(!host.anything_left());
}

#[tokio::test]
async fn vnc_is_there_when_asked_for_only() {
    if missing(QEMU) {
        return;
    }
    let host = Host::new();
    let mut spec = host.spec(Guest::Echo);
    let machine = host.start(&spec).await;
    assert_eq!(machine.description().vnc, None);
    machine.kill().await;

    let password = Some("hunter22".to_owned());
    // The lowest free port of the range is taken first, so that the next has to be found.
    let taken = (5900..6000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let base = taken.local_addr().unwrap().port();
    spec.vnc = Some(VncSpec { bind: "127.0.0.1".to_owned(), port_min: base, port_max: 6000, password });
    let machine = host.start(&spec).await;
    let address = machine.description().vnc.unwrap();
    assert!(address.port() > base && address.ip().is_loopback(), "{address}");
    tokio::net::TcpStream::connect(address).await.unwrap();
    assert!(!format!("{:?}", machine.description()).contains("hunter22"));
    machine.kill().await;
    drop(taken);
}
