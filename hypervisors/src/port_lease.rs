//! Ports of the host for machines: one machine of Kiln's has a port at a time, whichever hypervisor listens on it and whoever started it.
//!
//! A hypervisor binds its port itself, some time after it was told the number, and some do without when it is taken: then whoever asks
//! there reaches another machine. So a port is promised first: by a name in the kernel that one process can have, and that dies with it.
//! Such names are per network namespace, as ports are, and the same for all users. A machine that outlives its process has its port bound,
//! which the next one to ask sees.

use std::io;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::error::StartError;

/// A port that is one machine's for as long as this lives.
#[derive(Debug)]
pub(crate) struct PortLease {
    number: u16,
    /// Holds it until the hypervisor takes it.
    listener: Option<TcpListener>,
    /// What all others of Kiln see.
    _promise: UnixDatagram,
}

impl PortLease {
    fn promise(number: u16) -> io::Result<Self> {
        let name = SocketAddr::from_abstract_name(format!("kiln-port-{number}"))?;
        let promise = UnixDatagram::bind_addr(&name).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                io::Error::new(error.kind(), format!("port {number} is promised to another machine of Kiln's"))
            }
            _ => error,
        })?;
        Ok(Self { number, listener: None, _promise: promise })
    }

    fn take(bind: &str, number: u16) -> io::Result<Self> {
        let mut lease = Self::promise(number)?;
        // QEMU's word for every address is none.
        lease.listener = Some(TcpListener::bind((if bind.is_empty() { "0.0.0.0" } else { bind }, number))?);
        Ok(lease)
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Lets the hypervisor bind it; to other machines it stays taken.
    pub(crate) fn hand_over(&mut self) {
        self.listener = None;
    }
}

/// A range of ports, gone through from the lowest up.
#[derive(Debug)]
pub(crate) struct PortRange {
    purpose: &'static str,
    bind: String,
    whole: (u16, u16),
    untried: RangeInclusive<u16>,
    /// Why the last one was passed over.
    refusal: String,
}

impl PortRange {
    /// `purpose`: what listens there, as an error says it; `bind`: the address to listen on; `whole`: the lowest and the highest.
    pub(crate) fn new(purpose: &'static str, bind: &str, whole: (u16, u16)) -> Self {
        let (min, max) = whole;
        Self { purpose, bind: bind.to_owned(), whole, untried: min..=max, refusal: "the range is empty".to_owned() }
    }

    /// The next port that nobody listens on; it is held until it is [handed over](PortLease::hand_over).
    ///
    /// # Errors
    ///
    /// There is none left.
    pub(crate) fn next_free(&mut self) -> Result<PortLease, StartError> {
        let bind = self.bind.clone();
        self.next(|number| PortLease::take(&bind, number))
    }

    /// The next port that no other machine of Kiln's has, for a caller that binds it at once and sees whether it can.
    ///
    /// # Errors
    ///
    /// There is none left.
    pub(crate) fn next_promised(&mut self) -> Result<PortLease, StartError> {
        self.next(PortLease::promise)
    }

    /// Notes why a port of this range could not be used after all.
    pub(crate) fn refused(&mut self, reason: String) {
        self.refusal = reason;
    }

