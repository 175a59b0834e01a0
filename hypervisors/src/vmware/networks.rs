//! VMware's virtual networks on this host: which device each is, the host's address on it, and the leases of its DHCP server.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use crate::guest_network::HostSeenByGuest;

/// Where VMware Workstation keeps its configuration.
pub(super) const CONFIGURATION: &str = "/etc/vmware";

/// Largest file of VMware's that is read, in bytes: leases pile up.
const MAX_BYTES: u64 = 8 << 20;

/// The networks of an installed VMware.
#[derive(Debug, Clone)]
pub(super) struct Networks {
    etc: PathBuf,
}

impl Networks {
    /// Those that are configured in `etc`.
    pub(super) fn new(etc: PathBuf) -> Self {
        Self { etc }
    }

    /// The devices (`vmnet8`) of a network by its kind in a VMX file (`nat`, `hostonly`) or its own name.
    pub(super) fn devices(&self, kind: &str) -> Vec<String> {
        let map = read(&self.etc.join("netmap.conf")).unwrap_or_default();
        let mut devices = devices_in(&map, kind);
        if devices.is_empty() {
            // As VMware numbers them.
            let usual = match kind {
                "nat" => "vmnet8",
                "hostonly" => "vmnet1",
                "bridged" => "vmnet0",
                named => named,
            };
            devices.push(usual.to_owned());
        }
        devices
    }

    /// The devices that there are, when `name` is not one of them; `None` where it is, or where nobody can tell.
    pub(super) fn others_than(&self, name: &str) -> Option<Vec<String>> {
        let map = read(&self.etc.join("netmap.conf"))?;
        let there: Vec<String> =
            entries(&map).filter(|(_, field, _)| field == "device").map(|(.., name)| name).collect();
        (!there.is_empty() && !there.iter().any(|device| device == name)).then_some(there)
    }

    /// The host as guests on a network of this kind see it.
    pub(super) fn host(&self, kind: &str) -> Option<HostSeenByGuest> {
        if kind == "bridged" {
            let address = own_address_towards(Ipv4Addr::new(192, 0, 2, 1))?;
            return Some(HostSeenByGuest { name: address.to_string(), listen: address });
        }
        let address = self.devices(kind).iter().find_map(|device| {
            let text = read(&self.etc.join(device).join("dhcpd").join("dhcpd.conf"))?;
            fixed_address(&text, device)
        })?;
        // Where the host does not have the address itself, the network leads there by other means; whoever listens does so everywhere.
        let own = UdpSocket::bind((address, 0)).is_ok();
        let listen = if own { address } else { Ipv4Addr::UNSPECIFIED };
        Some(HostSeenByGuest { name: address.to_string(), listen: listen.into() })
    }

    /// The file with the leases of a device.
    pub(super) fn leases_file(&self, device: &str) -> PathBuf {
        self.etc.join(device).join("dhcpd").join("dhcpd.leases")
    }
}

/// A text file that is there and not too large.
pub(super) fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads `network8.name = "NAT"` and `network8.device = "vmnet8"` as number, field and value.
fn entries(map: &str) -> impl Iterator<Item = (String, String, String)> {
    map.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let (number, field) = key.trim().strip_prefix("network")?.split_once('.')?;
        Some((number.to_owned(), field.to_owned(), value.trim().trim_matches('"').to_owned()))
    })
}

fn devices_in(map: &str, kind: &str) -> Vec<String> {
    let entries: Vec<_> = entries(map).collect();
    let wanted = |name: &str| name.replace('-', "").eq_ignore_ascii_case(kind);
    entries
        .iter()
        .filter(|(_, field, name)| field == "name" && wanted(name))
        .filter_map(|(number, ..)| entries.iter().find(|(other, field, _)| other == number && field == "device"))
        .map(|(.., device)| device.clone())
        .collect()
}

/// Reads `fixed-address` in the block `host vmnet8 { … }` of a DHCP server's configuration.
fn fixed_address(text: &str, device: &str) -> Option<Ipv4Addr> {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '{')).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if word == "host" && words.next() == Some(device) {
            let mut inside = words.by_ref().take_while(|word| *word != "}");
            while let Some(word) = inside.next() {
                if word == "fixed-address" {
                    return inside.next()?.parse().ok();
                }
            }
        }
    }
    None
}

/// The addresses that the DHCP server gave to a card, the newest last.
pub(super) fn leased(text: &str, mac: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut address = None;
    for line in text.lines() {
        let line = line.trim().trim_end_matches(';');
        let mut words = line.split_whitespace();
        match words.next() {
            Some("lease") => address = words.next().and_then(|word| word.parse().ok()),
            Some("hardware") if words.next() == Some("ethernet") => {
                let same = words.next().is_some_and(|other| other.eq_ignore_ascii_case(mac));
                if let Some(address) = address.filter(|_| same) {
                    found.retain(|other| *other != address);
                    found.push(address);
                }
            }
            Some("}") => address = None,
            _ => {}
        }
    }
    found
}

