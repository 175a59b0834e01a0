//! Where a guest is: asked of VMware, of its DHCP server's leases and of the host's neighbour table, each attempt named.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use kiln_disk_formats::package::vmx::Vmx;
use tokio::net::TcpStream;

use super::networks::{self, Networks};
use super::vmrun::Vmrun;

/// First and longest pause between two rounds: nothing tells when a guest gets its address, and a file is read sooner than a
/// program is run.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// How long one of several addresses may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The host's neighbour table.
const NEIGHBOURS: &str = "/proc/net/arp";

/// What was found, and by whom.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    /// Addresses, the likeliest first.
    pub(super) addresses: Vec<IpAddr>,
    /// Hardware address of the guest's card.
    pub(super) mac: Option<String>,
    /// A clause for each attempt: `vmrun getGuestIPAddress: …`.
    pub(super) tried: Vec<String>,
}

/// Looks for a machine's guest.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    pub(super) vmrun: Vmrun,
    pub(super) networks: Networks,
}

impl Finder {
    /// Looks in files only, which takes no time.
    pub(super) fn look(&self, vmx: &Path) -> Sighting {
        let mut sighting = Sighting::default();
        let file = match Vmx::read(vmx) {
            Ok(file) => file,
            Err(error) => {
                sighting.tried.push(format!("the machine's file: {error}"));
                return sighting;
            }
        };
        let mac = ["ethernet0.address", "ethernet0.generatedAddress"].iter().find_map(|key| file.get(key));
        let Some(mac) = mac else {
            sighting.tried.push("the machine's file: no network card has an address in it".to_owned());
            return sighting;
        };
        sighting.mac = Some(mac.to_owned());
        let kind = match (file.get("ethernet0.connectionType").unwrap_or("nat"), file.get("ethernet0.vnet")) {
            ("custom", Some(vnet)) => vnet.to_owned(),
            (kind, _) => kind.to_lowercase(),
        };
        if kind == "bridged" {
            sighting.tried.push("DHCP leases: VMware gives none on a bridged network".to_owned());
        } else {
            for device in self.networks.devices(&kind) {
                let path = self.networks.leases_file(&device);
                let text = networks::read(&path);
                let mut found = text.as_deref().map(|text| networks::leased(text, mac)).unwrap_or_default();
                // The newest lease is the likeliest.
                found.reverse();
                let path = path.display();
                sighting.take(
                    found,
                    &match text {
                        Some(_) => format!("DHCP leases of {device}: {mac} is not in {path}"),
                        None => format!("DHCP leases of {device}: {path} cannot be read"),
                    },
                );
            }
        }
        let found = networks::neighbours(&networks::read(Path::new(NEIGHBOURS)).unwrap_or_default(), mac);
        sighting.take(found, &format!("the host's neighbours: {mac} is not among them"));
        sighting
    }

    /// Looks once. What files name counts when somebody answers at `port` there, for a lease may be an old one; what VMware names counts
    /// as it is. The second part is what was tried.
    async fn look_once(&self, vmx: &Path, port: u16) -> (Option<IpAddr>, Vec<String>) {
        let Sighting { addresses, mut tried, .. } = self.look(vmx);
        let answering = answering(&addresses, port).await;
        if answering.is_some() {
            return (answering, tried);
        }
        tried.extend(addresses.iter().map(|address| format!("{address} does not answer on port {port}")));
        match self.vmrun.guest_address(vmx).await {
            Ok(address) => (Some(address), tried),
            Err(error) => {
                tried.insert(0, error.to_string());
                (None, tried)
            }
        }
    }