    fn next(&mut self, take: impl Fn(u16) -> io::Result<PortLease>) -> Result<PortLease, StartError> {
        for number in self.untried.by_ref() {
            match take(number) {
                Ok(lease) => return Ok(lease),
                Err(error) => self.refusal = error.to_string(),
            }
        }
        let (min, max) = self.whole;
        let (purpose, bind, reason) = (self.purpose, self.bind.clone(), self.refusal.clone());
        Err(StartError::NoFreePort { purpose, bind, min, max, reason })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A range at a port that nobody listened on a moment ago.
    fn range() -> (u16, u16) {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        (first, first.saturating_add(50))
    }

    fn take(bind: &str, whole: (u16, u16)) -> Result<PortLease, StartError> {
        PortRange::new("VNC", bind, whole).next_free()
    }

    /// Asks until it is so. A program that a neighbouring test is just starting has a copy of every open file and port for a moment.
    fn eventually(so: impl Fn() -> bool) -> bool {
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_secs(30) {
            if so() {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        false
    }

    #[test]
    fn a_promised_port_is_taken_also_while_nobody_listens_on_it() {
        let whole = range();
        let mut first = take("127.0.0.1", whole).unwrap();
        let number = first.number();
        assert!(TcpListener::bind(("127.0.0.1", number)).is_err());
        first.hand_over();
        assert!(eventually(|| TcpListener::bind(("127.0.0.1", number)).is_ok()), "nobody listens there");
        for bind in ["127.0.0.1", "127.0.0.9", ""] {
            assert_ne!(take(bind, (number, whole.1)).unwrap().number(), number, "on {bind:?}");
        }
        let error = take("127.0.0.1", (number, number)).unwrap_err();
        assert!(error.to_string().contains("is promised to another machine of Kiln's"), "{error}");
        drop(first);
        assert!(eventually(|| take("127.0.0.1", (number, whole.1)).unwrap().number() == number));
    }

    #[test]
    fn where_somebody_listens_is_no_free_port() {
        let whole = range();
        let stranger = TcpListener::bind(("127.0.0.1", whole.0)).unwrap();
        let mut ports = PortRange::new("VNC", "127.0.0.1", whole);
        assert!(ports.next_free().unwrap().number() > whole.0);
        assert_eq!(PortRange::new("VNC", "127.0.0.1", whole).next_promised().unwrap().number(), whole.0);
        drop(stranger);
        let only = || PortRange::new("VNC", "127.0.0.1", (whole.0, whole.0));
        assert!(eventually(|| only().next_free().is_ok()));
        let mut ports = only();
        drop(ports.next_promised());
        ports.refused("QEMU says no".to_owned());
        let error = ports.next_free().unwrap_err();
        assert!(error.to_string().ends_with("QEMU says no"), "{error}");
        assert!(matches!(take("127.0.0.1", (2, 1)), Err(StartError::NoFreePort { .. })));
    }

    #[test]
    fn many_at_once_never_have_the_same() {
        let whole = range();
        let takers: Vec<_> = (0..16)
            .map(|taker| {
                std::thread::spawn(move || {
                    let mut ports = PortRange::new("VNC", "127.0.0.1", whole);
                    if taker % 2 == 0 { ports.next_free() } else { ports.next_promised() }.unwrap()
                })
            })
            .collect();
        let leases: Vec<PortLease> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
        let numbers: std::collections::BTreeSet<u16> = leases.iter().map(PortLease::number).collect();
        assert_eq!(numbers.len(), leases.len(), "{leases:?}");
    }

    /// What the child of the next test does.
    const PORT: &str = "KILN_TEST_LEASED_PORT";

    #[test]
    fn the_lease_of_a_killed_process_is_free_again() {
        if let Ok(port) = std::env::var(PORT) {
            let port = port.parse().unwrap();
            let lease = take("127.0.0.1", (port, port)).unwrap();
            println!("\nleased {}", lease.number());
            // Until it is killed.
            io::stdin().read_line(&mut String::new()).unwrap();
            return;
        }
        let (port, _) = range();
        let this_test = format!("{}::the_lease_of_a_killed_process_is_free_again", module_path!());
        let this_test = this_test.split_once("::").unwrap().1;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this_test, "--nocapture"])
            .env(PORT, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = io::BufRead::lines(io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.map_while(Result::ok).any(|line| line == format!("leased {port}")), "the child has no lease");
        assert!(PortRange::new("VNC", "127.0.0.1", (port, port)).next_promised().is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(eventually(|| take("127.0.0.1", (port, port)).is_ok()));
    }
}
