//! What QEMU's user network knows about the guest: the connections it lists in `info usernet`.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use crate::guest_network::{ForwardState, GuestNetwork};

/// Where the kernel lists the host's network interfaces.
const INTERFACES: &str = "/sys/class/net";

/// Where ports of the guest are forwarded to.
pub(super) const LOOPBACK: &str = "127.0.0.1";

/// The host as guests see it through QEMU's user network (libslirp's default `host=`).
pub(super) const HOST_SEEN_BY_GUEST: &str = "10.0.2.2";

/// What is wrong with a bridge that machines are to be put on, and what to do about it.
pub(super) fn problem_of_bridge(name: &str) -> Option<(String, String)> {
    let is_bridge = |name: &str| std::path::Path::new(INTERFACES).join(name).join("bridge").is_dir();
    if !name.contains('/') && is_bridge(name) {
        return None;
    }
    let entries = std::fs::read_dir(INTERFACES).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut bridges: Vec<String> = names.filter(|name| is_bridge(name)).collect();
    bridges.sort();
    let hint = match bridges.is_empty() {
        true => "this host has none: make one (ip link add NAME type bridge), or leave net_bridge out".to_owned(),
        false => format!("this host has {}", bridges.join(", ")),
    };
    Some((format!("{name} is no bridge of this host"), hint))
}

/// An address for an adapter on a network that it shares: in QEMU's own range, with 24 bits by chance.
pub(super) fn new_mac_address() -> String {
    let chance = uuid::Uuid::new_v4();
    let [.., one, two, three] = chance.as_bytes();
    format!("52:54:00:{one:02x}:{two:02x}:{three:02x}")
}

/// Reads the table that `info usernet` prints. Lines that look different are skipped.
///
/// ```text
///   Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
///   TCP[HOST_FORWARD]  11       127.0.0.1  2299       10.0.2.15    22     0     0
///   TCP[SYN_SENT]      12       127.0.0.1  2299       10.0.2.15    22     0     0
///   UDP[236 sec]       14       10.0.2.15 45678       10.0.2.3     53     0     0
/// ```
pub(super) fn read_usernet(table: &str, guest_port: Option<u16>) -> GuestNetwork {
    let mut network = GuestNetwork::default();
    for flow in table.lines().filter_map(Flow::parse) {
        if flow.state == "HOST_FORWARD" {
            continue;
        }
        let from_host = flow.source.is_loopback() || flow.source.is_unspecified();
        if from_host {
            if guest_port == Some(flow.destination_port) {
                network.forward_state = newer(network.forward_state, state_of(flow.state));
            }
        } else {
            network.guest_seen = true;
            if !network.addresses.contains(&flow.source) {
                network.addresses.push(flow.source);
            }
        }
        if from_host && state_of(flow.state) == ForwardState::Established {
            network.guest_seen = true;
            if !network.addresses.contains(&flow.destination) {
                network.addresses.push(flow.destination);
            }
        }
    }
    network
}

/// The state that says more about the guest, when several connections are tried at once.
fn newer(one: ForwardState, other: ForwardState) -> ForwardState {
    let rank = |state| match state {
        ForwardState::Idle => 0,
        ForwardState::NoAnswer => 1,
        ForwardState::Closing => 2,
        ForwardState::Established => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

fn state_of(name: &str) -> ForwardState {
    match name {
        "SYN_SENT" | "SYN_RCVD" => ForwardState::NoAnswer,
        "ESTABLISHED" => ForwardState::Established,
        "FIN_WAIT_1" | "FIN_WAIT_2" | "CLOSE_WAIT" | "CLOSING" | "LAST_ACK" | "TIME_WAIT" => ForwardState::Closing,
        _ => ForwardState::Idle,
    }
}

/// One line of the table.
struct Flow<'a> {
    state: &'a str,
    source: IpAddr,
    destination: IpAddr,
    destination_port: u16,
}

impl<'a> Flow<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (protocol, rest) = line.trim_start().split_once('[')?;
        if !matches!(protocol, "TCP" | "UDP" | "ICMP") {
            return None;
        }
        let (state, rest) = rest.split_once(']')?;
        let mut fields = rest.split_whitespace().skip(1);
        // A source of `*` is a listening socket on all addresses.
        let source = fields.next()?.parse().ok()?;
        let _source_port = fields.next()?;
        let destination = fields.next()?.parse().ok()?;
        let destination_port = fields.next()?.parse().unwrap_or_default();
        Some(Self { state, source, destination, destination_port })
    }
}

/// Finds the addresses that the host's neighbour table has for a hardware address on a bridge.
pub(super) fn addresses_on_bridge(arp_table: &str, bridge: &str, mac_address: &str) -> Vec<IpAddr> {
    // IP address, HW type, flags, HW address, mask, device; flag 0x2 marks an entry that is complete.
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, _, flags, hardware, _, device] = fields[..] else { return None };
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        let fits = device == bridge && hardware.eq_ignore_ascii_case(mac_address) && flags & 2 != 0;
        fits.then(|| address.parse().ok())?
    };
    arp_table.lines().filter_map(entry).collect()
}

/// Finds the address that the host has on a bridge. What guests there could reach otherwise, by IPv6 alone, is not looked for: Packer tells
/// them an IPv4 address.
pub(super) fn host_on_bridge(bridge: &str) -> Option<IpAddr> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    source_towards(neighbour_on_bridge(&routes, bridge)?)
}

