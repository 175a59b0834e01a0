//! Watches how the guest comes by its address: QEMU copies the guest's first packets into a pipe, and stops as soon as the address is
//! known. This is what tells "the guest never asked for an address" from "the port is closed".

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qapi_qmp::{FilterDumpProperties, NetfilterProperties, ObjectOptions, object_add, object_del};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, watch};

use super::arguments::NETDEV_ID;
use super::qmp::{Event, QmpClient};
use crate::error::MachineError;
use crate::guest_network::{DhcpState, NetworkSight};

/// Id of the filter in QEMU.
const FILTER_ID: &str = "kiln-address";

/// Name of the pipe in the machine's directory.
const PIPE_NAME: &str = "packets";

/// How much of each packet is copied: Ethernet, IP, UDP and DHCP headers with the first options, of which the message type is one.
const SNAP_BYTES: u32 = 400;

/// Packets after which watching ends: a guest that sends so much without IPv4 has no use for an IPv4 address.
const MAX_PACKETS: u32 = 10_000;

/// Sizes of a pcap file's header and of each record's header (libpcap's file format, version 2.4, the host's byte order).
const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;

/// First bytes of the hardware addresses that QEMU's own network uses for its gateway and servers (libslirp's `special_ethaddr`).
const OWN_MAC_PREFIX: [u8; 2] = [0x52, 0x55];

/// A pipe that QEMU copies packets into.
pub(super) struct Tap {
    pipe: pipe::Receiver,
    path: PathBuf,
}

