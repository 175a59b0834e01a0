//! The remote display (VRDE): who serves it is an extension pack, and whether it is served only a running machine tells.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use super::facts::Facts;
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use super::spec::RemoteDisplay;
use crate::error::StartError;

/// The module of VirtualBox's own pack; it comes first where there are several.
const OF_ORACLE: &str = "VBoxVRDP";

/// The module that speaks VNC, of the pack that some distributions have.
const OF_VNC: &str = "VBoxVNC";

/// An extension pack, as `list extpacks` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pack {
    name: String,
    /// What serves remote displays; empty: it does not.
    display: String,
    usable: bool,
    why_not: String,
}

/// The display of a machine that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Served {
    /// By RDP, there.
    Rdp(SocketAddr),
    /// By VNC, there.
    Vnc(SocketAddr),
    /// Not at all, for this reason.
    Not(String),
}

/// Reads `list extpacks`: blocks of `NAME: VALUE`, each beginning with `Pack no. 0:   Its name`.
fn read(text: &str) -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim().to_owned();
        if key.starts_with("Pack no.") {
            packs.push(Pack { name: value, ..Pack::default() });
            continue;
        }
        let Some(pack) = packs.last_mut() else { continue };
        match key.trim() {
            "VRDE Module" => pack.display = value,
            "Usable" => pack.usable = value == "true",
            "Why unusable" => pack.why_not = value,
            _ => {}
        }
    }
    packs
}

/// The one that serves remote displays.
fn server(packs: &[Pack]) -> Option<&Pack> {
    let mut serving = packs.iter().filter(|pack| pack.usable && !pack.display.is_empty());
    let first = serving.next()?;
    Some(std::iter::once(first).chain(serving).find(|pack| pack.display == OF_ORACLE).unwrap_or(first))
}

/// The packs there are, for people.
fn listed(packs: &[Pack]) -> String {
    let one = |pack: &Pack| match (pack.usable, pack.display.is_empty()) {
        (true, true) => format!("{}, which has no remote display", pack.name),
        (true, false) => pack.name.clone(),
        (false, _) => format!("{}, which is unusable ({})", pack.name, pack.why_not),
    };
    if packs.is_empty() { "none".to_owned() } else { packs.iter().map(one).collect::<Vec<_>>().join("; ") }
}

async fn packs(program: &VBoxManage) -> Result<Vec<Pack>, Failure> {
    Ok(read(&program.run(&["list", "extpacks"]).await?))
}

/// Refuses a display that the template asks for and nothing here serves.
pub(super) async fn refuse_unserved(display: Option<&RemoteDisplay>, program: &VBoxManage) -> Result<(), StartError> {
    if !display.is_some_and(|display| display.asked_for) {
        return Ok(());
    }
    let packs = packs(program).await?;
    if server(&packs).is_some() {
        return Ok(());
    }
    let problem = format!(
        "the template asks for a remote display (vrdp_bind_address, vrdp_port_min, vrdp_port_max), which an extension pack serves; \
         installed are: {}",
        listed(&packs)
    );
    let hint = Problem::ExtensionPack.hint().map(ToOwned::to_owned);
    Err(StartError::Refused { command: "VBoxManage list extpacks".to_owned(), problem, hint })
}

/// What came of the display of a machine that runs. `now`: what it is like; `log`: where it writes its log.
pub(super) async fn served(now: &Facts, log: Option<&Path>, program: &VBoxManage) -> Served {
    let port = now.get("vrdeport").and_then(|port| port.parse::<u16>().ok()).filter(|&port| port != 0);
    let packs = match packs(program).await {
        Ok(packs) => packs,
        Err(failure) => return Served::Not(format!("which extension packs there are cannot be told: {failure}")),
    };
    match (port, server(&packs)) {
        (Some(port), pack) => {
            let address = SocketAddr::new(address(now), port);
            if pack.is_some_and(|pack| pack.display == OF_VNC) { Served::Vnc(address) } else { Served::Rdp(address) }
        }
        (None, None) => Served::Not(format!(
            "it needs an extension pack, and none that serves it is installed ({}); VirtualBox's own is at \
             https://www.virtualbox.org/wiki/Downloads",
            listed(&packs)
        )),
        (None, Some(pack)) => {
            let told = log.map_or_else(String::new, |log| format!("; {} may tell why", log.display()));
            Served::Not(format!("the extension pack {} is there, but does not serve it{told}", pack.name))
        }
    }
}

/// Where it listens. An empty address is every address of the host, of which this one is sure to be here.
fn address(now: &Facts) -> IpAddr {
    let address = now.get("vrdeaddress").and_then(|address| address.parse().ok());
    address.unwrap_or(Ipv4Addr::LOCALHOST.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VNC: &str = "Extension Packs: 1\nPack no. 0:   VNC\nVersion:        7.2.22\nDescription:    VNC plugin module\n\
                       VRDE Module:    VBoxVNC\nCrypto Module:  \nUsable:         true\nWhy unusable:   \n";

    #[test]
    fn of_several_packs_virtualboxs_own_serves() {
        let packs = read(VNC);
        assert_eq!(server(&packs).unwrap().name, "VNC");
        let oracle = "Pack no. 1:   Oracle VirtualBox Extension Pack\nVRDE Module:    VBoxVRDP\nUsable:         true\n";
        assert_eq!(server(&read(&format!("{VNC}{oracle}"))).unwrap().display, "VBoxVRDP");
        let unusable = read(&VNC.replace("true", "false").replace("unusable:   ", "unusable:   no licence"));
        assert_eq!((server(&unusable), listed(&unusable).as_str()), (None, "VNC, which is unusable (no licence)"));
        let other = read("Extension Packs: 1\nPack no. 0:   Crypt\nVRDE Module:  \nUsable: true\n");
        assert_eq!((server(&other), listed(&other).as_str()), (None, "Crypt, which has no remote display"));
        assert_eq!((read("Extension Packs: 0\n"), listed(&[]).as_str()), (vec![], "none"));
    }
}
