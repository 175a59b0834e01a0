//! What the host can see of a guest's network, and where the guest is reached.

use std::net::IpAddr;

/// Where a port of the guest is reached from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// Port there; another than the guest's where it is forwarded.
    pub port: u16,
}

/// The host for guests on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSeenByGuest {
    /// A name or address that leads guests to the host.
    pub name: String,
    /// The address of the host that it leads to: servers that listen there are reached.
    pub listen: IpAddr,
}

/// What the host can see of the guest's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestNetwork {
    /// The guest was seen to use an address since it last started. `false` proves nothing where packets cannot be watched (see `dhcp`).
    pub guest_seen: bool,
    /// How far the guest came with getting an address by DHCP since it last started; `None`: cannot be watched. A boot ROM that tries the
    /// network counts as the guest.
    pub dhcp: Option<DhcpState>,
    /// State of the connections through the forwarded port.
    pub forward_state: ForwardState,
    /// Addresses of the guest as the host knows them; with user networking those are only reachable from inside.
    pub addresses: Vec<IpAddr>,
    /// Hardware address of the guest's adapter, when known.
    pub mac_address: Option<String>,
    /// Where the guest's address was looked for without being found, a clause for each, where that takes looking.
    pub tried: Vec<String>,
}

/// What the guest's packets told since it last started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkSight {
    /// Packets are being watched, or were until they told the address. `false`: nothing more will be learned of this start of the guest.
    pub watching: bool,
    /// How often the guest has restarted since the machine was started.
    pub restarts: u32,
    /// The guest has sent a packet of any kind: its network adapter has a driver. A boot ROM counts as the guest.
    pub spoke: bool,
    /// How far it came with DHCP.
    pub dhcp: DhcpState,
    /// The address it was given, or was seen to use.
    pub address: Option<IpAddr>,
}

impl NetworkSight {
    /// The sight of a machine that is watched and has not run yet.
    pub fn watched() -> Self {
        Self { watching: true, ..Self::default() }
    }

    /// The sight right after the guest has restarted: nothing is known of it any more.
    #[must_use]
    pub fn after_restart(&self, watching: bool) -> Self {
        Self { watching, restarts: self.restarts.saturating_add(1), ..Self::default() }
    }
}

/// How far a guest came with getting an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DhcpState {
    /// It did not ask: it has not come that far, does not know its adapter, or has a fixed address.
    #[default]
    Silent,
    /// It asked and got no answer yet.
    Asked,
    /// It was given an address.
    Answered,
}

/// State of the newest connection that the host tries through the forwarded port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardState {
    /// Nobody is connecting, there is no forwarding, or the last attempt was refused at once: the guest has an address, the port is closed.
    #[default]
    Idle,
    /// The guest does not answer at all: it has no address yet, or drops the packets.
    NoAnswer,
    /// Connected to the guest's port.
    Established,
    /// Was connected; one side is closing.
    Closing,
}
