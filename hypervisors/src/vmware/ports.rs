//! A port for a machine's VNC server, which VMware binds itself and does without when it is taken.

use std::net::{IpAddr, SocketAddr};

use crate::error::StartError;
use crate::port_lease::PortRange;
use crate::spec::VncSpec;

/// A port that is this machine's for as long as this lives.
#[derive(Debug)]
pub(super) struct PortLease {
    pub(super) address: SocketAddr,
    _lease: crate::port_lease::PortLease,
}

/// Takes a port of `vnc`'s range that is free.
pub(super) fn lease(vnc: &VncSpec) -> Result<PortLease, StartError> {
    let bind: IpAddr = vnc.bind.parse().map_err(|_| StartError::NoFreePort {
        purpose: "VNC",
        bind: vnc.bind.clone(),
        min: vnc.port_min,
        max: vnc.port_max,
        reason: "it is no IP address".to_owned(),
    })?;
    let mut lease = PortRange::new("VNC", &vnc.bind, (vnc.port_min, vnc.port_max)).next_free()?;
    // At once: VMware is the one to have it.
    lease.hand_over();
    Ok(PortLease { address: SocketAddr::new(bind, lease.number()), _lease: lease })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_is_left_for_vmware_to_bind_and_an_address_is_needed() {
        let vnc =
            |bind: &str, port_min, port_max| VncSpec { bind: bind.to_owned(), port_min, port_max, password: None };
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let one = lease(&vnc("127.0.0.1", first, first.saturating_add(50))).unwrap();
        drop(TcpListener::bind(one.address).unwrap());
        assert!(lease(&vnc("127.0.0.1", one.address.port(), one.address.port())).is_err());
        let error = lease(&vnc("localhost", first, first)).unwrap_err();
        assert!(error.to_string().ends_with("it is no IP address"), "{error}");
    }
}
