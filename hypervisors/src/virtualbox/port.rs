//! Ports of the host that VirtualBox is told to listen on. It binds them itself, when the guest starts; until then this process holds
//! them, and no other build of this user takes one that is promised.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::process::getuid;

use crate::error::StartError;

/// A port that is ours until this value goes.
pub(super) struct Port {
    /// Holds it until VirtualBox takes it.
    listener: Option<TcpListener>,
    /// What other builds see: a name that lives as long as this socket.
    _promise: UnixDatagram,
    number: u16,
}

impl Port {
    /// Takes the first free port of a range.
    pub(super) fn take(purpose: &'static str, bind: &str, (min, max): (u16, u16)) -> Result<Self, StartError> {
        let mut reason = "the range is empty".to_owned();
        for number in min..=max {
            match Self::take_one(bind, number) {
                Ok(port) => return Ok(port),
                Err(error) => reason = error.to_string(),
            }
        }
        Err(StartError::NoFreePort { purpose, bind: bind.to_owned(), min, max, reason })
    }

    fn take_one(bind: &str, number: u16) -> std::io::Result<Self> {
        let name = format!("kiln-{}-promises-port-{number}", getuid().as_raw());
        let promise = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        let listener = TcpListener::bind((bind, number))?;
        Ok(Self { listener: Some(listener), _promise: promise, number })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Lets VirtualBox bind it; to other builds it stays taken.
    pub(super) fn hand_over(&mut self) {
        self.listener = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promised_port_is_taken_also_while_nobody_listens_on_it() {
        let range = (21_000, 21_999);
        let mut first = Port::take("the guest's SSH", "127.0.0.1", range).unwrap();
        let number = first.number();
        assert!(TcpListener::bind(("127.0.0.1", number)).is_err());
        first.hand_over();
        assert!(TcpListener::bind(("127.0.0.1", number)).is_ok());
        let second = Port::take("the guest's SSH", "127.0.0.1", (number, range.1)).unwrap();
        assert_ne!(second.number(), number);
        drop(first);
        assert_eq!(Port::take("the guest's SSH", "127.0.0.1", (number, range.1)).unwrap().number(), number);
        let error = Port::take("VRDE", "127.0.0.1", (second.number(), second.number())).err().unwrap();
        assert!(matches!(error, StartError::NoFreePort { .. }), "{error}");
    }
}