    /// Waits until the guest has an address that is surely its own; `told` hears what each round has tried.
    pub(super) async fn find(&self, vmx: &Path, port: u16, told: impl Fn(Vec<String>)) -> IpAddr {
        let mut pause = PAUSES.0;
        loop {
            let (found, tried) = self.look_once(vmx, port).await;
            told(tried);
            if let Some(address) = found {
                return address;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

impl Sighting {
    fn take(&mut self, found: Vec<IpAddr>, otherwise: &str) {
        if found.is_empty() {
            self.tried.push(otherwise.to_owned());
        }
        for address in found {
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
    }
}

/// The first address where somebody answers.
async fn answering(addresses: &[IpAddr], port: u16) -> Option<IpAddr> {
    for address in addresses {
        let connecting = TcpStream::connect(SocketAddr::new(*address, port));
        if matches!(tokio::time::timeout(ANSWER_LIMIT, connecting).await, Ok(Ok(_))) {
            return Some(*address);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finder(etc: &Path, vmrun: &str) -> Finder {
        let tools = etc.join("tools");
        std::fs::create_dir_all(&tools).unwrap();
        let program = tools.join("vmrun");
        crate::process::script::write_script(&program, &format!("#!/bin/sh\n{vmrun}\n"));
        Finder { vmrun: Vmrun::find(Some(&tools)).unwrap(), networks: Networks::new(etc.to_owned()) }
    }

    #[tokio::test]
    async fn every_attempt_is_named() {
        let etc = tempfile::tempdir().unwrap();
        let finder = finder(etc.path(), "echo 'Error: The VMware Tools are not running'; exit 255");
        let vmx = etc.path().join("a.vmx");
        assert!(finder.look(&vmx).tried[0].starts_with("the machine's file: "));
        std::fs::write(&vmx, "ethernet0.present = \"TRUE\"\n").unwrap();
        assert_eq!(finder.look(&vmx).tried, ["the machine's file: no network card has an address in it"]);
        std::fs::write(
            &vmx,
            "ethernet0.generatedAddress = \"00:0c:29:01:02:03\"\nethernet0.connectionType = \"nat\"\n",
        )
        .unwrap();
        assert_eq!(finder.look(&vmx).mac.as_deref(), Some("00:0c:29:01:02:03"));
        let (found, tried) = finder.look_once(&vmx, 22).await;
        let tried = tried.join("\n");
        assert_eq!(found, None, "{tried}");
        for words in [
            "vmrun getGuestIPAddress failed: The VMware Tools are not running",
            "DHCP leases of vmnet8: ",
            "the host's neighbours: ",
        ] {
            assert!(tried.contains(words), "{tried}");
        }
    }

    #[tokio::test]
    async fn a_lease_is_enough_where_somebody_answers_and_vmware_is_asked_otherwise() {
        let etc = tempfile::tempdir().unwrap();
        let up = etc.path().join("up");
        let vmrun =
            format!("[ -e {up:?} ] && echo 10.9.8.7 && exit; echo 'Error: The VMware Tools are not running'; exit 255");
        let finder = finder(etc.path(), &vmrun);
        let (guest, old) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let listener = std::net::TcpListener::bind((guest, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let vmx = etc.path().join("a.vmx");
        std::fs::write(&vmx, "ethernet0.address = \"00:50:56:01:02:03\"\n").unwrap();
        std::fs::create_dir_all(etc.path().join("vmnet8/dhcpd")).unwrap();
        let lease = |addresses: &[IpAddr]| {
            let one = |address: &IpAddr| format!("lease {address} {{\nhardware ethernet 00:50:56:01:02:03;\n}}\n");
            let leases: String = addresses.iter().map(one).collect();
            std::fs::write(etc.path().join("vmnet8/dhcpd/dhcpd.leases"), leases).unwrap();
        };
        lease(&[guest]);
        assert_eq!(finder.find(&vmx, port, |_| {}).await, guest);
        // The newer lease comes first.
        lease(&[guest, old]);
        assert_eq!(finder.find(&vmx, port, |_| {}).await, guest);
        // Nobody answers at the old lease: it is looked on until VMware names the guest, or a new lease is there.
        let silent = format!("{old} does not answer on port {port}");
        for new_lease in [true, false] {
            lease(&[old]);
            let rounds = std::cell::RefCell::new(Vec::new());
            let told = |tried: Vec<String>| {
                rounds.borrow_mut().push(tried.join("\n"));
                if new_lease {
                    lease(&[old, guest]);
                } else {
                    std::fs::write(&up, "").unwrap();
                }
            };
            let found = finder.find(&vmx, port, told).await.to_string();
            assert_eq!(found, if new_lease { "127.0.0.1" } else { "10.9.8.7" });
            let rounds = rounds.into_inner();
            assert!(rounds[0].contains(&silent) && rounds[0].contains("Tools are not running"), "{rounds:?}");
            assert_eq!(rounds.len(), 2, "{rounds:?}");
        }
        std::fs::remove_dir_all(etc.path().join("vmnet8")).unwrap();
        assert_eq!(finder.find(&vmx, port, |_| {}).await.to_string(), "10.9.8.7");
    }
}