/// Finds an address of the network that lies on a bridge, whoever has it, in the host's table of routes.
fn neighbour_on_bridge(routes: &str, bridge: &str) -> Option<Ipv4Addr> {
    // Interface, destination, gateway, flags, three numbers, mask, …: addresses as the hexadecimal digits of their four bytes, read as one
    // number of this machine.
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, _, _, _, _, mask, ..] = fields[..] else { return None };
        let address =
            |digits: &str| u32::from_str_radix(digits, 16).ok().map(|bytes| Ipv4Addr::from(bytes.to_ne_bytes()));
        let direct = interface == bridge && address(gateway)?.is_unspecified() && !address(mask)?.is_unspecified();
        direct.then(|| address(destination))?
    };
    // The first address of a network is the network itself; the next one is a host's.
    routes.lines().find_map(entry).map(|network| Ipv4Addr::from(u32::from(network) | 1))
}

/// The address that packets from here to `address` come from. None is sent.
fn source_towards(address: Ipv4Addr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // To connect a datagram socket only chooses its route; any port will do.
    socket.connect((address, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// Finds the hardware address of the adapter on our network back end in what `info network` prints.
pub(super) fn mac_address(table: &str) -> Option<String> {
    let adapter = table.lines().find(|line| line.contains("macaddr="))?;
    let address = adapter.split_once("macaddr=")?.1;
    Some(address.split([',', '\r', ' ']).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Hub -1 (user.0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  TCP[HOST_FORWARD]  11       127.0.0.1  2299       10.0.2.15    22     0     0\r\n";

    fn read(lines: &[&str]) -> GuestNetwork {
        read_usernet(&format!("{HEAD}{}", lines.join("\r\n")), Some(22))
    }

    #[test]
    fn tells_no_address_from_closed_and_open() {
        let waiting = "  TCP[SYN_SENT]      12       127.0.0.1  2299       10.0.2.15    22     0     0";
        let open = "  TCP[ESTABLISHED]   13       127.0.0.1  2299       10.0.2.15    22     0     0";
        assert_eq!(read(&[]), GuestNetwork::default());
        assert_eq!(read(&[waiting]).forward_state, ForwardState::NoAnswer);
        assert!(!read(&[waiting]).guest_seen);
        let both = read(&[open, waiting]);
        assert_eq!(both.forward_state, ForwardState::Established);
        assert!(both.guest_seen);
        assert_eq!(both.addresses, ["10.0.2.15".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn sees_the_guest_by_its_own_connections() {
        let fetching = "  TCP[ESTABLISHED]   14       10.0.2.15 45678        10.0.2.2  8123     0     0";
        let asking = "  UDP[236 sec]       15       10.0.2.15 45678        10.0.2.3    53     0     0";
        for line in [fetching, asking] {
            let network = read(&[line]);
            assert!(network.guest_seen);
            assert_eq!(network.forward_state, ForwardState::Idle);
            assert_eq!(network.addresses, ["10.0.2.15".parse::<IpAddr>().unwrap()]);
        }
    }

    #[test]
    fn skips_what_it_does_not_know() {
        assert_eq!(read_usernet("", Some(22)), GuestNetwork::default());
        assert_eq!(
            read(&["TCP[", "TCP[X]", "SCTP[UP] 1 10.0.2.15 1 10.0.2.2 2 0 0", "TCP[A] x y z"]),
            GuestNetwork::default()
        );
    }

    #[test]
    fn finds_the_guest_on_a_bridge() {
        let arp = "IP address       HW type     Flags       HW address            Mask     Device\n\
                   192.168.122.9    0x1         0x2         52:54:00:12:34:56     *        virbr0\n\
                   192.168.122.8    0x1         0x0         52:54:00:12:34:56     *        virbr0\n\
                   10.0.0.1         0x1         0x2         52:54:00:12:34:56     *        eth0\n";
        let found = addresses_on_bridge(arp, "virbr0", "52:54:00:12:34:56");
        assert_eq!(found, ["192.168.122.9".parse::<IpAddr>().unwrap()]);
        let table = "virtio-net-pci.0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\r\n \\ user.0: index=0\r\n";
        assert_eq!(mac_address(table).as_deref(), Some("52:54:00:12:34:56"));
    }
    #[test]
    fn finds_the_host_on_a_bridge() {
        let line = |interface: &str, destination: [u8; 4], gateway: [u8; 4], mask: [u8; 4]| {
            let [destination, gateway, mask] = [destination, gateway, mask].map(u32::from_ne_bytes);
            format!("{interface}\t{destination:08X}\t{gateway:08X}\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n")
        };
        let routes = [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n".to_owned(),
            line("br0", [0, 0, 0, 0], [192, 168, 7, 1], [0, 0, 0, 0]),
            line("br0", [10, 9, 0, 0], [192, 168, 7, 2], [255, 255, 0, 0]),
            line("eth0", [172, 16, 0, 0], [0; 4], [255, 255, 0, 0]),
            line("br0", [192, 168, 7, 0], [0; 4], [255, 255, 255, 0]),
            "br1\tnonsense\n".to_owned(),
        ]
        .concat();
        assert_eq!(neighbour_on_bridge(&routes, "br0"), Some([192, 168, 7, 1].into()));
        assert_eq!(neighbour_on_bridge(&routes, "eth0"), Some([172, 16, 0, 1].into()));
        assert_eq!((neighbour_on_bridge(&routes, "br1"), neighbour_on_bridge("", "br0")), (None, None));
        assert_eq!(source_towards(Ipv4Addr::LOCALHOST), Some(Ipv4Addr::LOCALHOST.into()));
    }
}
