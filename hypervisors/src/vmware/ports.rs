//! A port for a machine's VNC server, which VMware binds itself and does without when it is taken.
//!
//! So two things are asked of a port: that nobody listens on it, and that no other machine of Kiln's is about to. The second is a lease: a
//! socket with a name in the kernel that only one process can have, and that dies with it.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use crate::error::StartError;
use crate::spec::VncSpec;

/// A port that is this machine's for as long as this lives.
#[derive(Debug)]
pub(super) struct PortLease {
    pub(super) address: SocketAddr,
    _name: UnixListener,
}

/// Takes a port of `vnc`'s range that is free, and begins to look anywhere in it: whoever else looks for one there is
/// seldom at the same place at the same moment.
pub(super) fn lease(vnc: &VncSpec) -> Result<PortLease, StartError> {
    let none = |reason: String| StartError::NoFreePort {
        purpose: "VNC",
        bind: vnc.bind.clone(),
        min: vnc.port_min,
        max: vnc.port_max,
        reason,
    };
    let bind: IpAddr = vnc.bind.parse().map_err(|_| none("it is no IP address".to_owned()))?;
    let mut last = "the range is empty".to_owned();
    let count = u32::from(vnc.port_max.saturating_sub(vnc.port_min)) + 1;
    let anywhere = uuid::Uuid::new_v4().as_fields().0 % count;
    let ports = if vnc.port_min > vnc.port_max { 0..0 } else { anywhere..anywhere + count };
    for place in ports {
        let Ok(port) = u16::try_from(u32::from(vnc.port_min) + place % count) else { continue };
        let address = SocketAddr::new(bind, port);
        match take(address) {
            Ok(lease) => return Ok(lease),
            Err(error) => last = error.to_string(),
        }
    }
    Err(none(last))
}

fn take(address: SocketAddr) -> io::Result<PortLease> {
    let name = UnixAddress::from_abstract_name(format!("kiln-vnc-port-{}", address.port()))?;
    let name = UnixListener::bind_addr(&name)?;
    // Given back at once: VMware is the one to have it.
    TcpListener::bind(address)?;
    Ok(PortLease { address, _name: name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_machines_have_one_port_and_none_that_is_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = taken.local_addr().unwrap().port();
        let vnc = |port_min, port_max| VncSpec { bind: "127.0.0.1".to_owned(), port_min, port_max, password: None };
        let last = first.saturating_add(50);
        let one = lease(&vnc(first, last)).unwrap();
        let two = lease(&vnc(first, last)).unwrap();
        assert!(![one.address.port(), two.address.port()].contains(&first), "{one:?} {two:?}");
        assert_ne!(one.address, two.address);
        let port = one.address.port();
        assert!(matches!(lease(&vnc(port, port)), Err(StartError::NoFreePort { .. })));
        drop(one);
        assert_eq!(lease(&vnc(port, port)).unwrap().address.port(), port);
    }
}
