//! Rules for addresses of this host on which something listens.

use std::net::{IpAddr, Ipv4Addr, TcpListener, ToSocketAddrs as _};
use std::sync::mpsc;
use std::time::Duration;

use crate::plan_reader::PlanReader;

/// Longest wait for the addresses of a name. What is not known by then is left to whoever listens.
const NAME_LIMIT: Duration = Duration::from_secs(3);

/// The option is an address of this host, or a name of one.
pub(crate) fn is_of_this_host(reader: &mut PlanReader<'_>, option: &'static str) {
    let Some(text) = reader.text(option).filter(|text| !text.is_empty()) else { return };
    let Some(problem) = problem(&text) else { return };
    let hint = format!("set {option} to one of {}", addresses().join(", "));
    reader.not_here(option, "No address of this host", format!("{option} is {text:?}, {problem}."), Some(hint));
}

/// What is wrong with an address; `None`: somebody can listen there, or it cannot be told.
fn problem(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => match resolved(bare)? {
            Ok(found) => found,
            Err(error) => return Some(format!("which is no address, and no name of one ({error})")),
        },
    };
    let errors: Vec<_> = found.iter().filter_map(|address| TcpListener::bind((*address, 0)).err()).collect();
    // What else keeps a socket from being made has nothing to do with the address.
    let is_not_ours = |error: &std::io::Error| error.kind() == std::io::ErrorKind::AddrNotAvailable;
    (errors.len() == found.len() && errors.iter().all(is_not_ours))
        .then(|| "which is no address of this host".to_owned())
}

/// The addresses of a name; `None`: nobody answers.
fn resolved(name: &str) -> Option<std::io::Result<Vec<IpAddr>>> {
    let (sender, receiver) = mpsc::channel();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let found = (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|one| one.ip()).collect::<Vec<_>>());
        // Nobody may be waiting any more.
        let _ = sender.send(found);
    });
    receiver.recv_timeout(NAME_LIMIT).ok()
}

/// The IPv4 addresses of this host, and those that stand for all.
fn addresses() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let mut found = own_addresses(&table);
    found.extend([Ipv4Addr::UNSPECIFIED].map(|all| format!("{all} (all of them)")));
    found
}

/// Reads the kernel's table of routes: an address of this host's is followed by `/32 host LOCAL`.
fn own_addresses(table: &str) -> Vec<String> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut last = None;
    for line in table.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last.filter(|address| !found.contains(address)));
        }
    }
    found.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_host_can_be_listened_on() {
        for address in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost"] {
            assert_eq!(problem(address), None, "{address}");
        }
        // Kept for documentation: nobody has them.
        for address in ["192.0.2.1", "203.0.113.77"] {
            assert!(problem(address).unwrap().contains("no address of this host"), "{address}");
        }
        // No such name can ever be given.
        assert!(problem("kiln.invalid").is_none_or(|told| told.contains("no name of one")));
        assert!(problem("not an address").is_none_or(|told| told.contains("no address")));
    }

    #[test]
    fn the_addresses_of_this_host_are_read() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
                     Local:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.5\n        /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\n";
        assert_eq!(own_addresses(table), ["127.0.0.1", "192.168.1.5"]);
        assert!(addresses().last().is_some_and(|last| last.starts_with("0.0.0.0")));
    }
}