/// The addresses that the host's neighbour table has for a card.
pub(super) fn neighbours(table: &str, mac: &str) -> Vec<IpAddr> {
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Address, kind, flags (2: complete), card, mask, interface.
        let [address, _, flags, card, ..] = fields[..] else { return None };
        (flags != "0x0" && card.eq_ignore_ascii_case(mac)).then(|| address.parse().ok())?
    };
    table.lines().filter_map(entry).collect()
}

/// The address that packets from here to `address` come from. None is sent.
fn own_address_towards(address: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_devices() {
        let map = "network0.name = \"Bridged\"\nnetwork0.device = \"vmnet0\"\nnetwork1.name = \"HostOnly\"\nnetwork1.device = \"vmnet1\"\n\
                   network8.name = \"NAT\"\nnetwork8.device = \"vmnet8\"\nnetwork9.name = \"Host-only\"\nnetwork9.device = \"vmnet9\"\ngarbage\n";
        assert_eq!(devices_in(map, "nat"), ["vmnet8"]);
        assert_eq!(devices_in(map, "hostonly"), ["vmnet1", "vmnet9"]);
        assert_eq!(devices_in(map, "vmnet3"), Vec::<String>::new());
        let nothing = Networks::new("/nonexistent".into());
        assert_eq!(nothing.devices("nat"), ["vmnet8"]);
        assert_eq!(nothing.devices("vmnet3"), ["vmnet3"]);
        assert_eq!(nothing.host("nat"), None);
        assert_eq!(nothing.others_than("vmnet3"), None);
        let etc = tempfile::tempdir().unwrap();
        std::fs::write(etc.path().join("netmap.conf"), map).unwrap();
        let networks = Networks::new(etc.path().to_owned());
        assert_eq!(networks.others_than("vmnet3").unwrap(), ["vmnet0", "vmnet1", "vmnet8", "vmnet9"]);
        assert_eq!(networks.others_than("vmnet8"), None);
    }

    #[test]
    fn the_host_is_found_in_the_dhcp_servers_configuration() {
        let etc = tempfile::tempdir().unwrap();
        let folder = etc.path().join("vmnet8/dhcpd");
        std::fs::create_dir_all(&folder).unwrap();
        let conf = |address: &str| {
            format!(
                "subnet 10.0.2.0 netmask 255.255.255.0 {{\n\toption routers 10.0.2.9;\n}}\nhost vmnet1 {{\n\tfixed-address 1.2.3.4;\n}}\n\
                 host vmnet8 {{\n\thardware ethernet 00:50:56:C0:00:08;\n\tfixed-address {address};\n}}\n"
            )
        };
        let networks = Networks::new(etc.path().to_owned());
        std::fs::write(folder.join("dhcpd.conf"), conf("127.0.0.1")).unwrap();
        let host = networks.host("nat").unwrap();
        assert_eq!((host.name.as_str(), host.listen), ("127.0.0.1", IpAddr::from(Ipv4Addr::LOCALHOST)));
        std::fs::write(folder.join("dhcpd.conf"), conf("192.0.2.77")).unwrap();
        let host = networks.host("nat").unwrap();
        assert_eq!((host.name.as_str(), host.listen), ("192.0.2.77", IpAddr::from(Ipv4Addr::UNSPECIFIED)));
        std::fs::write(folder.join("dhcpd.conf"), "host vmnet8 { fixed-address").unwrap();
        assert_eq!(networks.host("nat"), None);
    }

    #[test]
    fn leases_and_neighbours_are_found_by_the_card() {
        let leases = "lease 10.0.2.5 {\n\tstarts 1 2026/01/01 00:00:00;\n\thardware ethernet 00:0c:29:aa:bb:cc;\n}\n\
                      lease 10.0.2.6 {\n\thardware ethernet 00:0c:29:00:00:01;\n}\nlease 10.0.2.7 {\n\thardware ethernet 00:0C:29:AA:BB:CC;\n}\n";
        let addresses = |found: Vec<IpAddr>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(addresses(leased(leases, "00:0c:29:aa:bb:cc")), ["10.0.2.5", "10.0.2.7"]);
        assert_eq!(
            leased("lease x {\nhardware ethernet 00:0c:29:aa:bb:cc;\n}", "00:0c:29:aa:bb:cc"),
            Vec::<IpAddr>::new()
        );
        let table = "IP address       HW type     Flags       HW address            Mask     Device\n\
                     192.168.9.3      0x1         0x2         00:0c:29:aa:bb:cc     *        vmnet8\n\
                     192.168.9.4      0x1         0x0         00:0c:29:aa:bb:cc     *        vmnet8\n";
        assert_eq!(addresses(neighbours(table, "00:0C:29:aa:bb:cc")), ["192.168.9.3"]);
    }
}