impl Tap {
    /// Makes QEMU copy packets from now on. Call before the guest runs, so that none is missed.
    pub(super) async fn open(qmp: &QmpClient, directory: &Path) -> Result<Self, MachineError> {
        let unexpected = |problem: std::io::Error| MachineError::Unexpected {
            command: "object-add filter-dump".to_owned(),
            problem: problem.to_string(),
        };
        let path = directory.join(PIPE_NAME);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).map_err(|error| unexpected(error.into()))?;
        // Open for writing too, or else QEMU would wait for a reader and this for a writer.
        let opened = pipe::OpenOptions::new().read_write(true).open_receiver(&path);
        let tap = Self { pipe: opened.map_err(unexpected)?, path };
        let base = NetfilterProperties {
            insert: None,
            position: None,
            queue: None,
            status: None,
            netdev: NETDEV_ID.to_owned(),
        };
        // The directory's name is UTF-8: `check` has seen to it.
        let file = tap.path.to_string_lossy().into_owned();
        let filter_dump = FilterDumpProperties { base, maxlen: Some(SNAP_BYTES), file };
        qmp.run(object_add(ObjectOptions::filter_dump { id: FILTER_ID.to_owned(), filter_dump })).await?;
        Ok(tap)
    }

    /// Reads packets until the guest has an address.
    async fn read(&mut self, seen: &watch::Sender<NetworkSight>) -> std::io::Result<()> {
        let mut header = [0; FILE_HEADER_BYTES];
        self.pipe.read_exact(&mut header).await?;
        let mut packet = Vec::new();
        for _ in 0..MAX_PACKETS {
            let mut record = [0; RECORD_HEADER_BYTES];
            self.pipe.read_exact(&mut record).await?;
            // Seconds, microseconds, bytes here, bytes on the wire.
            let length = u32::from_ne_bytes([record[8], record[9], record[10], record[11]]);
            if length > SNAP_BYTES {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a packet longer than asked for"));
            }
            packet.resize(length as usize, 0);
            self.pipe.read_exact(&mut packet).await?;
            let Some(sign) = Sign::read(&packet) else { continue };
            seen.send_if_modified(|seen| {
                let before = *seen;
                seen.take(sign);
                *seen != before
            });
            if matches!(sign, Sign::Answered(_) | Sign::Uses(_)) {
                return Ok(());
            }
        }
        seen.send_modify(|seen| seen.watching = false);
        Ok(())
    }

    /// Reads and forgets, for as long as it is polled.
    async fn drain(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            if let Err(error) = self.pipe.read(&mut buffer).await {
                tracing::debug!(%error, "the guest's packets cannot be read");
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Watches each start of the guest, beginning with the one that `tap` was opened for, until QEMU goes.
pub(super) async fn watch(
    qmp: Arc<QmpClient>,
    directory: PathBuf,
    tap: Tap,
    events: broadcast::Receiver<Event>,
    seen: watch::Sender<NetworkSight>,
) {
    tokio::select! {
        () = watch_starts(qmp.clone(), directory, tap, events, seen) => {}
        () = qmp.closed() => {}
    }
}

async fn watch_starts(
    qmp: Arc<QmpClient>,
    directory: PathBuf,
    tap: Tap,
    mut events: broadcast::Receiver<Event>,
    seen: watch::Sender<NetworkSight>,
) {
    let mut tap = Some(tap);
    loop {
        let mut restarted = false;
        if let Some(open) = &mut tap {
            tokio::select! {
                read = open.read(&seen) => if let Err(error) = read {
                    tracing::debug!(%error, "the guest's packets cannot be read");
                    seen.send_modify(|seen| seen.watching = false);
                },
                more = next_restart(&mut events) => match more {
                    true => restarted = true,
                    false => return,
                },
            }
            // Until the filter is gone QEMU may fill the pipe, and would then wait for ever.
            tokio::select! {
                removed = qmp.run(object_del { id: FILTER_ID.to_owned() }) => if removed == Err(MachineError::Gone) {
                    return;
                },
                () = open.drain() => {}
            }
        }
        tap = None;
        if !restarted && !next_restart(&mut events).await {
            return;
        }
        match Tap::open(&qmp, &directory).await {
            Ok(open) => tap = Some(open),
            Err(MachineError::Gone) => return,
            Err(error) => tracing::debug!(%error, "the guest's packets cannot be seen"),
        }
        seen.send_modify(|seen| *seen = seen.after_restart(tap.is_some()));
    }
}

/// Waits until the guest restarts; `false` when there will be no more events.
async fn next_restart(events: &mut broadcast::Receiver<Event>) -> bool {
    loop {
        match events.recv().await {
            Ok(event) if event.name == "RESET" && event.data["guest"] == true => return true,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return false,
        }
    }
}

/// What a packet tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// The guest sent something that tells no more than that.
    Spoke,
    /// The guest asks for an address.
    Asked,
    /// It was given this one.
    Answered(Ipv4Addr),
    /// It uses this one.
    Uses(Ipv4Addr),
}

impl NetworkSight {
    fn take(&mut self, sign: Sign) {
        self.spoke = true;
        match sign {
            Sign::Spoke => {}
            Sign::Asked => self.dhcp = DhcpState::Asked,
            Sign::Answered(address) => (self.dhcp, self.address) = (DhcpState::Answered, Some(address.into())),
            Sign::Uses(address) => self.address = Some(address.into()),
        }
    }
}

impl Sign {
    /// Reads an Ethernet frame, which may be cut off anywhere.
    fn read(frame: &[u8]) -> Option<Self> {
        let from_guest = frame.get(6..8)? != OWN_MAC_PREFIX;
        let sign = match frame.get(12..14)? {
            [0x08, 0x00] => frame.get(14..).and_then(|packet| Self::read_ipv4(packet, from_guest)),
            // ARP: the sender's protocol address. Zero while the guest asks whether an address is free.
            [0x08, 0x06] if from_guest => frame.get(28..32).and_then(address).and_then(used),
            _ => None,
        };
        sign.or(from_guest.then_some(Self::Spoke))
    }

    fn read_ipv4(packet: &[u8], from_guest: bool) -> Option<Self> {
        let header = usize::from(packet.first()? & 0xf) * 4;
        let source = address(packet.get(12..16)?)?;
        let is_udp = *packet.get(9)? == 17;
        let ports = packet.get(header..header + 4)?;
        match (is_udp, ports) {
            // Ports 68 to 67 and back (RFC 2131); UDP's header has 8 bytes.
            (true, [0, 68, 0, 67]) => Some(Self::Asked),
            (true, [0, 67, 0, 68]) => read_dhcp_answer(packet.get(header + 8..)?),
            _ if from_guest => used(source),
            _ => None,
        }
    }
}

fn used(address: Ipv4Addr) -> Option<Sign> {
    // A guest gives itself a link-local address when nobody answers it: it cannot be reached there.
    let usable = !address.is_unspecified() && !address.is_multicast() && !address.is_link_local();
    usable.then_some(Sign::Uses(address))
}

/// Finds the address in an acknowledgement (RFC 2131, 2132).
fn read_dhcp_answer(message: &[u8]) -> Option<Sign> {
    let given = address(message.get(16..20)?)?;
    let mut options = message.get(240..)?;
    loop {
        match *options.first()? {
            0 => options = options.get(1..)?,
            255 => return None,
            // Option 53, message type: 5 is an acknowledgement.
            53 => return (*options.get(2)? == 5).then_some(Sign::Answered(given)),
            _ => options = options.get(2 + usize::from(*options.get(1)?)..)?,
        }
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source_mac: [u8; 2], ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
        [&[0xff; 6][..], &source_mac, &[0, 0, 0, 1], &ethertype, payload].concat()
    }

    fn udp(source: [u8; 4], ports: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let ip = [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0][..], &source, &[255; 4]].concat();
        [&ip[..], &ports, &[0; 4], payload].concat()
    }

    fn answer(kind: u8) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[16..20].copy_from_slice(&[10, 0, 2, 15]);
        message.extend([0, 54, 4, 10, 0, 2, 2, 53, 1, kind, 255]);
        message
    }

    const GUEST: [u8; 2] = [0x52, 0x54];
    const IPV4: [u8; 2] = [8, 0];
    const ARP: [u8; 2] = [8, 6];

    #[test]
    fn reads_the_way_to_an_address() {
        let asked = frame(GUEST, IPV4, &udp([0; 4], [0, 68, 0, 67], &[1; 240]));
        assert_eq!(Sign::read(&asked), Some(Sign::Asked));
        let offer = frame(OWN_MAC_PREFIX, IPV4, &udp([10, 0, 2, 2], [0, 67, 0, 68], &answer(2)));
        assert_eq!(Sign::read(&offer), None, "an offer is no address yet");
        let acknowledged = frame(OWN_MAC_PREFIX, IPV4, &udp([10, 0, 2, 2], [0, 67, 0, 68], &answer(5)));
        let given = Ipv4Addr::new(10, 0, 2, 15);
        assert_eq!(Sign::read(&acknowledged), Some(Sign::Answered(given)));
        let fixed = frame(GUEST, IPV4, &udp([10, 0, 2, 15], [1, 2, 0, 53], b"x"));
        assert_eq!(Sign::read(&fixed), Some(Sign::Uses(given)));
        let mut arp = vec![0; 28];
        arp[14..18].copy_from_slice(&[10, 0, 2, 15]);
        assert_eq!(Sign::read(&frame(GUEST, ARP, &arp)), Some(Sign::Uses(given)));
        assert_eq!(Sign::read(&frame(OWN_MAC_PREFIX, ARP, &arp)), None);
        for unusable in [[0; 4], [169, 254, 3, 4], [224, 0, 0, 1]] {
            arp[14..18].copy_from_slice(&unusable);
            assert_eq!(Sign::read(&frame(GUEST, ARP, &arp)), Some(Sign::Spoke));
        }
        // A router solicitation or the like.
        assert_eq!(Sign::read(&frame(GUEST, [0x86, 0xdd], &[0x60; 40])), Some(Sign::Spoke));
        assert_eq!(Sign::read(&frame(OWN_MAC_PREFIX, [0x86, 0xdd], &[0x60; 40])), None);

        let mut seen = NetworkSight::watched();
        seen.take(Sign::Spoke);
        assert_eq!(seen, NetworkSight { spoke: true, ..NetworkSight::watched() });
        seen.take(Sign::Asked);
        assert_eq!(seen, NetworkSight { spoke: true, dhcp: DhcpState::Asked, ..NetworkSight::watched() });
        seen.take(Sign::Answered(given));
        assert_eq!((seen.dhcp, seen.address), (DhcpState::Answered, Some(given.into())));
        let restarted = seen.after_restart(true);
        assert_eq!(restarted, NetworkSight { restarts: 1, ..NetworkSight::watched() });
    }

    #[test]
    fn packets_cut_off_anywhere_do_no_harm() {
        let packets = [
            frame(GUEST, IPV4, &udp([0; 4], [0, 68, 0, 67], &[1; 240])),
            frame(OWN_MAC_PREFIX, IPV4, &udp([10, 0, 2, 2], [0, 67, 0, 68], &answer(5))),
            frame(GUEST, ARP, &[255; 28]),
            frame(GUEST, IPV4, &[0xff; 60]),
            frame(GUEST, IPV4, &[0; 60]),
        ];
        for packet in packets {
            for length in 0..packet.len() {
                let _ = Sign::read(&packet[..length]);
            }
        }
        let mut endless = answer(5);
        endless.truncate(240);
        endless.extend([1, 255]);
        assert_eq!(read_dhcp_answer(&endless), None);
    }
}
